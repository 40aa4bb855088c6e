"""Checks of two stores over the same data, as two processes have them: what one does holds for the other."""

import asyncio

from ...errors import Fenced
from ...models import Claimed, RunState
from ...storage.base import Store
from .material import EPOCH, append, chunk, end, group, ids, queued, raising, read_all, started, submit, until

__all__ = [
    "fences_hold_between_stores",
    "keys_hold_between_stores",
    "limits_hold_between_stores",
    "one_reads_what_the_other_wrote",
    "one_takes_over_from_the_other",
    "the_other_is_woken",
]


async def one_reads_what_the_other_wrote(one: Store, other: Store) -> None:
    claimed = await started(one)
    for seq in range(1, 20):
        assert await append(one, claimed, chunk(seq)) == [True]
        assert await read_all(other, "r") == [chunk(before) for before in range(1, seq + 1)]
    await one.finish(claimed.lease, RunState.SUCCEEDED, None, end(20), 5000)
    assert await other.run("r") == await one.run("r")
    assert await other.stream("r") == await one.stream("r")


async def the_other_is_woken(one: Store, other: Store) -> None:
    claimed = await started(one)
    woken = asyncio.Event()
    other.listen(lambda stream, _: None if stream else woken.set())
    for seq in range(1, 6):
        woken.clear()
        await append(one, claimed, chunk(seq))
        await until(woken.is_set, "a store says when another process may have written")
        assert len(await read_all(other, "r")) == seq, "what woke it is there to be read"


async def keys_hold_between_stores(one: Store, other: Store) -> None:
    stores = [one, other] * 8
    kept = await asyncio.gather(
        *(store.submit(queued(f"r{number}", key="k"), EPOCH) for number, store in enumerate(stores))
    )
    assert sum(one.fresh for one in kept) == 1
    assert len({one.run.id for one in kept}) == 1


async def limits_hold_between_stores(one: Store, other: Store) -> None:
    await submit(one, *(f"r{number:02}" for number in range(30)))

    async def take(store: Store, worker: str) -> list[Claimed]:
        return [run for _ in range(10) for run in await store.claim(worker, [group(13)], 2000, 1)]

    parts = await asyncio.gather(*(take(store, f"w{n}") for n, store in enumerate([one, other] * 2)))
    claimed = [run for part in parts for run in part]
    assert sorted(ids(claimed)) == [f"r{number:02}" for number in range(13)]


async def fences_hold_between_stores(one: Store, other: Store) -> None:
    first = await started(one)
    await other.requeue(first.lease, 0)
    (second,) = await other.claim("w", [group(name=first.run.group)], 3000, 1)
    assert await append(one, first, chunk(1)) == [False]
    with raising(Fenced, "another process holds the run"):
        await one.finish(first.lease, RunState.SUCCEEDED, None, end(1), 4000)
    assert await append(other, second, chunk(1)) == [True]


async def one_takes_over_from_the_other(one: Store, other: Store) -> None:
    await one.sign("lost", 5000)
    first = await started(one, worker="lost")
    (sign,) = await other.workers()
    assert ids(await other.take_over("w", sign)) == ["r"]
    assert await append(one, first, chunk(1)) == [False]
    assert [worker.worker for worker in await one.workers()] == ["w"]
