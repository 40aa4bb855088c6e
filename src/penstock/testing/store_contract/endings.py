"""Checks of how a run leaves its worker: finished, given back, or asked to stop; never half, never by another."""

import asyncio

import msgspec

from ...errors import Fenced
from ...models import Chunk, Claimed, Ending, Lease, RunState, Stream
from ...storage.base import Store
from .material import (
    EPOCH,
    append,
    chunk,
    end,
    finish,
    group,
    ids,
    raising,
    read_all,
    record,
    started,
    submit,
    until,
)

__all__ = [
    "cancels_are_of_one_workers_running_runs",
    "finish_is_for_the_lease_alone",
    "finish_is_once_against_many_tasks",
    "finish_keeps_every_ended_state",
    "finish_keeps_state_and_end_together",
    "finish_must_follow_the_tail",
    "finish_of_a_waiting_run_is_no_success",
    "finishing_all_ends_each_run_or_none_of_it",
    "finishing_all_is_as_finishing_each",
    "finishing_all_is_told_to_listeners",
    "request_cancel_leaves_ended_runs",
    "request_cancel_notes_the_wish",
    "requeue_counts_failures_with_their_errors",
    "requeue_counts_losses_only",
    "requeue_ends_the_old_lease",
    "requeue_is_for_the_lease_alone",
    "requeue_keeps_the_order",
    "spare_lets_a_run_be_lost_once_more",
]

_ERROR = {"code": "exception", "message": "näh", "hint": "", "more": [1, None, {"deep": True}]}


async def finish_keeps_state_and_end_together(store: Store) -> None:
    claimed = await started(store)
    await append(store, claimed, chunk(1, 3))
    await store.finish(claimed.lease, RunState.FAILED, _ERROR, end(4), 7000)
    run = await store.run("r")
    assert run == msgspec.structs.replace(claimed.run, state=RunState.FAILED, error=_ERROR, ended_at_ms=7000)
    assert await store.stream("r") == Stream("r", EPOCH, 4, ended=True)
    assert await read_all(store, "r") == [chunk(1, 3), end(4)]


async def finish_keeps_every_ended_state(store: Store) -> None:
    for state in RunState:
        if state.ended:
            claimed = await started(store, state.value)
            await store.finish(claimed.lease, state, None, end(1), 7000)
            run = await store.run(state.value)
            assert run is not None
            assert (run.state, run.error) == (state, None)


async def _refuses_to_finish(store: Store, lease: Lease, state: RunState, seq: int, promise: str) -> None:
    before = await store.run(lease.run_id), await store.stream(lease.run_id)
    with raising(Fenced, promise):
        await store.finish(lease, state, None, end(seq), 9999)
    assert (await store.run(lease.run_id), await store.stream(lease.run_id)) == before, "nothing was written"


async def finish_is_for_the_lease_alone(store: Store) -> None:
    lost = await started(store)
    await store.requeue(lost.lease, 0)
    await _refuses_to_finish(store, lost.lease, RunState.CANCELLED, 1, "it was given back")
    (held,) = await store.claim("other", [group(name=lost.run.group)], 3000, 1)
    await _refuses_to_finish(store, lost.lease, RunState.SUCCEEDED, 1, "another holds it now")
    await store.finish(held.lease, RunState.SUCCEEDED, None, end(1), 4000)
    await _refuses_to_finish(store, held.lease, RunState.SUCCEEDED, 1, "it has ended")
    await _refuses_to_finish(store, held.lease, RunState.FAILED, 2, "it has ended")
    await _refuses_to_finish(store, Lease("nobody's", "w", 1), RunState.FAILED, 1, "there is no such run")


async def finish_must_follow_the_tail(store: Store) -> None:
    claimed = await started(store)
    await append(store, claimed, chunk(1))
    for seq in (1, 3):
        await _refuses_to_finish(store, claimed.lease, RunState.SUCCEEDED, seq, "the end follows the tail")
    await store.finish(claimed.lease, RunState.SUCCEEDED, None, end(2), 4000)


async def finish_of_a_waiting_run_is_no_success(store: Store) -> None:
    await submit(store, "r")
    seized = await store.seize("w", "r")
    assert seized is not None
    for state in (RunState.SUCCEEDED, RunState.QUEUED):
        await _refuses_to_finish(store, seized.lease, state, 1, "it has not been started")
    await store.finish(seized.lease, RunState.INTERRUPTED, _ERROR, end(1), 4000)
    assert await store.claim("w", [group()], 5000, 1) == []


async def finish_is_once_against_many_tasks(store: Store) -> None:
    claimed = await started(store)
    states = [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED] * 4
    ends = (store.finish(claimed.lease, state, None, end(1), at_ms) for at_ms, state in enumerate(states))
    outcomes = await asyncio.gather(*ends, return_exceptions=True)
    assert sum(isinstance(outcome, Fenced) for outcome in outcomes) == 11
    winner, run = outcomes.index(None), await store.run("r")
    assert run is not None
    assert (run.state, run.ended_at_ms) == (states[winner], winner)
    assert await read_all(store, "r") == [end(1)]


async def finishing_all_is_as_finishing_each(store: Store) -> None:
    await submit(store, "seized")
    seized = await store.seize("w", "seized")
    assert seized is not None
    ends = [Ending(seized.lease, RunState.INTERRUPTED, _ERROR, end(1), 2500)]
    for place, state in enumerate(state for state in RunState if state.ended):
        claimed = await started(store, state.value)
        await append(store, claimed, chunk(1, 2))
        ends.append(Ending(claimed.lease, state, None, end(3), 3000 + place, lingers=place == 1))
    before = {one.lease.run_id: await record(store, one.lease.run_id) for one in ends}
    assert await store.finish_all(ends) == [True] * 5
    for one in ends:
        wanted = msgspec.structs.replace(
            before[one.lease.run_id], state=one.state, error=one.error, ended_at_ms=one.now_ms
        )
        assert await store.run(one.lease.run_id) == wanted
        assert (await read_all(store, one.lease.run_id))[-1] == one.last
    assert sum(tally.held for tally in await store.tallies()) == 1
    assert [pace.runs for pace in (await store.paces()).values()] == [1], "of the one that succeeded"
    assert await store.finish_all([]) == []


async def finishing_all_ends_each_run_or_none_of_it(store: Store) -> None:
    good, gap, lost, ended, twice = [
        await started(store, name) for name in ("good", "gap", "lost", "ended", "twice")
    ]
    await store.requeue(lost.lease, 0)
    await finish(store, ended)
    nobodys = Lease("nobody's", "w", 1)
    before = [await store.run(name) for name in ("gap", "lost", "ended")]
    done = await store.finish_all(
        [
            Ending(gap.lease, RunState.FAILED, None, end(2), 4000),
            Ending(good.lease, RunState.FAILED, _ERROR, end(1), 4000),
            Ending(lost.lease, RunState.FAILED, None, end(1), 4000, lingers=True),
            Ending(ended.lease, RunState.FAILED, None, end(2), 4000, lingers=True),
            Ending(nobodys, RunState.FAILED, None, end(1), 4000),
            Ending(twice.lease, RunState.SUCCEEDED, None, end(1), 4000),
            Ending(twice.lease, RunState.FAILED, None, end(2), 4001, lingers=True),
        ]
    )
    assert done == [False, True, False, False, False, True, False]
    assert [await store.run(name) for name in ("gap", "lost", "ended")] == before, (
        "nothing of them was written"
    )
    assert await read_all(store, "gap") == await read_all(store, "lost") == []
    assert await read_all(store, "ended") == await read_all(store, "twice") == [end(1)]
    run, other = await record(store, "good"), await record(store, "twice")
    assert (run.state, run.error, other.state) == (RunState.FAILED, _ERROR, RunState.SUCCEEDED)
    assert sum(tally.held for tally in await store.tallies()) == 0


async def finishing_all_is_told_to_listeners(store: Store) -> None:
    one, other, lost = [await started(store, name) for name in ("one", "other", "lost")]
    await store.requeue(lost.lease, 0)
    heard: list[tuple[str | None, Chunk | None]] = []
    store.listen(lambda stream, chunk: heard.append((stream, chunk)))
    await store.finish_all(
        [Ending(run.lease, RunState.SUCCEEDED, None, end(1), 4000) for run in (one, lost, other)]
    )
    await until(lambda: ("other", end(1)) in heard, "listeners hear of ends")
    assert [item for item in heard if item[0]] == [("one", end(1)), ("other", end(1))]


async def requeue_ends_the_old_lease(store: Store) -> None:
    claimed = await started(store, crash_retries=2)
    await append(store, claimed, chunk(1))
    await store.requeue(claimed.lease, 6000)
    run = await store.run("r")
    assert run is not None
    assert (run.state, run.worker, run.not_before_ms) == (RunState.QUEUED, None, 6000)
    assert (run.attempt, run.crash_retries) == (1, 2), "the attempt was made"
    assert await append(store, claimed, chunk(2)) == [False]
    assert await store.claim("w", [group(name=run.group)], 5999, 1) == []
    (again,) = await store.claim("w", [group(name=run.group)], 6000, 1)
    assert again.lease.fence > claimed.lease.fence


async def requeue_counts_losses_only(store: Store) -> None:
    """A run that is given back in order has lost no worker, however often."""
    claimed = await started(store, crash_retries=2)
    for turn, (lost, losses) in enumerate([(False, 0), (True, 1), (False, 1), (True, 2)], start=1):
        assert claimed.run.attempt == turn
        await store.requeue(claimed.lease, 0, lost=lost)
        with raising(Fenced, "it waits already"):
            await store.requeue(claimed.lease, 0, lost=True)
        run = await store.run("r")
        assert run is not None
        assert (run.state, run.losses, run.crash_retries) == (RunState.QUEUED, losses, 2)
        (claimed,) = await store.claim("w", [group(name=run.group)], 3000, 1)
        assert claimed.run.losses == losses


async def requeue_counts_failures_with_their_errors(store: Store) -> None:
    claimed = await started(store)
    for failures, lost, error in (
        (1, False, _ERROR),
        (1, True, None),
        (2, False, {"code": "x"}),
        (2, False, None),
    ):
        await store.requeue(claimed.lease, 0, lost=lost, error=error)
        run = await record(store, "r")
        assert (run.failures, run.error) == (failures, error), "the error is of the last attempt"
        (claimed,) = await store.claim("w", [group(name=run.group)], 3000, 1)
        assert (claimed.run.failures, claimed.run.error) == (failures, error)
    assert claimed.run.losses == 1
    await finish(store, claimed)
    run = await record(store, "r")
    assert (run.failures, run.losses, run.error) == (2, 1, None), "what succeeded has no error"


async def requeue_is_for_the_lease_alone(store: Store) -> None:
    first = await started(store)
    await store.requeue(first.lease, 0)
    with raising(Fenced, "it waits already"):
        await store.requeue(first.lease, 9000)
    (second,) = await store.claim("other", [group(name=first.run.group)], 3000, 1)
    with raising(Fenced, "another holds it now"):
        await store.requeue(first.lease, 9000)
    await store.finish(second.lease, RunState.SUCCEEDED, None, end(1), 4000)
    with raising(Fenced, "it has ended"):
        await store.requeue(second.lease, 9000)
    with raising(Fenced, "there is no such run"):
        await store.requeue(Lease("nobody's", "w", 1), 9000)
    run = await store.run("r")
    assert run is not None
    assert (run.state, run.not_before_ms) == (RunState.SUCCEEDED, 0)


async def requeue_keeps_the_order(store: Store) -> None:
    await submit(store, *"abcd")
    a, b = await store.claim("w", [group()], 2000, 2)
    await store.requeue(b.lease, 0)
    await store.requeue(a.lease, 0)
    assert ids(await store.claim("w", [group(1)], 2000, 9)) == ["a"]
    assert ids(await store.claim("w", [group()], 2000, 9)) == ["b", "c", "d"]


async def _is_cancelled(store: Store, run_id: str) -> bool:
    run = await store.run(run_id)
    assert run is not None
    return run.cancel


async def request_cancel_notes_the_wish(store: Store) -> None:
    await submit(store, "waiting")
    running = await started(store, "running")
    for run_id, state in (("waiting", RunState.QUEUED), ("running", RunState.RUNNING)):
        for _ in range(2):
            asked = await store.request_cancel(run_id)
            assert asked is not None
            assert (asked.id, asked.state, asked.cancel) == (run_id, state, True)
        assert await _is_cancelled(store, run_id)
    assert await append(store, running, chunk(1)) == [True], "it is a wish: the lease stands"
    await store.requeue(running.lease, 0)
    assert await _is_cancelled(store, "running"), "the wish outlives the attempt"


async def request_cancel_leaves_ended_runs(store: Store) -> None:
    claimed = await started(store)
    await store.finish(claimed.lease, RunState.SUCCEEDED, None, end(1), 3000)
    ended = await store.run("r")
    assert await store.request_cancel("r") == ended
    assert await store.run("r") == ended


async def cancels_are_of_one_workers_running_runs(store: Store) -> None:
    mine: list[Claimed] = [await started(store, name) for name in ("a", "b", "c", "d")]
    await started(store, "theirs", worker="other")
    await submit(store, "waiting")
    for run_id in ("a", "b", "c", "theirs", "waiting"):
        await store.request_cancel(run_id)
    assert await store.cancels("w") == dict.fromkeys("abc", "cancelled")
    await store.finish(mine[0].lease, RunState.CANCELLED, None, end(1), 3000)
    await store.requeue(mine[1].lease, 0)
    assert await store.cancels("w") == {"c": "cancelled"}
    assert await store.cancels("other") == {"theirs": "cancelled"}
    assert await store.cancels("nobody") == {}


async def spare_lets_a_run_be_lost_once_more(store: Store) -> None:
    for run_id, crash_retries in (("r", 0), ("s", 2)):
        claimed = await started(store, run_id, crash_retries=crash_retries)
        await store.spare(claimed.lease)
        assert (await record(store, run_id)).crash_retries == crash_retries + 1
        assert await append(store, claimed, chunk(1)) == [True], "it keeps its lease"
        await store.requeue(claimed.lease, 0, lost=True)
        with raising(Fenced, "it waits already"):
            await store.spare(claimed.lease)
        run = await record(store, run_id)
        assert (run.losses, run.crash_retries) == (1, crash_retries + 1)
