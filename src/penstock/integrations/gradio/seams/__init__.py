"""Where Gradio is touched: its private surfaces, its functions, its line, its own server and its Node."""
