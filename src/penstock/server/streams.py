"""Reading a run's events over HTTP: server-sent events, and long-poll."""

import contextlib

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..hub import Subscriber
from ..protocol import sse
from .asked import Asked
from .context import Context, context_of
from .delivery import Delivery
from .opening import Opening, open_stream
from .outlet import TAKE_OVER, Outlet, SendOutlet
from .polling import poll

__all__ = ["Events", "deliver"]

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
        asked = Asked.of(request)
        opening = await open_stream(context, request.path_params["run_id"], asked)
        with contextlib.ExitStack() as leaving:
            leaving.enter_context(opening.subscriber)
            response = await _response(context, asked, opening, request)
            if isinstance(response, EventStream):
                leaving.pop_all()  # it may go on after this, and closes the subscriber itself
            await response(scope, receive, send)


async def _response(context: Context, asked: Asked, opening: Opening, request: Request) -> ASGIApp:
    if asked.poll_s is not None:
        timeout_s = min(asked.poll_s, context.settings.long_poll_timeout_s)
        found = await poll(opening, request, timeout_s, asked.rate)
        return Response(found, 200, HEADERS, "application/json")
    if opening.subscriber.ended and opening.folded is None:
        return Response(status_code=204)  # tells an EventSource that there is nothing to come back for
    opening.subscriber.status = await context.standings.for_reader(opening.stream)
    return EventStream(context, opening, asked.rate)


_RAW_HEADERS = Response(headers=HEADERS, media_type="text/event-stream").raw_headers
_STREAM_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(name, value) for name, value in _RAW_HEADERS if name != b"content-length"],
}
_NO_BODY = {"type": "http.response.body", "body": b"", "more_body": False}


class EventStream:
    """One subscriber's server-sent events, until the end, the server's leaving or the reader's."""

    def __init__(self, context: Context, opening: Opening, rate: float) -> None:
        self._context = context
        self._opening = opening
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.ExitStack() as leaving:
            leaving.enter_context(self._opening.subscriber)
            await send(_STREAM_START)
            if scope["method"] == "HEAD":
                await send(_NO_BODY)
                return
            take_over = scope.get("extensions", {}).get(TAKE_OVER)
            outlet = take_over(send) if take_over is not None else None
            if outlet is None:
                outlet = SendOutlet(send)
                deliver(self._context, self._opening, outlet, self._rate)
                await outlet.run(receive)
            else:
                deliver(self._context, self._opening, outlet, self._rate)
                leaving.pop_all()  # the delivery closes the subscriber


def deliver(context: Context, opening: Opening, outlet: Outlet, rate: float) -> Delivery:
    """Begin to bring a subscriber its stream."""
    stream, subscriber = opening.stream, opening.subscriber
    delivery = Delivery(stream.name, subscriber, outlet, rate, context.pulse)
    reset = [sse.encode_event(event, stream.epoch) for event in opening.reset]
    folded = [] if opening.folded is None else [opening.folded.data]
    delivery.begin(b"".join([*reset, _status_frame(subscriber), *folded]))
    return delivery


def _status_frame(subscriber: Subscriber) -> bytes:
    status = subscriber.untold()
    return b"" if status is None else sse.status("status", status)
