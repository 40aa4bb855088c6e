"""The contracts that every store keeps; `penstock.testing.store_contract` examines any implementation.

The log is the truth. A store also tells listeners that something was appended, but that is a hint: losing one
costs a reader time, never an event. What is promised here holds between processes that share one store.

Common to all methods:

- Times are Unix milliseconds, given by the caller; stores read no clock for what they keep.
- They may be called from one event loop at a time and never block it.
- StoreError means that nothing was written and that trying again may help, `StoreFull`, `StoreLocked` and
  `StoreUnavailable` once the cause has gone.
- Cancelling a call that writes leaves it in doubt: it may have been carried out. Reads leave nothing.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from ..models import (
    Append,
    Chunk,
    Claimed,
    Ending,
    Group,
    Intake,
    Lease,
    Pace,
    RunFilter,
    RunPage,
    RunRecord,
    RunState,
    Standing,
    Stream,
    Submitted,
    Tally,
)

__all__ = [
    "ANYTHING",
    "EVERY_RUN",
    "Listener",
    "RunStore",
    "Store",
    "StreamStore",
    "ValueStore",
    "WorkerSign",
]

ANYTHING = Intake()
"""Any number of runs, repeated or not."""

EVERY_RUN = RunFilter()

Listener = Callable[[str | None, Chunk | None], None]
"""Called on the event loop: with (stream, chunk) for an append of this process; with (stream, None) when another
process has appended to the stream; with (None, None) when another process has written something."""


class StreamStore(Protocol):
    """Append-only streams of events, gap-free: a chunk is taken only where it continues its stream's tail."""

    async def append(self, batch: Sequence[Append]) -> list[bool]:
        """Append chunks to their streams in one commit.

        Returns one truth value an item, in order: False where the stream is unknown or ended, the fence is not
        the store's, or `first_seq` does not follow the tail; nothing of that item was written. An item is
        stored whole or not at all, and once this returns it survives what the store's level promises. An item's
        checkpoint is kept with the run of the stream's name; its chunk may then be empty, and is not told of.

        Raises:
            StoreError: Nothing of the batch was written.
        """
        ...

    async def read(self, stream: str, after: int, limit_bytes: int) -> list[Chunk]:
        """Chunks that hold events past `after`, in order: at least one where there is one, then as many as
        stay within `limit_bytes` of data. The first may begin before `after + 1`. Unknown stream: empty."""
        ...

    async def stream(self, name: str) -> Stream | None:
        """The stream as it stands, or None."""
        ...

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have `listener` called after commits; returns the function that ends it. See `Listener`."""
        ...


class WorkerSign(Protocol):
    """What a store knows of one worker's life."""

    @property
    def worker(self) -> str: ...

    @property
    def expires_at_ms(self) -> int: ...


class RunStore(Protocol):
    """Runs, and the leases under which they are executed. State changes follow `protocol.runs.TRANSITIONS`."""

    async def submit(self, run: RunRecord, epoch: str, intake: Intake = ANYTHING) -> Submitted:
        """Keep a queued run and create its stream, named like the run, if `intake` lets it in.

        Where `run.key` was used for the same function before, or there is a run of that id, nothing is written and
        the answer is that earlier run. `run.worker` says who keeps its line; see `adopt`. Runs that this one
        replaces have a stop asked for, with the reason "replaced". Where `created_at_ms` goes back from one
        submission to the next, positions may be off by those runs: without priorities at work they go by the order
        of submission, and starts by the time of it.

        Raises:
            AlreadyRunning, QueueFull: Nothing was written.
        """
        ...

    async def run(self, run_id: str) -> RunRecord | None:
        """One run, or None."""
        ...

    async def runs(self, sought: RunFilter = EVERY_RUN, *, limit: int, before: str | None = None) -> RunPage:
        """Runs, newest first, at most `limit`, with how their inputs begin (see `RunRecord`).

        A page of a search ends as well where `protocol.search` says that it has looked at enough: it may be short,
        or empty, and still have a `next`. before: a page's `next`. Raises BadRequest for one that no page gave.
        """
        ...

    async def standings(self, run_ids: Sequence[str]) -> dict[str, Standing]:
        """Where those of these runs stand that have not ended.

        `ahead` is what `protocol.standing` says.
        """
        ...

    async def tallies(self) -> list[Tally]:
        """How many wait, run and are held, for every group and function with any."""
        ...

    async def paces(self) -> dict[str, Pace]:
        """How long succeeded runs took, by function."""
        ...

    async def claim(self, worker: str, groups: Sequence[Group], now_ms: int, limit: int) -> list[Claimed]:
        """Start queued runs of these groups, at most `limit` calls, as `worker`'s, in one commit.

        Which ones is what `protocol.limits.admit` says, over all processes. A run is left while its
        `not_before_ms` lies ahead, and once its `start_by_ms` has come. Runs that one call is to serve share
        a `run.call` that no other has. Each claim raises its stream's fence and the run's attempt.
        """
        ...

    async def start(self, worker: str, run_id: str, now_ms: int) -> Claimed | None:
        """Start one queued run as `worker`'s, for a line that is kept elsewhere: as a claim does, but whatever its
        group's limit, its lane's turn and its `not_before_ms` say. It counts as running all the same.

        None for any other, for one that was asked to stop, and once its `start_by_ms` has come.
        """
        ...

    async def adopt(
        self, worker: str, functions: Collection[str], now_ms: int, limit: int
    ) -> list[RunRecord]:
        """Put into `worker`'s care queued runs of these functions that are in nobody's: they have no `worker`, or
        one that has left or was lost. In order of submission, at most `limit`.

        Not those whose `not_before_ms` lies ahead or that were asked to stop; the others are in line then. A run
        given back is in nobody's care.
        """
        ...

    async def due_at_ms(self) -> int | None:
        """When next something may start that waits for its time only, as of the last claim."""
        ...

    async def overdue(self, now_ms: int, limit: int) -> dict[str, str]:
        """Queued runs that are to be ended, each with the reason: those whose `start_by_ms` has come
        ("queue_timeout"), and those that were asked to stop. About `limit` at most."""
        ...

    async def seize(self, worker: str, run_id: str, *, waiting: bool = False) -> Claimed | None:
        """A lease on a run that nobody executes, in order to settle it: one that is queued, or running in this
        worker's own name. The fence rises. None for any other. waiting: a queued one only."""
        ...

    async def finish(
        self,
        lease: Lease,
        state: RunState,
        error: dict[str, Any] | None,
        last: Chunk,
        now_ms: int,
        *,
        lingers: bool = False,
    ) -> None:
        """End one run, as `finish_all` does.

        Raises:
            Fenced: The lease is no longer good, the run may not become `state` (it has ended already, say), or
                `last` does not follow the tail. Nothing was written.
        """
        ...

    async def finish_all(self, ends: Sequence[Ending]) -> list[bool]:
        """End runs: append their last chunks, end their streams and set their states, all in one commit.

        Returns one truth value a run, in order: False where `finish` would raise Fenced; nothing of that one was
        written. Raises StoreError.
        """
        ...

    async def returned(self, run_id: str) -> None:
        """A call that went on after its run had ended has come back: its place is free."""
        ...

    async def requeue(
        self, lease: Lease, not_before_ms: int, *, lost: bool = False, error: dict[str, Any] | None = None
    ) -> None:
        """Give a running run back to the queue; its stream's fence rises. Raises Fenced as `finish` does.

        lost: its worker died; `losses` rises. error: what it raised; `failures` rises. Given back in order, it
        is as if it had not been tried.
        """
        ...

    async def spare(self, lease: Lease) -> None:
        """Let whoever settles this running run give it back, as no loss of its own: its function outlives what its
        process may stay. Raises Fenced as `finish` does."""
        ...

    async def prioritize(self, run_id: str, priority: int) -> RunRecord | None:
        """Give a queued run another priority: it stands in line as if it had had it from the start. Any other is
        left as it is. The run, or None."""
        ...

    async def request_cancel(self, run_id: str, reason: str = "cancelled") -> RunRecord | None:
        """Note that a stop was asked for, unless the run has ended; the first reason stands. The run, or None."""
        ...

    async def acknowledge(self, run_ids: Sequence[str]) -> None:
        """Note that the workers of these runs are stopping them."""
        ...

    async def stopping(self) -> dict[str, bool]:
        """Runs under way, of all workers, for which a stop was asked; True where that was acknowledged."""
        ...

    async def watch(self, worker: str, present: Mapping[str, bool], now_ms: int) -> None:
        """Note which runs have readers in this process, as far as it has changed.

        Of a run with an `abandon_grace_ms` that nobody watches any more, in any process, the grace begins.
        """
        ...

    async def abandoned(self, now_ms: int, up_ms: int) -> list[str]:
        """Ids of runs that nobody has watched for their whole `abandon_grace_ms`, since they were submitted or
        since the last reader left, and that were not asked to stop.

        up_ms: for how long readers could come; a longer grace is not over.
        """
        ...

    async def held(self, worker: str) -> dict[str, int]:
        """Ids of this worker's running runs, each with its stream's fence."""
        ...

    async def regroup(self, groups: Sequence[Group]) -> None:
        """Put queued runs into the group that their function belongs to now; others are left."""
        ...

    async def cancels(self, worker: str) -> dict[str, str]:
        """Ids of this worker's running runs for which a stop was asked, each with the reason."""
        ...

    async def sign(self, worker: str, expires_at_ms: int) -> None:
        """A worker's sign of life: its leases hold at least until `expires_at_ms`. It signs before it claims."""
        ...

    async def leave(self, worker: str) -> None:
        """The worker is gone, in order: it has no runs left. Its lingering calls and its readers are gone too."""
        ...

    async def workers(self) -> Sequence[WorkerSign]:
        """The workers that have signed and not left, and, as expired at 0, any other that still holds runs, goes
        on with calls or has readers."""
        ...

    async def take_over(self, worker: str, lost: WorkerSign) -> list[Claimed]:
        """Move all running runs of a lost worker to `worker`, fences raised; the lost one leaves.

        Nothing happens, and the list is empty, if `lost` has signed again since it was read.
        """
        ...


class ValueStore(Protocol):
    """Values by name that outlive the process and belong to no run: what a session has to be given back, say."""

    async def keep(self, name: str, value: bytes | None, until_ms: int, now_ms: int) -> None:
        """Keep a value until `until_ms`, in place of what had the name; None: the name has none from now on.

        Calls are carried out in order. Values whose time is over are dropped with it. Raises StoreError.
        """
        ...

    async def kept(self, name: str, now_ms: int) -> bytes | None:
        """The value of that name, or None where there is none whose `until_ms` lies ahead."""
        ...


class Store(StreamStore, RunStore, ValueStore, Protocol):
    """The contracts, and a life."""

    async def open(self) -> None:
        """Make it ready. Calling again after an error tries again. Raises StoreError."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of files and threads. Later calls raise StoreUnavailable."""
        ...
