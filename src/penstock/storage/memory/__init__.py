"""Streams and runs in this process's memory: for tests, demos and work that may be forgotten."""

from .store import MemoryStore

__all__ = ["MemoryStore"]
