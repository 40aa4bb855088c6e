"""Checks of what is taken in: refused while a group is full, and as a session's repeats are to be."""

import asyncio
from typing import Any

from ...errors import AlreadyRunning, QueueFull
from ...models import Intake, OnRepeat, Submitted
from ...storage.base import Store
from .material import EPOCH, finish, group, ids, queued, raising, record, submit

__all__ = [
    "full_groups_are_filled_by_many_tasks_to_the_last_place",
    "full_groups_count_a_batch_as_one",
    "full_groups_refuse_and_write_nothing",
    "full_groups_take_in_what_may_start_at_once",
    "groups_without_bounds_are_never_full",
    "refused_repeats_write_nothing",
    "repeats_are_of_one_function_and_session",
    "repeats_may_be_refused",
    "repeats_may_interrupt_all",
    "repeats_may_replace_those_that_wait",
    "repeats_wait_where_nothing_else_is_said",
    "repeats_with_a_key_are_the_earlier_run",
    "replaced_runs_leave_their_places",
    "submitting_tells_what_was_before",
]


async def _full(store: Store, run_id: str, intake: Intake, **more: Any) -> None:
    tallies = await store.tallies()
    with raising(QueueFull, "as many wait as may"):
        await store.submit(queued(run_id, **more), EPOCH, intake)
    assert await store.run(run_id) is None
    assert await store.stream(run_id) is None
    assert await store.tallies() == tallies


async def submitting_tells_what_was_before(store: Store) -> None:
    bounded = Intake(9, 2)
    for ahead, name in enumerate("abcd"):
        run = queued(name)
        assert await store.submit(run, EPOCH, bounded) == Submitted(run, True, ahead, 0)
    await submit(store, "elsewhere", group="h")
    a, _ = await store.claim("w", [group(2)], 2000, 9)
    assert (await store.submit(queued("e"), EPOCH, bounded))[2:] == (2, 2, ())
    await finish(store, a)
    assert (await store.submit(queued("f"), EPOCH, bounded))[2:] == (3, 1, ())


async def full_groups_refuse_and_write_nothing(store: Store) -> None:
    bounded = Intake(2, 1)
    for name in "abc":
        assert (await store.submit(queued(name), EPOCH, bounded)).fresh, "one may start, two may wait"
    await _full(store, "d", bounded, key="k", session="s")
    assert (await store.submit(queued("x", group="h"), EPOCH, bounded)).fresh, "another group is not full"
    (a,) = await store.claim("w", [group(1)], 2000, 9)
    await _full(store, "d", bounded, key="k")
    await finish(store, a)
    assert (await store.submit(queued("d", key="k"), EPOCH, bounded)).fresh, "the key was not taken"
    await _full(store, "e", bounded)
    assert not (await store.submit(queued("e", key="k"), EPOCH, bounded)).fresh, "a known key needs no room"


async def full_groups_take_in_what_may_start_at_once(store: Store) -> None:
    bounded = Intake(0, 2)
    await submit(store, "parked", not_before_ms=9000)
    assert (await store.submit(queued("a"), EPOCH, bounded)).fresh
    await _full(store, "b", bounded)
    (a,) = await store.claim("w", [group(2)], 2000, 9)
    await _full(store, "b", bounded)
    await finish(store, a, lingers=True)
    await _full(store, "b", bounded)
    await store.returned("a")
    assert (await store.submit(queued("b"), EPOCH, bounded)).fresh, "one waits, two may start"


async def full_groups_count_a_batch_as_one(store: Store) -> None:
    batched = Intake(0, 2, batches=True)
    await submit(store, "a", "b", "c")
    a, b, c = await store.claim("w", [group(2, batch_size=3)], 2000, 9)
    assert (await store.submit(queued("d"), EPOCH, batched))[1:4] == (True, 0, 1)
    await _full(store, "e", batched)
    for one in (a, b):
        await finish(store, one)
    await _full(store, "e", batched)
    await finish(store, c)
    assert (await store.submit(queued("e"), EPOCH, batched))[1:4] == (True, 1, 0)


async def groups_without_bounds_are_never_full(store: Store) -> None:
    for intake in (Intake(0, None), Intake(None, 0), Intake(None, None)):
        for number in range(3):
            run = queued(f"{intake.max_size} {intake.concurrency_limit} {number}")
            assert (await store.submit(run, EPOCH, intake)).fresh


async def full_groups_are_filled_by_many_tasks_to_the_last_place(store: Store) -> None:
    kept = await asyncio.gather(
        *(store.submit(queued(f"r{number}"), EPOCH, Intake(5, 2)) for number in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, QueueFull) for one in kept) == 13
    assert sum(isinstance(one, Submitted) for one in kept) == 7


async def _repeat(store: Store, run_id: str, on_repeat: OnRepeat, **more: Any) -> Submitted:
    run = queued(run_id, **{"session": "s"} | more)
    return await store.submit(run, EPOCH, Intake(None, None, on_repeat))


async def _asked_to_stop(store: Store, *run_ids: str) -> list[str | None]:
    runs = [await record(store, run_id) for run_id in run_ids]
    assert all(run.cancel == (run.cancel_reason is not None) for run in runs)
    return [run.cancel_reason for run in runs]


async def repeats_wait_where_nothing_else_is_said(store: Store) -> None:
    assert (await _repeat(store, "a", "enqueue")).fresh
    assert await _repeat(store, "b", "enqueue") == Submitted(queued("b", session="s"), True, 1)
    assert await _asked_to_stop(store, "a", "b") == [None, None]
    assert ids(await store.claim("w", [group()], 2000, 9)) == ["a", "b"]


async def repeats_may_be_refused(store: Store) -> None:
    assert (await _repeat(store, "a", "reject")).fresh
    with raising(AlreadyRunning, "the first waits"):
        await _repeat(store, "b", "reject")
    (a,) = await store.claim("w", [group()], 2000, 9)
    with raising(AlreadyRunning, "it runs"):
        await _repeat(store, "b", "reject")
    await finish(store, a)
    assert (await _repeat(store, "b", "reject")).fresh, "it has ended"
    await store.request_cancel("b")
    assert (await _repeat(store, "c", "reject")).fresh, "it is to stop"


async def refused_repeats_write_nothing(store: Store) -> None:
    await _repeat(store, "a", "enqueue")
    before = await store.tallies()
    with raising(AlreadyRunning, "the first waits"):
        await _repeat(store, "b", "reject", key="k")
    assert await store.run("b") is None
    assert await store.stream("b") is None
    assert await store.tallies() == before
    assert (await _repeat(store, "c", "enqueue", key="k")).fresh, "the key was not taken"


async def repeats_are_of_one_function_and_session(store: Store) -> None:
    await _repeat(store, "a", "enqueue")
    await submit(store, "nobody's")
    for on_repeat in ("reject", "replace", "interrupt"):
        others = [
            await _repeat(store, f"{on_repeat} session", on_repeat, session=on_repeat),
            await _repeat(store, f"{on_repeat} function", on_repeat, function=on_repeat),
            await _repeat(store, f"{on_repeat} none", on_repeat, session=None),
        ]
        assert [(one.fresh, one.replaced) for one in others] == [(True, ())] * 3
    assert await _asked_to_stop(store, "a", "nobody's") == [None, None]


async def repeats_with_a_key_are_the_earlier_run(store: Store) -> None:
    await _repeat(store, "a", "enqueue", key="k")
    for on_repeat in ("reject", "replace", "interrupt"):
        again = await _repeat(store, "b", on_repeat, key="k")
        assert (again.run.id, again.fresh, again.replaced) == ("a", False, ())
    assert await _asked_to_stop(store, "a") == [None]


async def _one_of_each(store: Store) -> None:
    """A run that has ended, one that runs, one that waits, one that waits for its time, one that is to stop."""
    for name in ("ended", "running"):
        await _repeat(store, name, "enqueue")
    ended, _ = await store.claim("w", [group()], 2000, 9)
    await finish(store, ended)
    for name, not_before_ms in (("waiting", 0), ("parked", 9000), ("stopping", 0)):
        await _repeat(store, name, "enqueue", not_before_ms=not_before_ms)
    await store.request_cancel("stopping")


async def repeats_may_replace_those_that_wait(store: Store) -> None:
    await _one_of_each(store)
    new = await _repeat(store, "new", "replace")
    assert sorted(new.replaced) == ["parked", "waiting"]
    assert await _asked_to_stop(store, "waiting", "parked") == ["replaced"] * 2
    assert await _asked_to_stop(store, "ended", "running", "new") == [None] * 3
    assert await _asked_to_stop(store, "stopping") == ["cancelled"], "the first reason stands"
    assert (await _repeat(store, "newer", "replace")).replaced == ("new",)


async def repeats_may_interrupt_all(store: Store) -> None:
    await _one_of_each(store)
    new = await _repeat(store, "new", "interrupt")
    assert sorted(new.replaced) == ["parked", "running", "waiting"]
    assert await _asked_to_stop(store, *new.replaced) == ["replaced"] * 3
    assert await _asked_to_stop(store, "ended", "new") == [None] * 2
    assert await store.cancels("w") == {"running": "replaced"}, "its worker hears of it"


async def replaced_runs_leave_their_places(store: Store) -> None:
    bounded = Intake(1, 0, "replace")
    assert (await store.submit(queued("a", session="s"), EPOCH, bounded)).fresh
    await _full(store, "another's", bounded, session="t")
    new = await store.submit(queued("b", session="s"), EPOCH, bounded)
    assert new.replaced == ("a",), "it needs no place of its own"
    await submit(store, "c", "d", session="u")
    await _full(store, "e", bounded, session="s")
    assert await _asked_to_stop(store, "b") == [None], "the refused one replaces nothing"
