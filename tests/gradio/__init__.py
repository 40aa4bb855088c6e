"""Gradio apps of the versions that are supported, as they come and hardened."""
