"""The connection under our own server: uvicorn's HTTP protocol, with bounds on what comes before a body, and
with what is written in one turn of the loop sent as one."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["CORK_BYTES", "HEAD_TIMEOUT_S", "MAX_HEAD_BYTES", "BoundedHead", "Corked"]

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers of one request, and one read beyond: nginx takes 32 KiB, uvicorn whatever comes."""

HEAD_TIMEOUT_S = 20.0
"""From a connection's, or a request's, first byte to the end of its headers: half requests hold a descriptor each,
and a browser that connects ahead of need does not mind to connect again."""

CORK_BYTES = 16 * 1024
"""Bytes of one turn that are gathered: heads and first frames, which are small. Beyond it a system call costs less
than the copy."""

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


class BoundedHead(HttpToolsProtocol):
    """Answers 431 to a head that is too large, and closes a connection whose head does not come to its end."""

    _head_bytes = 0
    _in_head = True
    _in_body = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(cast("asyncio.Transport", Corked(transport, self.loop)))
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
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
