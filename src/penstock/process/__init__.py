"""Processes: what one does for itself, how several are kept up behind one socket, and how each of them leaves.

Imported module by module: a supervisor must not load what only a server needs.
"""
