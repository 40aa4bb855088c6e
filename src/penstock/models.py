"""The values that travel between floors: frozen, without behaviour beyond reading them."""

from enum import StrEnum
from typing import Any, Literal, NamedTuple

import msgspec

__all__ = [
    "LISTED_INPUT_BYTES",
    "LISTED_INPUT_MOST_BYTES",
    "Append",
    "Chunk",
    "Claimed",
    "Cursor",
    "Ending",
    "Group",
    "Intake",
    "Lease",
    "OnRepeat",
    "Pace",
    "Rate",
    "RunFilter",
    "RunPage",
    "RunRecord",
    "RunState",
    "Standing",
    "Stream",
    "Submitted",
    "Tally",
    "Terms",
]

OnRepeat = Literal["enqueue", "reject", "replace", "interrupt"]


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

    @property
    def empty(self) -> bool:
        """It has no event, and marks a place only."""
        return self.last_seq < self.first_seq


class Append(msgspec.Struct, frozen=True, gc=False):
    """One chunk on its way into a stream, with the fence of the lease under which it was made.

    checkpoint: kept with the run that writes the stream, as of `chunk.last_seq`. The chunk may then be empty:
        `last_seq` is one less than `first_seq`.
    """

    stream: str
    fence: int
    chunk: Chunk
    checkpoint: bytes | None = None


class Lease(msgspec.Struct, frozen=True):
    """A worker's right to write a run's stream. It holds while the store's fence for the stream is `fence`."""

    run_id: str
    worker: str
    fence: int


class Ending(msgspec.Struct, frozen=True):
    """How a run ends: its state, its error, and the chunk with its `end`.

    lingers: its call goes on, and keeps its place in the group until `returned` or the worker's loss.
    """

    lease: Lease
    state: RunState
    error: dict[str, Any] | None
    last: Chunk
    now_ms: int
    lingers: bool = False


LISTED_INPUT_BYTES = 200
"""Of an input in lists: enough to tell runs of one function apart, and 100 KB for a full page."""

LISTED_INPUT_MOST_BYTES = 64 * 1024
"""An input over this is not looked into for a list: a page of 500 such would be read from the disk for it."""


class RunRecord(msgspec.Struct, frozen=True):
    """One run as the store keeps it. Times are Unix milliseconds.

    input: the function's input as JSON, one member per parameter; in lists only how it begins, its first
        LISTED_INPUT_BYTES, and nothing of one over LISTED_INPUT_MOST_BYTES.
    lane: what its concurrency key is worth; runs of one lane of a group share a limit and take turns with others.
    priority: minutes of waiting that it is given for free.
    worker: who executes it; of one that waits, whose process keeps its line, where that is not the store's own.
    call: of which call it is; runs that one call serves share it, and one place in the group.
    attempt: how often it was started; 0 while it waits for the first time.
    crash_retries: attempts that may follow one whose worker was lost; `losses`: how many have.
    failures: attempts that raised and were followed by another.
    start_by_ms: when it has waited too long.
    abandon_grace_ms: how long it goes on with nobody watching; None is for ever.
    cancel: a stop has been asked for; `cancel_reason` says why, and `acknowledged` that its worker knows.
    checkpoint: what it goes on from, as of event `checkpoint_seq` of its stream.
    error: `{code, message, hint}` of a run that did not succeed, or of its last attempt.
    """

    id: str
    function: str
    group: str
    state: RunState
    created_at_ms: int
    input: msgspec.Raw = msgspec.Raw(b"{}")
    key: str | None = None
    session: str | None = None
    lane: str = ""
    priority: int = 0
    call: str | None = None
    attempt: int = 0
    crash_retries: int = 0
    losses: int = 0
    failures: int = 0
    worker: str | None = None
    not_before_ms: int = 0
    start_by_ms: int | None = None
    abandon_grace_ms: int | None = None
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    cancel: bool = False
    cancel_reason: str | None = None
    acknowledged: bool = False
    checkpoint: bytes | None = None
    checkpoint_seq: int = 0
    error: dict[str, Any] | None = None


class RunFilter(msgspec.Struct, frozen=True):
    """Which runs are asked for; what is not given lets all through.

    states: any of them. ids: these runs only, as far as there are any.
    text: what stands in a run's id, function, session, key, input or error; see `protocol.search`.
    """

    function: str | None = None
    states: tuple[RunState, ...] = ()
    ids: tuple[str, ...] | None = None
    text: str = ""


class RunPage(msgspec.Struct, frozen=True):
    """Runs, newest first; `next` continues the list and is None on its last page."""

    runs: list[RunRecord]
    next: str | None


class Claimed(msgspec.Struct, frozen=True):
    """A run with the lease under which it may be executed, and its stream as the lease found it."""

    run: RunRecord
    lease: Lease
    stream: Stream


class Rate(msgspec.Struct, frozen=True):
    """At most `count` starts in any `period_ms` milliseconds."""

    count: int
    period_ms: int


class Terms(msgspec.Struct, frozen=True):
    """How runs of one function may start, beside their group's limit.

    key_limit: runs of one lane of the group at once; with it, lanes take turns. None: lanes mean nothing.
    rate: starts of one lane.
    batch_size: runs that one call serves at most; `batch_wait_ms`: how long a smaller batch waits for more.
    """

    key_limit: int | None = None
    rate: Rate | None = None
    batch_size: int = 1
    batch_wait_ms: int = 0


_PLAIN = Terms()


class Group(msgspec.Struct, frozen=True):
    """Functions that share a concurrency limit, counted in calls; None is no limit.

    terms: of those functions that have any.
    """

    name: str
    functions: tuple[str, ...]
    concurrency_limit: int | None
    terms: dict[str, Terms] = {}

    @property
    def batches(self) -> bool:
        """Whether a call may serve several runs."""
        return any(terms.batch_size > 1 for terms in self.terms.values())

    def terms_of(self, function: str) -> Terms:
        """The function's terms."""
        return self.terms.get(function, _PLAIN)


class Intake(msgspec.Struct, frozen=True):
    """Under what a group takes a run in.

    max_size: waiting runs of the group at most, beyond those for which there is room to start at once:
        `concurrency_limit` less what runs.
    on_repeat: what becomes of a run whose session has one of the same function that has not ended: it waits
        too ("enqueue"), is refused ("reject"), takes the place of those that wait ("replace"), or of all
        ("interrupt").
    batches: whether a call of the group may serve several runs.
    terms: of the run's function.
    """

    max_size: int | None = None
    concurrency_limit: int | None = None
    on_repeat: OnRepeat = "enqueue"
    batches: bool = False
    terms: Terms = Terms()


class Submitted(NamedTuple):
    """What became of a submission.

    fresh: it was taken in; otherwise `run` is the earlier one of its key.
    ahead: how many waited in its group then; `calls`: how many places were taken in it.
    replaced: earlier runs that were asked to stop for it.
    """

    run: RunRecord
    fresh: bool
    ahead: int = 0
    calls: int = 0
    replaced: tuple[str, ...] = ()


class Standing(msgspec.Struct, frozen=True):
    """Where a run that has not ended stands.

    ahead: runs that are to start before it, for a queued one.
    not_before_ms: when it comes into line, for one that waits for another attempt; else 0.
    """

    run_id: str
    function: str
    group: str
    state: RunState
    ahead: int
    cancel: bool
    acknowledged: bool
    not_before_ms: int = 0


class Tally(msgspec.Struct, frozen=True):
    """How many runs a function has in a group.

    held: calls that go on though their runs have ended. calls: those that serve the running runs, as many as them
    where there are no batches.
    """

    group: str
    function: str
    waiting: int
    running: int
    held: int
    calls: int


class Pace(msgspec.Struct, frozen=True):
    """How long a function's runs took: a running mean, and the variance around it."""

    runs: int = 0
    mean_ms: float = 0.0
    variance: float = 0.0
