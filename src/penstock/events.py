"""Event types: what a stream consists of, and their one wire form.

An event is a JSON object with `type`, `seq`, `at_ms` (Unix milliseconds of the yield), `span` where it
belongs to one, `n` where it stands for several, and fields of its own. The classes here are that object:
`encode` and `decode` are the only two ways between them and bytes.
"""

from typing import Any, Literal

import msgspec

__all__ = [
    "BYTES_PIECE",
    "MAX_EVENT_BYTES",
    "AnyEvent",
    "Bytes",
    "End",
    "Event",
    "Folded",
    "Json",
    "Log",
    "Piece",
    "Progress",
    "Replace",
    "Reset",
    "SpanEnd",
    "SpanStart",
    "Text",
    "decode",
    "decode_message",
    "encode",
]

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""One event's JSON. Larger ones are refused where they are yielded: its function and its readers hold it whole."""

BYTES_PIECE = 32 * 1024
"""A yielded `bytes` is cut into events of at most this many bytes (before base64)."""

State = Literal["succeeded", "failed", "cancelled", "interrupted"]


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type", gc=False):
    """What every event has.

    seq: place in the stream, 1, 2, 3, …; 0 for one that is not stored (a `reset` about a cursor).
    at_ms: Unix milliseconds of the yield; of the last one where events were merged.
    span: id of the span it belongs to; of the span itself for `span-start` and `span-end`.
    n: it stands for the events `seq-n+1 … seq`.
    edge: it follows a checkpoint, to which a `reset` may lead back: no merge joins it to what came before.
    """

    seq: int = 0
    at_ms: int = 0
    span: str | None = None
    n: int = 1
    edge: bool = False


class Text(Event, tag="text"):
    """A piece of text that begins at code point `pos` of its span's text (the run's, outside any span)."""

    pos: int
    text: str


class Json(Event, tag="json"):
    """One yielded value."""

    value: Any


class Replace(Event, tag="replace"):
    """A value that takes the place of the last `replace` of the same span.

    It has either `value`, the whole of it, or `delta`, what makes it of the one before (`protocol.delta`). Raises
    TypeError where it has both or neither.
    """

    value: Any = msgspec.UNSET  # None is a value
    delta: list[Any] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if (self.value is msgspec.UNSET) is (self.delta is msgspec.UNSET):
            raise TypeError("a replace has either a value or a delta")


class Bytes(Event, tag="bytes"):
    """A piece of a byte string; pieces of one span follow each other. `data` is base64 on the wire."""

    data: bytes


class Progress(Event, tag="progress"):
    """How far the work is: `done` of `total` (unknown where absent), counted in `unit`; `fields` say more."""

    done: float
    total: float | None = None
    unit: str = ""
    fields: Any = None


class Log(Event, tag="log"):
    """A line for whoever looks after the run."""

    message: str
    level: str = "info"
    fields: Any = None


class SpanStart(Event, tag="span-start"):
    """A step has begun; visible at once, before it ends."""

    name: str
    kind: str = ""
    parent: str | None = None
    input: Any = None


class SpanEnd(Event, tag="span-end"):
    """A step has ended, well or with an `error` of `{code, message}`.

    usage: `{input_tokens, output_tokens, cost, currency, model}`, as far as they were given.
    first_ms: milliseconds from its start to the first output directly in it; None where there was none.
    """

    output: Any = None
    error: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    first_ms: int | None = None


class Reset(Event, tag="reset"):
    """Everything after event `to` is withdrawn: readers and folds forget it."""

    to: int
    reason: str = ""


class End(Event, tag="end"):
    """The last event of a run: its outcome. `error` is `{code, message, hint}`.

    first_ms: milliseconds from the last attempt's start to its first output; None where there was none.
    """

    state: State
    result: Any = None
    error: dict[str, Any] | None = None
    first_ms: int | None = None


class Piece(Event, tag="piece"):
    """Part `part`, counted from 0, of the JSON of an event that is too large for one message.

    All `parts` follow each other in the stream; the last one completes the event, and any other event in between
    says that it will never be complete (`protocol.pieces`).
    """

    part: int
    parts: int
    data: str


AnyEvent = Text | Json | Replace | Bytes | Progress | Log | SpanStart | SpanEnd | Reset | End | Piece


class Folded(Event, tag="fold"):
    """In place of the events up to `seq`: the fewest ordinary ones that lead to the same state. Never stored."""

    events: list[AnyEvent]


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)

encode = _encoder.encode
"""An event to its JSON, one line of UTF-8 without line breaks."""


_message_decoder: msgspec.json.Decoder[AnyEvent | Folded] = msgspec.json.Decoder(AnyEvent | Folded)


def decode(data: bytes | str) -> AnyEvent:
    """JSON to an event. Fields of later versions are ignored. Raises msgspec.ValidationError or DecodeError."""
    return _decoder.decode(data)


def decode_message(data: bytes | str) -> AnyEvent | Folded:
    """As `decode`, for what a server sends: it may be a fold."""
    return _message_decoder.decode(data)
