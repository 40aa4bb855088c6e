"""`penstock.gradio.Client`."""
