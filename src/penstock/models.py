"""The values that travel between floors: frozen, without behaviour beyond reading them."""

from enum import StrEnum
from typing import Any

import msgspec

__all__ = [
    "Append",
    "Chunk",
    "Claimed",
    "Cursor",
    "Group",
    "Lease",
    "RunPage",
    "RunRecord",
    "RunState",
    "Stream",
]


class RunState(StrEnum):
    """Where a run stands. `protocol/runs.py` holds the table of allowed transitions."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def ended(self) -> bool:
        """Nothing leaves an ended state."""
        return self not in (RunState.QUEUED, RunState.RUNNING)


class Cursor(msgspec.Struct, frozen=True):
    """Where a reader stands: it has everything up to and including `seq` of the stream born as `epoch`."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


class Stream(msgspec.Struct, frozen=True):
    """An append-only log. `tail` is the seq of its last event, 0 when empty; nothing follows once `ended`."""

    name: str
    epoch: str
    tail: int
    ended: bool


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """What one append stores: the events `first_seq … last_seq` in the form in which they are sent.

    data: server-sent-event frames, one an event (`protocol/sse.py`), so that a replay is a copy.
    final: the last event is an `end`; nothing follows it.
    """

    first_seq: int
    last_seq: int
    data: bytes
    final: bool = False


class Append(msgspec.Struct, frozen=True, gc=False):
    """One chunk on its way into a stream, with the fence of the lease under which it was made."""

    stream: str
    fence: int
    chunk: Chunk


class Lease(msgspec.Struct, frozen=True):
    """A worker's right to write a run's stream. It holds while the store's fence for the stream is `fence`."""

    run_id: str
    worker: str
    fence: int


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run as the store keeps it. Times are Unix milliseconds.

    input: the function's input as JSON, one member per parameter.
    attempt: how often it was started; 0 while it waits for the first time.
    retries: attempts that may follow one whose worker was lost; `losses`: how many have.
    cancel: a stop has been asked for.
    error: `{code, message, hint}` of a run that did not succeed.
    """

    id: str
    function: str
    group: str
    state: RunState
    created_at_ms: int
    input: msgspec.Raw = msgspec.Raw(b"{}")
    key: str | None = None
    session: str | None = None
    attempt: int = 0
    retries: int = 0
    losses: int = 0
    worker: str | None = None
    not_before_ms: int = 0
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    cancel: bool = False
    error: dict[str, Any] | None = None


class RunPage(msgspec.Struct, frozen=True):
    """Runs, newest first; `next` continues the list and is None on its last page."""

    runs: list[RunRecord]
    next: str | None


class Claimed(msgspec.Struct, frozen=True):
    """A run with the lease under which it may be executed, and its stream as the lease found it."""

    run: RunRecord
    lease: Lease
    stream: Stream


class Group(msgspec.Struct, frozen=True):
    """Functions that share a concurrency limit; None is no limit."""

    name: str
    functions: tuple[str, ...]
    concurrency_limit: int | None
