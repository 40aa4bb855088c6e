"""Streams and runs in this process's memory: for tests, demos and work that may be forgotten."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from typing import Any

import msgspec

from ..errors import BadRequest, Fenced, StoreUnavailable
from ..models import Append, Chunk, Claimed, Group, Lease, RunPage, RunRecord, RunState, Stream
from ..protocol.runs import may_become
from .base import Listener, WorkerSign

__all__ = ["MemoryStore"]


class _Log:
    """One stream."""

    __slots__ = ("chunks", "ended", "epoch", "fence", "tail")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.fence = 0
        self.tail = 0
        self.ended = False
        self.chunks: list[Chunk] = []

    def take(self, fence: int, chunk: Chunk) -> bool:
        if self.ended or fence != self.fence or chunk.first_seq != self.tail + 1:
            return False
        self.chunks.append(chunk)
        self.tail, self.ended = chunk.last_seq, chunk.final
        return True

    def index_after(self, seq: int) -> int:
        low, high = 0, len(self.chunks)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.chunks[middle].last_seq <= seq else (low, middle)
        return low


class _Sign(msgspec.Struct, frozen=True):
    worker: str
    expires_at_ms: int


_NO_INPUT = msgspec.Raw(b"{}")


class _Kept:
    """All that a store holds."""

    __slots__ = ("keys", "logs", "numbers", "order", "running", "runs", "signs", "waiting")

    def __init__(self) -> None:
        self.logs: dict[str, _Log] = {}
        self.runs: dict[str, RunRecord] = {}  # in order of submission
        self.order: dict[str, int] = {}
        self.numbers = count(1)
        self.waiting: dict[str, dict[str, None]] = {}  # group to its queued runs, oldest first
        self.running: dict[str, set[str]] = {}
        self.keys: dict[tuple[str, str], str] = {}
        self.signs: dict[str, _Sign] = {}


class MemoryStore:
    """The contracts of `storage.base` in dictionaries. Nothing survives the process."""

    def __init__(self) -> None:
        self._open: _Kept | None = _Kept()
        self._listeners: list[Listener] = []

    @property
    def _kept(self) -> _Kept:
        if self._open is None:
            raise StoreUnavailable("The store has been closed.", hint="What it held is gone; make another.")
        return self._open

    async def open(self) -> None:
        """Ready from the start. Raises StoreUnavailable once it has been closed."""
        _ = self._kept

    async def close(self) -> None:
        """Forget everything."""
        self._open = None

    # Streams

    async def append(self, batch: Sequence[Append]) -> list[bool]:
        taken = [self._append(item) for item in batch]
        await asyncio.sleep(0)
        return taken

    def _append(self, item: Append) -> bool:
        log = self._kept.logs.get(item.stream)
        if log is None or not log.take(item.fence, item.chunk):
            return False
        self._tell(item.stream, item.chunk)
        return True

    async def read(self, stream: str, after: int, limit_bytes: int) -> list[Chunk]:
        log = self._kept.logs.get(stream)
        found: list[Chunk] = []
        if log is None:
            return found
        for chunk in islice(log.chunks, log.index_after(after), None):
            limit_bytes -= len(chunk.data)
            if found and limit_bytes < 0:
                break
            found.append(chunk)
        return found

    async def stream(self, name: str) -> Stream | None:
        log = self._kept.logs.get(name)
        return None if log is None else Stream(name, log.epoch, log.tail, log.ended)

    def listen(self, listener: Listener) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self, stream: str, chunk: Chunk) -> None:
        for listener in tuple(self._listeners):
            listener(stream, chunk)

    # Runs

    async def submit(self, run: RunRecord, epoch: str) -> tuple[RunRecord, bool]:
        if run.key is not None:
            known = self._kept.keys.setdefault((run.function, run.key), run.id)
            if known != run.id:
                return self._kept.runs[known], False
        self._kept.order[run.id] = next(self._kept.numbers)
        self._kept.logs[run.id] = _Log(epoch)
        self._put(run)
        return run, True

    def _put(self, run: RunRecord) -> RunRecord:
        waiting = self._kept.waiting.setdefault(run.group, {})
        running = self._kept.running.setdefault(run.group, set())
        waiting.pop(run.id, None)
        running.discard(run.id)
        if run.state is RunState.QUEUED:
            waiting[run.id] = None
        elif run.state is RunState.RUNNING:
            running.add(run.id)
        self._kept.runs[run.id] = run
        return run

    async def run(self, run_id: str) -> RunRecord | None:
        return self._kept.runs.get(run_id)

    async def runs(
        self, *, function: str | None, state: RunState | None, limit: int, before: str | None
    ) -> RunPage:
        if before is not None and before not in self._kept.order:
            raise BadRequest(
                f"{before!r} continues no list.", hint="Send a page's `next` as it came.", field="before"
            )
        found = [
            run
            for run in reversed(self._kept.runs.values())
            if function in (None, run.function)
            and state in (None, run.state)
            and (before is None or self._kept.order[run.id] < self._kept.order[before])
        ]
        page = [msgspec.structs.replace(run, input=_NO_INPUT) for run in found[:limit]]
        return RunPage(page, page[-1].id if len(found) > limit else None)

    async def waiting_before(self, run: RunRecord) -> int:
        order = self._kept.order
        mine = order.get(run.id, 0)
        return sum(order[other] < mine for other in self._kept.waiting.get(run.group, ()))

    async def claim(self, worker: str, groups: Sequence[Group], now_ms: int, limit: int) -> list[Claimed]:
        ready = [run for group in groups for run in self._ready(group, now_ms)]
        ready.sort(key=lambda run: self._kept.order[run.id])
        return [self._start(run, worker, now_ms) for run in ready[:limit]]

    def _ready(self, group: Group, now_ms: int) -> list[RunRecord]:
        waiting = (self._kept.runs[run_id] for run_id in self._kept.waiting.get(group.name, ()))
        ready = (run for run in waiting if run.function in group.functions and run.not_before_ms <= now_ms)
        if group.concurrency_limit is None:
            return list(ready)
        free = group.concurrency_limit - len(self._kept.running.get(group.name, ()))
        return list(islice(ready, max(0, free)))

    def _start(self, run: RunRecord, worker: str, now_ms: int) -> Claimed:
        started = msgspec.structs.replace(
            run, state=RunState.RUNNING, worker=worker, attempt=run.attempt + 1, started_at_ms=now_ms
        )
        return self._lease(self._put(started), worker)

    def _lease(self, run: RunRecord, worker: str) -> Claimed:
        log = self._kept.logs[run.id]
        log.fence += 1
        return Claimed(run, Lease(run.id, worker, log.fence), Stream(run.id, log.epoch, log.tail, log.ended))

    async def seize(self, worker: str, run_id: str) -> Claimed | None:
        run = self._kept.runs.get(run_id)
        if run is None or run.state.ended or (run.state is RunState.RUNNING and run.worker != worker):
            return None
        return self._lease(run, worker)

    async def finish(
        self, lease: Lease, state: RunState, error: dict[str, Any] | None, last: Chunk, now_ms: int
    ) -> None:
        run = self._kept.runs.get(lease.run_id)
        if (
            run is None
            or not may_become(run.state, state)
            or not self._append(Append(run.id, lease.fence, last))
        ):
            raise Fenced(f"Run {lease.run_id} is not this worker's to end.")
        self._put(msgspec.structs.replace(run, state=state, error=error, ended_at_ms=now_ms))

    async def requeue(self, lease: Lease, not_before_ms: int, *, lost: bool = False) -> None:
        run, log = self._kept.runs.get(lease.run_id), self._kept.logs.get(lease.run_id)
        if run is None or log is None or run.state is not RunState.RUNNING or log.fence != lease.fence:
            raise Fenced(f"Run {lease.run_id} is not this worker's to give back.")
        log.fence += 1
        losses = run.losses + lost
        self._queue_again(
            msgspec.structs.replace(
                run, state=RunState.QUEUED, worker=None, not_before_ms=not_before_ms, losses=losses
            )
        )

    def _queue_again(self, run: RunRecord) -> None:
        self._put(run)
        waiting = self._kept.waiting[run.group]
        self._kept.waiting[run.group] = dict.fromkeys(sorted(waiting, key=self._kept.order.__getitem__))

    async def regroup(self, groups: Sequence[Group]) -> None:
        home = {function: group.name for group in groups for function in group.functions}
        for run_id in [run_id for waiting in self._kept.waiting.values() for run_id in waiting]:
            run = self._kept.runs[run_id]
            group = home.get(run.function, run.group)
            if group != run.group:
                del self._kept.waiting[run.group][run_id]
                self._queue_again(msgspec.structs.replace(run, group=group))

    async def request_cancel(self, run_id: str) -> RunRecord | None:
        run = self._kept.runs.get(run_id)
        if run is None or run.state.ended:
            return run
        self._kept.runs[run_id] = run = msgspec.structs.replace(run, cancel=True)
        return run

    def _running(self) -> Iterator[RunRecord]:
        return (self._kept.runs[run_id] for group in self._kept.running.values() for run_id in group)

    async def cancels(self, worker: str) -> list[str]:
        return [run.id for run in self._running() if run.cancel and run.worker == worker]

    async def held(self, worker: str) -> dict[str, int]:
        return {run.id: self._kept.logs[run.id].fence for run in self._running() if run.worker == worker}

    async def sign(self, worker: str, expires_at_ms: int) -> None:
        self._kept.signs[worker] = _Sign(worker, expires_at_ms)

    async def leave(self, worker: str) -> None:
        self._kept.signs.pop(worker, None)

    async def workers(self) -> Sequence[WorkerSign]:
        holders = {run.worker for run in self._running()}
        unsigned = [_Sign(worker, 0) for worker in holders if worker and worker not in self._kept.signs]
        return [*self._kept.signs.values(), *unsigned]

    async def take_over(self, worker: str, lost: WorkerSign) -> list[Claimed]:
        signed = self._kept.signs.get(lost.worker)
        if (signed.expires_at_ms if signed else 0) != lost.expires_at_ms:
            return []
        self._kept.signs.pop(lost.worker, None)
        theirs = [run for run in self._running() if run.worker == lost.worker]
        return [self._lease(self._put(msgspec.structs.replace(run, worker=worker)), worker) for run in theirs]
