"""One tail for each stream that somebody reads, and subscribers as cursors into it.

A subscriber holds a position, never a queue: what it has not taken yet is in the tail's few recent chunks,
shared by all, or in the store. A wake-up only says "look again", so a lost one costs time and no event.
"""

import asyncio
import time
from collections import deque
from typing import Any, Self

from .errors import StoreError
from .models import Chunk, Stream
from .protocol.sse import epoch_of
from .storage.base import Store

__all__ = ["PIECE_BYTES", "TAIL_BYTES", "WARM_TAILS", "Hub", "Status", "Subscriber"]

TAIL_BYTES = 256 * 1024
"""Recent chunks a tail keeps for its subscribers: seconds of any model's output. Who is further behind reads
from the store, so the bound costs time only."""

WARM_TAILS = 1024
"""Streams that nobody reads whose last chunks are kept all the same, the latest ones: a reader mostly comes just
after a run was submitted, or back after a broken connection, and then costs the store nothing."""

WARM_BYTES = 16 * 1024
"""What is kept of each at most: 16 MiB with `WARM_TAILS`."""

PIECE_BYTES = 128 * 1024
"""Most a subscriber is handed at once (one chunk at least). A stalled reader holds it about four times, in chunks,
frames and the connection's buffer: half of the 1 MB that it may cost."""


Status = dict[str, Any]
"""Where a run stands: `{state, position, eta_s}`, and more."""


class _Tail:
    """The recent chunks of one stream, without a gap: the events `begin + 1 … end`."""

    __slots__ = (
        "begin", "chunks", "end", "epoch", "refresh", "size_bytes", "stale", "status", "stream", "subscribers",
        "written_at",
    )  # fmt: skip

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.chunks: deque[Chunk] = deque()
        self.begin: int | None = None  # nothing is known before the first look into the store
        self.end = 0
        self.epoch: str | None = None
        self.status: tuple[float, Status] | None = None  # of a run that was submitted here, and when
        self.size_bytes = 0
        self.stale = False  # another process may have written past `end`
        self.refresh: asyncio.Task[None] | None = None
        self.written_at = float("-inf")
        self.subscribers: set[Subscriber] = set()

    def anchor(self, seq: int) -> None:
        """The store held nothing past `seq`: from here on the tail is complete."""
        if self.begin is None:
            self.begin = self.end = seq

    def push(self, chunk: Chunk) -> None:
        """Take what was stored next; the oldest chunks go where the bound is reached."""
        if self.begin is not None and chunk.last_seq <= self.end:
            return  # heard of and read
        if self.begin is None or chunk.first_seq != self.end + 1:
            self.chunks.clear()
            self.size_bytes = 0
            self.begin = chunk.first_seq - 1
        self.chunks.append(chunk)
        self.written_at = time.monotonic()
        self.end = chunk.last_seq
        self.size_bytes += len(chunk.data)
        self.trim()

    def trim(self) -> None:
        """Let the oldest chunks go; for subscribers the newest one stays, whatever its size."""
        most, least = (TAIL_BYTES, 1) if self.subscribers else (WARM_BYTES, 0)
        while self.size_bytes > most and len(self.chunks) > least:
            oldest = self.chunks.popleft()
            self.begin = oldest.last_seq
            self.size_bytes -= len(oldest.data)

    def after(self, seq: int) -> list[Chunk] | None:
        """Chunks past `seq`; None where only the store can say."""
        if self.begin is None or seq < self.begin:
            return None
        found: list[Chunk] = []
        for chunk in reversed(self.chunks):  # a live reader is at the end, a step from what is new
            if chunk.last_seq <= seq:
                break
            found.append(chunk)
        found.reverse()
        return found

    def wake(self) -> None:
        for subscriber in self.subscribers:
            subscriber.wake()


class Hub:
    """Hands out subscribers of one store's streams. Made on the event loop that serves them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tails: dict[str, _Tail] = {}
        self.lately: set[str] | None = None
        """Streams that somebody has come to read since this was last emptied; None where nobody looks."""
        self._warm: dict[str, None] = {}  # streams of tails without subscribers, oldest first
        self.draining = False
        self._stop_listening = store.listen(self._heard)

    @property
    def subscribers(self) -> int:
        """Readers connected now."""
        return sum(len(tail.subscribers) for tail in self._tails.values())

    def subscribe(self, stream: str, after: int = 0) -> "Subscriber":
        """A reader that has everything up to `after`. Use it in a `with` block, or close it."""
        tail = self._tails.setdefault(stream, _Tail(stream))
        self._warm.pop(stream, None)
        if self.lately is not None:
            self.lately.add(stream)
        subscriber = Subscriber(self, tail, after)
        tail.subscribers.add(subscriber)
        return subscriber

    def leave(self, subscriber: "Subscriber", tail: _Tail) -> None:
        """A reader has gone; with the last one of an ended stream its tail goes too."""
        tail.subscribers.discard(subscriber)
        # A second farewell must not take the tail of those who came since.
        if tail.subscribers or self._tails.get(tail.stream) is not tail:
            return
        if tail.chunks and not tail.chunks[-1].final:
            self._keep_warm(tail)
        else:
            del self._tails[tail.stream]

    def known(self, stream: str) -> Stream | None:
        """The stream as this process has written it, without asking the store; None where that is not known."""
        tail = self._tails.get(stream)
        if tail is None or tail.stale:
            return None
        if tail.chunks:
            last = tail.chunks[-1]
            return Stream(stream, epoch_of(last), last.last_seq, last.final)
        return None if tail.epoch is None or tail.end else Stream(stream, tail.epoch, 0, ended=False)

    def expect(self, stream: Stream) -> None:
        """A stream that this process is about to make: whoever comes to read it costs the store nothing."""
        tail = _Tail(stream.name)
        tail.epoch = stream.epoch
        tail.anchor(0)
        self._keep_warm(tail)

    @property
    def read(self) -> set[str]:
        """Streams that have readers here."""
        return {name for name, tail in self._tails.items() if tail.subscribers}

    def silent(self, for_s: float) -> list[str]:
        """Streams with readers to which nothing was written for so long."""
        since = time.monotonic() - for_s
        return [name for name, tail in self._tails.items() if tail.subscribers and tail.written_at <= since]

    def told(self, stream: str) -> set[str]:
        """The states that readers of a run were last told, as far as nothing was written since."""
        tail = self._tails.get(stream)
        statuses = [one.status for one in tail.subscribers] if tail is not None else []
        return {status["state"] for status in statuses if status is not None}

    def tell(self, stream: str, status: Status, *, after_s: float = 0.0) -> None:
        """Let the readers of a run know where it stands; not those who were told something within `after_s`."""
        tail, since = self._tails.get(stream), time.monotonic() - after_s
        for subscriber in () if tail is None else tail.subscribers:
            if subscriber.told_at <= since:
                subscriber.status = status
                subscriber.wake()

    def note(self, stream: str, status: Status) -> None:
        """Where a run stands that was just submitted here: what its first reader is told first."""
        tail = self._tails.get(stream)
        if tail is not None:
            tail.status = time.monotonic(), status

    def noted(self, stream: str) -> Status | None:
        """What was noted, while it is fresh."""
        tail = self._tails.get(stream)
        if tail is None or tail.status is None or time.monotonic() - tail.status[0] > FRESH_S:
            return None
        return tail.status[1]

    def forget(self, stream: str) -> None:
        """It was not made."""
        if self._warm.pop(stream, "") is None:
            del self._tails[stream]

    def _keep_warm(self, tail: _Tail) -> None:
        tail.trim()
        self._tails[tail.stream] = tail
        self._warm[tail.stream] = None
        if len(self._warm) > WARM_TAILS:
            oldest = next(iter(self._warm))
            del self._warm[oldest]
            self._tails.pop(oldest, None)

    def drain(self) -> None:
        """Tell every reader that the server is leaving."""
        self.draining = True
        for tail in self._tails.values():
            tail.wake()

    def close(self) -> None:
        """Hear no more of the store."""
        self._stop_listening()

    async def read_past(self, tail: _Tail, seq: int) -> list[Chunk]:
        """What the store holds past `seq`, for a reader that memory can't serve. Raises StoreError."""
        found = await self._store.read(tail.stream, seq, PIECE_BYTES)
        if not found:
            tail.anchor(seq)
        return found

    async def refresh(self, tail: _Tail) -> None:
        """Take in what another process may have appended. Raises StoreError."""
        # One read for all subscribers of the tail, however many were woken.
        if tail.refresh is None:
            tail.refresh = asyncio.create_task(self._read_on(tail))
            tail.refresh.add_done_callback(lambda _: setattr(tail, "refresh", None))
        await asyncio.shield(tail.refresh)

    async def _read_on(self, tail: _Tail) -> None:
        tail.stale = False  # before reading: what is written meanwhile makes it stale again
        try:
            found = await self._store.read(tail.stream, tail.end, PIECE_BYTES)
        except StoreError:
            tail.stale = True  # nobody has looked yet
            raise
        for chunk in found:
            tail.push(chunk)
            tail.stale = True  # there may be more than one piece

    def _heard(self, stream: str | None, chunk: Chunk | None) -> None:
        if stream is None:
            return  # runs have changed; what was appended is told stream by stream
        tail = self._tails.get(stream)
        if chunk is None:
            if tail is not None:
                tail.stale = True
                tail.wake()
            return
        if tail is None:
            if chunk.first_seq > 1:
                return  # only a beginning is worth keeping before anybody asks
            self._keep_warm(tail := _Tail(stream))
        tail.push(chunk)
        tail.wake()


FRESH_S = 1.0
"""How long what was noted of a run's standing is told to new readers: as long as they wait for the next look."""


class Subscriber:
    """One reader's place in one stream."""

    __slots__ = (
        "_hub",
        "_news",
        "_tail",
        "_timer",
        "_waiter",
        "closed",
        "ended",
        "position",
        "status",
        "told",
        "told_at",
    )

    def __init__(self, hub: Hub, tail: _Tail, after: int) -> None:
        self.position = after
        self.ended = False
        self.closed = False
        self.status: Status | None = None
        self.told: Status | None = None
        self.told_at = float("-inf")
        self._hub = hub
        self._tail = tail
        self._news = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave; whoever waits in `news` goes on. May be called twice."""
        if self.closed:
            return
        self.closed = True
        self._hub.leave(self, self._tail)
        if self._timer is not None:
            self._timer.cancel()
        self.wake()

    def wake(self) -> None:
        """There may be something new."""
        self._news = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def begin(self, after: int, tail: int) -> None:
        """Stand at `after`; the store, asked since this reader subscribed, had events up to `tail`.

        So a reader at the tail need not ask again: what was appended since was heard.
        """
        self.position = after
        if after == tail:
            self._tail.anchor(after)

    @property
    def draining(self) -> bool:
        """The server is leaving."""
        return self._hub.draining

    def untold(self) -> Status | None:
        """The run's status, where it has changed since it was last asked for."""
        if self.status == self.told:
            return None
        self.told, self.told_at = self.status, time.monotonic()
        return self.status

    async def take(self) -> list[Chunk]:
        """The next chunks, about `PIECE_BYTES` at most, and moves past them; empty where there are none yet.

        The first may begin before the position. Raises StoreError, and has not moved then.
        """
        self._news = False  # before looking: what comes while we look must not be missed
        found = self._tail.after(self.position)
        if found is None:
            found = await self._hub.read_past(self._tail, self.position)
        elif not found and self._tail.stale:
            await self._hub.refresh(self._tail)
            found = self._tail.after(self.position) or []
        chunks = _first(found)
        if chunks:
            self.position = chunks[-1].last_seq
            self.ended = chunks[-1].final
            self.status = self.told = None  # the events say more
        return chunks

    async def news(self, timeout_s: float) -> None:
        """Wait for a wake-up, `timeout_s` seconds at most; it may come without anything new. Not once closed."""
        if self._news or self.closed:
            return
        loop = asyncio.get_running_loop()
        self._ring_by(loop, loop.time() + timeout_s)
        self._waiter = loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

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


def _first(chunks: list[Chunk]) -> list[Chunk]:
    room = PIECE_BYTES
    for index, chunk in enumerate(chunks):
        room -= len(chunk.data)
        if room < 0 and index:
            return chunks[:index]
    return chunks
