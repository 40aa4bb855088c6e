"""Lets any number pass at once, or one be alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

__all__ = ["Gate"]


class Gate:
    """Made on the event loop. Whoever wants to be alone comes before those who come after it."""

    def __init__(self) -> None:
        self._open, self._free = asyncio.Event(), asyncio.Event()
        self._open.set()
        self._free.set()
        self._inside = 0

    @contextlib.asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """With any number of others."""
        while not self._open.is_set():
            await self._open.wait()
        self._inside += 1
        self._free.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._free.set()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Once all who are passing have passed. One at a time: callers hold a lock of their own."""
        self._open.clear()
        try:
            await self._free.wait()
            yield
        finally:
            self._open.set()
