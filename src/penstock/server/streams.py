"""Reading a run's events: server-sent events, and long-poll for networks where nothing else gets through."""

import contextlib
import math
import time
from typing import NamedTuple, Self

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import events as ev
from ..errors import BadRequest, UnknownRun
from ..hub import Merge, Subscriber, make_frames
from ..models import Chunk, Cursor, Stream
from ..protocol import sse
from ..protocol.cursor import Start, parse_cursor, start_reading
from .context import Context, context_of
from .delivery import Delivery
from .outlet import TAKE_OVER, Outlet, SendOutlet, Watch

__all__ = ["Events"]

DEFAULT_RATE = 20.0
"""Updates a second to one reader: as many as a person sees as motion in text."""

LEAST_RATE, MOST_RATE = 1.0, 60.0
"""Updates a second that may be asked for, beside 0: in longer pauses a reader would seem dead to proxies and hold
up a server that leaves; a screen draws no more."""

HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


class Events:
    """GET /api/runs/{run_id}/events. An ASGI application of its own: nothing wraps what it sends."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        context = context_of(request)
        asked = _Asked.of(request)
        run_id: str = request.path_params["run_id"]
        with contextlib.ExitStack() as leaving:
            # Subscribed before the look into the store: what is appended after the look is heard.
            subscriber = leaving.enter_context(context.hub.subscribe(run_id))
            stream = await _look(context, run_id, asked.cursor)
            if stream is None:
                raise UnknownRun(
                    f"There is no run {run_id!r}.", hint="It may be of another store, or long gone."
                )
            start = start_reading(asked.cursor, stream)
            subscriber.begin(start.after, stream.tail)
            subscriber.ended = stream.ended and start.after == stream.tail
            response = await _response(context, asked, stream, start, subscriber, receive)
            if isinstance(response, EventStream):
                leaving.pop_all()  # the response may go on after this: it closes the subscriber
            await response(scope, receive, send)


async def _look(context: Context, run_id: str, cursor: Cursor | None) -> Stream | None:
    known = context.hub.known(run_id)
    # A reader of another process may be ahead of what has come round to us.
    if known is not None and (cursor is None or cursor.seq <= known.tail):
        return known
    return await context.store.stream(run_id)


class _Asked(NamedTuple):
    """What a reader asks for. `poll_s` is None for server-sent events."""

    cursor: Cursor | None
    rate: float
    poll_s: float | None

    @classmethod
    def of(cls, request: Request) -> Self:
        polls = "poll" in request.query_params
        return cls(
            _cursor(request), _rate(request), _number(request, "poll", 0, 0, math.inf) if polls else None
        )


async def _response(
    context: Context, asked: _Asked, stream: Stream, start: Start, subscriber: Subscriber, receive: Receive
) -> ASGIApp:
    if asked.poll_s is not None:
        timeout_s = min(asked.poll_s, context.settings.long_poll_timeout_s)
        return await _poll(stream, start, subscriber, receive, timeout_s)
    if subscriber.ended:
        return Response(status_code=204)  # tells an EventSource that there is nothing to come back for
    subscriber.status = await context.standings.for_reader(stream)
    greeting = _reset_frame(start, stream.epoch) + _status_frame(subscriber)
    return EventStream(context, stream, subscriber, asked.rate, greeting)


def _cursor(request: Request) -> Cursor | None:
    # The header wins: an EventSource comes back with its first URL and the id of what it has seen since.
    text = request.headers.get("last-event-id") or request.query_params.get("after")
    return parse_cursor(text) if text else None


def _rate(request: Request) -> float:
    rate = _number(request, "rate", DEFAULT_RATE, 0.0, MOST_RATE)
    if 0 < rate < LEAST_RATE:
        raise BadRequest(
            f"rate={rate:g} is too slow.", hint=f"0, or {LEAST_RATE:g} to {MOST_RATE:g}.", field="rate"
        )
    return rate


def _number(request: Request, name: str, default: float, least: float, most: float) -> float:
    text = request.query_params.get(name)
    if text is None:
        return default
    with contextlib.suppress(ValueError):
        value = float(text)
        if least <= value <= most:
            return value
    raise BadRequest(
        f"{name}={text!r} can't be used.", hint=f"A number from {least:g} to {most:g}.", field=name
    )


def _reset(start: Start) -> list[ev.AnyEvent]:
    return [] if start.reset is None else [ev.Reset(0, start.reset, at_ms=time.time_ns() // 1_000_000)]


def _reset_frame(start: Start, epoch: str) -> bytes:
    return b"".join([sse.encode_event(event, epoch) for event in _reset(start)])


def _status_frame(subscriber: Subscriber) -> bytes:
    status = subscriber.untold()
    return b"" if status is None else sse.status("status", status)


_RAW_HEADERS = Response(headers=HEADERS, media_type="text/event-stream").raw_headers
_STREAM_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(name, value) for name, value in _RAW_HEADERS if name != b"content-length"],
}
_NO_BODY = {"type": "http.response.body", "body": b"", "more_body": False}


class EventStream:
    """One subscriber's server-sent events, until the end, the server's leaving or the reader's."""

    def __init__(
        self, context: Context, stream: Stream, subscriber: Subscriber, rate: float, greeting: bytes
    ) -> None:
        self._context = context
        self._stream = stream
        self._subscriber = subscriber
        self._rate = rate
        self._greeting = greeting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.ExitStack() as leaving:
            leaving.enter_context(self._subscriber)
            await send(_STREAM_START)
            if scope["method"] == "HEAD":
                await send(_NO_BODY)
                return
            take_over = scope.get("extensions", {}).get(TAKE_OVER)
            outlet = take_over(send) if take_over is not None else None
            if outlet is None:
                outlet = SendOutlet(send)
                self._begin(outlet)
                await outlet.run(receive)
            else:
                self._begin(outlet)
                leaving.pop_all()  # the delivery closes the subscriber

    def _begin(self, outlet: Outlet) -> None:
        delivery = Delivery(self._stream.name, self._subscriber, outlet, self._rate, self._context.pulse)
        delivery.begin(self._greeting)


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


async def _poll(
    stream: Stream, start: Start, subscriber: Subscriber, receive: Receive, timeout_s: float
) -> Response:
    """What is there, or what comes within `timeout_s`: `{events, cursor, done}`."""
    found = [ev.encode(event) for event in _reset(start)]
    with Watch(receive, subscriber.close) as watch:
        watch.begin()
        chunks = await _take_within(subscriber, 0.0 if found else timeout_s)
    if chunks:
        found += sse.json_in(make_frames(chunks, start.after, Merge.NONE).data)
    cursor = Cursor(stream.epoch, subscriber.position)
    body = b'{"events":[%b],"cursor":"%b","done":%b}' % (
        b",".join(found),
        str(cursor).encode(),
        b"true" if subscriber.ended else b"false",
    )
    return Response(body, headers=HEADERS, media_type="application/json")
