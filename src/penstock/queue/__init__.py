"""Taking runs in, stopping them, and saying where they stand."""

from .queue import Queue
from .standings import Standings

__all__ = ["Queue", "Standings"]
