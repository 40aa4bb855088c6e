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
    Ending,
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
        self.now_ms = 1
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
        run = RunRecord(
            id=f"r{len(self.ids)}",
            function=function,
            group=self.home[function],
            state=RunState.QUEUED,
            created_at_ms=self.now_ms,
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
limits, functions = st.sampled_from((None, None, 0, 1, 2, 3)), st.sampled_from("ffgh")
checkpoints = st.sampled_from((b"1", b"2"))
items = st.tuples(
    small,
    shifts,
    st.sampled_from((0, 1, 1, 3)),
    st.sampled_from((False,) * 5 + (True,)),
    st.none() | checkpoints,
).filter(lambda item: item[2] > 0 or not item[3])
later = st.integers(1, 9)
more = st.fixed_dictionaries(
    {},
    optional={
        "key": st.sampled_from(("k", "l")),
        "session": st.sampled_from(("s", "t")),
        "lane": st.sampled_from(("=a", "=a", "=b")),
        "priority": st.integers(-1, 2),
        "start_by_ms": later,
        "abandon_grace_ms": later,
    },
)
terms = st.builds(
    Terms,
    st.sampled_from((None, 1, 1, 2)),
    st.none() | st.builds(Rate, st.integers(1, 2), st.integers(1, 9)),
    st.sampled_from((1, 1, 2, 3)),
    st.sampled_from((0, 2, 5)),
)
intakes = st.just(Intake()) | st.builds(
    Intake,
    st.none() | small,
    st.none() | small,
    st.sampled_from(("enqueue", "reject", "replace", "interrupt")),
    st.booleans(),
    st.just(Terms()) | terms,
)
submits = step("submit", functions, st.sampled_from((0, 0, 0, 0, 1, 3)), more, intakes)
claims = step(
    "claim",
    workers,
    st.tuples(limits, limits),
    st.sampled_from(("", "", "", *GROUPS)),
    st.sampled_from((9, 0, 1, 2)),
)
appends = step("append", st.lists(items, max_size=4))
ended = states.filter(lambda state: state.ended)
ends = st.tuples(small, ended, shifts, st.sampled_from((False, False, True)))
waits = step("wait", st.sampled_from((1, 1, 2, 5, -4)))
agreed = st.just({}) | st.fixed_dictionaries(dict.fromkeys(FUNCTIONS, terms))
others = st.one_of(
    step("seize", workers, places),
    ends.map(lambda end: ("finish", *end)),
    step("finish_all", st.lists(ends, max_size=3)),
    step("requeue", small, small, st.booleans(), st.booleans()),
    step("keep", small, shifts, checkpoints),
    step("agree", agreed),
    step("overdue"),
    step("returned", places),
    step("acknowledge", st.lists(places, max_size=3)),
    step("watch", workers, st.dictionaries(places, st.booleans(), max_size=3)),
    step("abandoned", st.integers(0, 9)),
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
# By weight: what moves the queue is a small part of all that can be called.
kinds = (submits,) * 5 + (claims,) * 4 + (waits,) * 2 + (appends,) * 2 + (others,) * 7
steps = st.integers(0, len(kinds) - 1).flatmap(lambda kind: kinds[kind])
# A length first: lists of no given length hold five steps on average, too few for anything to meet.
lengths = st.integers(0, 60).flatmap(lambda length: st.lists(steps, min_size=length, max_size=length))
histories = st.tuples(step("agree", agreed), lengths).map(lambda parts: [parts[0], *parts[1]])


async def answers(store: Store, history: list[Step]) -> tuple[list[object], list[tuple[int, int]]]:
    """And what was told of when next something is due, as `Player.due_ms` keeps it."""
    await store.open()
    try:
        player = Player(store)
        return [await player.play(one) for one in (*history, ("everything",))], player.due_ms
    finally:
        await store.close()


@settings(max_examples=80, deadline=None)
@given(histories)
def test_stores_give_the_same_answers(history: list[Step]) -> None:
    wanted, due_ms = asyncio.run(answers(MemoryStore(), history))
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder, "store.db"), synchronous="normal")
        got, found_due_ms = asyncio.run(answers(store, history))
    for one, ours, measure in zip((*history, "everything"), got, wanted, strict=True):
        assert ours == measure, one
    for (now_ms, ours_ms), (_, measure_ms) in zip(found_due_ms, due_ms, strict=True):
        assert now_ms < ours_ms <= measure_ms, "one may look too early, but not at once, nor too late"
