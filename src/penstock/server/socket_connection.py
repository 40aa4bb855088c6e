"""The connection of a WebSocket under our own server, to which messages go straight.

It is loaded with the first handshake, as the library that it needs costs every start 15 ms.
"""

import asyncio
from typing import Any, cast

from starlette.types import Receive, Send
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ..hub import Frames
from ..protocol.websocket import COME_BACK, ENDED, Close
from .outlet import GONE, TAKE_OVER, Hear, Told, nobody
from .sockets import drop
from .transport import HEAD_TIMEOUT_S
from .websocket import close_message

__all__ = ["DirectMessageOutlet", "SocketConnection"]

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

CLOSING = "penstock.closing"
"""What the application hears when the delivery has come to its end; the server never sends it."""


class DirectMessageOutlet:
    """A WebSocket whose messages go straight to the connection; the application only hears the reader.

    They are not compressed, so that the same bytes go to all: a frame says for itself whether it is.
    """

    __slots__ = ("_close", "_connection", "_pass_on", "_written_bytes", "on_gone", "on_room")

    def __init__(self, connection: "SocketConnection") -> None:
        self.on_room: Told = nobody
        self.on_gone: Told = nobody
        self._connection = connection
        transport: Any = connection.transport
        self._written_bytes = 0
        self._pass_on = getattr(transport, "write_now", transport.write)
        self._close: Close | None = None

    @property
    def full(self) -> bool:
        return not self._connection.writable.is_set()

    @property
    def buffered_bytes(self) -> int:
        return 0 if self._connection.disconnected else self._connection.transport.get_write_buffer_size()

    @property
    def taken_bytes(self) -> int:
        return self._written_bytes - self.buffered_bytes

    def write(self, frames: Frames) -> None:
        if not self._connection.transport.is_closing():
            self._written_bytes += len(frames.framed)
            self._pass_on(frames.framed)

    def end(self, last: Frames) -> None:
        self.write(last)
        self._close_as(ENDED if last.final else COME_BACK)

    def refuse(self, why: Close) -> None:
        if self._close is None:
            self.on_gone()
            self._close_as(why)

    def _close_as(self, why: Close) -> None:
        self._close = why
        self._connection.queue.put_nowait(cast("Any", {"type": CLOSING}))

    def cut(self) -> None:
        drop(self._connection.transport)

    async def converse(self, receive: Receive, hear: Hear) -> None:
        try:
            while (message := await receive())["type"] not in GONE:
                if self._close is not None:
                    await self._connection.send(cast("Any", close_message(self._close)))
                    return
                hear(message)
            if self.buffered_bytes:  # it takes nothing any more, and the server would wait for it
                self.cut()
        finally:
            self.on_gone()


class SocketConnection(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, from which one that was accepted may be taken over."""

    _outlet: DirectMessageOutlet | None = None
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A request for a WebSocket was read, and is handed over to be read again by other rules."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._check_handshake)

    def _check_handshake(self) -> None:
        # Its parser waits for what does not come, or has refused what came without a word.
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(BAD_REQUEST)
            self.transport.close()

    def handle_connect(self, event: Any) -> None:
        """The handshake is complete; the application's task has been made, and has not begun."""
        super().handle_connect(event)
        if not self.close_sent:
            cast("Any", self.scope["extensions"])[TAKE_OVER] = self._take_over

    def _take_over(self, send: Send) -> DirectMessageOutlet | None:
        # What a middleware has wrapped must go through it.
        if getattr(send, "__self__", None) is not self or self.disconnected or self.transport.is_closing():
            return None
        outlet = self._outlet = DirectMessageOutlet(self)
        return outlet

    async def send(self, message: Any) -> None:
        """Send an ASGI message."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # by a refusal; uvicorn would log that there was no answer

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        super().connection_lost(exc)
        self._outlet = None
        if self._timer is not None:
            self._timer.cancel()
        if self.handshake_initiated and hasattr(self, "scope"):
            cast("Any", self.scope["extensions"]).clear()  # which lead back here

    def resume_writing(self) -> None:
        """The client has taken most of what was written."""
        super().resume_writing()
        if self._outlet is not None:
            self._outlet.on_room()

    def handle_ping(self) -> None:
        """The client asks whether anybody is here. One that takes nothing gets no answers, which would pile up."""
        output = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(output)

    def keepalive_timeout(self) -> None:
        """A ping was not answered in time. It may wait behind what the reader takes slowly."""
        if self._outlet is not None and self.transport.get_write_buffer_size():
            self.pong_timer = None
            self.schedule_ping()  # whether it takes anything is looked after by the delivery
        else:
            super().keepalive_timeout()
