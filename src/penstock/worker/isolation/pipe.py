"""What passes between a worker and the process of an isolated function: JSON, one item a line.

To the worker: events and checkpoints as they come, then how the function ended. To the process: its job, `HOLD`
and `GO_ON` when memory becomes tight and is eased, and `STOP` if it is to stop. The pipe's end tells the one that
the other is gone.
"""

import pickle
from typing import Any

import msgspec

from ...events import Bytes, Json, Log, Progress, Replace, SpanEnd, SpanStart, Text
from ...models import RunRecord, RunState
from ..function import Function
from ..outcome import Outcome

__all__ = [
    "GO_ON",
    "HOLD",
    "STOP",
    "Ended",
    "Item",
    "Job",
    "Recipe",
    "Saved",
    "decode_items",
    "decode_job",
    "encode",
]

STOP = b"stop\n"
HOLD = b"hold\n"
GO_ON = b"go on\n"

# Values stay the JSON that the function's process made of them, as they do on their way through a recorder: to
# decode them and encode them again would cost time, and the digits of long numbers.


class _Json(Json, tag="json"):
    value: msgspec.Raw


class _Progress(Progress, tag="progress"):
    done: int | float
    total: int | float | None = None


# msgspec takes no Raw in a union; UNSET and None are what is absent.


class _Replace(Replace, tag="replace"):
    value: msgspec.Raw = msgspec.UNSET  # type: ignore[assignment]


class _Log(Log, tag="log"):
    fields: msgspec.Raw = None  # type: ignore[assignment]


class _SpanStart(SpanStart, tag="span-start"):
    input: msgspec.Raw = None  # type: ignore[assignment]


class _SpanEnd(SpanEnd, tag="span-end"):
    output: msgspec.Raw = None  # type: ignore[assignment]


class Saved(msgspec.Struct, tag_field="type", tag="checkpoint"):
    """A checkpoint, at its place among the events."""

    saved: msgspec.Raw


class Ended(msgspec.Struct, tag_field="type", tag="outcome", omit_defaults=True):
    """How the function ended: the last item."""

    state: RunState
    result: msgspec.Raw = None  # type: ignore[assignment]
    error: dict[str, Any] | None = None

    def outcome(self) -> Outcome:
        """For the recorder."""
        return Outcome(self.state, self.result, self.error)


class Recipe(msgspec.Struct, frozen=True):
    """A function, as far as its process needs it. `call`: pickled."""

    call: bytes
    cumulative: bool

    def function(self, name: str) -> Function:
        """Import it, and make it what it was."""
        return Function(pickle.loads(self.call), name=name, cumulative=self.cumulative)  # noqa: S301 - our own


class Job(msgspec.Struct, frozen=True):
    """What a process is to do. `uploads`: their folder. `recipe`: of a function that it does not know yet."""

    run: RunRecord
    uploads: str
    recipe: Recipe | None = None


Item = Text | _Json | _Replace | Bytes | _Progress | _Log | _SpanStart | _SpanEnd | Saved | Ended

_encoder = msgspec.json.Encoder()
_items: msgspec.json.Decoder[Item] = msgspec.json.Decoder(Item)
_job = msgspec.json.Decoder(Job)


def encode(item: Any) -> bytes:
    """An event, `Saved`, `Ended` or `Job` as its line."""
    return _encoder.encode(item) + b"\n"


def decode_items(lines: bytes) -> list[Item]:
    """Whole lines. Raises msgspec.DecodeError: what came is not from Penstock."""
    return _items.decode_lines(lines)


def decode_job(line: bytes) -> Job:
    """A line as the job."""
    return _job.decode(line)
