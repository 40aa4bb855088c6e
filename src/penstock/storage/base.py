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

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..models import Append, Chunk, Claimed, Group, Lease, RunPage, RunRecord, RunState, Stream

__all__ = ["Listener", "RunStore", "Store", "StreamStore", "WorkerSign"]

Listener = Callable[[str | None, Chunk | None], None]
"""Called on the event loop: with (stream, chunk) for an append of this process; with (stream, None) when another
process has appended to the stream; with (None, None) when another process has written something."""


class StreamStore(Protocol):
    """Append-only streams of events, gap-free: a chunk is taken only where it continues its stream's tail."""

    async def append(self, batch: Sequence[Append]) -> list[bool]:
        """Append chunks to their streams in one commit.

        Returns one truth value an item, in order: False where the stream is unknown or ended, the fence is not
        the store's, or `first_seq` does not follow the tail; nothing of that item was written. An item is
        stored whole or not at all, and once this returns it survives what the store's level promises.

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

    async def submit(self, run: RunRecord, epoch: str) -> tuple[RunRecord, bool]:
        """Keep a queued run and create its stream, named like the run. Returns it and True.

        Where `run.key` was used for the same function before, nothing is written and the result is that
        earlier run and False.
        """
        ...

    async def run(self, run_id: str) -> RunRecord | None:
        """One run, or None."""
        ...

    async def runs(
        self, *, function: str | None, state: RunState | None, limit: int, before: str | None
    ) -> RunPage:
        """Runs, newest first, at most `limit`, of which the page does not carry the inputs.

        before: a page's `next`. Raises BadRequest for one that no page gave.
        """
        ...

    async def waiting_before(self, run: RunRecord) -> int:
        """How many queued runs of the same group were submitted before this one."""
        ...

    async def claim(self, worker: str, groups: Sequence[Group], now_ms: int, limit: int) -> list[Claimed]:
        """Start queued runs of these groups, oldest first, at most `limit`, as `worker`'s, in one commit.

        No group's running runs exceed its `concurrency_limit`, counted over all processes. A run is left
        while its `not_before_ms` lies ahead. Each claim raises its stream's fence and the run's attempt.
        """
        ...

    async def seize(self, worker: str, run_id: str) -> Claimed | None:
        """A lease on a run that nobody executes, in order to settle it: one that is queued, or running in this
        worker's own name. The fence rises. None for any other."""
        ...

    async def finish(
        self, lease: Lease, state: RunState, error: dict[str, Any] | None, last: Chunk, now_ms: int
    ) -> None:
        """End a run: append `last`, end its stream and set its state, in one commit.

        Raises:
            Fenced: The lease is no longer good, the run may not become `state` (it has ended already, say), or
                `last` does not follow the tail. Nothing was written.
        """
        ...

    async def requeue(self, lease: Lease, not_before_ms: int, *, lost: bool = False) -> None:
        """Give a running run back to the queue; its stream's fence rises. Raises Fenced as `finish` does.

        lost: its worker died; `losses` rises. Given back in order, it is as if it had not been tried.
        """
        ...

    async def request_cancel(self, run_id: str) -> RunRecord | None:
        """Note that a stop was asked for, unless the run has ended. The run as it then is, or None."""
        ...

    async def held(self, worker: str) -> dict[str, int]:
        """Ids of this worker's running runs, each with its stream's fence."""
        ...

    async def regroup(self, groups: Sequence[Group]) -> None:
        """Put queued runs into the group that their function belongs to now; others are left."""
        ...

    async def cancels(self, worker: str) -> list[str]:
        """Ids of this worker's running runs for which a stop was asked."""
        ...

    async def sign(self, worker: str, expires_at_ms: int) -> None:
        """A worker's sign of life: its leases hold at least until `expires_at_ms`. It signs before it claims."""
        ...

    async def leave(self, worker: str) -> None:
        """The worker is gone, in order: it has no runs left."""
        ...

    async def workers(self) -> Sequence[WorkerSign]:
        """The workers that have signed and not left, and, as expired at 0, any other that still holds runs."""
        ...

    async def take_over(self, worker: str, lost: WorkerSign) -> list[Claimed]:
        """Move all running runs of a lost worker to `worker`, fences raised, and forget the lost one.

        Nothing happens, and the list is empty, if `lost` has signed again since it was read.
        """
        ...


class Store(StreamStore, RunStore, Protocol):
    """Both contracts, and a life."""

    async def open(self) -> None:
        """Make it ready. Calling again after an error tries again. Raises StoreError."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of files and threads. Later calls raise StoreUnavailable."""
        ...
