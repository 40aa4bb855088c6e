"""One reader's place in one stream: it asks, or it is told when to look."""

import asyncio
import time
from typing import Self

from ..models import Chunk
from .beat import Look
from .frames import Frames, Merge
from .recent import first_of
from .tail import Status, Tail

__all__ = ["Subscriber"]


class Subscriber:
    """One reader's place in one stream.

    It holds a position, never a queue. A reader either asks (`take`, and `news` to wait) or follows: then `look`
    is called when there may be something new, and `frames` gives what memory has.
    """

    __slots__ = (
        "_following", "_look", "_seen", "_tail", "_timer", "_waiter", "closed", "ended", "position",
        "status", "told", "told_at", "transport",
    )  # fmt: skip

    def __init__(self, tail: Tail, after: int) -> None:
        self.position = after
        self.ended = False
        self.closed = False
        self.transport = "sse"
        self.status: Status | None = None
        self.told: Status | None = None
        self.told_at = float("-inf")
        self._tail = tail
        self._seen = -1
        self._look: Look | None = None
        self._following = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        tail.subscribers.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave; whoever waits in `news` goes on. May be called twice."""
        if self.closed:
            return
        self.closed = True
        if self._look is not None:
            self._tail.unfollow(self._look, self._following)
            self._look = None
        self._tail.leave(self)
        if self._timer is not None:
            self._timer.cancel()
        self.wake()

    def begin(self, after: int, tail: int) -> None:
        """Stand at `after`; the store, asked since this reader subscribed, had events up to `tail`.

        So a reader at the tail need not ask again: what was appended since was heard.
        """
        self.position = after
        self._tail.reached = tail
        if after == tail:
            self._tail.anchor(after)

    @property
    def has_all(self) -> bool:
        """Whether it has everything that memory has."""
        return self.position == self._tail.recent.end

    @property
    def draining(self) -> bool:
        """The server is leaving."""
        return self._tail.draining

    def untold(self) -> Status | None:
        """The run's status, where it has changed since it was last asked for."""
        if self.status == self.told:
            return None
        self.told, self.told_at = self.status, time.monotonic()
        return self.status

    def wake(self) -> None:
        """There may be something new for this reader."""
        self._seen = -1
        if self._look is not None:
            self._look()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Who asks

    async def take(self) -> list[Chunk]:
        """The next chunks, about `READ_BYTES` at most, and moves past them; empty where there are none yet.

        The first may begin before the position. Raises StoreError, and has not moved then.
        """
        self._seen = self._tail.changes  # before looking: what comes while we look must not be missed
        found = self._tail.recent.after(self.position)
        if found is None:
            found = await self._tail.read_past(self.position)
        elif not found and self._tail.stale:
            await self._tail.refresh()
            found = self._tail.recent.after(self.position) or []
        chunks = first_of(found)
        if chunks:
            self._move(chunks[-1].last_seq, final=chunks[-1].final)
        return chunks

    def _move(self, last_seq: int, *, final: bool) -> None:
        self.position = last_seq
        self.ended = final
        self.status = self.told = None  # the events say more

    async def news(self, timeout_s: float) -> None:
        """Wait for a wake-up, `timeout_s` seconds at most; it may come without anything new. Not once closed."""
        if self._seen != self._tail.changes or self.closed:
            return
        loop = asyncio.get_running_loop()
        self._ring_by(loop, loop.time() + timeout_s)
        self._waiter = loop.create_future()
        self._tail.await_news(self)
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._tail.stop_waiting(self)

    def _ring_by(self, loop: asyncio.AbstractEventLoop, time_s: float) -> None:
        # A timer that rings too early is kept: on a busy stream each wait would else set and cancel one.
        if self._timer is not None and self._timer.when() <= time_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(time_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._tail.stale = True  # quiet for long: should a wake-up have been lost, the store knows
        self.wake()

    # Who follows

    def follow(self, look: Look, interval_s: float) -> None:
        """Call `look` when there may be something new: for what was written at most every `interval_s`.

        It is not called for what is there by now. Called again, it changes the pace.
        """
        if self._look is not None:
            self._tail.unfollow(self._look, self._following)
        self._look, self._following = look, interval_s
        self._tail.follow(look, interval_s)

    def frames(self, merge: Merge) -> Frames | None:
        """The next frames that memory has, and moves past them; None where only the store can say (`take`)."""
        found = self._tail.recent.frames(self.position, merge)
        if found is not None and found.last_seq:
            self._move(found.last_seq, final=found.final)
        return found

    def doubt(self, after_s: float) -> None:
        """It has been quiet: have the store looked into, should a wake-up have been lost.

        Once in `after_s` for all who follow the stream.
        """
        self._tail.doubt(after_s)
