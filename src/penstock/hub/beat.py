"""Those who read one stream at one rate are served together, so that what they get is made once."""

import asyncio
import logging
from collections.abc import Callable

__all__ = ["Beat", "Look"]

log = logging.getLogger("penstock")

SLACK_S = 0.01
"""An update may come this much early: a run's own pace and its readers' would else beat against each other."""

Look = Callable[[], None]


class Beat:
    """Calls its members when there is news: the first time at once, then at most every `interval_s`."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._next = float("-inf")
        self._handle: asyncio.Handle | None = None
        self.members: dict[Look, None] = {}

    def news(self, *, urgent: bool = False) -> None:
        """Something was written. urgent: it can't wait."""
        if urgent and self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._handle is None and self.members:
            wait = not urgent and self._loop.time() < self._next - SLACK_S
            self._handle = (
                self._loop.call_at(self._next, self._ring) if wait else self._loop.call_soon(self._ring)
            )

    def _ring(self) -> None:
        self._handle = None
        self._next = max(self._next, self._loop.time()) + self._interval_s
        for look in tuple(self.members):
            try:
                look()
            except Exception:  # of one reader: the others are served all the same
                log.exception("A reader could not be served.")

    def stop(self) -> None:
        """Nobody is left."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
