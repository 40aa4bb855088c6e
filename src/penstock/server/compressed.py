"""A response whose frames are compressed on their way: each update by itself, so that nothing waits for the next.

What is compressed is kept with the frames, so that it is made once for all who are sent them.
"""

import importlib
from collections.abc import Callable
from typing import Protocol

from ..hub import Frames
from ..protocol.coding import choose_coding
from ..protocol.gzip import COMPRESS_TO_BYTES, HEADER, SMALL_BYTES, WINDOW_BYTES, Checksum, blocks
from .outlet import Outlet, Told

__all__ = ["Coding", "Compressed", "coding_for", "whole"]

ZSTD_LEVEL = 3
"""zstd's own default: in the time of our gzip it saves a tenth more (benchmarks)."""

ZSTD_COPY_LEVEL = -1000
"""Little more than a copy, for what is so large that to compress it would hold up all others."""


class Compressed:
    """An `Outlet` before another."""

    def __init__(self, outlet: Outlet, coding: "Coding") -> None:
        self._outlet = outlet
        self._coding = coding
        self._begun = False

    @property
    def on_room(self) -> Told:
        return self._outlet.on_room

    @on_room.setter
    def on_room(self, told: Told) -> None:
        self._outlet.on_room = told

    @property
    def on_gone(self) -> Told:
        return self._outlet.on_gone

    @on_gone.setter
    def on_gone(self, told: Told) -> None:
        self._outlet.on_gone = told

    @property
    def full(self) -> bool:
        return self._outlet.full

    @property
    def buffered_bytes(self) -> int:
        return self._outlet.buffered_bytes

    @property
    def taken_bytes(self) -> int:
        return self._outlet.taken_bytes

    # What is coded is written as it is: put together with the coding's begin and end it would be a copy for each.

    def write(self, frames: Frames) -> None:
        if not self._begun:
            self._begun = True
            self._outlet.write(Frames(self._coding.begin))
        self._outlet.write(self._coding.encode(frames))

    def end(self, last: Frames) -> None:
        self.write(last)
        self._outlet.end(Frames(self._coding.end, final=last.final))

    def cut(self) -> None:
        self._outlet.cut()


class Coding(Protocol):
    """One connection's stream in a content coding: `begin`, then what `encode` gives, then `end`."""

    name: str
    begin: bytes

    @property
    def end(self) -> bytes: ...

    def encode(self, frames: Frames) -> Frames:
        """The next frames."""
        ...


class _Gzip:
    """What every browser takes."""

    name = "gzip"
    begin = HEADER

    def __init__(self) -> None:
        self._checksum = Checksum()
        self._begun = False
        # The end of what was sent since the last that was large and the greeting, which each has of its own.
        self._before = b""

    @property
    def end(self) -> bytes:
        return self._checksum.end

    def encode(self, frames: Frames) -> Frames:
        self._checksum.add(frames.data)
        if frames.size_bytes > SMALL_BYTES or not self._begun:
            self._begun, self._before = True, b""
            return frames.coded("gzip", blocks)
        coded, self._before = frames.coded_after(self._before, blocks, WINDOW_BYTES)
        return coded


class _Zstd:
    """A frame of zstd for each update; a stream is any number of those (RFC 8878, section 3)."""

    name = "zstd"
    begin = end = b""

    def encode(self, frames: Frames) -> Frames:
        return frames.coded("zstd", _zstd_frame)


def _zstd_frame(plain: bytes) -> bytes:
    assert _compress is not None
    level = ZSTD_LEVEL if len(plain) <= COMPRESS_TO_BYTES else ZSTD_COPY_LEVEL
    return _compress(plain, level) if plain else b""


def _zstd() -> Callable[[bytes, int], bytes] | None:
    for name in ("compression.zstd", "backports.zstd"):  # Python's own from 3.14 on; the extra `zstd` before
        try:
            compress: Callable[[bytes, int], bytes] = importlib.import_module(name).compress
        except ImportError:
            continue
        return compress
    return None


_compress = _zstd()
# gzip first: it can look back at what was sent before, which makes a token's update half as large (benchmarks).
_CODINGS: dict[str, Callable[[], Coding]] = {"gzip": _Gzip}
if _compress is not None:
    _CODINGS["zstd"] = _Zstd


def coding_for(accepted: str | None) -> Coding | None:
    """A stream in the best coding for a reader with this `Accept-Encoding`; None where there is none."""
    name = choose_coding(accepted, tuple(_CODINGS))
    return None if name is None else _CODINGS[name]()


def whole(body: bytes, coding: Coding) -> bytes:
    """A body that is there from its first to its last byte."""
    return coding.begin + coding.encode(Frames(body)).data + coding.end
