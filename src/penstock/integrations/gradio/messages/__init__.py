"""Gradio's messages as a run's log, and the log as messages again. Pure; `web/gradio/` has the same rules."""
