"""Merges what a function yields, before Gradio sees it."""
