"""Tokens between two chunks: kept as they come, and made one event when they are taken."""

import time

from ..events import Text
from ..protocol.coalesce import MERGED_TEXT
from .firsts import Firsts

__all__ = ["SAID_BYTES", "SAID_OVERHEAD_BYTES", "Said"]

SAID_BYTES = MERGED_TEXT
"""Bytes, so no more code points than a merged `text` may have."""

SAID_OVERHEAD_BYTES = 32
"""What a piece weighs besides: whoever says a letter at a time, or nothing, without ever waiting for anything,
gives way to others after some 2,000 of them, a millisecond or two."""


class Said:
    """Texts of one span that follow each other, nothing else between them."""

    __slots__ = ("_position", "at", "firsts", "pieces", "size", "span")

    def __init__(self, firsts: Firsts) -> None:
        self.firsts = firsts
        """Here and not in the recorder: with over 29 attributes the interpreter finds each by a slower way,
        which is 6 % of what a token costs (benchmarks)."""
        self.pieces: list[str] = []
        self.size = 0
        """Bytes, about, the overhead of each included."""
        self.span: str | None = None
        self.at = 0.0
        """When the last one came, in monotonic seconds."""
        self._position = 0

    def begin(self, position: int, text: str, span: str | None, size: int) -> None:
        """The first of them."""
        self._position, self.span, self.size = position, span, size
        self.pieces.append(text)

    def event(self, seq: int, *, edge: bool) -> Text:
        """All of them as one event, the last of which is `seq`. There are none then."""
        pieces, self.pieces = self.pieces, []
        # The clock of the wall was not asked for each.
        at_ms = int((time.time() - time.monotonic() + self.at) * 1000)
        count = len(pieces)
        text = pieces[0] if count == 1 else "".join(pieces)
        return Text(self._position, text, seq=seq, at_ms=at_ms, span=self.span, n=count, edge=edge)
