"""Checks of those that wait: where they stand, how many they are, how long runs take, and who waits too long."""

from ...models import Pace, RunState, Standing, Tally
from ...protocol.limits import pace_after
from ...storage.base import Store
from .material import end, finish, group, ids, record, submit

__all__ = [
    "overdue_runs_are_ended_like_others",
    "overdue_runs_are_found",
    "overdue_runs_are_never_started",
    "paces_are_of_runs_that_succeeded",
    "paces_are_of_the_last_attempt",
    "standings_are_of_runs_that_have_not_ended",
    "standings_count_long_lines",
    "standings_of_prioritised_runs_count_by_rank",
    "standings_within_lanes_count_turns",
    "started_runs_are_overdue_no_more",
    "tallies_are_by_group_and_function",
    "tallies_follow_every_change",
]


async def _ahead(store: Store, *run_ids: str) -> list[int]:
    standings = await store.standings(run_ids)
    return [standings[run_id].ahead for run_id in run_ids]


async def standings_are_of_runs_that_have_not_ended(store: Store) -> None:
    await submit(store, *"abcd", function="fun", group="grp")
    await submit(store, "parked", not_before_ms=9000, function="fun", group="grp")
    a, _ = await store.claim("w", [group(2, name="grp", functions=("fun",))], 2000, 9)
    await finish(store, a)
    await store.request_cancel("b")
    await store.acknowledge(["b"])
    await store.request_cancel("d")
    found = await store.standings(["d", "a", "nobody's", "b", "c", "c"])
    queued = RunState.QUEUED
    assert found == {
        "b": Standing("b", "fun", "grp", RunState.RUNNING, 0, True, True),
        "c": Standing("c", "fun", "grp", queued, 0, False, False),
        "d": Standing("d", "fun", "grp", queued, 1, True, False),
    }
    assert (await store.standings(["parked"]))["parked"].state is queued
    assert await store.standings([]) == {}
    await submit(store, "e", function="fun", group="grp")
    assert await _ahead(store, "e") == [2], "one whose time has not come is before nobody"


async def standings_count_long_lines(store: Store) -> None:
    names = [f"r{number:03}" for number in range(700)]
    for number, name in enumerate(names):
        await submit(store, name, group="gh"[number % 7 == 0], function="f")
    waiting = [name for number, name in enumerate(names) if number % 7]
    looks = [0, 1, 100, 219, 220, 300, 438, 439, 440, 599]
    for _ in range(3):
        assert await _ahead(store, *(waiting[place] for place in looks)) == looks
        claimed = await store.claim("w", [group()], 2000, 5)
        assert ids(claimed) == waiting[:5]
        await store.requeue(claimed[3].lease, 0)
        del waiting[4], waiting[:3]
        looks = [place for place in looks if place < len(waiting)]
        again = await store.claim("w", [group()], 2000, 1)
        assert ids(again) == [waiting.pop(0)], "it went back to its place, the first"


async def standings_of_prioritised_runs_count_by_rank(store: Store) -> None:
    for number in range(6):
        await submit(
            store, f"r{number}", created_at_ms=1_000_000 + number * 20_000, function="fg"[number % 2]
        )
    await submit(store, "other", group="h", created_at_ms=0)
    await submit(store, "urgent", created_at_ms=1_100_000, priority=1)
    assert await _ahead(store, "urgent") == [3], "those that came a minute before it, and who came then"
    await submit(store, "more", created_at_ms=1_100_000, priority=9)
    assert await _ahead(store, "more", "urgent") == [0, 4]
    assert await _ahead(store, "r0", "r2", "r3", "r5") == [1, 3, 5, 7], (
        "and others of those that go before them"
    )
    await submit(store, "later", created_at_ms=1_000_000, priority=-1)
    assert await _ahead(store, "r2", "r3", "later") == [3, 5, 6]


async def standings_within_lanes_count_turns(store: Store) -> None:
    await submit(store, *(f"a{number}" for number in range(9)), lane="=a")
    await submit(store, "b0", "b1", lane="=b")
    await submit(store, "c0", lane="=c")
    assert await _ahead(store, "a0", "b0", "c0") == [0, 1, 2], "no backlog of another lane is before them"
    assert await _ahead(store, "a1", "b1", "a2", "a8") == [3, 4, 5, 11], "a turn of each in every round"
    await store.claim("w", [group()], 2000, 1)
    assert await _ahead(store, "b0", "c0", "a1") == [0, 1, 2], "a lane that was served stands behind"
    await submit(store, "d0", lane="=d", function="x", created_at_ms=1500)
    assert await _ahead(store, "d0", "a1", "a2", "b1") == [2, 3, 5, 4]
    await submit(store, "plain", created_at_ms=1600)
    assert await _ahead(store, "plain", "a1", "b1") == [3, 4, 5], "what has no lane is before any second turn"


async def tallies_are_by_group_and_function(store: Store) -> None:
    assert await store.tallies() == []
    await submit(store, "a", "b")
    await submit(store, "c", lane="=x", not_before_ms=9000)
    await submit(store, "d", function="g")
    await submit(store, "e", function="g", group="h")
    (a,) = await store.claim("w", [group(1)], 2000, 9)
    await finish(store, a, lingers=True)
    await store.claim("w", [group(name="h", functions=("g",))], 2000, 9)
    wanted = [Tally("g", "f", 2, 0, 1, 0), Tally("g", "g", 1, 0, 0, 0), Tally("h", "g", 0, 1, 0, 1)]
    assert sorted(await store.tallies(), key=lambda tally: (tally.group, tally.function)) == wanted


async def tallies_follow_every_change(store: Store) -> None:
    await submit(store, *"abc")
    a, b, c = await store.claim("w", [group(batch_size=3)], 2000, 9)
    assert await store.tallies() == [Tally("g", "f", 0, 3, 0, 1)], "three runs, in one call"
    await store.requeue(a.lease, 0)
    await store.requeue(b.lease, 9000, lost=True)
    assert await store.tallies() == [Tally("g", "f", 2, 1, 0, 1)]
    await store.regroup([group(name="h")])
    await finish(store, c)
    assert await store.tallies() == [Tally("h", "f", 2, 0, 0, 0)]
    for run_id in "ab":
        seized = await store.seize("w", run_id)
        assert seized is not None
        await store.finish(seized.lease, RunState.CANCELLED, None, end(1), 3000)
    assert await store.tallies() == [], "where nothing is, nothing is told"


async def paces_are_of_runs_that_succeeded(store: Store) -> None:
    assert await store.paces() == {}
    took_ms = {"a": 100, "b": 300, "c": 250, "slow": 5000, "failed": 9}
    for name in took_ms:
        await submit(store, name, function="slow" if name == "slow" else "f")
    pace = Pace()
    for one in await store.claim("w", [group(functions=("f", "slow"))], 2000, 9):
        state = RunState.FAILED if one.run.id == "failed" else RunState.SUCCEEDED
        await store.finish(one.lease, state, None, end(1), 2000 + took_ms[one.run.id])
        if one.run.id in "abc":
            pace = pace_after(pace, took_ms[one.run.id])
    found = await store.paces()
    assert found.keys() == {"f", "slow"}
    assert found["slow"] == Pace(1, 5000, 0)
    assert found["f"].runs == 3
    assert abs(found["f"].mean_ms - pace.mean_ms) < 1e-6
    assert abs(found["f"].variance - pace.variance) < 1e-3


async def paces_are_of_the_last_attempt(store: Store) -> None:
    await submit(store, "r")
    (first,) = await store.claim("w", [group()], 2000, 9)
    await store.requeue(first.lease, 0, error={"code": "exception"})
    (second,) = await store.claim("w", [group()], 60_000, 9)
    await finish(store, second, 60_700)
    assert await store.paces() == {"f": Pace(1, 700, 0)}


async def overdue_runs_are_found(store: Store) -> None:
    await submit(store, "never")
    for name, start_by_ms in (("c", 5000), ("a", 3000), ("b", 4000)):
        await submit(store, name, start_by_ms=start_by_ms)
    await submit(store, "parked", start_by_ms=3500, not_before_ms=9000)
    assert list(await store.overdue(2999, 9)) == []
    assert list(await store.overdue(3000, 9)) == ["a"]
    assert list(await store.overdue(9000, 9)) == ["a", "parked", "b", "c"], "the longest first"
    assert list(await store.overdue(9000, 2)) == ["a", "parked"]


async def overdue_runs_are_never_started(store: Store) -> None:
    await submit(store, "late", "later", start_by_ms=3000)
    await submit(store, "younger")
    await submit(store, "parked", start_by_ms=3000, not_before_ms=2500)
    assert ids(await store.claim("w", [group(1)], 2999, 1)) == ["late"], "before its time it may start"
    assert ids(await store.claim("w", [group(2)], 3000, 9)) == ["younger"], "it holds up no one else"
    assert await store.claim("w", [group()], 9_000_000, 9) == []
    assert sorted(await store.overdue(9_000_000, 9)) == ["later", "parked"], "it is still to be ended"
    assert sum(tally.waiting for tally in await store.tallies()) == 2


async def overdue_runs_are_ended_like_others(store: Store) -> None:
    await submit(store, "r", start_by_ms=3000)
    assert await store.claim("w", [group()], 3000, 9) == []
    seized = await store.seize("w", "r")
    assert seized is not None
    await store.finish(seized.lease, RunState.FAILED, {"code": "queue_timeout"}, end(1), 3001)
    assert list(await store.overdue(9000, 9)) == []
    assert await store.tallies() == []


async def started_runs_are_overdue_no_more(store: Store) -> None:
    await submit(store, "r", start_by_ms=3000)
    (claimed,) = await store.claim("w", [group()], 2999, 9)
    assert claimed.run.start_by_ms is None
    assert list(await store.overdue(9000, 9)) == []
    await store.requeue(claimed.lease, 0, lost=True)
    assert (await record(store, "r")).start_by_ms is None
    assert list(await store.overdue(9000, 9)) == [], "it did start in time"
    assert ids(await store.claim("w", [group()], 9000, 9)) == ["r"]
