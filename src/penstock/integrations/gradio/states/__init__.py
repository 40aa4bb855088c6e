"""`gr.State` over a restart."""
