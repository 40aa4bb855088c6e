"""Streams and runs in one SQLite file: the default store. See `store.py` for what it promises."""

from .store import SqliteStore

__all__ = ["SqliteStore"]
