"""The hub: what is appended reaches every subscriber, however wake-ups, reads and farewells fall."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from penstock.errors import StoreUnavailable
from penstock.events import End, Json
from penstock.hub import READ_BYTES, SHARED_BYTES, TAIL_BYTES, WARM_TAILS, Frames, Hub, Merge, Subscriber
from penstock.hub import tail as tails
from penstock.models import Append, Chunk, Claimed, Group, RunRecord, RunState, Stream
from penstock.protocol.sse import encode_chunk
from penstock.storage.memory import MemoryStore

EPOCH = "epoch00000"


class Store(MemoryStore):
    """Counts reads, can fail them, and can keep quiet about what was written, as if by another process."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.failures = 0
        self.told = True

    async def read(self, stream: str, after: int, limit_bytes: int) -> list[Chunk]:
        self.reads += 1
        found = await super().read(stream, after, limit_bytes)
        await asyncio.sleep(0)  # a real store answers later than it looked
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("An I/O error.")
        return found

    def _tell(self, stream: str, chunk: Chunk) -> None:
        if self.told:
            super()._tell(stream, chunk)

    def hint(self, stream: str) -> None:
        """Another process has appended to the stream."""
        for listener in tuple(self._listeners):
            listener(stream, None)


class Log:
    """One stream being written."""

    def __init__(self, store: Store, claimed: Claimed) -> None:
        self.name = claimed.run.id
        self._store, self._fence, self.tail = store, claimed.lease.fence, 0

    async def write(self, events: int = 1, size: int = 10) -> None:
        first = self.tail + 1
        batch = [Json("x" * size, seq=first + number, at_ms=1) for number in range(events)]
        assert await self._store.append(
            [Append(self.name, self._fence, encode_chunk(list(batch), EPOCH))]
        ) == [True]
        self.tail += events

    async def end(self) -> None:
        last = encode_chunk([End("succeeded", None, None, seq=self.tail + 1, at_ms=1)], EPOCH)
        assert await self._store.append([Append(self.name, self._fence, last)]) == [True]


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.open()
    return store


@pytest.fixture
async def log(store: Store) -> Log:
    run = RunRecord(id="run_1", function="f", group="f", state=RunState.QUEUED, created_at_ms=1)
    await store.submit(run, EPOCH)
    await store.sign("worker", 10**15)
    (claimed,) = await store.claim("worker", [Group("f", ("f",), None)], 1, 1)
    return Log(store, claimed)


@pytest.fixture
async def hub(store: Store) -> AsyncIterator[Hub]:
    hub = Hub(store)
    yield hub
    hub.close()


async def read_to(subscriber: Subscriber, seq: int) -> None:
    """Every event up to `seq`, each once and in order; wake-ups alone decide when to look."""
    position = subscriber.position
    async with asyncio.timeout(30):
        while position < seq:
            chunks = await subscriber.take()
            for chunk in chunks:
                assert chunk.first_seq <= position + 1 <= chunk.last_seq
                position = chunk.last_seq
            assert subscriber.position == position
            if not chunks:
                await subscriber.news(60)


async def test_no_wake_up_is_lost(hub: Hub, log: Log) -> None:
    """Writers and readers in every interleaving that a seeded shuffle of the loop gives."""
    chance = random.Random(7)

    async def dawdle() -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    async def reader() -> None:
        await dawdle()
        with hub.subscribe(log.name, 0) as subscriber:
            await read_to(subscriber, 300)

    async def writer() -> None:
        for _ in range(150):
            await log.write(2)
            await dawdle()

    async with asyncio.TaskGroup() as group:
        group.create_task(writer())
        for _ in range(20):
            group.create_task(reader())
            await dawdle()
    assert hub.subscribers == 0


async def test_what_another_process_wrote_is_found_at_its_hint(hub: Hub, log: Log, store: Store) -> None:
    store.told = False
    subscribers = [hub.subscribe(log.name, 0) for _ in range(50)]
    for subscriber in subscribers:
        assert await subscriber.take() == []
    store.reads = 0
    readers = [asyncio.create_task(read_to(subscriber, 3)) for subscriber in subscribers]
    await asyncio.sleep(0)
    await log.write(3)
    store.hint(log.name)
    await asyncio.gather(*readers)
    assert store.reads <= 3, "all of them share the look into the store"


async def test_a_read_that_fails_is_repeated_by_whoever_looks_next(hub: Hub, log: Log, store: Store) -> None:
    one, two = hub.subscribe(log.name, 0), hub.subscribe(log.name, 0)
    await log.write()
    for subscriber in (one, two):
        await read_to(subscriber, 1)
        assert await subscriber.take() == []
    store.told = False
    await log.write()
    store.failures = 1
    store.hint(log.name)
    with pytest.raises(StoreUnavailable):
        await one.take()
    await read_to(two, 2)
    await read_to(one, 2)


async def test_a_failed_take_moves_nobody(hub: Hub, log: Log, store: Store) -> None:
    await log.write(5)
    subscriber = Hub(store).subscribe(log.name, 1)
    store.failures = 1
    with pytest.raises(StoreUnavailable):
        await subscriber.take()
    assert (subscriber.position, subscriber.ended) == (1, False)
    await read_to(subscriber, 5)


async def test_live_readers_are_served_from_memory(hub: Hub, log: Log, store: Store) -> None:
    subscriber = hub.subscribe(log.name, 0)
    await log.write()
    await read_to(subscriber, 1)
    assert await subscriber.take() == []
    store.reads = 0
    for _ in range(50):
        await log.write()
        await read_to(subscriber, log.tail)
    assert store.reads == 0


async def test_the_tail_is_bounded_and_who_is_behind_reads_the_store(
    hub: Hub, log: Log, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "HOT_S", 0.0)
    slow, fast = hub.subscribe(log.name, 0), hub.subscribe(log.name, 0)
    assert await slow.take() == []
    for _ in range(40):
        await log.write(1, 50_000)
        await read_to(fast, log.tail)
    tail = hub._tails[log.name]
    assert sum(len(chunk.data) for chunk in tail.recent.chunks) == tail.recent.size_bytes <= TAIL_BYTES
    store.reads = 0
    await read_to(slow, 40)
    assert store.reads >= 40 * 50_000 // READ_BYTES - 1


async def test_what_was_just_written_is_kept_for_those_who_keep_up(
    hub: Hub, log: Log, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "HOT_S", 60.0)
    monkeypatch.setattr(tails, "HOT_BYTES", 4 * TAIL_BYTES)
    fast = hub.subscribe(log.name, 0)
    assert await fast.take() == []
    store.reads = 0
    for _ in range(15):
        await log.write(1, TAIL_BYTES // 4)
    await read_to(fast, 15)
    assert store.reads == 0
    for _ in range(15):
        await log.write(1, TAIL_BYTES // 4)
    assert hub._tails[log.name].recent.size_bytes <= 4 * TAIL_BYTES


async def test_what_memory_has_is_made_once_for_all_who_are_behind(
    hub: Hub, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "HOT_S", 60.0)
    subscribers = [hub.subscribe(log.name, 0) for _ in range(3)]
    assert await subscribers[0].take() == []
    while hub._tails[log.name].recent.size_bytes < tails.HOT_BYTES - TAIL_BYTES:
        await log.write(1, 60_000)
    pieces = [_all_frames(subscriber) for subscriber in subscribers]
    assert all(one is first for first, *others in zip(*pieces, strict=True) for one in others)
    sizes = [piece.size_bytes for piece in pieces[0]]
    assert len(sizes) > 5
    assert max(sizes) <= SHARED_BYTES


def _all_frames(subscriber: Subscriber) -> list[Frames]:
    found = []
    while (frames := subscriber.frames(Merge.ALL)) is not None and frames.last_seq:
        found.append(frames)
    return found


async def test_a_piece_is_bounded(hub: Hub, log: Log) -> None:
    for _ in range(20):
        await log.write(1, 50_000)
    await log.write(1, 3 * READ_BYTES)
    await log.write(1, 10)
    subscriber = hub.subscribe(log.name, 0)
    while subscriber.position < log.tail:
        chunks = await subscriber.take()
        assert chunks
        assert len(chunks) == 1 or sum(len(chunk.data) for chunk in chunks) <= READ_BYTES


async def test_a_second_farewell_takes_nobodys_place(hub: Hub, log: Log) -> None:
    """A reader whose connection broke closes twice, and may be back in between."""
    await log.write()
    old = hub.subscribe(log.name, 0)
    old.close()
    new = hub.subscribe(log.name, 1)
    assert await new.take() == []
    old.close()
    reader = asyncio.create_task(read_to(new, 2))
    await asyncio.sleep(0)
    await log.write()
    await reader


async def test_closing_ends_the_wait(hub: Hub, log: Log) -> None:
    subscriber = hub.subscribe(log.name, 0)
    assert await subscriber.take() == []
    waiting = asyncio.create_task(subscriber.news(60))
    await asyncio.sleep(0)
    subscriber.close()
    await asyncio.wait_for(waiting, 30)
    assert subscriber.closed
    assert hub.subscribers == 0


async def test_what_the_hub_keeps_does_not_grow_with_readers_that_left(hub: Hub, log: Log) -> None:
    await log.write()
    for _ in range(100):
        with hub.subscribe(log.name, 0) as subscriber:
            await read_to(subscriber, 1)
        with hub.subscribe("run_unknown", 0) as subscriber:
            assert await subscriber.take() == []
    assert hub.subscribers == 0
    assert set(hub._tails) <= {log.name}


async def test_draining_wakes_everyone(hub: Hub, log: Log) -> None:
    subscribers = [hub.subscribe(log.name, 0) for _ in range(3)]
    for subscriber in subscribers:
        await subscriber.take()
    waiting = asyncio.gather(*[subscriber.news(60) for subscriber in subscribers])
    await asyncio.sleep(0)
    hub.drain()
    await asyncio.wait_for(waiting, 30)
    assert all(subscriber.draining for subscriber in subscribers)


async def test_the_wait_ends_by_itself(hub: Hub, log: Log) -> None:
    subscriber = hub.subscribe(log.name, 0)
    await subscriber.take()
    await asyncio.wait_for(subscriber.news(0.01), 30)


async def test_who_leaves_twice_breaks_nothing(hub: Hub, log: Log, store: Store) -> None:
    """Its run ends between the two, and others come and go."""
    subscriber = hub.subscribe(log.name, 0)
    await log.write()
    await read_to(subscriber, 1)
    subscriber.close()
    await log.end()
    subscriber.close()
    for number in range(WARM_TAILS + 10):
        hub.expect(Stream(f"run_{number}", EPOCH, 0, ended=False))
    assert hub.subscribers == 0
    assert len(hub._tails) == len(hub._warm) == WARM_TAILS


async def test_a_listener_that_fails_keeps_nobody_from_hearing(hub: Hub, log: Log, store: Store) -> None:
    def fail(*_: object) -> None:
        raise KeyError("a fault of ours")

    store._listeners.insert(0, fail)
    with hub.subscribe(log.name, 0) as subscriber:
        assert await subscriber.take() == []
        await log.write()
        await read_to(subscriber, 1)
