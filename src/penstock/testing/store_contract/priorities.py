"""Checks of priorities that are given to runs that wait already."""

from ...models import RunState
from ...storage.base import Store
from .material import end, finish, group, ids, record, submit

__all__ = [
    "priorities_can_be_given_while_a_run_waits",
    "priorities_go_with_lanes",
    "priorities_mean_nothing_once_a_run_has_started",
    "priorities_wait_with_a_run_for_its_time",
]


async def _ahead(store: Store, run_ids: str) -> list[int]:
    found = await store.standings(list(run_ids))
    return [found[run_id].ahead for run_id in run_ids]


async def priorities_can_be_given_while_a_run_waits(store: Store) -> None:
    await submit(store, *"abcd")
    raised = await store.prioritize("c", 5)
    assert raised is not None
    assert (raised.priority, raised.state) == (5, RunState.QUEUED)
    assert await record(store, "c") == raised
    assert await _ahead(store, "abcd") == [1, 2, 0, 3]
    await store.prioritize("a", -5)
    assert await _ahead(store, "abcd") == [3, 1, 0, 2]
    await store.prioritize("c", 0)
    await store.prioritize("a", 0)
    assert await _ahead(store, "abcd") == [0, 1, 2, 3], "as if nothing had been said"
    await store.prioritize("d", 1)
    assert ids(await store.claim("w", [group()], 2000, 9)) == ["d", "a", "b", "c"]
    assert await store.prioritize("nobody's", 1) is None


async def priorities_go_with_lanes(store: Store) -> None:
    await submit(store, "a", "b", "c", lane="=x")
    await submit(store, "d", lane="=y")
    await submit(store, "e")
    await store.prioritize("c", 2)
    lanes = group(key_limit=9)
    assert ids(await store.claim("w", [lanes], 2000, 1)) == ["c"]
    await store.prioritize("d", 30)
    assert ids(await store.claim("w", [lanes], 2000, 1)) == ["d"]
    assert sorted(ids(await store.claim("w", [lanes], 2000, 9))) == ["a", "b", "e"]
    assert [(tally.waiting, tally.running) for tally in await store.tallies()] == [(0, 5)]


async def priorities_wait_with_a_run_for_its_time(store: Store) -> None:
    await submit(store, "later", not_before_ms=5000)
    await submit(store, "now")
    await store.prioritize("later", 9)
    assert ids(await store.claim("w", [group()], 2000, 1)) == ["now"], "its time has not come for that"
    await submit(store, "next")
    assert ids(await store.claim("w", [group()], 6000, 9)) == ["later", "next"]


async def priorities_mean_nothing_once_a_run_has_started(store: Store) -> None:
    await submit(store, "a", "b")
    (claimed,) = await store.claim("w", [group()], 2000, 1)
    started = await store.prioritize("a", 5)
    assert started == await record(store, "a") == claimed.run
    await finish(store, claimed)
    assert (await store.prioritize("a", 5)) == await record(store, "a")
    assert (await record(store, "a")).priority == 0
    seized = await store.seize("w", "b")
    assert seized is not None
    await store.finish(seized.lease, RunState.CANCELLED, None, end(1), 3000)
    assert [(tally.waiting, tally.running) for tally in await store.tallies()] == []
