"""Reading events over HTTP, of one run or several: server-sent events, and long-poll."""

import contextlib
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..hub import FOLD_BYTES, Subscriber
from ..protocol import sse
from .asked import Asked
from .bundle import Bundle
from .compressed import Coding, Compressed, coding_for, whole
from .context import Context, context_of
from .delivery import Delivery
from .opening import Opening, open_stream
from .outlet import TAKE_OVER, Outlet, SendOutlet
from .polling import poll

__all__ = ["Events", "EventsOfSeveral", "deliver"]

COMPRESS_FROM_BYTES = 1024
"""Shorter answers of a long-poll go as they are: they are one packet in any case."""

HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    "Vary": "Accept-Encoding",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


class Events:
    """GET /api/runs/{run_id}/events. An ASGI application of its own: nothing wraps what it sends."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        context = context_of(request)
        asked = Asked.of(request)
        opening = await open_stream(context, request.path_params["run_id"], asked)
        with contextlib.ExitStack() as leaving:
            leaving.enter_context(opening.subscriber)
            response = await _response(context, asked, opening, request)
            if isinstance(response, EventStream):
                leaving.pop_all()  # it may go on after this, and closes the subscriber itself
            await response(scope, receive, send)


class EventsOfSeveral:
    """GET /api/events?stream=…&stream=…: several runs over one connection, as server-sent events."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        context = context_of(request)
        with contextlib.ExitStack() as leaving:
            openings: list[Opening] = []
            wishes, folded_bytes = Asked.of_several(request), 0
            for name, asked in wishes.items():
                # All that is folded waits in memory for its turn: what is over the bound is read as it is stored.
                wish = asked._replace(fold=asked.fold and folded_bytes < FOLD_BYTES)
                openings.append(opening := await open_stream(context, name, wish))
                folded_bytes += sum(frames.size_bytes for frames in opening.folded or ())
                leaving.enter_context(opening.subscriber)
                opening.subscriber.status = await context.standings.for_reader(opening.stream)
            response: ASGIApp = Response(status_code=204)
            if not all(opening.has_nothing for opening in openings):
                rate = next(iter(wishes.values())).rate
                response = _stream_of_several(context, openings, rate, _coding(context, request))
                leaving.pop_all()
            await response(scope, receive, send)


def _stream_of_several(
    context: Context, openings: list[Opening], rate: float, coding: Coding | None
) -> "EventStream":
    def begin(outlet: Outlet) -> None:
        bundle = Bundle(outlet, openings)
        for opening, member in zip(openings, bundle.members, strict=True):
            deliver(context, opening, member, rate)

    return EventStream([opening.subscriber for opening in openings], begin, coding)


async def _response(context: Context, asked: Asked, opening: Opening, request: Request) -> ASGIApp:
    if asked.poll_s is not None:
        timeout_s = min(asked.poll_s, context.settings.long_poll_timeout_s)
        found = await poll(opening, request, timeout_s, asked.rate, context.pulse.flow)
        return _answer(found, _coding(context, request))
    if opening.has_nothing:
        return Response(status_code=204)  # tells an EventSource that there is nothing to come back for
    opening.subscriber.status = await context.standings.for_reader(opening.stream)
    return EventStream(
        [opening.subscriber],
        lambda outlet: deliver(context, opening, outlet, asked.rate),
        _coding(context, request),
    )


def _answer(body: bytes, coding: Coding | None) -> Response:
    if coding is None or len(body) < COMPRESS_FROM_BYTES:
        return Response(body, 200, HEADERS, "application/json")
    headers = HEADERS | {"Content-Encoding": coding.name}
    return Response(whole(body, coding), 200, headers, "application/json")


def _coding(context: Context, request: Request) -> Coding | None:
    if context.settings.compression == "off":
        return None
    return coding_for(request.headers.get("accept-encoding"))


_RAW_HEADERS = Response(headers=HEADERS, media_type="text/event-stream").raw_headers
_STREAM_HEADERS = [(name, value) for name, value in _RAW_HEADERS if name != b"content-length"]
_STREAM_START = {"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS}


def _start_in(coding: str) -> dict[str, object]:
    return _STREAM_START | {"headers": [*_STREAM_HEADERS, (b"content-encoding", coding.encode())]}


_NO_BODY = {"type": "http.response.body", "body": b"", "more_body": False}


class EventStream:
    """One reader's server-sent events, until the end, the server's leaving or the reader's.

    begin: has them delivered to an outlet, and the subscribers closed once they are.
    """

    def __init__(
        self, subscribers: Sequence[Subscriber], begin: Callable[[Outlet], object], coding: Coding | None
    ) -> None:
        self._subscribers = subscribers
        self._begin = begin
        self._coding = coding

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.ExitStack() as leaving:
            for subscriber in self._subscribers:
                leaving.enter_context(subscriber)
            await send(_STREAM_START if self._coding is None else _start_in(self._coding.name))
            if scope["method"] == "HEAD":
                await send(_NO_BODY)
                return
            take_over = scope.get("extensions", {}).get(TAKE_OVER)
            outlet = take_over(send) if take_over is not None else None
            if outlet is None:
                outlet = SendOutlet(send)
                self._begin_in(outlet)
                await outlet.run(receive)
            else:
                self._begin_in(outlet)
                leaving.pop_all()  # the deliveries close the subscribers

    def _begin_in(self, outlet: Outlet) -> None:
        self._begin(outlet if self._coding is None else Compressed(outlet, self._coding))


def deliver(context: Context, opening: Opening, outlet: Outlet, rate: float) -> Delivery:
    """Begin to bring a subscriber its stream."""
    stream, subscriber = opening.stream, opening.subscriber
    delivery = Delivery(stream.name, subscriber, outlet, rate, context.pulse)
    reset = [sse.encode_event(event, stream.epoch) for event in opening.reset]
    delivery.begin(b"".join([*reset, _status_frame(subscriber)]), opening.folded or ())
    return delivery


def _status_frame(subscriber: Subscriber) -> bytes:
    status = subscriber.untold()
    return b"" if status is None else sse.status("status", status)
