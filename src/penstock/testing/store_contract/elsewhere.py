"""Checks of lines that are kept elsewhere: runs started by name, and runs in whose care nobody is."""

import asyncio

from ...models import Claimed, Rate, RunState, Standing, Tally
from ...storage.base import Store
from .material import EPOCH, append, chunk, end, finish, group, ids, queued, record, started, submit

__all__ = [
    "adopted_runs_are_of_the_functions_asked_for",
    "adopted_runs_are_one_workers",
    "adopted_runs_come_in_order_and_may_start",
    "adopting_leaves_what_a_live_worker_keeps",
    "adopting_leaves_what_is_to_wait_or_to_stop",
    "starting_counts_in_its_group",
    "starting_is_against_claims_and_others_once",
    "starting_is_as_a_claim_is",
    "starting_is_of_queued_runs_only",
    "starting_leaves_what_has_waited_too_long",
    "starting_looks_at_no_limit",
    "starting_takes_the_first_out_of_its_line",
    "submitting_an_id_again_changes_nothing",
]


async def _start(store: Store, run_id: str, now_ms: int = 2000, worker: str = "w") -> Claimed:
    claimed = await store.start(worker, run_id, now_ms)
    assert claimed is not None, f"{run_id} waits, and may be started"
    return claimed


async def starting_is_as_a_claim_is(store: Store) -> None:
    await submit(store, "r", session="s")
    first = await _start(store, "r", 2500)
    run = first.run
    assert (run.state, run.worker, run.attempt, run.started_at_ms) == (RunState.RUNNING, "w", 1, 2500)
    assert run.call is not None
    assert (run.session, run.start_by_ms, await store.run("r")) == ("s", None, run)
    assert (first.lease.run_id, first.lease.worker, first.stream.tail) == ("r", "w", 0)
    assert await store.held("w") == {"r": first.lease.fence}
    assert await append(store, first, chunk(1)) == [True]
    await store.requeue(first.lease, 9000, lost=True)
    second = await _start(store, "r", 3000, "v")
    assert (second.run.attempt, second.run.started_at_ms, second.run.worker) == (2, 3000, "v"), (
        "though it was to wait"
    )
    assert (second.stream.tail, second.run.losses) == (1, 1)
    assert second.run.call != run.call
    assert await append(store, first, chunk(2)) == [False], "the fence has risen"
    await store.finish(second.lease, RunState.SUCCEEDED, None, end(2), 4000)
    assert (await store.paces())["f"].mean_ms == 1000


async def starting_is_of_queued_runs_only(store: Store) -> None:
    assert await store.start("w", "nobody's", 2000) is None
    running = await started(store, "running")
    done = await started(store, "done")
    await finish(store, done)
    await submit(store, "stopped")
    await store.request_cancel("stopped")
    for run_id in ("running", "done", "stopped"):
        before = await record(store, run_id)
        for worker in "wv":
            assert await store.start(worker, run_id, 3000) is None
        assert await record(store, run_id) == before
    assert await append(store, running, chunk(1)) == [True], "its fence is the same"
    assert await store.overdue(3000, 9) == {"stopped": "cancelled"}, "whoever looks ends it"


async def starting_leaves_what_has_waited_too_long(store: Store) -> None:
    await submit(store, "late", "later", start_by_ms=3000)
    assert await store.start("w", "late", 3000) is None
    await _start(store, "later", 2999)
    assert await store.overdue(3000, 9) == {"late": "queue_timeout"}


async def starting_looks_at_no_limit(store: Store) -> None:
    terms = {"f": group(key_limit=1, rate=Rate(1, 60_000)).terms["f"]}
    await submit(store, *"abc", lane="=one")
    assert ids(await store.claim("w", [group(1, terms=terms)], 2000, 9)) == ["a"]
    for run_id in "bc":
        await _start(store, run_id)
    assert await store.tallies() == [Tally("g", "f", 0, 3, 0, 3)]


async def starting_counts_in_its_group(store: Store) -> None:
    await submit(store, *"abcd")
    b = await _start(store, "b")
    assert await store.tallies() == [Tally("g", "f", 3, 1, 0, 1)]
    assert await store.claim("w", [group(1)], 2000, 9) == [], "its place is taken"
    assert ids(await store.claim("w", [group(2)], 2000, 9)) == ["a"]
    await finish(store, b)
    assert ids(await store.claim("w", [group(2)], 2000, 9)) == ["c"]


async def starting_takes_the_first_out_of_its_line(store: Store) -> None:
    await submit(store, *"abc")
    await submit(store, "x", lane="=one")
    await _start(store, "a")
    await _start(store, "x")
    standings = await store.standings([*"abcx"])
    assert standings["b"] == Standing("b", "f", "g", RunState.QUEUED, 0, cancel=False, acknowledged=False)
    assert [standings[run_id].ahead for run_id in "bc"] == [0, 1]
    assert standings["a"].state is standings["x"].state is RunState.RUNNING
    assert ids(await store.claim("w", [group(key_limit=5)], 3000, 9)) == ["b", "c"]


async def starting_is_against_claims_and_others_once(store: Store) -> None:
    names = [f"r{number:02}" for number in range(12)]
    await submit(store, *names)
    asked = [store.start(worker, name, 2000) for name in names for worker in "wv"]
    claims = [store.claim(f"c{number}", [group()], 2000, 2) for number in range(3)]
    cancels = [store.request_cancel(name) for name in names[::3]]
    ended = [store.seize("end", name, waiting=True) for name in names[::4]]
    begun, claimed, _, _ = await asyncio.gather(
        asyncio.gather(*asked), asyncio.gather(*claims), asyncio.gather(*cancels), asyncio.gather(*ended)
    )
    found = [one.run.id for one in begun if one] + [name for part in claimed for name in ids(part)]
    assert len(found) == len(set(found)), "each is one worker's"
    runs = [await record(store, name) for name in names]
    assert {run.id for run in runs if run.state is RunState.RUNNING} == set(found)
    assert all(run.attempt == (run.id in found) for run in runs)


async def submitting_an_id_again_changes_nothing(store: Store) -> None:
    first = await started(store)
    await append(store, first, chunk(1))
    again = await store.submit(queued("r", function="g", key="k", created_at_ms=5000), "another1")
    assert (again.fresh, again.run) == (False, first.run)
    assert await store.stream("r") == first.stream.__class__("r", EPOCH, 1, ended=False)
    assert (await store.submit(queued("s", function="g", key="k"), EPOCH)).fresh, "its key was not used"


# Runs in nobody's care


async def adopted_runs_come_in_order_and_may_start(store: Store) -> None:
    await store.sign("w", 9000)
    await submit(store, *"abcde", session="s")
    assert [run.id for run in await store.adopt("w", {"f"}, 2000, 2)] == ["a", "b"]
    more = await store.adopt("w", ["f"], 2000, 9)
    assert [run.id for run in more] == ["c", "d", "e"]
    assert more[0] == await store.run("c"), "as it is kept now, with its whole input"
    assert (more[0].worker, more[0].state, more[0].session) == ("w", RunState.QUEUED, "s")
    assert await store.adopt("w", ["f"], 2000, 9) == []
    assert await store.held("w") == {}, "nobody executes them yet"
    assert [tally.waiting for tally in await store.tallies()] == [5]
    claimed = await _start(store, "c", 3000)
    await store.requeue(claimed.lease, 0)
    assert [run.id for run in await store.adopt("w", ["f"], 3000, 9)] == ["c"], (
        "what is given back is nobody's"
    )


async def adopting_leaves_what_a_live_worker_keeps(store: Store) -> None:
    await store.sign("w", 9000)
    await store.sign("v", 9000)
    await submit(store, "mine", worker="w")
    await submit(store, "theirs", worker="v")
    await submit(store, "lost", worker="never signed")
    assert [run.id for run in await store.adopt("w", ["f"], 2000, 9)] == ["lost"]
    await store.leave("v")
    assert [run.id for run in await store.adopt("w", ["f"], 2000, 9)] == ["theirs"]
    (sign,) = await store.workers()
    await store.take_over("other", sign)
    await store.sign("x", 9000)
    found = [run.id for run in await store.adopt("x", ["f"], 2000, 9)]
    assert found == ["mine", "theirs", "lost"], "a lost worker keeps nothing"


async def adopting_leaves_what_is_to_wait_or_to_stop(store: Store) -> None:
    await store.sign("w", 9000)
    await submit(store, "asked", "now")
    await submit(store, "later", not_before_ms=5000)
    await store.request_cancel("asked")
    assert [run.id for run in await store.adopt("w", ["f"], 4999, 9)] == ["now"]
    assert (await store.standings(["later"]))["later"].not_before_ms == 5000
    assert [run.id for run in await store.adopt("w", ["f"], 5000, 9)] == ["later"]
    assert (await store.standings(["later"]))["later"].not_before_ms == 0, "it is in line"
    assert (await store.standings(["later"]))["later"].ahead == 2


async def adopted_runs_are_of_the_functions_asked_for(store: Store) -> None:
    await store.sign("w", 9000)
    await submit(store, "f1")
    await submit(store, "g1", function="g")
    await submit(store, "g2", function="g", group="another")
    await submit(store, "h1", function="h")
    assert await store.adopt("w", [], 2000, 9) == []
    assert await store.adopt("w", ["nobody's"], 2000, 9) == []
    assert [run.id for run in await store.adopt("w", ["h", "g"], 2000, 9)] == ["g1", "g2", "h1"]


async def adopted_runs_are_one_workers(store: Store) -> None:
    for worker in "wv":
        await store.sign(worker, 9000)
    await submit(store, *(f"r{number:02}" for number in range(20)))
    parts = await asyncio.gather(*(store.adopt(worker, ["f"], 2000, 3) for worker in "wv" * 4))
    found = [run.id for part in parts for run in part]
    assert len(found) == len(set(found)) == 20
