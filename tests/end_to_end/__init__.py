"""The whole of it at once: real processes, real sockets, a real browser, and everything going wrong."""
