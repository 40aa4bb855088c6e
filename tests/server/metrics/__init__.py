"""/metrics: every figure moved by what it is about, in a real server, and read as Prometheus reads it."""
