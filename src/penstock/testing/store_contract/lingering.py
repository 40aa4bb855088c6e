"""Checks of calls that go on after their runs have ended: their places stay taken until they return."""

from ...errors import Fenced
from ...models import RunState, Tally
from ...storage.base import Store
from .material import append, chunk, end, finish, group, ids, raising, record, started, submit

__all__ = [
    "lingering_calls_are_forgotten_with_their_worker",
    "lingering_calls_keep_their_place",
    "lingering_is_of_runs_that_were_ended",
    "lingering_workers_are_known",
    "lingering_workers_may_be_taken_over",
    "returning_is_of_calls_that_linger",
]


async def lingering_calls_keep_their_place(store: Store) -> None:
    await submit(store, *"abcd")
    a, b = await store.claim("w", [group(2)], 2000, 9)
    await append(store, a, chunk(1))
    await store.finish(a.lease, RunState.CANCELLED, {"code": "cancelled"}, end(2), 3000, lingers=True)
    run = await record(store, "a")
    assert (run.state, run.ended_at_ms) == (RunState.CANCELLED, 3000), "the run has ended all the same"
    assert await store.tallies() == [Tally("g", "f", 2, 1, 1, 1)]
    assert await store.held("w") == {"b": b.lease.fence}
    assert await store.claim("w", [group(2)], 3000, 9) == []
    await store.returned("a")
    assert await store.tallies() == [Tally("g", "f", 2, 1, 0, 1)]
    assert ids(await store.claim("w", [group(2)], 3000, 9)) == ["c"]


async def lingering_is_of_runs_that_were_ended(store: Store) -> None:
    first = await started(store)
    await store.requeue(first.lease, 9000)
    with raising(Fenced, "it was given back"):
        await finish(store, first, lingers=True)
    assert [tally.held for tally in await store.tallies()] == [0], "a refusal holds no place"


async def returning_is_of_calls_that_linger(store: Store) -> None:
    run = await started(store, "r")
    for run_id in ("r", "nobody's"):
        await store.returned(run_id)
    assert await append(store, run, chunk(1)) == [True], "what runs is not touched"
    await store.finish(run.lease, RunState.FAILED, None, end(2), 3000, lingers=True)
    for _ in range(2):
        await store.returned("r")
    assert await store.tallies() == []


async def lingering_calls_are_forgotten_with_their_worker(store: Store) -> None:
    await store.sign("w", 9000)
    await submit(store, *"abcd")
    for worker in ("w", "other"):
        (claimed,) = await store.claim(worker, [group(2)], 2000, 1)
        await finish(store, claimed, lingers=True)
    assert await store.claim("third", [group(2)], 2000, 9) == []
    await store.leave("w")
    assert ids(await store.claim("third", [group(2)], 2000, 9)) == ["c"], "the other's goes on"


async def lingering_workers_are_known(store: Store) -> None:
    await finish(store, await started(store, worker="silent"), lingers=True)
    assert [(sign.worker, sign.expires_at_ms) for sign in await store.workers()] == [("silent", 0)]
    await store.sign("silent", 9000)
    assert [(sign.worker, sign.expires_at_ms) for sign in await store.workers()] == [("silent", 9000)]
    await store.leave("silent")
    assert list(await store.workers()) == []


async def lingering_workers_may_be_taken_over(store: Store) -> None:
    await submit(store, "a", "b")
    (a,) = await store.claim("lost", [group(1)], 2000, 9)
    await finish(store, a, lingers=True)
    (sign,) = await store.workers()
    await store.sign("lost", 9000)
    assert await store.take_over("w", sign) == []
    assert await store.claim("w", [group(1)], 3000, 9) == [], "it has signed since: its call goes on"
    (sign,) = await store.workers()
    assert await store.take_over("w", sign) == [], "it has no runs, but it is gone"
    assert list(await store.workers()) == []
    assert ids(await store.claim("w", [group(1)], 3000, 9)) == ["b"]
