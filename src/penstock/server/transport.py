"""The connection under our own server: uvicorn's HTTP protocol, with bounds on what comes before a body, and
with what is written in one turn of the loop sent as one."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ..hub import Frames
from .outlet import HIGH_WATER_BYTES, TAKE_OVER, nobody

__all__ = ["CORK_BYTES", "HEAD_TIMEOUT_S", "MAX_HEAD_BYTES", "Connection", "Corked", "DirectOutlet"]

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers of one request, and one read beyond: nginx takes 32 KiB, uvicorn whatever comes."""

HEAD_TIMEOUT_S = 20.0
"""From a connection's, or a request's, first byte to the end of its headers: half requests hold a descriptor each,
and a browser that connects ahead of need does not mind to connect again."""

CORK_BYTES = 16 * 1024
"""Bytes of one turn that are gathered: heads and first frames, which are small. Beyond it a system call costs less
than the copy."""

LAST_CHUNK = b"0\r\n\r\n"

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Corked:
    """A transport that sends what is written in one turn of the loop at the turn's end.

    The head of a response then goes with the beginning of its body, in one system call and one packet.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._held_bytes = 0

    def write(self, data: bytes) -> None:
        """Send soon."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > CORK_BYTES:
            self.flush()

    def write_now(self, data: bytes) -> None:
        """Send at once, unless something is held back, before which it must not go."""
        if self._held:
            self.write(data)
        elif data:
            self._transport.write(data)

    def flush(self) -> None:
        """Send what is held back."""
        held, self._held = self._held, []
        self._held_bytes = 0
        if held and not self._transport.is_closing():
            self._transport.write(b"".join(held))

    def close(self) -> None:
        """Send what is held back, and close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class DirectOutlet:
    """A response whose frames go straight to the connection; the application has returned."""

    __slots__ = ("_connection", "_is_chunked", "_keeps_alive", "_transport", "on_gone", "on_room")

    def __init__(self, connection: "Connection", transport: Corked, cycle: RequestResponseCycle) -> None:
        self.on_room: Callable[[], None] = nobody
        self.on_gone: Callable[[], None] = nobody
        self._connection = connection
        self._transport = transport
        self._is_chunked = bool(cycle.chunked_encoding)
        self._keeps_alive = cycle.keep_alive

    @property
    def full(self) -> bool:
        return self._connection.flow.write_paused

    @property
    def buffered_bytes(self) -> int:
        size: int = self._transport.get_write_buffer_size()
        return size

    def write(self, frames: Frames) -> None:
        self._transport.write_now(frames.chunked if self._is_chunked else frames.data)

    def end(self, last: Frames) -> None:
        self._transport.write_now(last.chunked + LAST_CHUNK if self._is_chunked else last.data)
        self._connection.response_ended(keeps_alive=self._keeps_alive)

    def cut(self) -> None:
        self._transport.abort()

    def leave(self) -> None:
        """The connection ends with this response."""
        self._keeps_alive = False


class Connection(HttpToolsProtocol):
    """One client's connection.

    It answers 431 to a head that is too large, and ends one whose head does not come to its end. A response may be
    taken over (`outlet.TAKE_OVER`): then nothing of uvicorn's stands between its frames and the socket.
    """

    _outlet: DirectOutlet | None = None
    _early: list[bytes]  # what came while a response was taken over: requests that have to wait
    _early_bytes = 0
    _extensions: dict[Any, Any]  # uvicorn's type knows none but those of the specification
    _head_bytes = 0
    _in_head = True
    _in_body = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        transport.set_write_buffer_limits(HIGH_WATER_BYTES)
        super().connection_made(cast("asyncio.Transport", Corked(transport, self.loop)))
        self._early = []
        self._extensions = {TAKE_OVER: self._take_over}
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._stop_timer()
        self._extensions.clear()  # which lead back here
        super().connection_lost(exc)
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            outlet.on_gone()

    def resume_writing(self) -> None:
        """The client has taken most of what was written."""
        super().resume_writing()
        if self._outlet is not None:
            self._outlet.on_room()

    def shutdown(self) -> None:
        """The server is about to end."""
        if self._outlet is not None:
            self._outlet.leave()
        else:
            super().shutdown()

    @property
    def is_streaming(self) -> bool:
        """Whether a response was taken over and goes on."""
        return self._outlet is not None

    def _take_over(self, send: Callable[..., object]) -> DirectOutlet | None:
        # What a middleware has wrapped must go through it.
        cycle = getattr(send, "__self__", None)
        if not isinstance(cycle, RequestResponseCycle) or cycle.transport is not self.transport:
            return None
        if cycle.disconnected or not cycle.response_started or self.transport.is_closing():
            return None
        cycle.response_complete = True  # so that uvicorn lets the application return
        self._outlet = DirectOutlet(self, cast("Corked", self.transport), cycle)
        return self._outlet

    def response_ended(self, *, keeps_alive: bool) -> None:
        """What was taken over has come to its end."""
        self._outlet = None
        if not keeps_alive:
            self.transport.close()
        self.on_response_complete()  # the next request's turn, or the wait for one
        early, self._early, self._early_bytes = self._early, [], 0
        if early and not self.transport.is_closing():
            self.data_received(b"".join(early))

    def _keep(self, data: bytes) -> None:
        self._early.append(data)
        self._early_bytes += len(data)
        if self._early_bytes > MAX_HEAD_BYTES:
            self.flow.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._outlet is not None:
            self._keep(data)
            return
        if not (self._in_head or self._in_body):  # a next request, or a line break that never becomes one
            self._expect_head()
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        if not self._in_head:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """Its head is complete; what follows is bounded by `max_body_bytes`."""
        self._in_head, self._in_body = False, True
        self._head_bytes = 0
        self._stop_timer()
        super().on_headers_complete()
        if self.scope["method"] == "GET" and self.cycle.scope is self.scope:
            self.scope["extensions"] = self._extensions

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; those that follow a body in chunks are passed over, as nobody asks for them."""
        if self._in_head:
            super().on_header(name, value)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._in_body = False
        super().on_message_complete()

    def _expect_head(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._stop_timer()
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        if self._in_head:
            self.transport.close()
