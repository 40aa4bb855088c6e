"""Plays histories of calls on a store, and keeps its answers."""

from typing import Any

import msgspec

from penstock.errors import PenstockError
from penstock.models import (
    Append,
    Chunk,
    Claimed,
    Ending,
    Group,
    Intake,
    Lease,
    Pace,
    RunFilter,
    RunRecord,
    RunState,
    Terms,
)
from penstock.storage.base import Store, WorkerSign

__all__ = ["FUNCTIONS", "GROUPS", "WORKERS", "Player", "Step"]

FUNCTIONS = ("f", "g", "h")
GROUPS = ("one", "other")
GROUP_OF = {"f": "one", "g": "one", "h": "other"}
WORKERS = ("w1", "w2", "w3")
NEVER = 1 << 60

Step = tuple[Any, ...]


class Player:
    """Plays steps on one store. Runs, leases and signs are named by their place among those seen so far."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ids: list[str] = []
        self.leases: list[Lease] = [Lease("nobody's", "w1", 1)]
        self.signs: list[WorkerSign] = []
        self.home = dict(GROUP_OF)
        self.terms: dict[str, Terms] = {}
        self.now_ms = self.submitted_ms = 1
        self.due_ms: list[tuple[int, int]] = []  # as told after each claim, with its time

    async def play(self, step: Step) -> object:
        name, *given = step
        try:
            return await getattr(self, name)(*given)
        except PenstockError as error:
            return error.code

    def _id(self, place: int) -> str:
        return self.ids[place % len(self.ids)] if self.ids else "nobody's"

    def _lease(self, place: int) -> Lease:
        return self.leases[-1 - place % len(self.leases)]

    def _leased(self, claimed: list[Claimed]) -> list[object]:
        self.leases += [one.lease for one in claimed]
        # Fences are each store's own; what they do shows in what follows.
        return [(one.run, one.stream, one.lease.worker) for one in claimed]

    async def _chunk(self, lease: Lease, shift: int, length: int, final: bool) -> Chunk:
        stream = await self.store.stream(lease.run_id)
        first = (stream.tail if stream else 0) + 1 + shift
        return Chunk(first, first + length - 1, b"%d+%d" % (first, length) if length else b"", final)

    async def wait(self, pause_ms: int) -> None:
        """Or the clock is set back."""
        self.now_ms = max(1, self.now_ms + pause_ms)

    async def submit(self, function: str, later_ms: int, more: dict[str, Any], intake: Intake) -> object:
        if "start_by_ms" in more:
            more = more | {"start_by_ms": self.now_ms + more["start_by_ms"]}
        self.submitted_ms = max(self.submitted_ms, self.now_ms)  # as the queue does
        run = RunRecord(
            id=f"r{len(self.ids)}",
            function=function,
            group=self.home[function],
            state=RunState.QUEUED,
            created_at_ms=self.submitted_ms,
            input=msgspec.Raw(b'{"n":1}'),
            not_before_ms=later_ms and self.now_ms + later_ms,
            **more,
        )
        submitted = await self.store.submit(run, "epoch678", intake)
        self.ids += [submitted.run.id] if submitted.fresh else []
        return submitted.run, submitted.fresh, submitted.ahead, submitted.calls, sorted(submitted.replaced)

    async def append(self, items: list[tuple[int, int, int, bool, bytes | None]]) -> object:
        batch = []
        for place, shift, length, final, checkpoint in items:
            lease = self._lease(place)
            chunk = await self._chunk(lease, shift, length, final)
            alone = b"0" if chunk.empty else None
            batch.append(Append(lease.run_id, lease.fence, chunk, None if final else checkpoint or alone))
        return await self.store.append(batch)

    async def keep(self, place: int, shift: int, checkpoint: bytes) -> object:
        lease = self._lease(place)
        stream = await self.store.stream(lease.run_id)
        seq = (stream.tail if stream else 0) + min(0, shift)
        return await self.store.append(
            [Append(lease.run_id, lease.fence, Chunk(seq + 1, seq, b""), checkpoint)]
        )

    async def claim(
        self, worker: str, limits: tuple[int | None, int | None], known: str, limit: int
    ) -> object:
        groups = [group for group in self._groups(*limits) if group.name in (known, known or group.name)]
        claimed = await self.store.claim(worker, groups, self.now_ms, limit)
        if len(claimed) < limit and not known:  # it has looked everywhere
            self.due_ms.append((self.now_ms, await self.store.due_at_ms() or NEVER))
        return self._leased(claimed)

    async def start(self, worker: str, place: int) -> object:
        started = await self.store.start(worker, self._id(place), self.now_ms)
        return self._leased([started] if started else [])

    async def adopt(self, worker: str, functions: str, limit: int) -> object:
        return await self.store.adopt(worker, set(functions), self.now_ms, limit)

    async def submit_again(self, place: int, function: str, key: str | None) -> object:
        run = RunRecord(
            self._id(place), function, self.home[function], RunState.QUEUED, self.submitted_ms, key=key
        )
        submitted = await self.store.submit(run, "another1")
        self.ids += [run.id] if submitted.fresh else []
        return submitted.run, submitted.fresh

    def _groups(self, *limits: int | None) -> list[Group]:
        functions = {name: tuple(f for f in FUNCTIONS if self.home[f] == name) for name in GROUPS}
        return [
            Group(name, functions[name], limit, self.terms)
            for name, limit in zip(GROUPS, limits, strict=True)
        ]

    async def agree(self, terms: dict[str, Terms]) -> None:
        self.terms = terms

    async def overdue(self) -> object:
        return await self.store.overdue(self.now_ms, 100)

    async def returned(self, place: int) -> None:
        await self.store.returned(self._id(place))

    async def acknowledge(self, chosen: list[int]) -> None:
        await self.store.acknowledge([self._id(place) for place in chosen])

    async def watch(self, worker: str, present: dict[int, bool]) -> None:
        seen = {self._id(place): watched for place, watched in present.items()}
        await self.store.watch(worker, seen, self.now_ms)

    async def abandoned(self, up_ms: int) -> object:
        return sorted(await self.store.abandoned(self.now_ms, up_ms))

    async def regroup(self, function: str, group: str) -> None:
        self.home[function] = group
        await self.store.regroup(self._groups(None, None))

    async def held(self, worker: str) -> object:
        held = await self.store.held(worker)
        return {
            run_id: [(lease.run_id, lease.fence) == (run_id, fence) for lease in self.leases]
            for run_id, fence in sorted(held.items())
        }

    async def seize(self, worker: str, place: int) -> object:
        seized = await self.store.seize(worker, self._id(place))
        return self._leased([seized] if seized else [])

    async def _ending(self, place: int, state: RunState, shift: int, lingers: bool) -> Ending:
        lease = self._lease(place)
        last = await self._chunk(lease, shift, 1, True)
        error = None if state is RunState.SUCCEEDED else {"code": state.value}
        return Ending(lease, state, error, last, self.now_ms, lingers)

    async def finish(self, place: int, state: RunState, shift: int, lingers: bool) -> None:
        end = await self._ending(place, state, shift, lingers)
        await self.store.finish(end.lease, end.state, end.error, end.last, end.now_ms, lingers=lingers)

    async def finish_all(self, ends: list[tuple[int, RunState, int, bool]]) -> object:
        return await self.store.finish_all([await self._ending(*end) for end in ends])

    async def requeue(self, place: int, later_ms: int, lost: bool, failed: bool) -> None:
        error = {"code": "exception"} if failed else None
        not_before_ms = later_ms and self.now_ms + later_ms
        await self.store.requeue(self._lease(place), not_before_ms, lost=lost, error=error)

    async def request_cancel(self, place: int, reason: str) -> object:
        return await self.store.request_cancel(self._id(place), reason)

    async def sign(self, worker: str, expires_at_ms: int) -> None:
        await self.store.sign(worker, expires_at_ms)

    async def leave(self, worker: str) -> None:
        await self.store.leave(worker)

    async def look_at_workers(self) -> object:
        self.signs += sorted(await self.store.workers(), key=lambda sign: sign.worker)
        return [(sign.worker, sign.expires_at_ms) for sign in self.signs]

    async def take_over(self, worker: str, place: int) -> object:
        if not self.signs:
            return None
        sign = self.signs[-1 - place % len(self.signs)]
        if sign.worker == worker:
            return None
        claimed = await self.store.take_over(worker, sign)
        return self._leased(sorted(claimed, key=lambda one: one.run.id))

    async def prioritize(self, place: int, priority: int) -> object:
        return await self.store.prioritize(self._id(place), priority)

    async def runs(
        self, function: str | None, state: RunState | None, limit: int, place: int | None
    ) -> object:
        before = None if place is None else self._id(place)
        sought = RunFilter(function, () if state is None else (state,))
        return await self.store.runs(sought, limit=limit, before=before)

    async def read(self, place: int, after: int, limit_bytes: int) -> object:
        return await self.store.read(self._id(place), after, limit_bytes)

    async def everything(self) -> object:
        runs = [await self.store.run(run_id) for run_id in self.ids]
        return (
            runs,
            await self.store.standings(self.ids),
            sorted(msgspec.structs.astuple(one) for one in await self.store.tallies()),
            {name: rounded(pace) for name, pace in (await self.store.paces()).items()},
            await self.store.stopping(),
            [await self.store.stream(run_id) for run_id in self.ids],
            [await self.store.read(run_id, 0, 1 << 20) for run_id in self.ids],
            [await self.store.cancels(worker) for worker in WORKERS],
            [await self.held(worker) for worker in WORKERS],
        )


def rounded(pace: Pace) -> tuple[int, float, float]:
    return pace.runs, round(pace.mean_ms, 6), round(pace.variance, 6)
