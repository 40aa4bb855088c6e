"""The connection under our own server: uvicorn's HTTP protocol, with bounds on what a client may begin."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from .cork import Corked

__all__ = ["HEAD_TIMEOUT_S", "MAX_HEAD_BYTES", "BoundedHead", "is_of"]

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers of one request, and one read beyond: nginx takes 32 KiB, uvicorn whatever comes."""

HEAD_TIMEOUT_S = 20.0
"""From a connection's, or a request's, first byte to the end of its headers: half requests hold a descriptor each,
and a browser that connects ahead of need does not mind to connect again."""

BODY_TIMEOUT_S = 30.0
"""How long a body may bring nothing before its end: phones in a tunnel come back, or never."""

MAX_PIPELINED = 1000
"""Requests that may wait on one connection for the answers before theirs; browsers send none, load tests some."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedHead(HttpToolsProtocol):
    """Bounds what a client may begin and not end.

    It answers 431 to a head that is too large, and closes a connection whose head or body does not come to its
    end, or that asks for more and more before it has its answers. While an answer is under way nothing else is
    written into it, and its reader has its time.
    """

    _head_bytes = 0
    _in_head = True
    _in_body = False
    _timer: asyncio.TimerHandle | None = None
    _heard_at = 0.0

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(cast("asyncio.Transport", Corked(transport, self.loop)))
        self._cycles: list[RequestResponseCycle] = []
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._stop_timer()
        super().connection_lost(exc)
        # uvicorn tells only the latest request; those before it would wait for ever, or be answered to nobody.
        for cycle in self._cycles:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self._cycles.clear()
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if not (self._in_head or self._in_body):  # a next request, or a line break that never becomes one
            self._expect_head()
        self._head_bytes += len(data)
        self._heard_at = self.loop.time()
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE)
        elif len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()
        elif self._in_body and self._timer is None:
            self._timer = self.loop.call_later(BODY_TIMEOUT_S, self._check_body)

    def send_400_response(self, msg: str) -> None:
        """What came is no request."""
        if self.is_answering:
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _refuse(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            if not self.is_answering:
                self.transport.write(answer)
            self.transport.close()

    @property
    def is_answering(self) -> bool:
        """Whether a response is under way."""
        return any(not cycle.response_complete for cycle in self._cycles)

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
        self._cycles = [cycle for cycle in self._cycles if not cycle.response_complete]
        if is_of(self.cycle, self.scope):
            self._cycles.append(self.cycle)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; those that follow a body in chunks are passed over, as nobody asks for them."""
        if self._in_head:
            super().on_header(name, value)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._in_body = False
        self._stop_timer()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """What follows is a WebSocket, unless an answer is under way, into which nothing else is written."""
        if self.is_answering:
            self.transport.close()
        else:
            super().handle_websocket_upgrade()

    def _expect_head(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._stop_timer()
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._check_head)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_head(self) -> None:
        if self._in_head and self.is_answering:
            self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._check_head)
        elif self._in_head:
            self.transport.close()

    def _check_body(self) -> None:
        silent_s = self.loop.time() - self._heard_at
        # A body that the application does not take is not the client's fault.
        if silent_s < BODY_TIMEOUT_S or self.flow.read_paused:
            again_s = BODY_TIMEOUT_S if self.flow.read_paused else BODY_TIMEOUT_S - silent_s
            self._timer = self.loop.call_later(again_s, self._check_body)
        else:
            self.transport.close()


def is_of(cycle: RequestResponseCycle | None, scope: Mapping[str, Any]) -> bool:
    """Whether a request's cycle was made; there is none for the handshake of a WebSocket."""
    return cycle is not None and cycle.scope is scope
