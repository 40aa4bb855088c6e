"""What stands between Gradio and Penstock."""
