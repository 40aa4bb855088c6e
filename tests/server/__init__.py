"""The HTTP surface, over all transports and both kinds of connection."""
