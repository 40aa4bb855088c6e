"""One stream in memory."""

from collections.abc import Iterator
from itertools import islice

from ...models import Chunk, Stream

__all__ = ["Log"]


class Log:
    """Chunks in order, and the fence of the lease that may write."""

    __slots__ = ("chunks", "ended", "epoch", "fence", "tail")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.fence = 0
        self.tail = 0
        self.ended = False
        self.chunks: list[Chunk] = []

    def take(self, fence: int, chunk: Chunk) -> bool:
        """Append a chunk, or refuse it. An empty one changes nothing."""
        if self.ended or fence != self.fence or chunk.first_seq != self.tail + 1:
            return False
        if not chunk.empty:
            self.chunks.append(chunk)
            self.tail, self.ended = chunk.last_seq, chunk.final
        return True

    def after(self, seq: int) -> Iterator[Chunk]:
        """Chunks with events past `seq`."""
        return islice(self.chunks, self._index_after(seq), None)

    def _index_after(self, seq: int) -> int:
        low, high = 0, len(self.chunks)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.chunks[middle].last_seq <= seq else (low, middle)
        return low

    def stream(self, name: str) -> Stream:
        """As it stands."""
        return Stream(name, self.epoch, self.tail, self.ended)
