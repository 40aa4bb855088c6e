"""A run read as events in this process: each once, in order and whole, whatever its reader and the store do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock import events as ev
from penstock.errors import StoreUnavailable, UnknownRun
from penstock.events import AnyEvent, Folded
from penstock.hub import READ_BYTES, News
from penstock.models import Chunk, Cursor, RunState, Stream
from penstock.protocol.coalesce import Fold
from penstock.protocol.pieces import WHOLE_BYTES
from penstock.storage.memory import MemoryStore
from penstock.testing import until
from penstock.worker import Recording

if TYPE_CHECKING:
    from tests.conftest import Bench

LARGE = {"text": "x" * (5 * WHOLE_BYTES)}
DEADLINE_S = 15


class Store(MemoryStore):
    """Can fail reads, and counts the bytes that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self.read_bytes = 0

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("An I/O error.")

    async def read(self, stream: str, after: int, limit_bytes: int) -> list[Chunk]:
        self._fail()
        found = await super().read(stream, after, limit_bytes)
        self.read_bytes += sum(len(chunk.data) for chunk in found)
        return found

    async def stream(self, name: str) -> Stream | None:
        self._fail()
        return await super().stream(name)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr("penstock.app.make_store", lambda *_, **__: store)
    monkeypatch.setattr("penstock.hub.following.LOOK_AGAIN_S", 0.01)
    return store


@pytest.fixture
async def bench(store: Store, make_bench: "type[Bench]") -> AsyncIterator["Bench"]:
    async with make_bench() as bench:
        bench.app.recorded("predict", concurrency_limit=None)
        yield bench


async def begun(bench: "Bench", run_id: str = "a") -> Recording:
    await bench.services.queue.take_in("predict", {"data": []}, run_id=run_id)
    recording = await bench.services.worker.record(run_id, lambda _: None)
    assert recording is not None
    return recording


async def ended(bench: "Bench", *values: object, run_id: str = "a") -> None:
    recording = await begun(bench, run_id)
    for value in values:
        recording.emit(value)
        await recording.room()
    assert await recording.end(RunState.SUCCEEDED)


async def all_of(bench: "Bench", after: int | Cursor = 0, **how: Any) -> list[AnyEvent | Folded]:
    async with (
        asyncio.timeout(DEADLINE_S),
        contextlib.aclosing(bench.services.follow("a", after, **how)) as told,
    ):
        return [event async for news in told for event in news.events]


def kinds(events: list[AnyEvent | Folded]) -> list[tuple[str, int]]:
    return [(type(event).__name__, event.seq) for event in events]


async def test_a_reader_is_told_as_it_happens(bench: "Bench") -> None:
    recording = await begun(bench)
    recording.emit("one")
    async with contextlib.aclosing(bench.services.follow("a")) as told:
        seen: list[News] = []

        async def read() -> None:
            async for news in told:
                seen.append(news)  # noqa: PERF401 - it is looked at meanwhile

        reading = asyncio.create_task(read())
        await until(lambda: any(news.events for news in seen))
        recording.emit({"two": 2})
        await until(lambda: seen[-1].cursor.seq == 2)
        await recording.end(RunState.SUCCEEDED)
        await asyncio.wait_for(reading, DEADLINE_S)
    assert kinds([event for news in seen for event in news.events]) == [("Text", 1), ("Json", 2), ("End", 3)]
    assert not any(news.leaving for news in seen)
    stream = await bench.services.store.stream("a")
    assert stream is not None
    assert seen[-1].cursor == Cursor(stream.epoch, 3)
    assert bench.services.hub.subscribers == 0


async def test_a_reader_goes_on_where_it_stood(bench: "Bench") -> None:
    await ended(bench, "one", "two")
    stream = await bench.services.store.stream("a")
    assert stream is not None
    for after, wanted in ((0, [1, 2, 3]), (1, [2, 3]), (2, [3]), (3, [])):
        for cursor in (after, Cursor(stream.epoch, after)):
            assert [event.seq for event in await all_of(bench, cursor)] == wanted
    for unusable in (9, Cursor("elsewhere1", 1), Cursor(stream.epoch, 9)):
        first, *others = await all_of(bench, unusable)
        assert isinstance(first, ev.Reset)
        assert (first.seq, first.to) == (0, 0)
        assert [event.seq for event in others] == [1, 2, 3]


async def test_a_large_event_comes_whole_from_wherever_one_reads(bench: "Bench") -> None:
    await ended(bench, "before", penstock.Replace(LARGE), "after")
    whole = await all_of(bench)
    assert [type(event).__name__ for event in whole] == ["Text", "Replace", "Text", "End"]
    large = whole[1]
    assert isinstance(large, ev.Replace)
    assert large.value == LARGE
    assert large.n == large.seq - 1 > 5, "it stands for its pieces"
    for after in range(large.seq + 3):
        wanted = [event for event in whole if event.seq > after]
        assert await all_of(bench, after) == wanted, "in the middle of it, too"


async def test_a_reader_may_begin_with_the_state(bench: "Bench") -> None:
    await ended(bench, *(penstock.Replace({"n": n} | LARGE) for n in range(5)))
    (folded,) = await all_of(bench, fold=True)
    assert isinstance(folded, Folded)
    assert [type(event).__name__ for event in folded.events] == ["Replace", "End"]
    everything = await all_of(bench)
    assert folded.seq == everything[-1].seq
    assert await all_of(bench, 1, fold=True) == [event for event in everything if event.seq > 1], (
        "a cursor wins"
    )


async def test_who_came_with_the_state_is_told_what_follows(bench: "Bench") -> None:
    recording = await begun(bench)
    recording.emit(penstock.Replace("one"))
    await until(lambda: (known := bench.services.hub.known("a")) is not None and known.tail == 1)
    async with contextlib.aclosing(bench.services.follow("a", fold=True)) as told:
        first = await anext(told)
        assert kinds(first.events) == [("Folded", 1)]
        await recording.end(RunState.SUCCEEDED)
        assert kinds([event async for news in told for event in news.events]) == [("End", 2)]


async def test_where_a_run_stands_is_told(bench: "Bench") -> None:
    bench.app.recorded("predict", concurrency_limit=1)
    await begun(bench, "first")
    await bench.services.queue.take_in("predict", {"data": []}, run_id="a")
    async with asyncio.timeout(DEADLINE_S), contextlib.aclosing(bench.services.follow("a")) as told:
        first = await anext(told)
        assert (first.events, (first.status or {})["position"]) == ([], 1)
        recording = await bench.services.worker.record("a", lambda _: None)
        assert recording is not None
        assert ((await anext(told)).status or {})["state"] == "running"
        await bench.services.queue.cancel("a")
        assert ((await anext(told)).status or {})["cancel"] == "acknowledged"
        await recording.end(RunState.CANCELLED)
        (last,) = [event async for news in told for event in news.events]
        assert isinstance(last, ev.End)
        assert last.state == "cancelled"


async def test_a_run_that_is_not_there_is_an_error(bench: "Bench") -> None:
    with pytest.raises(UnknownRun):
        await all_of(bench)
    assert bench.services.hub.subscribers == 0


async def test_neighbours_merge_where_that_is_wanted(bench: "Bench") -> None:
    await ended(bench, *(penstock.Replace({"text": "y" * 100 + "x" * n}) for n in range(50)))
    merged = await all_of(bench, merge=True)
    assert kinds(merged) == [("Replace", 50), ("End", 51)]
    fold = Fold()
    for event in merged:
        assert not isinstance(event, Folded)
        fold.apply(event)
    assert fold.value == {"text": "y" * 100 + "x" * 49}


async def test_nothing_is_read_ahead(bench: "Bench", store: Store) -> None:
    await ended(bench, *({"n": n, "text": "x" * 20_000} for n in range(200)))
    store.read_bytes = 0
    async with contextlib.aclosing(bench.services.follow("a")) as told:
        held = 0
        while held == 0:
            held = len((await anext(told)).events)
        assert held * 20_000 <= READ_BYTES
        await asyncio.sleep(0.05)
        assert store.read_bytes <= READ_BYTES
        rest = [event async for news in told for event in news.events]
    assert held + len(rest) == 201


async def test_a_store_that_does_not_answer_is_waited_for(bench: "Bench", store: Store) -> None:
    await ended(bench, *({"n": n, "text": "x" * 20_000} for n in range(60)))
    store.failures = 3
    async with asyncio.timeout(DEADLINE_S), contextlib.aclosing(bench.services.follow("a")) as told:
        seen = 0
        async for news in told:
            seen += len(news.events)
            store.failures = 2
    assert seen == 61


async def test_a_server_that_leaves_says_so(bench: "Bench") -> None:
    recording = await begun(bench)
    recording.emit("one")
    async with asyncio.timeout(DEADLINE_S), contextlib.aclosing(bench.services.follow("a")) as told:
        seen = [await anext(told)]
        while not seen[-1].cursor.seq:
            seen.append(await anext(told))
        await bench.app.drain()
        *_, last = [news async for news in told]
    assert last.leaving
    assert last.cursor.seq == 1
    recording.emit("two")
    await recording.end(RunState.SUCCEEDED)
    assert kinds(await all_of(bench, last.cursor))[-1] == ("End", 3), (
        "an ended run is told to its end all the same"
    )


async def test_a_store_that_leaves_is_not_waited_for(bench: "Bench", store: Store) -> None:
    await ended(bench, *({"n": n, "text": "x" * 20_000} for n in range(60)))
    store.failures = 1_000_000
    async with asyncio.timeout(DEADLINE_S), contextlib.aclosing(bench.services.follow("a")) as told:
        assert not (await anext(told)).events, "its beginning is known here"
        waiting = asyncio.create_task(anext(told))
        await until(lambda: store.failures < 999_990)
        await bench.app.drain()
        assert (await waiting).leaving


class Restless:
    """A reader that comes, goes, is slow, begins with the state and comes back."""

    def __init__(self, bench: "Bench", seed: str) -> None:
        self.fold = Fold()
        self._bench = bench
        self._chance = Random(seed)
        self._position = 0

    async def read(self) -> None:
        while self.fold.end is None:
            how = {"fold": self._chance.random() < 0.5, "merge": self._chance.random() < 0.5}
            async with contextlib.aclosing(self._bench.services.follow("a", self._position, **how)) as told:
                async for news in told:
                    for event in news.events:
                        self._take(event)
                    assert news.cursor.seq == self._position
                    if self._chance.random() < 0.2:
                        break
                    await asyncio.sleep(self._chance.choice((0, 0, 0.002)))

    def _take(self, event: AnyEvent | Folded) -> None:
        assert event.seq > self._position, "once"
        parts = event.events if isinstance(event, Folded) else [event]
        assert isinstance(event, Folded) or event.seq - event.n <= self._position, "gap-free"
        for part in parts:
            self.fold.apply(part)
        self._position = event.seq


async def write(recording: Recording, chance: Random, store: Store) -> None:
    """Texts, values and large states; the store fails now and then."""
    text = ""
    for number in range(150):
        text += "ab" * chance.choice((1, 10, 1000, 40_000) if number % 10 == 0 else (1, 10))
        recording.emit(chance.choice((penstock.Replace({"text": text}), "word ", {"n": number})))
        await recording.room()
        store.failures = int(chance.random() < 0.1)
        if chance.random() < 0.3:
            await asyncio.sleep(0.001)
    await recording.end(RunState.SUCCEEDED)
    store.failures = 0


@pytest.mark.parametrize("seed", range(6))
async def test_any_history_is_told_once_and_in_order(seed: int, bench: "Bench", store: Store) -> None:
    recording = await begun(bench)
    readers = [Restless(bench, f"{seed}.{number}") for number in range(5)]
    async with asyncio.timeout(30):
        writing = write(recording, Random(seed), store)
        await asyncio.gather(writing, *(reader.read() for reader in readers))
    wanted = Fold()
    for event in await all_of(bench):
        assert not isinstance(event, Folded)
        wanted.apply(event)
    assert all(reader.fold.events == wanted.events for reader in readers)
