"""One stream that somebody reads: its recent chunks, looks into the store, and who is told of news."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from ..errors import StoreError
from ..models import Chunk
from ..storage.base import Store
from .beat import Beat, Bell, Look
from .recent import READ_BYTES, Recent

__all__ = ["TAIL_BYTES", "Status", "Tail"]

log = logging.getLogger("penstock")

TAIL_BYTES = 256 * 1024
"""Recent chunks a tail keeps for its subscribers: seconds of any model's output. Who is further behind reads
from the store, so the bound costs time only."""

HOT_S = 0.25
"""Readers who keep up are served from memory, however fast it is written: one who gets 20 updates a second, and is
late with them, stands so far behind."""

HOT_BYTES = 4 * 1024 * 1024
"""What is kept for their sake at most: 16 MB a second, of one stream."""

WARM_BYTES = 16 * 1024
"""What is kept of a tail that nobody reads."""

LOOK_AGAIN_S = 0.5
"""How soon a look into the store that failed is repeated for those who follow."""


Status = dict[str, Any]
"""Where a run stands: `{state, position, eta_s}`, and more."""


class Reader(Protocol):
    """Who reads a stream."""

    status: Status | None
    told_at: float
    position: int
    transport: str

    def wake(self) -> None:
        """There may be something new."""
        ...


class Tail:
    """Shared by all who read one stream."""

    __slots__ = (
        "_beats", "_bell", "_doubted_at", "_follower", "_on_empty", "_reading", "_store", "_waiting", "changes",
        "draining", "epoch", "reached", "recent", "stale", "status", "stream", "subscribers", "written_at",
    )  # fmt: skip

    def __init__(self, stream: str, store: Store, bell: Bell, on_empty: "Callable[[Tail], None]") -> None:
        self.stream = stream
        self._bell = bell
        self._store = store
        self._on_empty = on_empty
        self.draining = False  # the server is leaving
        self.recent = Recent()
        # What the store had when last a reader began: where nothing recent is known, for its lag.
        self.reached = 0
        self.epoch: str | None = None
        self.status: tuple[float, Status] | None = None  # of a run that was submitted here, and when
        self.stale = False  # another process may have written past what is recent
        self._doubted_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None
        self.written_at = float("-inf")
        self.changes = 0  # counted, so that who looks knows whether to look again
        self.subscribers: set[Reader] = set()
        self._waiting: set[Reader] = set()
        self._beats: dict[float, Beat] = {}

    def anchor(self, seq: int) -> None:
        """The store held nothing past `seq`: from here on the tail is complete."""
        if self.recent.begin is None:
            self.recent.begin = self.recent.end = seq
            if self.stale:  # told while that was being read
                self.look_again()

    def push(self, chunk: Chunk) -> None:
        """Take what was stored next."""
        now = time.monotonic()
        if self.recent.push(chunk, now):
            self.written_at = now
            self.trim(now)

    def trim(self, now: float) -> None:
        """Let the oldest chunks go; for subscribers the newest one stays, whatever its size."""
        if self.subscribers:
            self.recent.trim(TAIL_BYTES, 1, HOT_BYTES, hot_since=now - HOT_S)
        else:
            self.recent.trim(WARM_BYTES, least=0)
            self.recent.forget_made()

    # The store

    async def read_past(self, seq: int) -> list[Chunk]:
        """What the store holds past `seq`, for a reader that memory can't serve. Raises StoreError."""
        found = await self._store.read(self.stream, seq, READ_BYTES)
        if not found:
            self.anchor(seq)
        return found

    async def refresh(self) -> None:
        """Take in what another process may have appended. Raises StoreError."""
        if self._reading is None:  # one for all who ask, however many were woken
            self._reading = asyncio.create_task(self._read_on())
            self._reading.add_done_callback(self._was_read)
        await asyncio.shield(self._reading)

    def _was_read(self, reading: "asyncio.Task[None]") -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # who asked may have left

    async def _read_on(self) -> None:
        self.stale = False  # before reading: what is written meanwhile makes it stale again
        try:
            found = await self._store.read(self.stream, self.recent.end, READ_BYTES)
        except StoreError:
            self.stale = True  # nobody has looked yet
            raise
        for chunk in found:
            self.push(chunk)
            self.stale = True  # there may be more than one piece
        if found:
            self.wake()

    def look_again(self) -> None:
        """Have those who follow told of what the store holds and nobody has told of."""
        self.stale = True
        if self._beats and self.recent.begin is not None and self._follower is None:
            self._follower = asyncio.create_task(self._follow_up())

    def doubt(self, after_s: float) -> None:
        """It has been quiet: look again, should a wake-up have been lost; once in `after_s` for all."""
        now = time.monotonic()
        if now - self._doubted_at >= after_s:
            self._doubted_at = now
            self.trim(now)
            self.recent.forget_made()  # of a stream that was fast before it paused, megabytes
            self.look_again()

    async def _follow_up(self) -> None:
        try:
            while self.stale and self._beats:
                try:
                    await self.refresh()
                except StoreError as error:
                    log.warning("Readers of %s wait for the store: %s", self.stream, error.message)
                    await asyncio.sleep(LOOK_AGAIN_S)
        finally:
            self._follower = None

    def stop(self) -> None:
        """Ask the store no more."""
        for task in (self._follower, self._reading):
            if task is not None:
                task.cancel()

    # Who is told

    def leave(self, subscriber: Reader) -> None:
        """A reader has gone."""
        self.subscribers.discard(subscriber)
        if not self.subscribers:
            self._on_empty(self)

    def wake(self, *, urgent: bool = False) -> None:
        """There may be something new."""
        self.changes += 1
        if self._waiting:
            for subscriber in tuple(self._waiting):
                subscriber.wake()
        for beat in self._beats.values():
            beat.news(urgent=urgent)

    def await_news(self, subscriber: Reader) -> None:
        """Wake it at the next change."""
        self._waiting.add(subscriber)

    def stop_waiting(self, subscriber: Reader) -> None:
        """It was woken, or waits no more."""
        self._waiting.discard(subscriber)

    def follow(self, look: Look, interval_s: float) -> None:
        """Call `look` after changes, at most every `interval_s`."""
        self._beats.setdefault(interval_s, Beat(interval_s, self._bell)).members[look] = None
        if self.stale:  # nobody followed when that was told
            self.look_again()

    def unfollow(self, look: Look, interval_s: float) -> None:
        """Call it no more."""
        beat = self._beats.get(interval_s)
        if beat is not None:
            beat.members.pop(look, None)
            if not beat.members:
                beat.stop()
                del self._beats[interval_s]
