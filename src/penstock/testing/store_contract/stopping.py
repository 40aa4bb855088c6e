"""Checks of stops: asked for once, for one reason, and acknowledged by whoever executes the run."""

from ...models import RunState
from ...storage.base import Store
from .material import end, group, record, started, submit

__all__ = [
    "acknowledging_is_of_runs_under_way",
    "cancel_reasons_reach_the_worker",
    "cancel_reasons_stand_once_given",
    "stopping_runs_are_told_of_all_workers",
    "stops_outlive_the_attempt",
]


async def cancel_reasons_stand_once_given(store: Store) -> None:
    await submit(store, "waiting")
    await started(store, "running")
    for run_id in ("waiting", "running"):
        first = await store.request_cancel(run_id, "abandoned")
        assert first is not None
        assert (first.cancel, first.cancel_reason, first.acknowledged) == (True, "abandoned", False)
        assert await store.request_cancel(run_id, "cancelled") == first
        assert await store.request_cancel(run_id) == first
        assert await record(store, run_id) == first
    await submit(store, "plain")
    plain = await store.request_cancel("plain")
    assert plain is not None
    assert plain.cancel_reason == "cancelled", "where no other is given"


async def cancel_reasons_reach_the_worker(store: Store) -> None:
    for run_id in ("a", "b", "c"):
        await started(store, run_id)
    await store.request_cancel("a", "time_limit")
    await store.request_cancel("b")
    assert await store.cancels("w") == {"a": "time_limit", "b": "cancelled"}


async def acknowledging_is_of_runs_under_way(store: Store) -> None:
    await submit(store, "waiting")
    ended = await started(store, "ended")
    await store.finish(ended.lease, RunState.SUCCEEDED, None, end(1), 3000)
    for run_id in ("running", "also", "other"):
        await started(store, run_id)
        await store.request_cancel(run_id)
    await store.request_cancel("waiting")
    await store.acknowledge(["running", "also", "waiting", "ended", "nobody's"])
    await store.acknowledge([])
    runs = [await record(store, run_id) for run_id in ("running", "also", "other", "waiting", "ended")]
    assert [run.acknowledged for run in runs] == [True, True, False, False, False]
    assert await store.stopping() == {"running": True, "also": True, "other": False}


async def stopping_runs_are_told_of_all_workers(store: Store) -> None:
    assert await store.stopping() == {}
    mine = await started(store, "mine")
    theirs = await started(store, "theirs", worker="other")
    await started(store, "goes on")
    await submit(store, "waiting")
    for run_id in ("mine", "theirs", "waiting"):
        await store.request_cancel(run_id)
    assert await store.stopping() == {"mine": False, "theirs": False}
    await store.finish(mine.lease, RunState.CANCELLED, None, end(1), 3000)
    await store.requeue(theirs.lease, 0)
    assert await store.stopping() == {}


async def stops_outlive_the_attempt(store: Store) -> None:
    first = await started(store)
    await store.request_cancel("r", "abandoned")
    await store.requeue(first.lease, 0, lost=True)
    (second,) = await store.claim("other", [group(name=first.run.group)], 3000, 1)
    assert (second.run.cancel, second.run.cancel_reason) == (True, "abandoned")
    assert await store.cancels("other") == {"r": "abandoned"}
