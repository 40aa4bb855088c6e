"""Gradio's queue and its streams, recorded and served by Penstock. `penstock.gradio` is the door to it."""
