"""Checks of checkpoints: kept with the events up to them, under the lease alone, until the run ends."""

from ...models import Append, Chunk, Claimed, RunState
from ...storage.base import Store
from .material import append, chunk, end, group, read_all, record, started, submit

__all__ = [
    "checkpoints_alone_are_no_events",
    "checkpoints_alone_stand_at_the_tail",
    "checkpoints_are_for_the_lease_alone",
    "checkpoints_are_gone_with_the_end",
    "checkpoints_go_in_order_with_their_neighbours",
    "checkpoints_go_with_their_chunk",
    "checkpoints_outlive_the_attempt",
    "empty_chunks_are_for_the_lease_alone",
    "final_chunks_may_carry_one",
    "refused_chunks_leave_no_checkpoint",
]


def _nothing(seq: int) -> Chunk:
    """A chunk without events that stands behind event `seq`."""
    return Chunk(seq + 1, seq, b"")


async def _save(store: Store, claimed: Claimed, *items: tuple[Chunk, bytes | None]) -> list[bool]:
    return await store.append(
        [Append(claimed.run.id, claimed.lease.fence, chunk, saved) for chunk, saved in items]
    )


async def _saved(store: Store, run_id: str = "r") -> tuple[bytes | None, int]:
    run = await record(store, run_id)
    return run.checkpoint, run.checkpoint_seq


async def checkpoints_go_with_their_chunk(store: Store) -> None:
    run = await started(store)
    assert await _saved(store) == (None, 0)
    assert await _save(store, run, (chunk(1, 3), b"one")) == [True]
    assert await _saved(store) == (b"one", 3)
    assert await append(store, run, chunk(4)) == [True]
    assert await _saved(store) == (b"one", 3), "it is of the place where it was taken"
    assert await _save(store, run, (chunk(5), b"\x00\xff" * 50_000)) == [True]
    assert await _saved(store) == (b"\x00\xff" * 50_000, 5)
    assert await _save(store, run, (chunk(6), b"")) == [True]
    assert await _saved(store) == (b"", 6), "an empty one is one too"
    assert [one.last_seq for one in await read_all(store, "r")] == [3, 4, 5, 6]


async def checkpoints_alone_stand_at_the_tail(store: Store) -> None:
    run = await started(store)
    assert await _save(store, run, (_nothing(0), b"first")) == [True], "before any event too"
    assert await _saved(store) == (b"first", 0)
    await append(store, run, chunk(1, 3))
    for seq in (0, 2, 4):
        assert await _save(store, run, (_nothing(seq), b"elsewhere")) == [False], f"the tail is not {seq}"
    assert await _saved(store) == (b"first", 0)
    assert await _save(store, run, (_nothing(3), b"second")) == [True]
    assert await _saved(store) == (b"second", 3)


async def checkpoints_alone_are_no_events(store: Store) -> None:
    run = await started(store)
    heard: list[tuple[str | None, Chunk | None]] = []
    store.listen(lambda stream, chunk: heard.append((stream, chunk)))
    await append(store, run, chunk(1))
    assert await _save(store, run, (_nothing(1), b"saved")) == [True]
    await append(store, run, chunk(2))
    assert await read_all(store, "r") == [chunk(1), chunk(2)]
    assert [item for item in heard if item != (None, None)] == [("r", chunk(1)), ("r", chunk(2))]
    stream = await store.stream("r")
    assert stream is not None
    assert stream.tail == 2


async def checkpoints_go_in_order_with_their_neighbours(store: Store) -> None:
    run, other = await started(store), await started(store, "other")
    theirs = Append("other", other.lease.fence, chunk(1), b"theirs")
    mine = [
        Append("r", run.lease.fence, one, saved)
        for one, saved in (
            (chunk(1), b"1"), (_nothing(1), b"1 again"), (chunk(2), None), (_nothing(1), b"too late"),
            (_nothing(2), b"2"), (chunk(3), None),
        )
    ]  # fmt: skip
    assert await store.append([*mine[:3], theirs, *mine[3:]]) == [True] * 4 + [False, True, True]
    assert await _saved(store) == (b"2", 2)
    assert await _saved(store, "other") == (b"theirs", 1)
    assert await read_all(store, "r") == [chunk(1), chunk(2), chunk(3)]


async def refused_chunks_leave_no_checkpoint(store: Store) -> None:
    run = await started(store)
    assert await _save(store, run, (chunk(2), b"gap"), (chunk(1), b"1"), (chunk(1), b"repeat")) == [
        False,
        True,
        False,
    ]
    assert await _saved(store) == (b"1", 1)
    assert await store.append([Append("nobody's", 1, _nothing(0), b"x")]) == [False]


async def checkpoints_are_for_the_lease_alone(store: Store) -> None:
    lost = await started(store)
    assert await _save(store, lost, (chunk(1), b"lost's")) == [True]
    await store.requeue(lost.lease, 0)
    for item in ((chunk(2), b"x"), (_nothing(1), b"x")):
        assert await _save(store, lost, item) == [False], "it was given back"
    (held,) = await store.claim("other", [group(name=lost.run.group)], 3000, 1)
    for item in ((chunk(2), b"x"), (_nothing(1), b"x")):
        assert await _save(store, lost, item) == [False], "another holds it now"
    assert await _saved(store) == (b"lost's", 1)
    assert await _save(store, held, (_nothing(1), b"held's")) == [True]
    assert await _saved(store) == (b"held's", 1)


async def empty_chunks_are_for_the_lease_alone(store: Store) -> None:
    lost = await started(store)
    assert await append(store, lost, _nothing(0)) == [True]
    await store.requeue(lost.lease, 0)
    assert await append(store, lost, _nothing(0)) == [False]
    assert await store.append([Append("nobody's", 1, _nothing(0))]) == [False]


async def checkpoints_outlive_the_attempt(store: Store) -> None:
    first = await started(store)
    await _save(store, first, (chunk(1, 2), b"saved"))
    await append(store, first, chunk(3))
    await store.requeue(first.lease, 0, lost=True)
    (second,) = await store.claim("other", [group(name=first.run.group)], 3000, 1)
    assert (second.run.checkpoint, second.run.checkpoint_seq) == (b"saved", 2)
    assert second.stream.tail == 3
    (sign,) = await store.workers()
    (third,) = await store.take_over("third", sign)
    assert (third.run.checkpoint, third.run.checkpoint_seq) == (b"saved", 2)
    (listed,) = (await store.runs(limit=1)).runs
    assert listed.checkpoint is None, "a page does not carry it"


async def checkpoints_are_gone_with_the_end(store: Store) -> None:
    run = await started(store)
    await _save(store, run, (chunk(1), b"saved"))
    await store.finish(run.lease, RunState.INTERRUPTED, None, end(2), 3000)
    assert (await record(store, "r")).checkpoint is None
    assert await _save(store, run, (_nothing(2), b"after the end")) == [False]
    assert (await record(store, "r")).checkpoint is None
    await submit(store, "waiting")
    assert (await record(store, "waiting")).checkpoint is None


async def final_chunks_may_carry_one(store: Store) -> None:
    run = await started(store)
    assert await _save(store, run, (end(1), b"saved")) == [True], "an item is stored whole or not at all"
    assert await read_all(store, "r") == [end(1)]
    assert await _saved(store) == (b"saved", 1)
