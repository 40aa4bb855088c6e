"""The connection under our own server, which lets a response be taken over from uvicorn.

Then nothing stands between its frames and the socket: no task, no ASGI message and no wake-up for each update.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from ..hub import Frames
from .cork import CORK_BYTES, Corked
from .outlet import HIGH_WATER_BYTES, TAKE_OVER, nobody
from .sockets import drop, limit_unsent
from .transport import MAX_HEAD_BYTES, BoundedHead, is_of

__all__ = ["Connection", "DirectOutlet", "socket_connection"]

LAST_CHUNK = b"0\r\n\r\n"


class DirectOutlet:
    """A response whose frames go straight to the connection; the application has returned."""

    __slots__ = (
        "_connection", "_is_chunked", "_keeps_alive", "_transport", "_written_bytes", "on_gone", "on_room",
    )  # fmt: skip

    def __init__(self, connection: "Connection", transport: Corked, cycle: RequestResponseCycle) -> None:
        self.on_room: Callable[[], None] = nobody
        self.on_gone: Callable[[], None] = nobody
        self._connection = connection
        self._transport = transport
        self._is_chunked = bool(cycle.chunked_encoding)
        self._keeps_alive = cycle.keep_alive
        self._written_bytes = 0

    @property
    def full(self) -> bool:
        return self._connection.flow.write_paused

    @property
    def buffered_bytes(self) -> int:
        if self._connection.is_lost:
            return 0
        size: int = self._transport.get_write_buffer_size()
        return size

    @property
    def taken_bytes(self) -> int:
        return self._written_bytes - self.buffered_bytes

    def write(self, frames: Frames) -> None:
        if frames.size_bytes > CORK_BYTES:
            pieces = frames.chunk_parts if self._is_chunked else frames.parts
            self._written_bytes += sum(map(len, pieces))
            self._transport.writelines_now(pieces)
        else:
            data = frames.chunked if self._is_chunked else frames.data
            self._written_bytes += len(data)
            self._transport.write_now(data)

    def end(self, last: Frames) -> None:
        data = self._framed(last)
        self._pass_on(data + LAST_CHUNK if self._is_chunked else data)
        self._connection.response_ended(keeps_alive=self._keeps_alive)

    def _framed(self, frames: Frames) -> bytes:
        return frames.chunked if self._is_chunked else frames.data

    def _pass_on(self, data: bytes) -> None:
        self._written_bytes += len(data)
        self._transport.write_now(data)

    def cut(self) -> None:
        drop(self._transport)

    def leave(self) -> None:
        """The connection ends with this response."""
        self._keeps_alive = False


class Connection(BoundedHead):
    """One client's connection. What it asks for while a response is taken over waits until that has ended."""

    is_lost = False
    _outlet: DirectOutlet | None = None
    _early: bytearray | None = None  # most connections never have any

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        transport.set_write_buffer_limits(HIGH_WATER_BYTES)
        limit_unsent(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self.is_lost = True
        super().connection_lost(exc)
        if hasattr(self, "scope"):
            self.scope.pop("extensions", None)  # which lead back here
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            outlet.on_gone()

    def on_headers_complete(self) -> None:
        """A request's head is complete."""
        super().on_headers_complete()
        if self.scope["method"] == "GET" and is_of(self.cycle, self.scope):
            extensions: Any = {TAKE_OVER: self._take_over}  # uvicorn's type knows no others
            self.scope["extensions"] = extensions

    def _take_over(self, send: Callable[..., object]) -> DirectOutlet | None:
        # What a middleware has wrapped must go through it.
        cycle = getattr(send, "__self__", None)
        if not isinstance(cycle, RequestResponseCycle) or cycle.transport is not self.transport:
            return None
        if cycle.disconnected or not cycle.response_started or self.transport.is_closing():
            return None
        if self._in_body:  # it has to be read to its end
            return None
        cycle.response_complete = True  # so that uvicorn lets the application return
        cast("Any", cycle.scope).pop("extensions", None)  # thousands may stay for long
        self._outlet = DirectOutlet(self, cast("Corked", self.transport), cycle)
        return self._outlet

    # While a response is taken over

    @property
    def is_answering(self) -> bool:
        """Whether a response is under way."""
        return self._outlet is not None or super().is_answering

    def resume_writing(self) -> None:
        """The client has taken most of what was written."""
        super().resume_writing()
        if self._outlet is not None:
            self._outlet.on_room()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._outlet is None:
            super().data_received(data)
            return
        self._early = self._early or bytearray()
        self._early += data
        if len(self._early) > MAX_HEAD_BYTES:
            self.flow.pause_reading()

    def response_ended(self, *, keeps_alive: bool) -> None:
        """What was taken over has come to its end."""
        self._outlet = None
        if not keeps_alive:
            self.transport.close()
        self.on_response_complete()  # the next request's turn, or the wait for one
        early, self._early = self._early, None
        if early and not self.transport.is_closing():
            self.data_received(bytes(early))

    def shutdown(self) -> None:
        """The server is about to end."""
        if self._outlet is None:
            super().shutdown()
        elif self.pipeline:
            self.cycle.keep_alive = False  # that of the last request in line, which is answered yet
        elif not self._early:
            self._outlet.leave()


def socket_connection(**given: Any) -> asyncio.Protocol:
    """The connection of a WebSocket; for uvicorn's setting `ws`. The library is loaded with the first one."""
    from .socket_connection import SocketConnection

    return SocketConnection(**given)
