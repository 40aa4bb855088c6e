"""Keeps the service below its memory limit: how much is used, of how much, and what waits while it is too much."""

from .guard import MemoryGuard
from .pressure import HELD_S, Hold, Pressure

__all__ = ["HELD_S", "Hold", "MemoryGuard", "Pressure"]
