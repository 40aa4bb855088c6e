"""Long-poll: for networks where nothing else gets through."""

import time

from starlette.requests import Request

from .. import events as ev
from ..hub import Merge, Subscriber, make_frames
from ..meters import Flow
from ..models import Chunk, Cursor
from ..protocol import sse
from .opening import Opening
from .outlet import Watch

__all__ = ["poll"]


async def poll(opening: Opening, request: Request, timeout_s: float, rate: float, flow: Flow) -> bytes:
    """What is there, or what comes within `timeout_s`, as JSON: `{events, cursor, done}`.

    A long backlog comes in pieces, in one answer after the other. At a rate of 0 nothing is merged, else where it
    pays; there is no other pace than the reader's asking.
    Returns early, with nothing, when the reader or the server leaves. Raises StoreError.
    """
    subscriber = opening.subscriber
    subscriber.transport = "poll"
    found = [ev.encode(event) for event in opening.reset]
    for frames in opening.folded or ():
        found += sse.json_in(frames.data)
    with Watch(request.receive, subscriber.close) as watch:
        watch.begin()
        chunks = await _take_within(subscriber, 0.0 if found else timeout_s)
    frames = make_frames(chunks, opening.start.after, Merge.MANY if rate else Merge.NONE)
    found += sse.json_in(frames.data) if chunks else []
    cursor = Cursor(opening.stream.epoch, subscriber.position)
    body = b'{"events":[%b],"cursor":"%b","done":%b}' % (
        b",".join(found),
        str(cursor).encode(),
        b"true" if subscriber.ended else b"false",
    )
    flow.sent(frames.events, frames.count, len(body))
    return body


async def _take_within(subscriber: Subscriber, timeout_s: float) -> list[Chunk]:
    """The next chunks; none if the wait is over, or the stream, or the reader or the server leaves."""
    deadline = time.monotonic() + timeout_s
    while not (subscriber.ended or subscriber.closed):
        chunks = await subscriber.take()
        remaining_s = deadline - time.monotonic()
        if chunks or remaining_s <= 0 or subscriber.draining:
            return chunks
        await subscriber.news(remaining_s)
    return []
