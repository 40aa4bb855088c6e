"""Checks of claims: who may start what, in which order, under which limits, and with which fence."""

import asyncio

from ...models import Claimed, Lease, RunState
from ...storage.base import Store
from .material import append, chunk, end, group, ids, read_all, started, submit

__all__ = [
    "claim_counts_running_runs_of_all_workers",
    "claim_is_oldest_first_over_groups",
    "claim_knows_its_workers_functions",
    "claim_leaves_a_full_group_alone",
    "claim_leaves_runs_whose_time_has_not_come",
    "claim_raises_fence_and_attempt",
    "claim_starts_the_oldest",
    "claim_takes_no_more_than_asked",
    "claim_without_a_limit_takes_all",
    "claims_of_many_tasks_take_each_run_once",
    "ended_and_requeued_runs_make_room",
    "regroup_is_for_those_that_wait",
    "regroup_lets_runs_follow_their_function",
    "seize_takes_only_what_nobody_executes",
    "seized_runs_may_be_claimed_from_under",
]


async def claim_starts_the_oldest(store: Store) -> None:
    await submit(store, "z", "a", "m")
    (claimed,) = await store.claim("w", [group(1)], 2000, 5)
    assert claimed.lease == Lease("z", "w", claimed.lease.fence)
    run = claimed.run
    assert (run.id, run.state, run.worker, run.attempt) == ("z", RunState.RUNNING, "w", 1)
    assert (run.started_at_ms, run.created_at_ms, run.ended_at_ms) == (2000, 1000, None)
    assert await store.run("z") == run, "what was handed out is what is kept"
    assert await store.stream("z") == claimed.stream


async def claim_takes_no_more_than_asked(store: Store) -> None:
    await submit(store, *"abcde")
    assert ids(await store.claim("w", [group()], 2000, 2)) == ["a", "b"]
    assert ids(await store.claim("w", [group(9)], 2000, 2)) == ["c", "d"]
    assert await store.claim("w", [group()], 2000, 0) == []
    assert await store.claim("w", [], 2000, 5) == []
    assert ids(await store.claim("w", [group()], 2000, 5)) == ["e"]
    assert await store.claim("w", [group()], 2000, 5) == []


async def claim_counts_running_runs_of_all_workers(store: Store) -> None:
    await submit(store, *"abcdef")
    assert ids(await store.claim("one", [group(3)], 2000, 2)) == ["a", "b"]
    assert ids(await store.claim("other", [group(3)], 2000, 9)) == ["c"]
    assert await store.claim("third", [group(3)], 2000, 9) == []
    assert await store.claim("third", [group(2)], 2000, 9) == [], (
        "a limit below what runs already starts none"
    )
    assert ids(await store.claim("third", [group(4)], 2000, 9)) == ["d"]


async def claim_leaves_a_full_group_alone(store: Store) -> None:
    await submit(store, "a", "b")
    await submit(store, "x", "y", group="h")
    groups = [group(1), group(2, name="h")]
    assert ids(await store.claim("w", groups, 2000, 9)) == ["a", "x", "y"]
    assert await store.claim("w", [group(0)], 2000, 9) == []


async def claim_without_a_limit_takes_all(store: Store) -> None:
    names = [f"r{number}" for number in range(50)]
    await submit(store, *names)
    assert ids(await store.claim("w", [group(None)], 2000, 1000)) == names


async def claim_is_oldest_first_over_groups(store: Store) -> None:
    for name, where in (("a", "h"), ("b", "g"), ("c", "h"), ("d", "g"), ("e", "elsewhere")):
        await submit(store, name, group=where)
    groups = [group(), group(name="h")]
    assert ids(await store.claim("w", groups, 2000, 3)) == ["a", "b", "c"]
    assert ids(await store.claim("w", groups, 2000, 3)) == ["d"]


async def claim_knows_its_workers_functions(store: Store) -> None:
    await submit(store, "a", function="other")
    await submit(store, "b")
    await submit(store, "c", function="third")
    assert ids(await store.claim("w", [group(functions=("f",))], 2000, 9)) == ["b"]
    assert await store.claim("w", [group(functions=())], 2000, 9) == []
    assert await store.claim("w", [group(1, functions=("other",))], 2000, 9) == [], "the limit is the group's"
    assert ids(await store.claim("w", [group(functions=("third", "other"))], 2000, 9)) == ["a", "c"]


async def claim_leaves_runs_whose_time_has_not_come(store: Store) -> None:
    await submit(store, "later", not_before_ms=5000)
    await submit(store, "now")
    assert ids(await store.claim("w", [group(2)], 4999, 9)) == ["now"], "it holds up no younger run"
    assert await store.claim("w", [group(2)], 4999, 9) == []
    assert ids(await store.claim("w", [group(2)], 5000, 9)) == ["later"]


async def claim_raises_fence_and_attempt(store: Store) -> None:
    first = await started(store)
    await append(store, first, chunk(1))
    await store.requeue(first.lease, 0)
    (second,) = await store.claim("other", [group(name=first.run.group)], 3000, 1)
    assert second.lease.fence > first.lease.fence
    assert (second.run.attempt, second.run.worker, second.run.started_at_ms) == (2, "other", 3000)
    assert second.stream.tail == 1, "the stream goes on where it stood"
    assert await append(store, first, chunk(2)) == [False]
    assert await append(store, second, chunk(2)) == [True]
    assert await read_all(store, "r") == [chunk(1), chunk(2)]


async def claims_of_many_tasks_take_each_run_once(store: Store) -> None:
    await submit(store, *(f"r{number:02}" for number in range(40)))

    async def take(worker: str) -> list[Claimed]:
        return [one for _ in range(5) for one in await store.claim(worker, [group(30)], 2000, 1)]

    claimed = [one for part in await asyncio.gather(*(take(f"w{n}") for n in range(12))) for one in part]
    assert sorted(ids(claimed)) == [f"r{number:02}" for number in range(30)], "30 may run, the oldest, once"
    for one in claimed:
        assert await store.run(one.run.id) == one.run


async def ended_and_requeued_runs_make_room(store: Store) -> None:
    await submit(store, *"abcd")
    a, b = await store.claim("w", [group(2)], 2000, 9)
    assert await store.claim("w", [group(2)], 2000, 9) == []
    await store.finish(a.lease, RunState.SUCCEEDED, None, end(1), 2500)
    assert ids(await store.claim("w", [group(2)], 2000, 9)) == ["c"]
    await store.requeue(b.lease, 9000)
    assert ids(await store.claim("w", [group(2)], 3000, 9)) == ["d"]
    assert await store.claim("w", [group(2)], 9000, 9) == []
    assert ids(await store.claim("w", [group(3)], 9000, 9)) == ["b"]


async def seize_takes_only_what_nobody_executes(store: Store) -> None:
    await submit(store, "r")
    seized = await store.seize("w", "r")
    assert seized is not None
    assert seized.lease == Lease("r", "w", seized.lease.fence)
    assert (seized.run.state, seized.run.attempt) == (RunState.QUEUED, 0), "it is not started by that"
    assert await store.run("r") == seized.run
    await store.finish(seized.lease, RunState.CANCELLED, None, end(1), 2000)
    assert await store.seize("w", "r") is None, "it has ended"
    running = await started(store, "running")
    assert await store.seize("another", "running") is None
    assert await append(store, running, chunk(1)) == [True], "a vain attempt raises no fence"
    own = await store.seize(running.lease.worker, "running")
    assert own is not None, "what runs in one's own name may be settled"
    assert (own.run.state, own.stream.tail) == (RunState.RUNNING, 1)
    assert await append(store, running, chunk(2)) == [False], "the fence has risen"


async def seized_runs_may_be_claimed_from_under(store: Store) -> None:
    await submit(store, "r")
    first = await store.seize("one", "r")
    second = await store.seize("other", "r")
    assert first is not None
    assert second is not None
    assert await append(store, first, chunk(1)) == [False], "the last to seize holds it"
    (claimed,) = await store.claim("w", [group()], 2000, 1)
    assert await append(store, second, chunk(1)) == [False]
    assert await append(store, claimed, chunk(1)) == [True]


async def _waiting(store: Store, *run_ids: str) -> list[int]:
    standings = await store.standings(run_ids)
    return [standings[run_id].ahead for run_id in run_ids]


async def regroup_lets_runs_follow_their_function(store: Store) -> None:
    for name, function, where in (
        ("a", "f", "g"), ("b", "other", "h"), ("c", "f", "g"), ("d", "third", "g"), ("e", "f", "h"),
    ):  # fmt: skip
        await submit(store, name, function=function, group=where)
    home = group(name="h", functions=("f", "other"))
    for _ in range(2):
        await store.regroup([home])
        runs = [await store.run(name) for name in "abcde"]
        assert [run.group for run in runs if run] == ["h", "h", "h", "g", "h"]
        assert await _waiting(store, *"abcde") == [0, 1, 2, 0, 3], "each waits where it was submitted"
    assert await store.claim("w", [group()], 2000, 9) == [], "nothing of it is left where it was"
    assert ids(await store.claim("w", [home], 2000, 3)) == ["a", "b", "c"]
    assert ids(await store.claim("w", [home, group(functions=("third",))], 2000, 9)) == ["d", "e"]


async def regroup_is_for_those_that_wait(store: Store) -> None:
    await submit(store, *"abcd")
    a, b = await store.claim("w", [group(2)], 2000, 2)
    await store.finish(a.lease, RunState.SUCCEEDED, None, end(1), 2500)
    before = [await store.run(name) for name in "ab"]
    await store.regroup([])
    await store.regroup([group(name="h", functions=("unknown",)), group(name="i", functions=())])
    assert await _waiting(store, *"cd") == [0, 1]
    await store.regroup([group(name="h")])
    assert [await store.run(name) for name in "ab"] == before, "what has begun stays where it began"
    assert await append(store, b, chunk(1)) == [True], "and its lease stands"
    assert ids(await store.claim("w", [group(1, name="h")], 3000, 9)) == ["c"], "b takes no place there"
    await store.requeue(b.lease, 0)
    await store.regroup([group(name="h")])
    assert ids(await store.claim("w", [group(name="h")], 3000, 9)) == ["b", "d"], "once it waits, it follows"
