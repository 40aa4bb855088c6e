"""Checks of two stores over the same data, as two processes have them: what one does holds for the other."""

import asyncio
from collections import Counter

from ...errors import AlreadyRunning, Fenced, QueueFull
from ...models import Append, Claimed, Group, Intake, Rate, RunState, Submitted
from ...storage.base import Store
from .material import (
    EPOCH,
    append,
    calls,
    chunk,
    end,
    finish,
    group,
    ids,
    queued,
    raising,
    read_all,
    record,
    started,
    submit,
    until,
)

__all__ = [
    "adopting_holds_between_stores",
    "batches_hold_between_stores",
    "bounds_hold_between_stores",
    "checkpoints_hold_between_stores",
    "fences_hold_between_stores",
    "keys_hold_between_stores",
    "lanes_hold_between_stores",
    "limits_hold_between_stores",
    "lingering_calls_hold_between_stores",
    "one_reads_what_the_other_wrote",
    "one_takes_over_from_the_other",
    "rates_hold_between_stores",
    "readers_are_counted_over_both",
    "repeats_hold_between_stores",
    "starting_holds_between_stores",
    "stops_reach_the_other",
    "the_other_is_woken",
    "values_hold_between_stores",
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


async def starting_holds_between_stores(one: Store, other: Store) -> None:
    names = [f"r{number:02}" for number in range(20)]
    await submit(one, *names)
    asked = [store.start(f"w{n}", name, 2000) for name in names for n, store in enumerate([one, other] * 2)]
    begun, claimed = await asyncio.gather(asyncio.gather(*asked), other.claim("c", [group()], 2000, 5))
    assert sorted([run.run.id for run in begun if run] + ids(claimed)) == names, "each is one worker's"
    assert [tally.running for tally in await other.tallies()] == [20]


async def adopting_holds_between_stores(one: Store, other: Store) -> None:
    await one.sign("w", 9000)
    await other.sign("v", 9000)
    await submit(one, *(f"r{number:02}" for number in range(20)))
    stores = [(one, "w"), (other, "v")] * 8
    parts = await asyncio.gather(*(store.adopt(worker, ["f"], 2000, 3) for store, worker in stores))
    found = [run.id for part in parts for run in part]
    assert len(found) == len(set(found)) == 20
    await one.leave("w")
    lost = await other.adopt("v", ["f"], 2000, 99)
    assert {run.id for run in lost} == {run.id for part in parts[::2] for run in part}


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


async def _claimed_by_both(one: Store, other: Store, of: Group, now_ms: int = 2000) -> list[Claimed]:
    """What both get who ask at the same time, call by call, until there is no more."""

    async def take(store: Store, worker: str) -> list[Claimed]:
        found: list[Claimed] = []
        while claimed := await store.claim(worker, [of], now_ms, 1):
            found += claimed
        return found

    parts = await asyncio.gather(*(take(store, f"w{n}") for n, store in enumerate([one, other] * 2)))
    return [claimed for part in parts for claimed in part]


async def _submit_to_lanes(store: Store, count: int) -> None:
    for lane in "abc":
        await submit(store, *(f"{lane}{number}" for number in range(count)), lane=lane)


async def lanes_hold_between_stores(one: Store, other: Store) -> None:
    await _submit_to_lanes(one, 8)
    claimed = await _claimed_by_both(one, other, group(8, key_limit=3))
    assert sorted(ids(claimed)) == ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1"], "by turns, whoever asks"
    for name in ("a0", "b1"):
        await finish(one, next(run for run in claimed if run.run.id == name))
    assert sorted(ids(await _claimed_by_both(one, other, group(None, key_limit=3)))) == ["a3", "b3", "c2"]
    assert await one.standings(["a4", "b4", "c3"]) == await other.standings(["a4", "b4", "c3"])


async def rates_hold_between_stores(one: Store, other: Store) -> None:
    await _submit_to_lanes(one, 8)
    rated = group(rate=Rate(2, 1000))
    for now_ms in (10_000, 10_999, 11_000, 12_000):
        found = Counter(run_id[0] for run_id in ids(await _claimed_by_both(one, other, rated, now_ms)))
        assert found == (dict.fromkeys("abc", 2) if now_ms != 10_999 else {})
        assert await one.due_at_ms() == await other.due_at_ms() == max(11_000, now_ms // 1000 * 1000 + 1000)


async def batches_hold_between_stores(one: Store, other: Store) -> None:
    await submit(one, *(f"r{number}" for number in range(10)))
    claimed = await _claimed_by_both(one, other, group(2, batch_size=3))
    assert sorted(calls(claimed)) == [["r0", "r1", "r2"], ["r3", "r4", "r5"]]
    for run in claimed:
        await other.finish(run.lease, RunState.SUCCEEDED, None, end(1), 3000)
    assert len(await _claimed_by_both(one, other, group(2, batch_size=3))) == 4


async def lingering_calls_hold_between_stores(one: Store, other: Store) -> None:
    await submit(one, *"abc")
    (a,) = await one.claim("w", [group(1)], 2000, 9)
    await finish(one, a, lingers=True)
    assert await other.claim("v", [group(1)], 3000, 9) == []
    assert await other.tallies() == await one.tallies()
    await other.returned("a")
    assert ids(await one.claim("w", [group(1)], 3000, 9)) == ["b"]


async def bounds_hold_between_stores(one: Store, other: Store) -> None:
    stores = [one, other] * 10
    kept = await asyncio.gather(
        *(store.submit(queued(f"r{n}"), EPOCH, Intake(5, 2)) for n, store in enumerate(stores)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, QueueFull) for answer in kept) == 13
    assert sum(isinstance(answer, Submitted) for answer in kept) == 7


async def repeats_hold_between_stores(one: Store, other: Store) -> None:
    stores = [one, other] * 8
    kept = await asyncio.gather(
        *(
            store.submit(queued(f"r{n}", session="s"), EPOCH, Intake(None, None, "reject"))
            for n, store in enumerate(stores)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, AlreadyRunning) for answer in kept) == 15
    (taken,) = [answer.run.id for answer in kept if isinstance(answer, Submitted)]
    new = await other.submit(queued("new", session="s"), EPOCH, Intake(None, None, "replace"))
    assert new.replaced == (taken,)
    assert (await record(one, taken)).cancel_reason == "replaced"


async def checkpoints_hold_between_stores(one: Store, other: Store) -> None:
    first = await started(one)
    await one.append([Append("r", first.lease.fence, chunk(1), b"saved")])
    (sign,) = await other.workers()
    (moved,) = await other.take_over("v", sign)
    assert (moved.run.checkpoint, moved.run.checkpoint_seq) == (b"saved", 1)
    assert await one.append([Append("r", first.lease.fence, chunk(2), b"late")]) == [False]
    assert (await record(other, "r")).checkpoint == b"saved"


async def stops_reach_the_other(one: Store, other: Store) -> None:
    await started(one)
    await other.request_cancel("r", "abandoned")
    assert await one.cancels("w") == {"r": "abandoned"}
    await one.acknowledge(["r"])
    assert await other.stopping() == {"r": True}


async def readers_are_counted_over_both(one: Store, other: Store) -> None:
    await submit(one, "r", abandon_grace_ms=500)
    await one.watch("w", {"r": True}, 1100)
    await other.watch("v", {"r": True}, 1200)
    await one.watch("w", {"r": False}, 2000)
    assert await one.abandoned(9000, 9000) == await other.abandoned(9000, 9000) == []
    await other.watch("v", {"r": False}, 9000)
    assert await one.abandoned(9499, 9000) == []
    assert await one.abandoned(9500, 9000) == await other.abandoned(9500, 9000) == ["r"]


async def values_hold_between_stores(one: Store, other: Store) -> None:
    for value in (b"one", b"two"):
        await one.keep("a", value, 2000, 1000)
        assert await other.kept("a", 1000) == value
    await other.keep("a", None, 2000, 1000)
    assert await one.kept("a", 1000) is None
