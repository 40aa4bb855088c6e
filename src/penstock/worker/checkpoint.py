"""What a run keeps so that another attempt can go on from it, and how that attempt begins."""

from typing import Any, Self

import msgspec

from ..events import SpanEnd
from ..models import Claimed, RunRecord
from .recorder import Recorder

__all__ = ["Checkpoint", "begin_attempt"]


class Checkpoint(msgspec.Struct, array_like=True):
    """The function's own state, and what Penstock has to know of the stream at that place.

    lengths: code points of each span's text, so that later pieces say where they begin.
    spans: those that were open.
    """

    state: msgspec.Raw = msgspec.Raw(b"null")
    lengths: list[tuple[str | None, int]] = []
    spans: list[str] = []

    @classmethod
    def of(cls, run: RunRecord) -> Self:
        """The run's latest; an empty one where there is none."""
        return cls() if run.checkpoint is None else msgspec.json.decode(run.checkpoint, type=cls)

    def encode(self) -> bytes:
        """As it is stored."""
        return msgspec.json.encode(self)

    @property
    def value(self) -> Any:
        """The function's state."""
        return msgspec.json.decode(self.state)


def begin_attempt(claimed: Claimed, recorder: Recorder) -> None:
    """Withdraw what an earlier attempt wrote after its last checkpoint, and end the spans it left open."""
    run, checkpoint = claimed.run, Checkpoint.of(claimed.run)
    if claimed.stream.tail > run.checkpoint_seq:
        recorder.withdraw(run.checkpoint_seq, _reason(run))
    cut_short = {"code": "interrupted", "message": "The attempt that began it was cut short."}
    for span in checkpoint.spans:
        recorder.emit(SpanEnd(None, cut_short, span=span))


def _reason(run: RunRecord) -> str:
    message = "" if run.error is None else f" ({run.error.get('message', '')})"
    goes_on = "begins again" if run.checkpoint is None else "goes on from its checkpoint"
    return f"attempt {run.attempt - 1} was cut short{message}; attempt {run.attempt} {goes_on}"
