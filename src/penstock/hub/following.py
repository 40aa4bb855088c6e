"""A run read as events, in this process: for faces, and for programs that Penstock is a part of."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import NamedTuple, TypeVar

from .. import events as ev
from ..errors import ProtocolError, StoreError, UnknownRun
from ..events import AnyEvent, Folded
from ..models import Chunk, Cursor, Stream
from ..protocol import sse
from ..protocol.coalesce import coalesce
from ..protocol.cursor import start_reading
from ..protocol.pieces import Begun, Pieces
from ..storage.base import Store
from .folds import Folds
from .frames import Frames
from .hub import Hub
from .subscriber import Subscriber
from .tail import LOOK_AGAIN_S, Status

__all__ = ["First", "News", "follow"]

T = TypeVar("T")
log = logging.getLogger("penstock")

DOUBT_S = 15.0
"""After so long a silence the store is looked into, should a wake-up have been lost; as often as a heartbeat."""

First = Callable[[Stream], Awaitable[Status | None]]
"""Where a run stands that somebody begins to read."""


class News(NamedTuple):
    """What a reader is told next.

    events: in order, each once; with the `end` it is over. A `fold` stands for all before it; a `reset` with seq 0
        says that the cursor could not be used.
    cursor: where the reader stands once it has taken them.
    status: where the run stands, where that is news: `{state, position, eta_s}`, and `cancel`.
    leaving: the server is shutting down, and this is the last: read on from `cursor`, from the next one.
    """

    events: list[AnyEvent | Folded]
    cursor: Cursor
    status: Status | None = None
    leaving: bool = False


async def follow(
    hub: Hub,
    store: Store,
    run_id: str,
    after: int | Cursor = 0,
    *,
    folds: Folds | None = None,
    first: First | None = None,
    merge: bool = False,
) -> AsyncGenerator[News, None]:
    """Read a run until its end, the server's leaving or the reader's: close it with `contextlib.aclosing`.

    Nothing is read ahead: who takes the next news late holds one piece, about `hub.READ_BYTES` of the log (an
    event that was stored in pieces is whole here). While the store can't answer the reader waits.

    Args:
        after: Everything up to this seq, or cursor, is known.
        folds: To begin with the state instead of all events that led to it; not with a cursor, nor where the
            state is over `hub.FOLD_BYTES`.
        first: Asked for the status with which to begin.
        merge: Neighbours that came at once are made one event where they merge, without loss.

    Raises:
        UnknownRun: With the first news.
        ProtocolError: The log has what no version of this could have written.
    """
    with hub.subscribe(run_id) as subscriber:
        following = _Following(hub, subscriber, merge=merge)
        try:
            yield await following.begin(store, run_id, after, folds, first)
            while not (subscriber.ended or subscriber.closed):
                news = await following.next()
                if news is not None:
                    yield news
                if following.left:
                    return
        except StoreError:  # of a server that is leaving
            yield News([], following.cursor, leaving=True)


class _Following:
    """One reader's place. left: it has been told that the server is leaving."""

    def __init__(self, hub: Hub, subscriber: Subscriber, *, merge: bool) -> None:
        self._hub = hub
        self._subscriber = subscriber
        self._merge = merge
        self._pieces = Pieces()
        self._read = 0  # up to here, with pieces of what is not whole yet
        self.cursor = Cursor("", 0)
        self.left = False

    async def begin(
        self, store: Store, run_id: str, after: int | Cursor, folds: Folds | None, first: First | None
    ) -> News:
        """Where it stands, and what it is told first."""
        stream = await self._patiently(lambda: _look(self._hub, store, run_id, after))
        folded = None
        if folds is not None and not after:
            folded = await self._patiently(lambda: folds.of(stream))
        events = self._begin_at(stream, after) if folded is None else self._begin_with(stream, folded)
        if first is not None and not self._subscriber.ended:
            self._subscriber.status = await self._patiently(lambda: first(stream))
        return News(events, self.cursor, self._subscriber.untold())

    def _begin_at(self, stream: Stream, after: int | Cursor) -> list[AnyEvent | Folded]:
        cursor = after if isinstance(after, Cursor) else Cursor(stream.epoch, after)
        start = start_reading(cursor, stream)
        self._subscriber.begin(start.after, stream.tail)
        self._subscriber.ended = stream.ended and start.after == stream.tail
        self._stand(stream.epoch, start.after)
        return [] if start.reset is None else [ev.Reset(0, start.reset, at_ms=time.time_ns() // 1_000_000)]

    def _begin_with(self, stream: Stream, folded: list[Frames]) -> list[AnyEvent | Folded]:
        rows = [row for frames in folded for row in sse.json_in(frames.data)]
        whole = [one for row in rows if (one := self._pieces.add(ev.decode_message(row))) is not None]
        last = folded[-1]
        self._subscriber.begin(last.last_seq, max(last.last_seq, stream.tail))
        self._subscriber.ended = last.final
        self._stand(stream.epoch, last.last_seq)
        return whole if last.last_seq else []

    def _stand(self, epoch: str, seq: int) -> None:
        self.cursor, self._read = Cursor(epoch, seq), seq

    async def next(self) -> News | None:
        """What there is, or after a wait perhaps nothing."""
        subscriber = self._subscriber
        leaving = subscriber.draining  # before the look: what was there then is still told
        chunks = await self._patiently(subscriber.take)
        events = self._whole(chunks)
        status = subscriber.untold()
        self.left = leaving and not subscriber.ended
        if events or status is not None or self.left:
            return News(events, self.cursor, status, self.left)
        # Pieces of a large event may be all that was read, and the rest is there already.
        if not chunks and not subscriber.ended and subscriber.position <= self._read:
            await subscriber.news(DOUBT_S)
        return None

    def _whole(self, chunks: Iterable[Chunk]) -> list[AnyEvent | Folded]:
        found: list[AnyEvent | Folded] = []
        try:
            for chunk in chunks:
                for event in sse.events_in(chunk.data):
                    if event.seq > self._read:
                        whole = self._pieces.add(event)
                        self._read = event.seq
                        found += [] if whole is None else [whole]
        except (
            Begun
        ) as begun:  # the reader's cursor stands in the middle of an event: from its beginning, once more
            self._go_back(begun.after)
        if found:
            self.cursor = Cursor(self.cursor.epoch, found[-1].seq)
        return _merged(found) if self._merge else found

    def _go_back(self, to: int) -> None:
        self._pieces.forget()
        self._read = self._subscriber.position = to
        self._subscriber.ended = False
        self._subscriber.wake()

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the store until it answers, or is about to be closed. Raises StoreError then."""
        while True:
            try:
                return await ask()
            except StoreError as error:
                if self._hub.closed or self._hub.draining:
                    raise
                log.warning("A reader waits for the store: %s", error.message)
            await asyncio.sleep(LOOK_AGAIN_S)


async def _look(hub: Hub, store: Store, run_id: str, after: int | Cursor) -> Stream:
    known = hub.known(run_id)
    # A reader of another process may be ahead of what has come round to us.
    if known is not None and (after.seq if isinstance(after, Cursor) else after) <= known.tail:
        return known
    stream = await store.stream(run_id)
    if stream is None:
        raise UnknownRun(f"There is no run {run_id!r}.", hint="It may be of another store, or long gone.")
    return stream


def _merged(found: list[AnyEvent | Folded]) -> list[AnyEvent | Folded]:
    try:
        return [*coalesce([event for event in found if not isinstance(event, Folded)])]
    except ProtocolError:  # a delta that is none: its reader shall see it, not we
        return found
