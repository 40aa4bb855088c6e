"""Reading a run's events: server-sent events, and long-poll for networks where nothing else gets through."""

import asyncio
import contextlib
import logging
import math
import random
import time
from typing import NamedTuple, Self

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import events as ev
from ..errors import BadRequest, StoreError, UnknownRun
from ..hub import Subscriber
from ..models import Chunk, Cursor, Stream
from ..protocol import sse
from ..protocol.cursor import Start, parse_cursor, start_reading
from ..protocol.pacing import Pacer
from .context import Context, context_of

__all__ = ["Events"]

log = logging.getLogger("penstock")

DEFAULT_RATE = 20.0
"""Updates a second to one reader: as many as a person sees as motion in text."""

LEAST_RATE, MOST_RATE = 1.0, 60.0
"""Updates a second that may be asked for, beside 0: in longer pauses a reader would seem dead to proxies and hold
up a server that leaves; a screen draws no more."""

RATE_SLACK_S = 0.01
"""An update may come this much early: a run's own pace and its reader's would else beat against each other."""

WATCH_AFTER_S = 0.5
"""How long a stream goes on before anybody looks whether its reader is still there: a task for each reader of a
short run is a tenth of what the run costs (benchmarks), and its leaving is noticed soon enough."""

RECONNECT_MS = (500, 1500)
"""When a reader whose connection broke comes back; drawn at random, so that not all come at once."""

DRAIN_RECONNECT_MS = (1000, 4000)
"""The same at shutdown: the next server needs a moment, and everybody comes."""

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
        # Subscribed before the look into the store: what is appended after the look is heard.
        with context.hub.subscribe(run_id) as subscriber:
            stream = await _look(context, run_id, asked.cursor)
            if stream is None:
                raise UnknownRun(
                    f"There is no run {run_id!r}.", hint="It may be of another store, or long gone."
                )
            start = start_reading(asked.cursor, stream)
            subscriber.begin(start.after, stream.tail)
            subscriber.ended = stream.ended and start.after == stream.tail
            response = await _response(context, asked, stream, start, subscriber, receive)
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
    return EventStream(stream, subscriber, Pacer(asked.rate), context.settings.heartbeat_s, greeting)


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


def _frames(chunks: list[Chunk], epoch: str, after: int) -> bytes:
    first, *rest = chunks
    head = first.data if first.first_seq > after else sse.frames_after(first, epoch, after)
    return b"".join([head, *[chunk.data for chunk in rest]]) if rest else head


_RAW_HEADERS = Response(headers=HEADERS, media_type="text/event-stream").raw_headers
_STREAM_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(name, value) for name, value in _RAW_HEADERS if name != b"content-length"],
}


class EventStream:
    """One subscriber's server-sent events, until the end, the server's leaving or the reader's."""

    def __init__(
        self, stream: Stream, subscriber: Subscriber, pacer: Pacer, heartbeat_s: float, greeting: bytes
    ) -> None:
        self._stream = stream
        self._subscriber = subscriber
        self._pacer = pacer
        self._heartbeat_s = heartbeat_s
        self._greeting = greeting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(_STREAM_START)
        last = b""
        if scope["method"] != "HEAD":
            with _Watch(receive, self._subscriber) as watch:
                last = await self._deliver(self._subscriber, watch, send)
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _deliver(self, subscriber: Subscriber, watch: "_Watch", send: Send) -> bytes:
        """Send what comes; the last of it is left to be sent with the response's end."""
        retry = sse.retry(random.randint(*RECONNECT_MS))  # noqa: S311 - jitter
        await _write(send, sse.FIRST_BYTES + retry + self._greeting)
        quiet_since = time.monotonic()
        while not (subscriber.closed or subscriber.ended):
            await self._keep_rate()
            after, leaving = subscriber.position, subscriber.draining
            try:
                chunks = await subscriber.take()
            except StoreError as error:
                log.warning("A reader of %s is cut off: %s", self._stream.name, error.message)
                return b""  # it comes back with its cursor, and is answered 503 until the store can
            news = _frames(chunks, self._stream.epoch, after) if chunks else _status_frame(subscriber)
            if chunks and chunks[-1].final:
                return news
            if leaving:  # after one look: a run that never pauses would hold us here
                return news + sse.draining(random.randint(*DRAIN_RECONNECT_MS))  # noqa: S311 - jitter
            watch.begin()
            if news:
                await _write(send, news)
                quiet_since = time.monotonic()
                self._pacer.flushed(quiet_since)
            elif time.monotonic() - quiet_since >= self._heartbeat_s:
                await _write(send, sse.HEARTBEAT)
                quiet_since = time.monotonic()
            else:
                await subscriber.news(quiet_since + self._heartbeat_s - time.monotonic())
        return b""

    async def _keep_rate(self) -> None:
        now = time.monotonic()
        wait_s = self._pacer.due(now) - now
        if wait_s > RATE_SLACK_S:
            await asyncio.sleep(wait_s)


class _Watch:
    """Closes the subscriber when its reader has gone; from `WATCH_AFTER_S` on, and none where the end is near."""

    def __init__(self, receive: Receive, subscriber: Subscriber) -> None:
        self._receive = receive
        self._subscriber = subscriber
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._subscriber.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            self._task = None  # else it and the traceback of its cancellation hold each other


async def _write(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


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
    with _Watch(receive, subscriber) as watch:
        watch.begin()
        chunks = await _take_within(subscriber, 0.0 if found else timeout_s)
    if chunks:
        found += sse.json_in(_frames(chunks, stream.epoch, start.after))
    cursor = Cursor(stream.epoch, subscriber.position)
    body = b'{"events":[%b],"cursor":"%b","done":%b}' % (
        b",".join(found),
        str(cursor).encode(),
        b"true" if subscriber.ended else b"false",
    )
    return Response(body, headers=HEADERS, media_type="application/json")
