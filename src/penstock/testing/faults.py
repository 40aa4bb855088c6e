"""What a `FaultProxy` does to the bytes on their way to the client, without I/O."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random
from typing import Protocol

import httptools

__all__ = ["Answer", "Cut", "End", "Fault", "Filter", "NoUpgrade", "Swallow"]


class Filter(Protocol):
    """Takes the bytes that a server sends and gives those that its client gets."""

    over: bool
    """The fault has happened; nothing more is passed on."""

    def feed(self, data: bytes) -> bytes:
        """What the client gets of `data`."""
        ...


class Fault(Protocol):
    """Something that goes wrong once on each connection."""

    @property
    def keep_alive(self) -> bool:
        """Whether the client's connection survives it."""
        ...

    @property
    def clean(self) -> bool:
        """Whether the client sees a proper end rather than a reset."""
        ...

    def filter(self, chance: Random) -> Filter:
        """The filter for one connection; `chance` draws the place."""
        ...


@dataclass(frozen=True)
class Cut:
    """Reset each connection (RST) once between `low_bytes` and `high_bytes` have gone to the client.

    All bytes count, HTTP heads too. Without `high_bytes` it is `low_bytes` exactly. The last bytes before a
    reset may be lost on the way, as on a real network.
    """

    low_bytes: int
    high_bytes: int | None = None
    keep_alive = False
    clean = False

    def filter(self, chance: Random) -> Filter:
        return _CutFilter(_draw(self.low_bytes, self.high_bytes, chance))


@dataclass(frozen=True)
class End:
    """End each chunked HTTP/1.1 body cleanly in its middle, as a proxy does whose time is up.

    The client sees a complete response that is too short, and no error. Bodies with a Content-Length, and
    chunked ones that are shorter, pass untouched. Answers to HEAD are not understood.

    low_bytes, high_bytes: where, in bytes of the body; drawn anew for each body.
    whole_chunks: end after the server's chunk in which that place lies, instead of at that very byte.
    keep_alive: leave the client's connection open for its next request.
    """

    low_bytes: int
    high_bytes: int | None = None
    whole_chunks: bool = False
    keep_alive: bool = False
    clean = True

    def filter(self, chance: Random) -> Filter:
        return _EndFilter(lambda: _draw(self.low_bytes, self.high_bytes, chance), self.whole_chunks)


@dataclass(frozen=True)
class Swallow:
    """Hold each chunked body back until it is complete, as proxies do that buffer or look into what they carry.

    The client gets its head at once and then nothing, for as long as the server goes on.

    upgrades: let WebSockets pass; else they are refused, as by `NoUpgrade`.
    """

    upgrades: bool = True
    keep_alive = False
    clean = True

    def filter(self, chance: Random) -> Filter:  # noqa: ARG002 - nothing is drawn
        return _SwallowFilter(self.upgrades)


@dataclass(frozen=True)
class NoUpgrade:
    """Refuse WebSockets with a 502, as proxies do that know none. All else passes."""

    keep_alive = False
    clean = True

    def filter(self, chance: Random) -> Filter:  # noqa: ARG002 - nothing is drawn
        return _UpgradeFilter()


@dataclass(frozen=True)
class Answer:
    """Put this answer in the place of each of the server's, and close the connection.

    The server has received the request, and done what it asks for.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    keep_alive = False
    clean = True

    def filter(self, chance: Random) -> Filter:  # noqa: ARG002 - nothing is drawn
        return _AnswerFilter(self)

    def __bytes__(self) -> bytes:
        own = {"Content-Length": str(len(self.body)), "Connection": "close"}
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in {**self.headers, **own}.items()]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


def _draw(low_bytes: int, high_bytes: int | None, chance: Random) -> int:
    return low_bytes if high_bytes is None else chance.randint(low_bytes, high_bytes)


class _CutFilter:
    def __init__(self, left_bytes: int) -> None:
        self._left_bytes = left_bytes
        self.over = left_bytes <= 0

    def feed(self, data: bytes) -> bytes:
        data = data[: self._left_bytes]
        self._left_bytes -= len(data)
        self.over = self._left_bytes <= 0
        return data


class _ResponseFilter:
    """Takes the server's responses apart and puts them together again, in chunks of its own."""

    def __init__(self) -> None:
        self.over = False
        self._parser = httptools.HttpResponseParser(self)
        self._raw = False  # after a protocol switch the bytes are no longer HTTP
        self._out = bytearray()

    def feed(self, data: bytes) -> bytes:
        if self._raw:
            return data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as switch:
            self._raw = True
            self._out += data[switch.args[0] :]
        out, self._out = bytes(self._out), bytearray()
        return out

    # What follows is called by the parser.

    def on_message_begin(self) -> None:
        self._reason, self._headers = b"", list[tuple[bytes, bytes]]()

    def on_status(self, part: bytes) -> None:
        self._reason += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = b"HTTP/%b %d %b" % (
            self._parser.get_http_version().encode(),
            self._parser.get_status_code(),
            self._reason,
        )
        lines = [status, *(b"%b: %b" % header for header in self._headers)]
        self._out += b"\r\n".join(lines) + b"\r\n\r\n"
        self._chunked = any(
            n.lower() == b"transfer-encoding" and b"chunked" in v.lower() for n, v in self._headers
        )

    def on_body(self, part: bytes) -> None:
        if self._chunked and part:
            self._out += b"%x\r\n%b\r\n" % (len(part), part)
        else:
            self._out += part

    def on_message_complete(self) -> None:
        if self._chunked:
            self._out += b"0\r\n\r\n"


class _AnswerFilter(_ResponseFilter):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = bytes(answer)

    def feed(self, data: bytes) -> bytes:
        out = super().feed(data)
        return self._answer if self.over else out

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.over = True


class _UpgradeFilter(_AnswerFilter):
    def __init__(self) -> None:
        super().__init__(Answer(502))

    def on_headers_complete(self) -> None:
        _ResponseFilter.on_headers_complete(self)
        self.over = self.over or self._parser.get_status_code() == HTTPStatus.SWITCHING_PROTOCOLS


class _SwallowFilter(_UpgradeFilter):
    def __init__(self, upgrades: bool) -> None:
        super().__init__()
        self._upgrades = upgrades

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.over = self.over and not self._upgrades

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._held = bytearray()

    def on_body(self, part: bytes) -> None:
        if self._chunked:
            self._held += part
        else:
            super().on_body(part)

    def on_message_complete(self) -> None:
        super().on_body(bytes(self._held))
        super().on_message_complete()


class _EndFilter(_ResponseFilter):
    def __init__(self, draw: Callable[[], int], whole_chunks: bool) -> None:
        super().__init__()
        self._draw = draw
        self._whole_chunks = whole_chunks

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._left_bytes = self._draw() if self._chunked else 0

    def on_body(self, part: bytes) -> None:
        if not self._chunked:
            super().on_body(part)
            return
        if not self._whole_chunks:
            part = part[: self._left_bytes]
        self._left_bytes -= len(part)
        if not self.over:
            super().on_body(part)
        if self._left_bytes <= 0 and not self._whole_chunks:
            self._end()

    def on_chunk_complete(self) -> None:
        if self._left_bytes <= 0:
            self._end()

    def on_message_complete(self) -> None:
        if not self.over:
            super().on_message_complete()

    def _end(self) -> None:
        if not self.over:
            self.over = True
            self._out += b"0\r\n\r\n"
