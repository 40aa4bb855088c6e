"""Large events: cut into pieces where they are stored, put together where they are read.

A piece is an event with a place in the stream like any other, so neither the store nor a server with a thousand
slow readers nor a proxy has to hold a large event whole. A reader whose connection breaks goes on with the next
piece.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import msgspec

from ..errors import ProtocolError
from ..events import MAX_EVENT_BYTES, AnyEvent, Bytes, Folded, Piece, Text, decode_message, encode

__all__ = ["MAX_WHOLE_BYTES", "WHOLE_BYTES", "Begun", "Pieces", "cut", "pieces_of"]

WHOLE_BYTES = 32 * 1024
"""A frame up to this size goes as it is; the JSON of an event with a larger one is cut into parts of it, which are
strings in JSON again: twice as large at most, where all are quotes. Small enough for the buffers of proxies and
for a network that cuts every few seconds."""

MAX_WHOLE_BYTES = MAX_EVENT_BYTES + 1024 * 1024
"""Most a reader holds of one event's pieces: what was yielded, and what surrounds it."""

TEXT_POINTS = 8 * 1024
"""Code points in a piece of a long text: at most four bytes each, or six where they are escaped."""


def cut(batch: Iterable[tuple[AnyEvent, int]]) -> Iterator[AnyEvent]:
    """Events, each given with the size of its frame; the large ones in pieces, which move what follows them.

    Each piece takes a seq. A text is cut into texts; `bytes` have been already. Pieces are made as they are asked
    for, not all at once.
    """
    moved = 0
    for event, size_bytes in batch:
        event.seq += moved
        if size_bytes <= WHOLE_BYTES or isinstance(event, Bytes):
            yield event
            continue
        for place, part in enumerate(_parts_of(event)):
            part.seq, part.at_ms, part.span = event.seq + place, event.at_ms, event.span
            if place == 0:  # what it was merged from, and what it must not be merged with, lies before it
                part.n, part.edge = event.n, event.edge
            yield part
        moved += place


def _parts_of(event: AnyEvent) -> Iterator[AnyEvent]:
    if not isinstance(event, Text):
        return pieces_of(encode(msgspec.structs.replace(event, seq=0, n=1)))
    starts = range(0, len(event.text), TEXT_POINTS)
    return (Text(event.pos + start, event.text[start : start + TEXT_POINTS]) for start in starts)


def pieces_of(data: bytes) -> Iterator[Piece]:
    """The pieces of an event's JSON, without a place in a stream."""
    bounds = [0, *_ends(data)]
    for part, (start, end) in enumerate(pairwise(bounds)):
        yield Piece(part, len(bounds) - 1, data[start:end].decode())


def _ends(data: bytes) -> Iterator[int]:
    end = 0
    while end < len(data):
        end = min(end + WHOLE_BYTES, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:  # in the middle of a character
            end -= 1
        yield end


class Begun(ProtocolError):
    """A piece came whose event began before the cursor from which it is read: there is no putting it together.

    after: the seq from which on to read instead.
    """

    after = 0


class Pieces:
    """Puts events together. Give it the events of a stream in order, each once.

    What comes out are events without pieces, and without gaps where none were in what came in: an event stands for
    its pieces, and the one after pieces that were never completed stands for those.
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._size = 0
        self._count = 0  # events for which the pieces stand

    def add(self, event: AnyEvent | Folded) -> AnyEvent | Folded | None:
        """The event, or what it completes; None for a piece that does not.

        Raises:
            Begun: Its first pieces have not come.
            ProtocolError: It fits nowhere, or is larger than `MAX_WHOLE_BYTES`.
            msgspec.MsgspecError, UnicodeDecodeError, RecursionError: What was put together is no event.
        """
        if not isinstance(event, Piece):
            return self._standing_for(event) if self._texts or self._count else event
        if event.part == 0:
            self._texts, self._size = [], 0
        self._check(event)
        self._texts.append(event.data)
        self._size += len(event.data)
        self._count += event.n if event.seq else 0
        return self._whole(event) if event.part == event.parts - 1 else None

    def _check(self, piece: Piece) -> None:
        if not 0 <= piece.part < piece.parts:
            raise ProtocolError(f"Piece {piece.part} of {piece.parts} can't be.")
        if piece.part and not self._texts:
            error = Begun(f"Piece {piece.part} of an event came, and none before it.")
            error.after = max(0, piece.seq - piece.part - 1)
            raise error
        if piece.part != len(self._texts):
            raise ProtocolError(f"Piece {piece.part} came in the place of piece {len(self._texts)}.")
        if self._size + len(piece.data) > MAX_WHOLE_BYTES:
            raise ProtocolError(f"An event in pieces is longer than {MAX_WHOLE_BYTES} bytes.")

    def _whole(self, last: Piece) -> AnyEvent | Folded:
        whole = decode_message("".join(self._texts))
        if last.seq:  # those of a fold have none, and it has its own
            whole.seq, whole.n = last.seq, self._count
        self.forget()
        return whole

    def _standing_for(self, event: AnyEvent | Folded) -> AnyEvent | Folded:
        count = self._count
        self.forget()
        if event.seq == 0 or isinstance(event, Folded):
            return event
        return msgspec.structs.replace(event, n=event.n + count)

    def forget(self) -> None:
        """What was begun is not completed: the stream is read again from elsewhere."""
        self._texts, self._size, self._count = [], 0, 0
