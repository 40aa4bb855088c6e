"""Who may have what: owners of sessions, Gradio's logins, and the guard before Penstock's own server."""
