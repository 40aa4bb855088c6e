"""Checks of runs as records: kept as submitted, once per key; and of a store's own life."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from ...errors import StoreUnavailable
from ...models import Claimed, Ending, RunState, Stream, Submitted
from ...storage.base import Store, WorkerSign
from .material import EPOCH, append, chunk, end, group, queued, raising, started, submit

__all__ = [
    "closed_stores_say_so",
    "keys_are_each_functions_own",
    "keys_make_submitting_idempotent",
    "keys_stand_against_many_tasks",
    "opening_again_changes_nothing",
    "runs_are_kept_as_submitted",
    "runs_that_nobody_submitted",
    "waiting_counts_older_runs_of_the_group",
]


async def runs_are_kept_as_submitted(store: Store) -> None:
    plain = queued("plain")
    rich = queued(
        "rich",
        function="søk",
        group="gpu",
        created_at_ms=1_700_000_000_123,
        input=msgspec.Raw('{"question":"qué, 何?\\n"}'.encode()),
        key="k",
        session="s",
        lane="=sé\n",
        priority=-3,
        crash_retries=3,
        not_before_ms=1_700_000_000_456,
        start_by_ms=1_700_000_009_000,
        abandon_grace_ms=60_000,
    )
    for run in (plain, rich):
        assert await store.submit(run, EPOCH) == Submitted(run, True)
        assert await store.run(run.id) == run
        assert await store.stream(run.id) == Stream(run.id, EPOCH, 0, ended=False)


async def runs_that_nobody_submitted(store: Store) -> None:
    assert await store.run("nobody's") is None
    assert (await store.runs(limit=10)).runs == []
    assert await store.request_cancel("nobody's") is None
    assert await store.seize("w", "nobody's") is None


async def keys_make_submitting_idempotent(store: Store) -> None:
    first = queued("first", key="k")
    assert await store.submit(first, EPOCH) == Submitted(first, True)
    assert await store.submit(queued("second", key="k", session="s"), EPOCH) == Submitted(first, False)
    assert await store.run("second") is None
    assert await store.stream("second") is None
    await store.claim("w", [group()], 2000, 1)
    now, fresh, *_ = await store.submit(queued("third", key="k"), EPOCH)
    assert (now.id, now.state, fresh) == ("first", RunState.RUNNING, False), "the earlier run as it is now"
    page = await store.runs(limit=10)
    assert [run.id for run in page.runs] == ["first"]


async def keys_are_each_functions_own(store: Store) -> None:
    runs = [
        queued("a", key="k"),
        queued("b", key="k", function="other"),
        queued("c", key="K"),
        queued("d", key=""),
        queued("e"),
        queued("f"),
    ]
    assert [(await store.submit(run, EPOCH))[1] for run in runs] == [True] * 6, "no key is equal to no other"


async def keys_stand_against_many_tasks(store: Store) -> None:
    kept = await asyncio.gather(*(store.submit(queued(f"r{n}", key="k"), EPOCH) for n in range(20)))
    assert sum(one.fresh for one in kept) == 1
    assert len({one.run.id for one in kept}) == 1, "all were given the same run"


async def _waiting(store: Store, run_id: str) -> int:
    return (await store.standings([run_id]))[run_id].ahead


async def waiting_counts_older_runs_of_the_group(store: Store) -> None:
    await submit(store, "a", "b")
    await submit(store, "x", group="h")
    await submit(store, "c", function="other")
    await submit(store, "d")
    assert [await _waiting(store, name) for name in "abxcd"] == [0, 1, 0, 2, 3]
    (a,) = await store.claim("w", [group()], 2000, 1)
    assert [await _waiting(store, name) for name in "bxcd"] == [0, 0, 1, 2], "a running run waits no more"
    await store.requeue(a.lease, 0)
    assert [await _waiting(store, name) for name in "abcd"] == [0, 1, 2, 3], "it waits where it waited"
    seized = await store.seize("w", "b")
    assert seized is not None
    await store.finish(seized.lease, RunState.CANCELLED, None, end(1), 3000)
    assert [await _waiting(store, name) for name in "acd"] == [0, 1, 2], "nor does one that ended"


async def opening_again_changes_nothing(store: Store) -> None:
    run = await started(store)
    await append(store, run, chunk(1))
    await store.open()
    assert await append(store, run, chunk(2)) == [True]


async def closed_stores_say_so(store: Store) -> None:
    run = await started(store)
    (sign,) = await store.workers()
    await store.close()
    await store.close()
    for call in (*_calls_for_callers(store, run), *_calls_for_workers(store, run, sign)):
        with raising(StoreUnavailable, "a closed store says so"):
            await call()


_Calls = tuple[Callable[[], Awaitable[object]], ...]


def _calls_for_callers(store: Store, run: Claimed) -> _Calls:
    return (
        store.open,
        lambda: append(store, run, chunk(1)),
        lambda: store.read("r", 0, 1),
        lambda: store.stream("r"),
        lambda: store.submit(queued("new"), EPOCH),
        lambda: store.run("r"),
        lambda: store.runs(limit=1),
        lambda: store.standings(["r"]),
        lambda: store.prioritize("r", 1),
        lambda: store.request_cancel("r"),
        lambda: store.watch("w", {"r": True}, 0),
        store.stopping,
        store.tallies,
        store.paces,
    )


def _calls_for_workers(store: Store, run: Claimed, sign: WorkerSign) -> _Calls:
    return (
        lambda: store.claim("w", [group()], 0, 1),
        lambda: store.finish(run.lease, RunState.SUCCEEDED, None, end(1), 0),
        lambda: store.finish_all([Ending(run.lease, RunState.SUCCEEDED, None, end(1), 0)]),
        lambda: store.returned("r"),
        lambda: store.requeue(run.lease, 0),
        lambda: store.regroup([group()]),
        lambda: store.seize("w", "r"),
        lambda: store.held("w"),
        lambda: store.acknowledge(["r"]),
        lambda: store.cancels("w"),
        lambda: store.sign("w", 0),
        lambda: store.leave("w"),
        lambda: store.take_over("other", sign),
        lambda: store.abandoned(0, 0),
        lambda: store.overdue(0, 1),
        store.due_at_ms,
        store.workers,
    )
