"""Checks of workers: their signs of life, and what becomes of the runs of one that gives none."""

import asyncio

from ...models import RunState
from ...storage.base import Store, WorkerSign
from .material import append, chunk, end, group, ids, started, submit

__all__ = [
    "held_runs_are_told_with_their_fences",
    "held_runs_follow_seizing_and_taking_over",
    "holders_that_never_signed_are_expired",
    "leaving_is_forgotten",
    "signs_are_kept",
    "take_over_comes_too_late_for_one_that_signed",
    "take_over_is_once_against_many_tasks",
    "take_over_moves_running_runs",
    "take_over_of_one_that_never_signed",
]


async def _signs(store: Store) -> dict[str, int]:
    signs = [(sign.worker, sign.expires_at_ms) for sign in await store.workers()]
    assert len(signs) == len(dict(signs)), "each worker is told once"
    return dict(signs)


async def _sign_of(store: Store, worker: str) -> WorkerSign:
    return next(sign for sign in await store.workers() if sign.worker == worker)


async def signs_are_kept(store: Store) -> None:
    assert await _signs(store) == {}
    await store.sign("w", 1_700_000_000_123)
    await store.sign("other", 5)
    await store.sign("w", 1_700_000_010_123)
    assert await _signs(store) == {"w": 1_700_000_010_123, "other": 5}
    await started(store)
    assert await _signs(store) == {"w": 1_700_000_010_123, "other": 5}


async def leaving_is_forgotten(store: Store) -> None:
    await store.sign("w", 9000)
    await store.leave("w")
    await store.leave("nobody")
    assert await _signs(store) == {}
    await store.sign("w", 9500)
    assert await _signs(store) == {"w": 9500}


async def holders_that_never_signed_are_expired(store: Store) -> None:
    first, second = await started(store, "a"), await started(store, "b")
    await submit(store, "waiting")
    assert await _signs(store) == {"w": 0}
    await store.finish(first.lease, RunState.SUCCEEDED, None, end(1), 3000)
    assert await _signs(store) == {"w": 0}, "it holds another"
    await store.requeue(second.lease, 0)
    assert await _signs(store) == {}


async def take_over_moves_running_runs(store: Store) -> None:
    await store.sign("lost", 5000)
    a, b = await started(store, "a", worker="lost"), await started(store, "b", worker="lost")
    done, mine = await started(store, "done", worker="lost"), await started(store, "mine")
    await store.finish(done.lease, RunState.SUCCEEDED, None, end(1), 3000)
    await submit(store, "waiting")
    await append(store, a, chunk(1))
    moved = {one.run.id: one for one in await store.take_over("w", await _sign_of(store, "lost"))}
    assert sorted(moved) == ["a", "b"]
    for old, tail in ((a, 1), (b, 0)):
        new = moved[old.run.id]
        assert (new.run.worker, new.run.state, new.run.attempt) == ("w", RunState.RUNNING, 1)
        assert await store.run(new.run.id) == new.run
        assert (new.lease.worker, new.stream.tail) == ("w", tail)
        assert await append(store, old, chunk(tail + 1)) == [False], "the lost one can write no more"
        assert await append(store, new, chunk(tail + 1)) == [True]
    assert await append(store, mine, chunk(1)) == [True], "other workers are not touched"
    assert "lost" not in await _signs(store)


async def take_over_comes_too_late_for_one_that_signed(store: Store) -> None:
    await store.sign("slow", 5000)
    run = await started(store, worker="slow")
    seen = await _sign_of(store, "slow")
    await store.sign("slow", 9000)
    assert await store.take_over("w", seen) == []
    assert await append(store, run, chunk(1)) == [True]
    assert await _signs(store) == {"slow": 9000}
    assert ids(await store.take_over("w", await _sign_of(store, "slow"))) == ["r"]


async def take_over_of_one_that_never_signed(store: Store) -> None:
    run = await started(store, worker="silent")
    seen = await _sign_of(store, "silent")
    await store.sign("silent", 9000)
    assert await store.take_over("w", seen) == [], "it has signed since"
    await store.leave("silent")
    assert ids(await store.take_over("w", seen)) == ["r"]
    assert await append(store, run, chunk(1)) == [False]
    assert await store.take_over("w", seen) == []


async def take_over_is_once_against_many_tasks(store: Store) -> None:
    await store.sign("lost", 5000)
    for run_id in "abc":
        await started(store, run_id, worker="lost")
    seen = await _sign_of(store, "lost")
    parts = await asyncio.gather(*(store.take_over(f"w{number}", seen) for number in range(8)))
    assert sorted(len(part) for part in parts) == [0] * 7 + [3], "one took them all"


async def held_runs_are_told_with_their_fences(store: Store) -> None:
    assert await store.held("w") == {}
    a, b, c = [await started(store, name) for name in "abc"]
    theirs = await started(store, "theirs", worker="other")
    await submit(store, "waiting")
    assert await store.held("w") == {one.run.id: one.lease.fence for one in (a, b, c)}
    await append(store, a, chunk(1))
    await store.request_cancel("a")
    await store.finish(b.lease, RunState.SUCCEEDED, None, end(1), 3000)
    await store.requeue(c.lease, 0)
    assert await store.held("w") == {"a": a.lease.fence}, "of the running ones only"
    (again,) = await store.claim("w", [group(name=c.run.group)], 3000, 1)
    assert again.lease.fence > c.lease.fence
    assert await store.held("w") == {"a": a.lease.fence, "c": again.lease.fence}
    assert await store.held("other") == {"theirs": theirs.lease.fence}
    assert await store.held("nobody") == {}


async def held_runs_follow_seizing_and_taking_over(store: Store) -> None:
    run = await started(store)
    await submit(store, "waiting")
    assert await store.seize("w", "waiting") is not None
    seized = await store.seize("w", "r")
    assert seized is not None
    assert seized.lease.fence > run.lease.fence
    assert await store.held("w") == {"r": seized.lease.fence}, "a seized run that waits is nobody's"
    (moved,) = await store.take_over("other", await _sign_of(store, "w"))
    assert moved.lease.fence > seized.lease.fence
    assert await store.held("w") == {}
    assert await store.held("other") == {"r": moved.lease.fence}
