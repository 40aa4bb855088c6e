"""Reading a run's events over a WebSocket."""

import contextlib
import logging
from typing import Protocol

from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from ..errors import BadRequest
from ..hub import Frames
from ..protocol.websocket import COME_BACK, ENDED, FAILED, Close, not_understood, rate_asked
from .asked import Asked, check_rate
from .context import Context, context_of
from .opening import Opening, open_stream
from .outlet import TAKE_OVER, Hear, Outlet, SendOutlet
from .streams import deliver

__all__ = [
    "CONNECT",
    "MAX_MESSAGE_BYTES",
    "MessageOutlet",
    "SocketOutlet",
    "WebSocketEvents",
    "close_message",
]

log = logging.getLogger("penstock")

CONNECT = "websocket.connect"

MAX_MESSAGE_BYTES = 4096
"""Most that a reader may send in one message, under our own server: it has a pace to ask for, and nothing else."""


class SocketOutlet(Outlet, Protocol):
    """A WebSocket that was accepted."""

    def refuse(self, why: Close) -> None:
        """End it: what the reader has sent can't be taken. `on_gone` is called."""
        ...

    async def converse(self, receive: Receive, hear: Hear) -> None:
        """Send what is written and hear the reader, until the end or the reader's leaving."""
        ...


def close_message(why: Close) -> Message:
    """The ASGI message that closes a WebSocket."""
    return {"type": "websocket.close", "code": why.code, "reason": why.reason}


class MessageOutlet(SendOutlet):
    """A WebSocket under any ASGI server."""

    def __init__(self, send: Send) -> None:
        super().__init__(send)
        self._close: Close | None = None

    def end(self, last: Frames) -> None:
        self._close = ENDED if last.final else COME_BACK
        super().end(last)

    def refuse(self, why: Close) -> None:
        if self._close is None:
            self._close = why
            self.on_gone()
            super().end(Frames(b""))

    async def converse(self, receive: Receive, hear: Hear) -> None:
        await self.run(receive, 0.0, hear)

    async def _pass_on(self, held: list[Frames], *, more: bool) -> None:
        for frames in held:
            for message in frames.messages:
                await self._send({"type": "websocket.send", "text": message.decode()})
                self._sending_bytes = max(0, self._sending_bytes - len(message))
        if self._close is not None and not more:
            await self._send(close_message(self._close))


class WebSocketEvents:
    """WS /api/runs/{run_id}/ws. What is raised before the handshake is answered is the server's to answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        context = context_of(connection)
        asked = Asked.of(connection)
        opening = await open_stream(context, connection.path_params["run_id"], asked)
        opening.subscriber.transport = "websocket"
        with opening.subscriber:
            opening.subscriber.status = await context.standings.for_reader(opening.stream)
            if (await receive())["type"] == CONNECT:
                await EventSocket(context, opening, asked.rate)(scope, receive, send)


class EventSocket:
    """One subscriber's messages, until the end, the server's leaving or the reader's."""

    def __init__(self, context: Context, opening: Opening, rate: float) -> None:
        self._context = context
        self._opening = opening
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "websocket.accept"})
            await self._serve(scope, receive, send)
        except OSError:  # what servers raise once the reader has gone
            pass
        except Exception:  # there is no HTTP answer any more
            log.exception("A reader of %s could not be served.", self._opening.stream.name)
            with contextlib.suppress(OSError):
                await send(close_message(FAILED))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._opening.has_nothing:  # it has everything
            await send(close_message(ENDED))
            return
        take_over = scope.get("extensions", {}).get(TAKE_OVER)
        outlet: SocketOutlet = (take_over(send) if take_over is not None else None) or MessageOutlet(send)
        delivery = deliver(self._context, self._opening, outlet, self._rate)

        def hear(message: Message) -> None:
            try:
                delivery.pace(check_rate(rate_asked(message.get("text"))))
            except BadRequest as error:
                outlet.refuse(not_understood(error))

        await outlet.converse(receive, hear)
