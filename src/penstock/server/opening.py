"""Where a reader's stream begins, in whatever way it is then read."""

import time
from dataclasses import dataclass

from .. import events as ev
from ..errors import UnknownRun
from ..hub import Frames, Subscriber
from ..models import Cursor, Stream
from ..protocol.cursor import Start, start_reading
from .asked import Asked
from .context import Context

__all__ = ["Opening", "open_stream"]


@dataclass(frozen=True, slots=True)
class Opening:
    """A subscriber that stands where its reader is to go on.

    cursor: what its reader came with.
    folded: what it is sent first, piece by piece, in place of all before. `subscriber.ended`: nothing comes after.
    """

    stream: Stream
    start: Start
    subscriber: Subscriber
    folded: list[Frames] | None = None
    cursor: Cursor | None = None

    @property
    def has_nothing(self) -> bool:
        """Whether the reader has everything, and all of it has ended."""
        return self.subscriber.ended and self.folded is None

    @property
    def reset(self) -> list[ev.AnyEvent]:
        """The event that says that the cursor could not be used, where that is so."""
        reason = self.start.reset
        return [] if reason is None else [ev.Reset(0, reason, at_ms=time.time_ns() // 1_000_000)]


async def open_stream(context: Context, run_id: str, asked: Asked) -> Opening:
    """Subscribe to a run. Whoever calls closes the subscriber. Raises UnknownRun and StoreError."""
    # Before the look into the store: what is appended after the look is heard.
    subscriber = context.hub.subscribe(run_id)
    context.pulse.flow.reads += 1
    try:
        stream = await _look(context, run_id, asked.cursor)
        folded = await context.folds.of(stream) if asked.fold else None
    except BaseException:
        subscriber.close()
        raise
    if folded is not None:
        last = folded[-1]
        # It may be behind what was looked at.
        subscriber.begin(last.last_seq, max(last.last_seq, stream.tail))
        subscriber.ended = last.final
        return Opening(stream, Start(last.last_seq), subscriber, folded)
    start = start_reading(asked.cursor, stream)
    subscriber.begin(start.after, stream.tail)
    subscriber.ended = stream.ended and start.after == stream.tail
    return Opening(stream, start, subscriber, cursor=asked.cursor)


async def _look(context: Context, run_id: str, cursor: Cursor | None) -> Stream:
    known = context.hub.known(run_id)
    # A reader of another process may be ahead of what has come round to us.
    if known is not None and (cursor is None or cursor.seq <= known.tail):
        return known
    stream = await context.store.stream(run_id)
    if stream is None:
        raise UnknownRun(f"There is no run {run_id!r}.", hint="It may be of another store, or long gone.")
    return stream
