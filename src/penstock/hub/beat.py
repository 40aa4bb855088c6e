"""Those who read one stream at one rate are served together, so that what they get is made once."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

__all__ = ["Beat", "Bell", "Look"]

log = logging.getLogger("penstock")

SLACK_S = 0.01
"""An update may come this much early: a run's own pace and its readers' would else beat against each other."""

AT_ONCE = 250
"""Beats that ring in one turn of the loop: a few milliseconds' worth."""

Look = Callable[[], None]


class Bell:
    """Rings the beats of all streams: one callback of the loop for what was stored in one commit, not one each."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: deque[Beat] = deque()

    def ring_soon(self, beat: "Beat") -> None:
        """In the next turn of the loop, or soon after where there are many."""
        if not self._due:
            self._loop.call_soon(self._ring)
        self._due.append(beat)

    def _ring(self) -> None:
        now = self._loop.time()
        try:
            for _ in range(min(AT_ONCE, len(self._due))):
                self._due.popleft().ring(now)
        finally:  # whatever is raised, the others are rung
            if self._due:
                self._loop.call_soon(self._ring)


class Beat:
    """Calls its members when there is news: the first time at once, then at most every `interval_s`."""

    __slots__ = ("_bell", "_interval_s", "_loop", "_next", "_rings_soon", "_timer", "members")

    def __init__(self, interval_s: float, bell: Bell) -> None:
        self._interval_s = interval_s
        self._bell = bell
        self._loop = asyncio.get_running_loop()
        self._next = float("-inf")
        self._rings_soon = False
        self._timer: asyncio.TimerHandle | None = None
        self.members: dict[Look, None] = {}

    def news(self, *, urgent: bool = False) -> None:
        """Something was written. urgent: it can't wait."""
        if urgent:
            self.stop()
        if self._rings_soon or self._timer is not None or not self.members:
            return
        if urgent or self._loop.time() >= self._next - SLACK_S:
            self._rings_soon = True
            self._bell.ring_soon(self)
        else:
            self._timer = self._loop.call_at(self._next, self._ring_late)

    def _ring_late(self) -> None:
        self._timer = None
        self.ring(self._loop.time())

    def ring(self, now: float) -> None:
        """Call them. Does nothing once nobody is left."""
        self._rings_soon = False
        self._next = max(self._next, now) + self._interval_s
        for look in tuple(self.members):
            try:
                look()
            except Exception:  # of one reader: the others are served all the same
                log.exception("A reader could not be served.")

    def stop(self) -> None:
        """Wait for no time any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
