"""Checks of streams: what is appended is there whole, once, in order; what is refused is not there at all."""

import asyncio
from collections.abc import Sequence

from ...models import Append, Chunk, RunState, Stream
from ...storage.base import Store
from .material import EPOCH, NO_LIMIT_BYTES, append, chunk, end, read_all, started, submit, until

__all__ = [
    "append_continues_the_tail",
    "append_keeps_bytes_as_they_are",
    "append_refuses_a_gap_or_a_repeat",
    "append_refuses_another_fence",
    "append_refuses_anything_after_the_end",
    "append_refuses_unknown_streams",
    "append_to_many_streams_is_one_batch",
    "cancelled_append_is_whole_or_absent",
    "listeners_hear_appends_and_ends",
    "listeners_hear_nothing_of_refusals",
    "listeners_may_leave",
    "many_tasks_leave_no_gap",
    "read_begins_after_the_cursor",
    "read_stays_within_its_limit",
    "read_what_is_not_there",
    "refusals_are_told_apart_in_a_batch_of_many_streams",
    "refusals_leave_their_neighbours_alone",
    "rivals_for_one_stream_leave_no_gap",
    "streams_are_described_as_they_stand",
]

Heard = list[tuple[str | None, Chunk | None]]


async def append_continues_the_tail(store: Store) -> None:
    run = await started(store)
    assert await append(store, run, chunk(1)) == [True]
    assert await append(store, run, chunk(2, 6), chunk(7)) == [True, True]
    assert await read_all(store, "r") == [chunk(1), chunk(2, 6), chunk(7)]
    assert await store.append([]) == []


async def append_keeps_bytes_as_they_are(store: Store) -> None:
    run = await started(store)
    chunks = [chunk(1, data=bytes(range(256))), chunk(2, data=b""), chunk(3, data=b"x" * 1_048_576)]
    assert await append(store, run, *chunks) == [True, True, True]
    assert await read_all(store, "r") == chunks


async def append_refuses_a_gap_or_a_repeat(store: Store) -> None:
    run = await started(store)
    assert await append(store, run, chunk(2)) == [False], "an empty stream begins with 1"
    assert await append(store, run, chunk(1, 3)) == [True]
    for wrong in (chunk(1, 3), chunk(3), chunk(3, 4), chunk(5), chunk(0, 4)):
        assert await append(store, run, wrong) == [False]
    assert await read_all(store, "r") == [chunk(1, 3)]


async def append_refuses_another_fence(store: Store) -> None:
    run = await started(store)
    for fence in (run.lease.fence - 1, run.lease.fence + 1):
        assert await store.append([Append("r", fence, chunk(1))]) == [False]
    assert await read_all(store, "r") == []


async def append_refuses_unknown_streams(store: Store) -> None:
    assert await store.append([Append("nobody's", 0, chunk(1)), Append("", 1, chunk(1))]) == [False, False]
    assert await store.stream("nobody's") is None, "appending makes no stream"


async def append_refuses_anything_after_the_end(store: Store) -> None:
    run = await started(store)
    assert await append(store, run, chunk(1), end(2), chunk(3)) == [True, True, False]
    assert await append(store, run, chunk(3)) == [False]
    assert await append(store, run, end(3)) == [False]
    assert await read_all(store, "r") == [chunk(1), end(2)]


async def refusals_leave_their_neighbours_alone(store: Store) -> None:
    one, other = await started(store, "one"), await started(store, "other")
    mine, theirs = one.lease.fence, other.lease.fence
    batch = [
        Append("one", mine, chunk(1)),
        Append("other", theirs, chunk(2)),  # a gap
        Append("one", mine, chunk(1)),  # a repeat
        Append("other", theirs, chunk(1)),
        Append("nobody's", 1, chunk(1)),
        Append("one", mine + 1, chunk(2)),  # another's lease
        Append("one", mine, chunk(2)),
        Append("other", theirs, chunk(2)),
    ]
    assert await store.append(batch) == [True, False, False, True, False, False, True, True]
    assert await read_all(store, "one") == [chunk(1), chunk(2)]
    assert await read_all(store, "other") == [chunk(1), chunk(2)]


async def refusals_are_told_apart_in_a_batch_of_many_streams(store: Store) -> None:
    runs = {name: await started(store, name) for name in ("a", "b", "c", "d", "e")}
    fence = {name: run.lease.fence for name, run in runs.items()}
    await store.finish(runs["e"].lease, RunState.SUCCEEDED, None, end(1), 5000)
    wrong = [
        Append("b", fence["b"], chunk(2)),  # a gap
        Append("c", fence["c"] + 1, chunk(1)),  # another's lease
        Append("nobody's", 1, chunk(1)),
        Append("e", fence["e"], chunk(2)),  # after the end
    ]
    good = [Append("a", fence["a"], chunk(1)), Append("d", fence["d"], chunk(1, 3))]
    for item in wrong:
        assert await store.append([good[0], item, good[1]]) == [True, False, True]
        good = [
            Append(one.stream, one.fence, chunk(one.chunk.last_seq + 1, one.chunk.last_seq + 3))
            for one in good
        ]
    assert [(await store.stream(name)).tail for name in "abcde"] == [10, 0, 0, 12, 1]  # type: ignore[union-attr]


async def append_to_many_streams_is_one_batch(store: Store) -> None:
    names = [f"r{number}" for number in range(40)]
    runs = [await started(store, name) for name in names]
    batch = [Append(run.run.id, run.lease.fence, chunk(seq)) for seq in range(1, 61) for run in runs]
    batch[1200] = Append("r0", runs[0].lease.fence, chunk(99))  # r0 has a gap from its 31st on
    taken = await store.append(batch)
    assert taken == [item.stream != "r0" or place < 1200 for place, item in enumerate(batch)]
    assert [len(await read_all(store, name)) for name in names] == [30] + [60] * 39


async def read_begins_after_the_cursor(store: Store) -> None:
    run = await started(store)
    chunks = [chunk(1), chunk(2, 5), chunk(6)]
    await append(store, run, *chunks)
    for after, begin in ((0, 0), (1, 1), (2, 1), (4, 1), (5, 2), (6, 3), (99, 3)):
        assert await store.read("r", after, NO_LIMIT_BYTES) == chunks[begin:], f"after {after}"


async def read_stays_within_its_limit(store: Store) -> None:
    run = await started(store)
    chunks = [chunk(seq, data=b"x" * size) for seq, size in enumerate((100, 50, 1, 200), start=1)]
    await append(store, run, *chunks)
    for limit_bytes, count in ((0, 1), (99, 1), (100, 1), (149, 1), (150, 2), (151, 3), (350, 3), (351, 4)):
        assert await store.read("r", 0, limit_bytes) == chunks[:count], f"at most {limit_bytes} bytes"
    assert await store.read("r", 3, 1) == chunks[3:], "there is one chunk at least, whatever its size"


async def read_what_is_not_there(store: Store) -> None:
    await submit(store, "r")
    assert await store.read("r", 0, 10) == []
    assert await store.read("nobody's", 0, 10) == []


async def streams_are_described_as_they_stand(store: Store) -> None:
    assert await store.stream("r") is None
    run = await started(store)
    assert run.stream == Stream("r", EPOCH, 0, ended=False)
    assert await store.stream("r") == run.stream
    await append(store, run, chunk(1, 4))
    assert await store.stream("r") == Stream("r", EPOCH, 4, ended=False)
    await append(store, run, end(5))
    assert await store.stream("r") == Stream("r", EPOCH, 5, ended=True)


async def cancelled_append_is_whole_or_absent(store: Store) -> None:
    run = await started(store)
    tail = 0
    for hold_s in (0, 0, 0.001, 0.005):
        task = asyncio.create_task(append(store, run, chunk(tail + 1, tail + 3)))
        await asyncio.sleep(hold_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await append(store, run, chunk(99)) == [False]  # waits behind what was cancelled
        stands = await store.stream("r")
        assert stands is not None
        assert stands.tail in (tail, tail + 3)
        tail = stands.tail
    assert await append(store, run, chunk(tail + 1)) == [True], "the stream goes on from its tail"
    await read_all(store, "r")


def _news(heard: Heard) -> Heard:
    return [item for item in heard if item != (None, None)]  # a store may say at any time: look again


async def listeners_hear_appends_and_ends(store: Store) -> None:
    one, other = await started(store, "one"), await started(store, "other")
    heard, heard_too = Heard(), Heard()
    store.listen(lambda stream, chunk: heard.append((stream, chunk)))
    store.listen(lambda stream, chunk: heard_too.append((stream, chunk)))
    fences = one.lease.fence, other.lease.fence
    await store.append([Append("one", fences[0], chunk(1)), Append("other", fences[1], chunk(1, 2))])
    await append(store, one, chunk(2))
    await store.finish(other.lease, RunState.SUCCEEDED, None, end(3), 5000)
    wanted = [("one", chunk(1)), ("other", chunk(1, 2)), ("one", chunk(2)), ("other", end(3))]
    await until(lambda: len(_news(heard)) >= 4, "listeners hear of appends and ends")
    assert _news(heard) == wanted
    assert _news(heard_too) == wanted


async def listeners_hear_nothing_of_refusals(store: Store) -> None:
    run = await started(store)
    heard = Heard()
    store.listen(lambda stream, chunk: heard.append((stream, chunk)))
    await append(store, run, chunk(2), chunk(1), chunk(1), chunk(2))
    await until(lambda: len(_news(heard)) >= 2, "listeners hear of appends")
    assert _news(heard) == [("r", chunk(1)), ("r", chunk(2))]


async def listeners_may_leave(store: Store) -> None:
    run = await started(store)
    left, stayed = Heard(), Heard()

    def once(stream: str | None, chunk: Chunk | None) -> None:
        left.append((stream, chunk))
        if chunk is not None:
            leave()

    leave = store.listen(once)
    store.listen(lambda stream, chunk: stayed.append((stream, chunk)))
    await append(store, run, chunk(1), chunk(2))
    await append(store, run, chunk(3))
    await until(lambda: len(_news(stayed)) >= 3, "one that leaves takes nobody with it")
    assert _news(left) == [("r", chunk(1))]
    assert _news(stayed) == [("r", chunk(seq)) for seq in (1, 2, 3)]


async def many_tasks_leave_no_gap(store: Store) -> None:
    runs = [await started(store, f"r{number}") for number in range(25)]

    async def write(number: int) -> Sequence[bool]:
        return [(await append(store, runs[number], chunk(seq)))[0] for seq in range(1, 31)]

    for taken in await asyncio.gather(*(write(number) for number in range(25))):
        assert all(taken)
    for run in runs:
        assert await read_all(store, run.run.id) == [chunk(seq) for seq in range(1, 31)]


async def rivals_for_one_stream_leave_no_gap(store: Store) -> None:
    run = await started(store)
    won: list[Chunk] = []

    async def write(name: bytes) -> None:
        while len(won) < 60:
            mine = chunk(len(won) + 1, data=b"%b %d" % (name, len(won)))
            if (await append(store, run, mine)) == [True]:
                won.append(mine)

    await asyncio.gather(*(write(b"task %d" % number) for number in range(8)))
    found = await read_all(store, "r")
    assert found == sorted(won, key=lambda one: one.first_seq), "each place went to one of them"
