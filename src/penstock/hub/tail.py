"""The recent chunks of one stream, shared by all who read it."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from ..errors import StoreError
from ..models import Chunk
from ..storage.base import Store
from .beat import Beat, Look
from .frames import Frames, Merge, make_frames

__all__ = ["PIECE_BYTES", "TAIL_BYTES", "Status", "Tail", "first_piece"]

log = logging.getLogger("penstock")

TAIL_BYTES = 256 * 1024
"""Recent chunks a tail keeps for its subscribers: seconds of any model's output. Who is further behind reads
from the store, so the bound costs time only."""

WARM_BYTES = 16 * 1024
"""What is kept of a tail that nobody reads."""

PIECE_BYTES = 128 * 1024
"""Most a subscriber is handed at once (one chunk at least). A stalled reader holds it about four times, in chunks,
frames and the connection's buffer: half of the 1 MB that it may cost."""

LOOK_AGAIN_S = 0.5
"""How soon a look into the store that failed is repeated for those who follow."""

MADE_MOST = 8
"""Places in a tail whose frames are kept: nearly all who read live stand at the same one."""


Status = dict[str, Any]
"""Where a run stands: `{state, position, eta_s}`, and more."""


class Reader(Protocol):
    """Who reads a stream."""

    status: Status | None
    told_at: float

    def wake(self) -> None:
        """There may be something new."""
        ...


class Tail:
    """The recent chunks of one stream, without a gap: the events `begin + 1 … end`."""

    __slots__ = (
        "_beats", "_doubted_at", "_follower", "_made", "_on_empty", "_reading", "_store", "_waiting", "begin",
        "changes", "chunks", "draining", "end", "epoch", "size_bytes", "stale", "status", "stream",
        "subscribers", "written_at",
    )  # fmt: skip

    def __init__(self, stream: str, store: Store, on_empty: "Callable[[Tail], None]") -> None:
        self.stream = stream
        self._store = store
        self._on_empty = on_empty
        self.draining = False  # the server is leaving
        self.chunks: deque[Chunk] = deque()
        self.begin: int | None = None  # nothing is known before the first look into the store
        self.end = 0
        self.epoch: str | None = None
        self.status: tuple[float, Status] | None = None  # of a run that was submitted here, and when
        self.size_bytes = 0
        self.stale = False  # another process may have written past `end`
        self._doubted_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None
        self.written_at = float("-inf")
        self.changes = 0  # counted, so that who looks knows whether to look again
        self.subscribers: set[Reader] = set()
        self._waiting: set[Reader] = set()
        self._beats: dict[float, Beat] = {}
        self._made: dict[tuple[int, Merge], Frames] = {}

    def anchor(self, seq: int) -> None:
        """The store held nothing past `seq`: from here on the tail is complete."""
        if self.begin is None:
            self.begin = self.end = seq
            if self.stale:  # told while that was being read
                self.look_again()

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
        self._made.clear()
        self.trim()

    def trim(self) -> None:
        """Let the oldest chunks go; for subscribers the newest one stays, whatever its size."""
        most, least = (TAIL_BYTES, 1) if self.subscribers else (WARM_BYTES, 0)
        if not self.subscribers:
            self._made.clear()
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

    def frames(self, seq: int, merge: Merge) -> Frames | None:
        """A piece of what follows `seq`, made once for all who stand there; None where only the store can say."""
        made = self._made.get((seq, merge))
        if made is None:
            chunks = self.after(seq)
            if chunks is None:
                return None
            made = make_frames(first_piece(chunks), seq, merge)
            if len(self._made) >= MADE_MOST:
                self._made.clear()
            self._made[seq, merge] = made
        return made

    # The store

    async def read_past(self, seq: int) -> list[Chunk]:
        """What the store holds past `seq`, for a reader that memory can't serve. Raises StoreError."""
        found = await self._store.read(self.stream, seq, PIECE_BYTES)
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
            found = await self._store.read(self.stream, self.end, PIECE_BYTES)
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
        if self._beats and self.begin is not None and self._follower is None:
            self._follower = asyncio.create_task(self._follow_up())

    def doubt(self, after_s: float) -> None:
        """It has been quiet: look again, should a wake-up have been lost; once in `after_s` for all."""
        now = time.monotonic()
        if now - self._doubted_at >= after_s:
            self._doubted_at = now
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
        self._beats.setdefault(interval_s, Beat(interval_s)).members[look] = None
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


def first_piece(chunks: list[Chunk]) -> list[Chunk]:
    """As many of them as are handed out at once."""
    room = PIECE_BYTES
    for index, chunk in enumerate(chunks):
        room -= len(chunk.data)
        if room < 0 and index:
            return chunks[:index]
    return chunks
