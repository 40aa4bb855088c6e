"""Server-sent events: events to frames, frames to messages, fed by chunks of bytes.

Source of the rules: the WHATWG HTML standard, section 9.2 "Server-sent events". Frames written here are the
stored form of events, so replaying a stream is copying bytes.
"""

import codecs
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from .. import events
from ..errors import ProtocolError
from ..events import AnyEvent, Event
from ..models import Chunk
from .pieces import WHOLE_BYTES, cut, pieces_of

__all__ = [
    "CHUNK_BYTES",
    "HEARTBEAT",
    "MAX_LINE_BYTES",
    "Decoder",
    "Message",
    "draining",
    "encode_chunk",
    "encode_chunks",
    "encode_event",
    "encode_fold",
    "epoch_of",
    "events_in",
    "first_bytes",
    "frames_after",
    "json_in",
    "of_stream",
    "retry",
    "status",
]

HEARTBEAT = b":\n\n"
"""A comment: keeps proxies from closing a quiet stream and lets a client notice a dead one."""

MAX_LINE_BYTES = 24 * 1024 * 1024
"""Most the decoder holds of a message. Ours are below 100 KB; another server may send what it has as a whole."""

CHUNK_BYTES = 128 * 1024
"""Most that one chunk holds, a piece at least: readers are handed whole ones, and a stalled reader holds a few."""

_RETRY_DIGITS = 9
"""Eleven days in milliseconds. A longer number is no wait anybody meant, and `int` refuses the longest ones."""


def encode_event(event: Event, epoch: str) -> bytes:
    """One event as a frame. One without a seq (a reset about a cursor) gets no id and moves no cursor."""
    if event.seq == 0:
        return b"data: %b\n\n" % events.encode(event)
    return b"id: %b-%d\ndata: %b\n\n" % (epoch.encode(), event.seq, events.encode(event))


def encode_fold(data: bytes, seq: int, epoch: str) -> list[bytes]:
    """A fold's JSON as a frame, or as those of its pieces. The last moves the cursor; for nothing to the start."""
    rows = [data] if len(data) <= WHOLE_BYTES else [events.encode(piece) for piece in pieces_of(data)]
    frames = [b"data: %b\n\n" % row for row in rows]
    frames[-1] = b"id: %b-%d\n%b" % (epoch.encode(), seq, frames[-1])
    return frames


def encode_chunk(batch: list[AnyEvent], epoch: str) -> Chunk:
    """Consecutive events, each with its seq, as one chunk."""
    return _chunk(batch, [encode_event(event, epoch) for event in batch])


def encode_chunks(batch: list[AnyEvent], epoch: str) -> list[Chunk]:
    """The same as chunks of about `CHUNK_BYTES` at most, large events in pieces, which moves what follows them.

    Where they end with an `end`, the last chunk is final.
    """
    frames = [encode_event(event, epoch) for event in batch]
    sizes = list(map(len, frames))
    if sum(sizes) <= WHOLE_BYTES:
        return [_chunk(batch, frames)]
    if max(sizes) > WHOLE_BYTES:
        del frames  # they may have many megabytes, and so have the chunks
        parts = cut(zip(batch, sizes, strict=True))
        rows = _rows((event, encode_event(event, epoch)) for event in parts)
    else:
        rows = _rows(zip(batch, frames, strict=True))
    *chunks, last = [_chunk(*row) for row in rows]
    return [*chunks, msgspec.structs.replace(last, final=isinstance(batch[-1], events.End))]


def _chunk(batch: list[AnyEvent], frames: list[bytes]) -> Chunk:
    first, last = batch[0], batch[-1]
    data = frames[0] if len(frames) == 1 else b"".join(frames)
    return Chunk(first.seq - first.n + 1, last.seq, data, final=isinstance(last, events.End))


def _rows(framed: Iterable[tuple[AnyEvent, bytes]]) -> Iterator[tuple[list[AnyEvent], list[bytes]]]:
    row: list[AnyEvent] = []
    frames: list[bytes] = []
    room = CHUNK_BYTES
    for event, frame in framed:
        room -= len(frame)
        if row and room < 0:
            yield row, frames
            row, frames, room = [], [], CHUNK_BYTES - len(frame)
        row.append(event)
        frames.append(frame)
    yield row, frames


def epoch_of(chunk: Chunk) -> str:
    """The epoch of the stream that a chunk belongs to."""
    return chunk.data[len("id: ") : chunk.data.index(b"-")].decode()


def frames_after(chunk: Chunk, epoch: str, after: int) -> bytes:
    """The chunk's frames for a reader that has everything up to `after`. No event is split."""
    if after < chunk.first_seq:
        return chunk.data
    position = 0
    # JSON has no raw line breaks, so a blank line is always the end of a frame.
    while position < len(chunk.data):
        end = chunk.data.index(b"\n", position)
        if int(chunk.data[position + len("id: ") + len(epoch) + 1 : end]) > after:
            return chunk.data[position:]
        position = chunk.data.index(b"\n\n", end) + 2
    return b""


def events_in(data: bytes) -> Iterator[AnyEvent]:
    """The events of frames made by `encode_event`."""
    return map(events.decode, json_in(data))


def json_in(data: bytes) -> list[bytes]:
    """The JSON of each event in frames made by `encode_event`."""
    return [frame[frame.index(b"data: ") + len(b"data: ") :] for frame in data.split(b"\n\n") if frame]


def of_stream(frame: bytes, member: bytes, cursor: bytes) -> bytes:
    """A frame as one of several streams sends it: with `member` added to its JSON, and `cursor` for its own.

    frame: as made here, without the blank line at its end; comments and waits stay as they are.
    """
    head, data, body = frame.partition(b"data: ")
    if not data:
        return frame
    if head.startswith(b"id: "):
        head = b"id: %b\n" % cursor
    return b"%bdata: %b,%b}" % (head, body[:-1], member)


def first_bytes(heartbeat_s: float) -> bytes:
    """A comment sent before anything is known, so that no proxy waits for a first event to pass the headers on.

    It says how often one comes, so that a reader knows after how long a silence its connection is dead.
    """
    return b": heartbeat %.12g\n\n" % heartbeat_s


def status(name: str, body: dict[str, object], *, retry_ms: int | None = None) -> bytes:
    """A status: a named event without an id, so it is history for nobody."""
    wait = b"" if retry_ms is None else b"retry: %d\n" % retry_ms
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), wait, msgspec.json.encode(body))


def retry(wait_ms: int) -> bytes:
    """When a reader whose connection breaks is to come back."""
    return b"retry: %d\n\n" % wait_ms


def draining(retry_ms: int) -> bytes:
    """The server's farewell: come back after `retry_ms`."""
    return status("draining", {"retry_ms": retry_ms}, retry_ms=retry_ms)


class Message(NamedTuple):
    """One dispatched event-stream message. `id` is the last id seen, which an event may inherit."""

    event: str
    data: str
    id: str
    own_id: bool


class Decoder:
    """Bytes to messages, whatever the chunking. `last_id` and `retry_ms` follow the standard.

    `last_id` moves when a message ends, so one that was cut in the middle is asked for again.

    Raises ProtocolError for a message over `MAX_LINE_BYTES`: what comes is not an event stream of ours.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_ms: int | None = None
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._parts: list[str] = []  # of the unfinished line
        self._held = 0  # code points of the unfinished line and of the unfinished message's data
        self._skip_lf = False
        self._at_start = True
        self._event = ""
        self._id = ""
        self._data: list[str] = []
        self._own_id = False

    def feed(self, data: bytes) -> list[Message]:
        """The messages completed by `data`."""
        text = self._utf8.decode(data)
        if not text:
            return []
        if self._at_start:
            text, self._at_start = text.removeprefix("\ufeff"), False
        if self._skip_lf and text:  # the first half of this CR LF ended a line in the last chunk
            text, self._skip_lf = text.removeprefix("\n"), False
        *lines, rest = self._split(text)
        messages = [message for line in lines if (message := self._line(line))]
        if rest:
            self._parts.append(rest)
            self._hold(len(rest))
        return messages

    def _split(self, text: str) -> list[str]:
        self._skip_lf = text.endswith("\r")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.split("\n")
        if len(lines) > 1:
            self._held -= sum(map(len, self._parts))
            lines[0] = "".join([*self._parts, lines[0]])
            self._parts = []
        return lines

    def _hold(self, length: int) -> None:
        self._held += length
        if self._held > MAX_LINE_BYTES:
            raise ProtocolError(
                f"A message is longer than {MAX_LINE_BYTES} bytes.", hint="Is this a Penstock server?"
            )

    def _line(self, line: str) -> Message | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._hold(len(value))
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id, self._own_id = value, True
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) <= _RETRY_DIGITS:
            self.retry_ms = int(value)
        return None  # comments and unknown fields

    def _dispatch(self) -> Message | None:
        event, data, own_id = self._event or "message", self._data, self._own_id
        self._event, self._data, self._own_id = "", [], False
        self._held -= sum(map(len, data))
        self.last_id = self._id
        return Message(event, "\n".join(data), self.last_id, own_id) if data else None
