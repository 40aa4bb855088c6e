"""The recent chunks of one stream in memory, and what was made of them for those who stand at the same place."""

import math
from collections import deque

from ..models import Chunk
from .frames import Frames, Merge, make_frames

__all__ = ["READ_BYTES", "SHARED_BYTES", "Recent", "first_of"]

READ_BYTES = 256 * 1024
"""Most a subscriber is handed at once of what it reads from the store (one chunk at least). A stalled reader holds
it about twice, in chunks and in the kernel: half of the 1 MB that it may cost. In pieces of half the size a replay
takes a fifth longer."""

SHARED_BYTES = 512 * 1024
"""The same of what memory has. All hold the same bytes, unless each has stalled at a place of its own. A stream at
full speed goes to 1,000 readers in a third less time than in pieces of half the size."""

MADE_MOST = 24
"""Places whose frames are kept. Nearly all who read live stand at the same one. When a stream runs ahead of them,
they go through as many as memory holds pieces, about ten, and if these did not all fit each would make its own."""


class Recent:
    """Chunks without a gap: the events `begin + 1 … end`. begin: None before anything is known."""

    __slots__ = ("_came_at", "_latest", "_made", "begin", "chunks", "end", "size_bytes")

    def __init__(self) -> None:
        self.chunks: deque[Chunk] = deque()
        self._came_at: deque[float] = deque()
        self.begin: int | None = None
        self.end = 0
        self.size_bytes = 0
        self._latest: Frames | None = None  # of the last chunk, as it is stored
        self._made: dict[tuple[int, Merge], Frames] = {}

    def push(self, chunk: Chunk, now: float) -> bool:
        """Take what was stored next; after a gap only that. Whether it was new."""
        if self.begin is not None and chunk.last_seq <= self.end:
            return False
        if self.begin is None or chunk.first_seq != self.end + 1:
            self.chunks.clear()
            self._came_at.clear()
            self.size_bytes = 0
            self.begin = chunk.first_seq - 1
        self.chunks.append(chunk)
        self._came_at.append(now)
        self.end = chunk.last_seq
        self.size_bytes += len(chunk.data)
        self._latest = None
        if self._made:
            self._made.clear()
        return True

    def trim(self, most_bytes: int, least: int, hot_bytes: int = 0, hot_since: float = math.inf) -> None:
        """Let the oldest chunks go where there are over `most_bytes`; `least` of them stay in any case.

        Those that came since `hot_since` go only where there are over `hot_bytes`.
        """
        while self.size_bytes > most_bytes and len(self.chunks) > least:
            if self._came_at[0] >= hot_since and self.size_bytes <= hot_bytes:
                break
            oldest = self.chunks.popleft()
            self._came_at.popleft()
            self.begin = oldest.last_seq
            self.size_bytes -= len(oldest.data)

    def forget_made(self) -> None:
        """Nobody stands anywhere."""
        self._latest = None
        self._made.clear()

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
        if self.chunks and seq == (latest := self.chunks[-1]).first_seq - 1:  # who keeps up
            if self._latest is None:
                self._latest = make_frames([latest], seq, Merge.NONE)
            if self._latest.count == 1 or merge is Merge.NONE:
                return self._latest
        made = self._made.get((seq, merge))
        if made is None:
            chunks = self.after(seq)
            if chunks is None:
                return None
            made = make_frames(first_of(chunks, SHARED_BYTES), seq, merge)
            if len(self._made) >= MADE_MOST:
                del self._made[next(iter(self._made))]
            self._made[seq, merge] = made
        return made


def first_of(chunks: list[Chunk], room: int = READ_BYTES) -> list[Chunk]:
    """As many of them as are handed out at once."""
    for index, chunk in enumerate(chunks):
        room -= len(chunk.data)
        if room < 0 and index:
            return chunks[:index]
    return chunks
