"""Checks of readers: a run that somebody must watch is abandoned once nobody has, for its whole grace."""

from ...models import RunState
from ...storage.base import Store
from .material import end, group, started, submit

__all__ = [
    "abandoned_runs_are_those_that_somebody_must_watch",
    "abandoned_runs_are_told_until_they_are_asked_to_stop",
    "absence_begins_when_the_last_reader_leaves",
    "absence_begins_when_the_run_is_submitted",
    "absence_begins_with_the_loss_of_the_last_readers_process",
    "absence_counts_no_time_in_which_nobody_could_come",
    "absence_is_ended_by_any_reader",
    "watching_is_of_runs_that_somebody_must_watch",
    "watching_workers_are_known",
    "watching_workers_may_be_taken_over",
]

UP_MS = 1 << 40
"""Readers could come for ever."""


async def _abandoned(store: Store, now_ms: int, up_ms: int = UP_MS) -> list[str]:
    return sorted(await store.abandoned(now_ms, up_ms))


async def absence_begins_when_the_run_is_submitted(store: Store) -> None:
    await submit(store, "a", abandon_grace_ms=500)
    await submit(store, "b", abandon_grace_ms=900, not_before_ms=9000)
    assert await _abandoned(store, 1499) == []
    assert await _abandoned(store, 1500) == ["a"]
    assert await _abandoned(store, 1900) == ["a", "b"]


async def abandoned_runs_are_those_that_somebody_must_watch(store: Store) -> None:
    await submit(store, "whoever")
    await submit(store, "ended", "running", "given back", "waiting", abandon_grace_ms=500)
    _, ended, _, given_back = await store.claim("w", [group()], 1100, 4)
    await store.finish(ended.lease, RunState.SUCCEEDED, None, end(1), 1200)
    await store.requeue(given_back.lease, 0)
    assert await _abandoned(store, 9000) == ["given back", "running", "waiting"]


async def abandoned_runs_are_told_until_they_are_asked_to_stop(store: Store) -> None:
    await submit(store, "a", "b", abandon_grace_ms=500)
    for _ in range(2):
        assert await _abandoned(store, 2000) == ["a", "b"]
    await store.request_cancel("a", "abandoned")
    assert await _abandoned(store, 2000) == ["b"]


async def absence_is_ended_by_any_reader(store: Store) -> None:
    await submit(store, "r", abandon_grace_ms=500)
    await store.watch("w", {"r": True}, 1499)
    assert await _abandoned(store, 9000) == []
    await store.watch("w", {"r": False}, 9000)
    await store.watch("w", {"r": True}, 9499)
    assert await _abandoned(store, 9500) == [], "a blip within the grace changes nothing"
    await store.watch("w", {"r": True}, 9600)
    await store.watch("w", {"r": False}, 10_000)
    assert await _abandoned(store, 10_499) == []
    assert await _abandoned(store, 10_500) == ["r"], "and each absence counts anew"
    await store.watch("w", {"r": True}, 10_600)
    assert await _abandoned(store, 20_000) == [], "one that comes late comes in time to be seen"


async def absence_begins_when_the_last_reader_leaves(store: Store) -> None:
    await submit(store, "r", "s", abandon_grace_ms=500)
    await store.watch("one", {"r": True, "s": True}, 1100)
    await store.watch("other", {"r": True}, 1200)
    await store.watch("one", {"r": False}, 2000)
    await store.watch("one", {"r": False}, 2100)
    await store.watch("third", {"r": False}, 2200)
    assert await _abandoned(store, 9000) == [], "in another process somebody watches"
    await store.watch("other", {"r": False}, 9000)
    assert await _abandoned(store, 9499) == []
    assert await _abandoned(store, 9500) == ["r"]


async def absence_counts_no_time_in_which_nobody_could_come(store: Store) -> None:
    await submit(store, "a", abandon_grace_ms=500)
    await submit(store, "b", abandon_grace_ms=5000)
    assert await _abandoned(store, 90_000, 499) == []
    assert await _abandoned(store, 90_000, 500) == ["a"]
    assert await _abandoned(store, 90_000, 4999) == ["a"]
    assert await _abandoned(store, 90_000, 5000) == ["a", "b"]


async def absence_begins_with_the_loss_of_the_last_readers_process(store: Store) -> None:
    await submit(store, "r", abandon_grace_ms=500)
    for worker in ("one", "other"):
        await store.sign(worker, 5000)
        await store.watch(worker, {"r": True}, 1100)
    await store.leave("one")
    assert await _abandoned(store, 9000) == []
    (sign,) = await store.workers()
    assert await store.take_over("third", sign) == []
    assert await _abandoned(store, 9000) == [], "the grace begins when that is noticed"
    assert await _abandoned(store, 9499) == []
    assert await _abandoned(store, 9500) == ["r"]


async def watching_is_of_runs_that_somebody_must_watch(store: Store) -> None:
    await submit(store, "whoever")
    ended = await started(store, "ended")
    await store.finish(ended.lease, RunState.SUCCEEDED, None, end(1), 2000)
    before = [await store.run(run_id) for run_id in ("whoever", "ended")]
    for watched in (True, False):
        await store.watch("w", {"whoever": watched, "ended": watched, "nobody's": watched}, 3000)
        assert list(await store.workers()) == [], "of others nothing is noted"
    assert await _abandoned(store, 9000) == []
    assert [await store.run(run_id) for run_id in ("whoever", "ended")] == before
    await store.watch("w", {}, 9000)


async def watching_workers_are_known(store: Store) -> None:
    await submit(store, "r", abandon_grace_ms=500)
    await store.watch("silent", {"r": True}, 1100)
    assert [(sign.worker, sign.expires_at_ms) for sign in await store.workers()] == [("silent", 0)]
    await store.sign("silent", 9000)
    assert [(sign.worker, sign.expires_at_ms) for sign in await store.workers()] == [("silent", 9000)]
    await store.leave("silent")
    assert list(await store.workers()) == []


async def watching_workers_may_be_taken_over(store: Store) -> None:
    await submit(store, "r", abandon_grace_ms=500)
    await store.watch("lost", {"r": True}, 1100)
    (sign,) = await store.workers()
    await store.sign("lost", 9000)
    assert await store.take_over("w", sign) == []
    assert await _abandoned(store, 5000) == []
    assert await _abandoned(store, 9000) == [], "it has signed since, so its readers are there"
    (sign,) = await store.workers()
    assert await store.take_over("w", sign) == []
    assert list(await store.workers()) == []
    assert await _abandoned(store, 20_000) == []
    assert await _abandoned(store, 20_500) == ["r"]
