"""Any history of calls gets the same answers from every store: memory is simple enough to be the measure."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.models import (
    Append,
    Chunk,
    Claimed,
    Group,
    Intake,
    Lease,
    Pace,
    Rate,
    RunRecord,
    RunState,
    Terms,
)
from penstock.storage.base import Store, WorkerSign
from penstock.storage.memory import MemoryStore
from penstock.storage.sqlite import SqliteStore

FUNCTIONS = ("f", "g", "h")
GROUPS = ("one", "other")
GROUP_OF = {"f": "one", "g": "one", "h": "other"}
WORKERS = ("w1", "w2", "w3")

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
        return Chunk(first, first + length - 1, b"%d+%d" % (first, length), final)

    async def submit(self, function: str, not_before_ms: int, more: dict[str, Any], intake: Intake) -> object:
        run = RunRecord(
            id=f"r{len(self.ids)}",
            function=function,
            group=self.home[function],
            state=RunState.QUEUED,
            created_at_ms=len(self.ids) // 2,
            input=msgspec.Raw(b'{"n":1}'),
            not_before_ms=not_before_ms,
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
            batch.append(Append(lease.run_id, lease.fence, chunk, None if final else checkpoint))
        return await self.store.append(batch)

    async def keep(self, place: int, shift: int, checkpoint: bytes) -> object:
        lease = self._lease(place)
        stream = await self.store.stream(lease.run_id)
        seq = (stream.tail if stream else 0) + min(0, shift)
        return await self.store.append(
            [Append(lease.run_id, lease.fence, Chunk(seq + 1, seq, b""), checkpoint)]
        )

    async def claim(
        self, worker: str, limits: tuple[int | None, int | None], now_ms: int, limit: int
    ) -> object:
        claimed = self._leased(await self.store.claim(worker, self._groups(*limits), now_ms, limit))
        return claimed, await self.store.due_at_ms()

    def _groups(self, *limits: int | None) -> list[Group]:
        functions = {name: tuple(f for f in FUNCTIONS if self.home[f] == name) for name in GROUPS}
        return [
            Group(name, functions[name], limit, self.terms)
            for name, limit in zip(GROUPS, limits, strict=True)
        ]

    async def agree(self, terms: dict[str, Terms]) -> None:
        self.terms = terms

    async def overdue(self, now_ms: int) -> object:
        return sorted(await self.store.overdue(now_ms, 100))

    async def returned(self, place: int) -> None:
        await self.store.returned(self._id(place))

    async def acknowledge(self, place: int) -> None:
        await self.store.acknowledge([self._id(place)])

    async def watch(self, worker: str, place: int, watched: bool, now_ms: int) -> None:
        await self.store.watch(worker, {self._id(place): watched}, now_ms)

    async def abandoned(self, now_ms: int, up_ms: int) -> object:
        return sorted(await self.store.abandoned(now_ms, up_ms))

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

    async def finish(self, place: int, state: RunState, shift: int, now_ms: int, lingers: bool) -> None:
        lease = self._lease(place)
        last = await self._chunk(lease, shift, 1, True)
        error = None if state is RunState.SUCCEEDED else {"code": state.value}
        await self.store.finish(lease, state, error, last, now_ms, lingers=lingers)

    async def requeue(self, place: int, not_before_ms: int, lost: bool, failed: bool) -> None:
        error = {"code": "exception"} if failed else None
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

    async def runs(
        self, function: str | None, state: RunState | None, limit: int, place: int | None
    ) -> object:
        before = None if place is None else self._id(place)
        return await self.store.runs(function=function, state=state, limit=limit, before=before)

    async def read(self, place: int, after: int, limit_bytes: int) -> object:
        return await self.store.read(self._id(place), after, limit_bytes)

    async def everything(self) -> object:
        runs = [await self.store.run(run_id) for run_id in self.ids]
        return (
            runs,
            await self.store.standings(self.ids),
            sorted(msgspec.structs.astuple(one) for one in await self.store.tallies()),
            {name: rounded(pace) for name, pace in (await self.store.paces()).items()},
            await self.store.due_at_ms(),
            await self.store.stopping(),
            [await self.store.stream(run_id) for run_id in self.ids],
            [await self.store.read(run_id, 0, 1 << 20) for run_id in self.ids],
            [await self.store.cancels(worker) for worker in WORKERS],
            [await self.held(worker) for worker in WORKERS],
        )


def rounded(pace: Pace) -> tuple[int, float, float]:
    return pace.runs, round(pace.mean_ms, 6), round(pace.variance, 6)


def step(name: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), *parts)


places, small, shifts = st.integers(0, 5), st.integers(0, 3), st.sampled_from((0, 0, 0, 0, 1, -1))
workers, states = st.sampled_from(WORKERS), st.sampled_from(RunState)
limits, functions = st.none() | small, st.sampled_from(FUNCTIONS)
checkpoints = st.sampled_from((b"1", b"2"))
items = st.tuples(
    small, shifts, st.integers(1, 3), st.sampled_from((False,) * 5 + (True,)), st.none() | checkpoints
)
later = st.none() | st.integers(1, 9)
more = st.fixed_dictionaries(
    {},
    optional={
        "key": st.sampled_from(("k", "l")),
        "session": st.sampled_from(("s", "t")),
        "lane": st.sampled_from(("=a", "=b", "=c")),
        "priority": st.integers(-1, 2),
        "start_by_ms": later,
        "abandon_grace_ms": later,
    },
)
intakes = st.just(Intake()) | st.builds(
    Intake,
    st.none() | small,
    st.none() | small,
    st.sampled_from(("enqueue", "reject", "replace", "interrupt")),
)
terms = st.builds(
    Terms,
    st.none() | st.integers(1, 2),
    st.none() | st.builds(Rate, st.integers(1, 2), st.integers(1, 4)),
    st.integers(1, 3),
    small,
)
submits = step("submit", functions, st.sampled_from((0, 0, 0, 1, 2)), more, intakes)
claims = step("claim", workers, st.tuples(limits, limits), st.integers(0, 9), st.integers(0, 4))
appends = step("append", st.lists(items, max_size=4))
others = st.one_of(
    step("seize", workers, places),
    step("finish", small, states.filter(lambda state: state.ended), shifts, st.integers(0, 9), st.booleans()),
    step("requeue", small, small, st.booleans(), st.booleans()),
    step("keep", small, shifts, checkpoints),
    step("agree", st.dictionaries(functions, terms)),
    step("overdue", st.integers(0, 9)),
    step("returned", places),
    step("acknowledge", places),
    step("watch", workers, places, st.booleans(), st.integers(0, 9)),
    step("abandoned", st.integers(0, 9), st.integers(0, 9)),
    step("regroup", functions, st.sampled_from(GROUPS)),
    step("held", workers),
    step("request_cancel", places, st.sampled_from(("cancelled", "abandoned"))),
    step("sign", workers, small),
    step("leave", workers),
    step("look_at_workers"),
    step("take_over", workers, small),
    step(
        "runs",
        st.none() | st.sampled_from(FUNCTIONS),
        st.none() | states,
        st.integers(1, 3),
        st.none() | places,
    ),
    step("read", places, small, st.integers(0, 20)),
)
histories = st.lists(submits | claims | appends | others, max_size=40)


async def answers(store: Store, history: list[Step]) -> list[object]:
    await store.open()
    try:
        player = Player(store)
        return [await player.play(one) for one in (*history, ("everything",))]
    finally:
        await store.close()


@settings(max_examples=80, deadline=None)
@given(histories)
def test_stores_give_the_same_answers(history: list[Step]) -> None:
    wanted = asyncio.run(answers(MemoryStore(), history))
    with tempfile.TemporaryDirectory() as folder:
        got = asyncio.run(answers(SqliteStore(Path(folder, "store.db"), synchronous="normal"), history))
    for one, ours, measure in zip((*history, "everything"), got, wanted, strict=True):
        assert ours == measure, one
