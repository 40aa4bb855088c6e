"""Cursors: their text, of one stream or several, what a server answers, and how a reader keeps its place.

A cursor is `<epoch>-<seq>`; the epoch, 8 to 32 letters and digits, is drawn when a stream is created, so a seq
of a wiped or of another store is never taken for one of this. The cursors of several streams are joined by
commas, in the order in which the streams were asked for.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import BadCursor, ProtocolError
from ..models import Cursor, Stream

__all__ = ["Position", "Start", "join_cursors", "parse_cursor", "parse_cursors", "start_reading"]

# 18 digits: the largest seq stays inside SQLite's and JSON readers' 64-bit integers.
_CURSOR = re.compile(r"([A-Za-z0-9]{8,32})-(0|[1-9][0-9]{0,17})", re.ASCII)


def parse_cursor(text: str, field: str = "after") -> Cursor:
    """Text to cursor. Raises BadCursor, with the name of the `field`, for anything but `<epoch>-<seq>`."""
    match = _CURSOR.fullmatch(text)
    if match is None:
        shown = text if len(text) <= 60 else text[:60] + "…"
        raise BadCursor(
            f"{shown!r} is not a cursor.",
            hint="Send an id from the stream as it came (<epoch>-<seq>), or none to read from the start.",
            field=field,
        )
    return Cursor(match[1], int(match[2]))


def parse_cursors(text: str, count: int) -> list[Cursor]:
    """The cursors of `count` streams. Raises BadCursor for any other number, and as `parse_cursor`."""
    parts = text.split(",", count)
    if len(parts) != count:
        raise BadCursor(
            f"A cursor of {len(parts)} streams does not fit {count}.",
            hint="Ask for the same streams in the same order, or give each its own: stream=NAME@CURSOR.",
            field="after",
        )
    return [parse_cursor(part) for part in parts]


def join_cursors(cursors: Iterable[str]) -> str:
    """The cursor of several streams."""
    return ",".join(cursors)


class Start(NamedTuple):
    """Where a server begins for a reader: after `after`; `reset` says why it is not where the reader stood."""

    after: int
    reset: str | None = None


def start_reading(cursor: Cursor | None, stream: Stream) -> Start:
    """What a reader with `cursor` gets of `stream`: the rest, or an explicit reset and all of it."""
    if cursor is None:
        return Start(0)
    if cursor.epoch != stream.epoch:
        return Start(0, "the cursor belongs to another stream")
    if cursor.seq > stream.tail:
        return Start(0, "the cursor is ahead of the stored stream")
    return Start(cursor.seq)


class Position:
    """One reader's place: takes events in whatever order they arrive, passes each on once and in order.

    `seq` is the last event passed on; everything up to it has been seen.
    """

    def __init__(self, seq: int = 0) -> None:
        self.seq = seq

    def accept(self, seq: int, n: int = 1) -> bool:
        """Whether the event that stands for `seq-n+1 … seq` is new. Raises ProtocolError if one is missing.

        An event that was seen in part (a merge made since) is new as a whole: applying it again is harmless,
        or, for a delta, refused by the fold.
        """
        if seq <= self.seq:
            return False
        if seq - n > self.seq:
            raise ProtocolError(
                f"Events {self.seq + 1} to {seq - n} are missing.",
                hint="Read again from the last cursor; if this repeats, the server's store has lost events.",
            )
        self.seq = seq
        return True
