"""The contracts of `storage.base` in dictionaries."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from ...errors import Fenced, StoreUnavailable
from ...models import (
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
from ...protocol.limits import pace_after
from ...protocol.runs import may_become
from ..base import ANYTHING, EVERY_RUN, Listener, WorkerSign
from ..intake import already_running, check_room
from ..listeners import tell_all
from .holding import Kept, Sign
from .lineup import OVERDUE_MS
from .lists import read_runs
from .log import Log

__all__ = ["MemoryStore"]


class MemoryStore:
    """Nothing survives the process."""

    def __init__(self) -> None:
        self._open: Kept | None = Kept()
        self._listeners: list[Listener] = []

    @property
    def _kept(self) -> Kept:
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
        if item.checkpoint is not None:
            self._change(item.stream, checkpoint=item.checkpoint, checkpoint_seq=item.chunk.last_seq)
        if not item.chunk.empty:
            self._tell(item.stream, item.chunk)
        return True

    async def read(self, stream: str, after: int, limit_bytes: int) -> list[Chunk]:
        log = self._kept.logs.get(stream)
        found: list[Chunk] = []
        for chunk in () if log is None else log.after(after):
            limit_bytes -= len(chunk.data)
            if found and limit_bytes < 0:
                break
            found.append(chunk)
        return found

    async def stream(self, name: str) -> Stream | None:
        log = self._kept.logs.get(name)
        return None if log is None else log.stream(name)

    def listen(self, listener: Listener) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self, stream: str, chunk: Chunk) -> None:
        tell_all(self._listeners, stream, chunk)

    # Runs

    async def submit(self, run: RunRecord, epoch: str, intake: Intake = ANYTHING) -> Submitted:
        kept = self._kept
        known = kept.keys.get((run.function, run.key), run.id)
        if known in kept.runs:
            return Submitted(kept.runs[known], fresh=False)
        repeated = self._repeated(run, intake)
        ahead = kept.lineup.waiting(run.group)
        calls = kept.lineup.calls(run.group, batches=intake.batches and intake.max_size is not None)
        ahead -= sum(kept.runs[run_id].state is RunState.QUEUED for run_id in repeated)
        if intake.max_size is not None:
            check_room(run.group, intake, ahead, calls, stuck=kept.lineup.is_stuck(run, intake.terms))
        for run_id in repeated:
            self._change(run_id, cancel=True, cancel_reason="replaced")
        if run.key is not None:
            kept.keys[run.function, run.key] = run.id
        kept.lineup.number(run.id)
        kept.logs[run.id] = Log(epoch)
        kept.audience.expect(run)
        self._put(run)
        return Submitted(run, True, ahead, calls, repeated)

    def _repeated(self, run: RunRecord, intake: Intake) -> tuple[str, ...]:
        """The session's runs that this one is to replace. Raises AlreadyRunning."""
        if intake.on_repeat == "enqueue" or run.session is None:
            return ()
        lineup = self._kept.lineup
        going_on = [
            one
            for one in (*lineup.queued, *lineup.running)
            if (one.function, one.session) == (run.function, run.session) and not one.cancel
        ]
        if intake.on_repeat == "reject" and going_on:
            raise already_running(going_on[0].id)
        return tuple(
            one.id for one in going_on if intake.on_repeat == "interrupt" or one.state is RunState.QUEUED
        )

    def _put(self, run: RunRecord, *, parked: bool | None = None) -> RunRecord:
        kept, known = self._kept, self._kept.runs.get(run.id)
        parked = run.not_before_ms > 0 if parked is None else parked
        moves = known is None or (known.state, known.group) != (run.state, run.group)
        if known is not None and not moves and kept.lineup.is_parked(run.id) == parked:
            kept.lineup.refresh(run)  # it keeps its place, and its line what is known of it
        else:
            if known is not None:
                kept.lineup.remove(known)
            kept.lineup.put(run, parked=parked)
        kept.runs[run.id] = run
        return run

    def _change(self, run_id: str, **changes: Any) -> RunRecord:
        parked = self._kept.lineup.is_parked(run_id)
        return self._put(msgspec.structs.replace(self._kept.runs[run_id], **changes), parked=parked)

    async def run(self, run_id: str) -> RunRecord | None:
        return self._kept.runs.get(run_id)

    async def runs(self, sought: RunFilter = EVERY_RUN, *, limit: int, before: str | None = None) -> RunPage:
        runs, numbers = self._kept.runs, self._kept.lineup.numbers
        if sought.text:  # it looks through megabytes, and streams go on meanwhile: on a copy, in a thread
            return await asyncio.to_thread(read_runs, dict(runs), numbers, sought, limit, before)
        return read_runs(runs, numbers, sought, limit, before)

    async def standings(self, run_ids: Sequence[str]) -> dict[str, Standing]:
        runs = [self._kept.runs[run_id] for run_id in run_ids if run_id in self._kept.runs]
        ahead = self._kept.lineup.ahead(runs)
        return {run.id: self._standing(run, ahead.get(run.id, 0)) for run in runs if not run.state.ended}

    def _standing(self, run: RunRecord, ahead: int) -> Standing:
        parked = self._kept.lineup.is_parked(run.id)
        return Standing(
            run.id,
            run.function,
            run.group,
            run.state,
            ahead,
            run.cancel,
            run.acknowledged,
            run.not_before_ms if parked else 0,
        )

    async def tallies(self) -> list[Tally]:
        return self._kept.lineup.tallies()

    async def paces(self) -> dict[str, Pace]:
        return dict(self._kept.paces)

    async def claim(self, worker: str, groups: Sequence[Group], now_ms: int, limit: int) -> list[Claimed]:
        lineup = self._kept.lineup
        for run in lineup.due(now_ms):
            self._put(run, parked=False)
        for run in lineup.overdue(now_ms):
            if not lineup.is_parked(run.id):
                self._put(msgspec.structs.replace(run, not_before_ms=OVERDUE_MS), parked=True)
        calls = lineup.admit(groups, now_ms, limit)
        return [one for call in calls for one in self._start_call(call, worker, now_ms)]

    def _start_call(self, run_ids: list[str], worker: str, now_ms: int) -> list[Claimed]:
        first = self._kept.runs[run_ids[0]]
        call = f"{first.id}.{first.attempt + 1}"
        return [self._start(run_id, call, worker, now_ms) for run_id in run_ids]

    def _start(self, run_id: str, call: str, worker: str, now_ms: int) -> Claimed:
        run = self._kept.runs[run_id]
        started = msgspec.structs.replace(
            run,
            state=RunState.RUNNING,
            worker=worker,
            call=call,
            attempt=run.attempt + 1,
            started_at_ms=now_ms,
            start_by_ms=None,
        )
        return self._lease(self._put(started), worker)

    def _lease(self, run: RunRecord, worker: str) -> Claimed:
        log = self._kept.logs[run.id]
        log.fence += 1
        return Claimed(run, Lease(run.id, worker, log.fence), log.stream(run.id))

    async def start(self, worker: str, run_id: str, now_ms: int) -> Claimed | None:
        may_start = self._kept.lineup.may_start(run_id, now_ms)
        return self._start_call([run_id], worker, now_ms)[0] if may_start else None

    async def adopt(
        self, worker: str, functions: Collection[str], now_ms: int, limit: int
    ) -> list[RunRecord]:
        unkept = self._kept.lineup.unkept(functions, self._kept.signs, now_ms)[:limit]
        found = [msgspec.structs.replace(self._kept.runs[run_id], worker=worker) for run_id in unkept]
        return [self._put(run, parked=False) for run in found]

    async def due_at_ms(self) -> int | None:
        return self._kept.lineup.due_at_ms()

    async def overdue(self, now_ms: int, limit: int) -> dict[str, str]:
        late = {run.id: "queue_timeout" for run in self._kept.lineup.overdue(now_ms)[:limit]}
        asked = {run.id: run.cancel_reason or "" for run in self._kept.lineup.queued if run.cancel}
        return late | asked

    async def seize(self, worker: str, run_id: str, *, waiting: bool = False) -> Claimed | None:
        run = self._kept.runs.get(run_id)
        if run is None or run.state.ended:
            return None
        if run.state is RunState.RUNNING and (waiting or run.worker != worker):
            return None
        return self._lease(run, worker)

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
        if not self._finish(Ending(lease, state, error, last, now_ms, lingers)):
            raise Fenced(f"Run {lease.run_id} is not this worker's to end.")

    async def finish_all(self, ends: Sequence[Ending]) -> list[bool]:
        return [self._finish(end) for end in ends]

    def _finish(self, end: Ending) -> bool:
        run = self._kept.runs.get(end.lease.run_id)
        if run is None or not may_become(run.state, end.state):
            return False
        if not self._append(Append(run.id, end.lease.fence, end.last)):
            return False
        if end.state is RunState.SUCCEEDED:
            took_ms = end.now_ms - (run.started_at_ms or end.now_ms)
            self._kept.paces[run.function] = pace_after(self._kept.paces.get(run.function, Pace()), took_ms)
        if end.lingers:
            self._kept.lineup.hold(run)
        self._change(run.id, state=end.state, error=end.error, ended_at_ms=end.now_ms, checkpoint=None)
        return True

    async def returned(self, run_id: str) -> None:
        self._kept.lineup.release(run_id)

    async def requeue(
        self, lease: Lease, not_before_ms: int, *, lost: bool = False, error: dict[str, Any] | None = None
    ) -> None:
        run = self._held(lease)
        self._kept.logs[lease.run_id].fence += 1
        given_back = msgspec.structs.replace(
            run,
            state=RunState.QUEUED,
            worker=None,
            call=None,
            not_before_ms=not_before_ms,
            losses=run.losses + lost,
            failures=run.failures + (error is not None),
            error=error,
        )
        self._put(given_back)

    async def spare(self, lease: Lease) -> None:
        run = self._held(lease)
        self._put(msgspec.structs.replace(run, crash_retries=max(run.crash_retries, run.losses) + 1))

    def _held(self, lease: Lease) -> RunRecord:
        run, log = self._kept.runs.get(lease.run_id), self._kept.logs.get(lease.run_id)
        if run is None or log is None or run.state is not RunState.RUNNING or log.fence != lease.fence:
            raise Fenced(f"Run {lease.run_id} is not this worker's.")
        return run

    async def regroup(self, groups: Sequence[Group]) -> None:
        home = {function: group.name for group in groups for function in group.functions}
        for run in self._kept.lineup.queued:
            group = home.get(run.function, run.group)
            if group != run.group:
                self._change(run.id, group=group)

    async def prioritize(self, run_id: str, priority: int) -> RunRecord | None:
        run, lineup = self._kept.runs.get(run_id), self._kept.lineup
        if run is None or run.state is not RunState.QUEUED or run.priority == priority:
            return run
        parked = lineup.is_parked(run_id)
        lineup.remove(run)
        self._kept.runs[run_id] = changed = msgspec.structs.replace(run, priority=priority)
        lineup.put(changed, parked=parked)
        return changed

    async def request_cancel(self, run_id: str, reason: str = "cancelled") -> RunRecord | None:
        run = self._kept.runs.get(run_id)
        if run is None or run.state.ended or run.cancel:
            return run
        return self._change(run_id, cancel=True, cancel_reason=reason)

    async def acknowledge(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            run = self._kept.runs.get(run_id)
            if run is not None and run.state is RunState.RUNNING:
                self._change(run_id, acknowledged=True)

    async def stopping(self) -> dict[str, bool]:
        return {run.id: run.acknowledged for run in self._kept.lineup.running if run.cancel}

    async def watch(self, worker: str, present: Mapping[str, bool], now_ms: int) -> None:
        self._kept.audience.watch(worker, present, now_ms)

    async def abandoned(self, now_ms: int, up_ms: int) -> list[str]:
        return self._kept.audience.abandoned(now_ms, up_ms)

    async def cancels(self, worker: str) -> dict[str, str]:
        running = self._kept.lineup.running
        return {run.id: run.cancel_reason or "" for run in running if run.cancel and run.worker == worker}

    async def held(self, worker: str) -> dict[str, int]:
        running = self._kept.lineup.running
        return {run.id: self._kept.logs[run.id].fence for run in running if run.worker == worker}

    # Workers

    async def sign(self, worker: str, expires_at_ms: int) -> None:
        self._kept.signs[worker] = Sign(worker, expires_at_ms)

    async def leave(self, worker: str) -> None:
        self._kept.signs.pop(worker, None)
        self._kept.lineup.forget(worker)
        self._kept.audience.forget(worker)

    async def workers(self) -> Sequence[WorkerSign]:
        running = {run.worker or "" for run in self._kept.lineup.running}
        known = running | self._kept.audience.workers | self._kept.lineup.holders
        return [
            *self._kept.signs.values(),
            *(Sign(worker, 0) for worker in sorted(known - self._kept.signs.keys())),
        ]

    async def take_over(self, worker: str, lost: WorkerSign) -> list[Claimed]:
        signed = self._kept.signs.get(lost.worker)
        if (signed.expires_at_ms if signed else 0) != lost.expires_at_ms:
            return []
        await self.leave(lost.worker)
        theirs = [run for run in self._kept.lineup.running if run.worker == lost.worker]
        return [self._lease(self._change(run.id, worker=worker), worker) for run in theirs]

    # Values

    async def keep(self, name: str, value: bytes | None, until_ms: int, now_ms: int) -> None:
        self._kept.values.keep(name, value, until_ms, now_ms)

    async def kept(self, name: str, now_ms: int) -> bytes | None:
        return self._kept.values.kept(name, now_ms)
