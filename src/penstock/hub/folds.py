"""Streams folded to their current state, for readers that come late: one event in place of all."""

import asyncio
import logging
from collections import OrderedDict

from .. import events as ev
from ..errors import ProtocolError
from ..models import Chunk, Stream
from ..protocol import sse
from ..protocol.coalesce import Fold
from ..protocol.pieces import Pieces
from ..storage.base import Store
from .frames import Frames
from .recent import READ_BYTES

__all__ = ["FOLD_BYTES", "KEPT_BYTES", "Folds"]

log = logging.getLogger("penstock")

FOLD_BYTES = 8 * 1024 * 1024
"""Largest state that is sent as one: a slow reader can't go on in the middle of more."""

KEPT_BYTES = 16 * 1024 * 1024
"""What is kept for the next readers, as it is sent; in memory it is a few times as much."""

KEPT_MOST = 1024
"""And how many: of small ones what surrounds them is larger than they are."""

MEASURE_BYTES = 1024 * 1024
"""Read before the state is measured for the first time; it is again whenever twice as much was read."""

NEAR = 32
"""Events by which a large state may be behind that of a run under way: its readers get those after it. To make one
of 8 MiB takes 30 ms, which every late reader of a run that never pauses would cost all others."""

LARGE_BYTES = 256 * 1024
"""A smaller state is made anew: that takes less than a millisecond."""


class Folds:
    """The states of streams, each made once and brought up to date for the next reader who asks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[str, _Folding] = OrderedDict()

    async def of(self, stream: Stream) -> list[Frames] | None:
        """The state as one event, in pieces where it is large; None for one of over `FOLD_BYTES`, which is read as
        it is stored.

        It is as late as the store was when this was called, or at most `NEAR` events earlier. Raises StoreError.
        """
        folding = self._kept.get(stream.name)
        if folding is None or folding.epoch != stream.epoch:
            folding = self._kept[stream.name] = _Folding(stream)
        self._kept.move_to_end(stream.name)
        async with folding.turn:  # who waits finds it nearly done
            if not folding.is_near(stream):
                await self._read_on(folding)
            frames = folding.frames()
        self._make_room()
        return frames

    async def _read_on(self, folding: "_Folding") -> None:
        try:
            await folding.read_on(self._store)
        except ProtocolError as error:  # its readers shall see that, each for itself
            log.warning("A stream can't be folded: %s", error.message)
            folding.give_up()

    def _make_room(self) -> None:
        size_bytes = sum(folding.size_bytes for folding in self._kept.values())
        while size_bytes > KEPT_BYTES or len(self._kept) > KEPT_MOST:
            size_bytes -= self._kept.popitem(last=False)[1].size_bytes


class _Folding:
    """One stream's state, as far as it was read."""

    def __init__(self, stream: Stream) -> None:
        self.turn = asyncio.Lock()
        self.epoch = stream.epoch
        self.size_bytes = 0
        self._name = stream.name
        self._fold = Fold()
        self._pieces = Pieces()
        self._seq = 0
        self._final = self._given_up = False
        self._made: list[Frames] | None = None

    def is_near(self, stream: Stream) -> bool:
        """Whether what was made will do, for a large state of a run under way."""
        if self._made is None or self.size_bytes < LARGE_BYTES:
            return False
        return not stream.ended and stream.tail - self._fold.seq <= NEAR

    async def read_on(self, store: Store) -> None:
        """Up to what the store has."""
        unmeasured_bytes = 0
        while not (self._final or self._given_up):
            chunks = await store.read(self._name, self._seq, READ_BYTES)
            if not chunks:
                break
            unmeasured_bytes += self._take(chunks)
            if unmeasured_bytes > max(MEASURE_BYTES, self.size_bytes):
                unmeasured_bytes = 0
                self.frames()
            await asyncio.sleep(0)  # a store in memory never waits

    def _take(self, chunks: list[Chunk]) -> int:
        for chunk in chunks:
            for event in sse.events_in(chunk.data):
                whole = self._pieces.add(event)
                if whole is not None and not isinstance(whole, ev.Folded):
                    self._fold.apply(whole)
        self._seq, self._final = chunks[-1].last_seq, chunks[-1].final
        self._made = None
        return sum(len(chunk.data) for chunk in chunks)

    def frames(self) -> list[Frames] | None:
        """What is sent; None where it is too large."""
        if self._made is None and not self._given_up:
            # An event that is not complete yet comes whole, after this.
            seq = self._fold.seq
            data = ev.encode(ev.Folded(self._fold.events, seq=seq))
            self.size_bytes = len(data)
            if self.size_bytes > FOLD_BYTES:
                self.give_up()
            else:
                *frames, last = sse.encode_fold(data, seq, self.epoch)
                self._made = [*map(Frames, frames), Frames(last, seq, 1, final=self._final)]
        return self._made

    def give_up(self) -> None:
        """It is noted, so that nobody tries again."""
        self._given_up, self._made = True, None
        self._fold, self._pieces, self.size_bytes = Fold(), Pieces(), 0
