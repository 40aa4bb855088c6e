"""From the function to the store, recorder and journal: pacing, order, back-pressure, and a store that fails."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.errors import BufferFull, StoreFull, StoreUnavailable
from penstock.events import Json, Log
from penstock.models import Append, Chunk, Ending
from penstock.storage.memory import MemoryStore
from penstock.testing import until
from penstock.worker.recorder import FLUSH_BYTES, MAX_BACKLOG_BYTES

if TYPE_CHECKING:
    from tests.conftest import Bench


class Store(MemoryStore):
    """A store that can be slow, full, or unsure whether it has written."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks: list[tuple[float, Chunk]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.refusals = 0
        self.lies = 0

    async def append(self, batch: Sequence[Append]) -> list[bool]:
        await self._suffer()
        taken = await super().append(batch)
        self.chunks += [(time.monotonic(), item.chunk) for item in batch]
        await self._lie()
        return taken

    async def finish_all(self, ends: Sequence[Ending]) -> list[bool]:
        await self._suffer()
        done = await super().finish_all(ends)
        self.chunks += [(time.monotonic(), end.last) for end in ends]
        await self._lie()
        return done

    async def _suffer(self) -> None:
        await self.go.wait()
        if self.refusals:
            self.refusals -= 1
            raise StoreFull("The disk is full.", hint="Wait.")

    async def _lie(self) -> None:
        if self.lies:
            self.lies -= 1
            raise StoreUnavailable("An I/O error after the commit.")


@pytest.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr("penstock.app.make_store", lambda *_, **__: store)
    return store


@pytest.fixture
async def bench(store: Store, make_bench: "type[Bench]") -> "AsyncIterator[Bench]":
    async with make_bench(rate=20) as bench:
        yield bench
        store.go.set()


# --- Pacing ---


async def test_the_first_at_once_then_at_most_so_many_a_second(bench: "Bench", store: Store) -> None:
    begun = []

    async def function() -> AsyncIterator[str]:
        begun.append(time.monotonic())
        end = begun[0] + 2
        while time.monotonic() < end:
            yield "x"
            await asyncio.sleep(0.001)

    run = await bench.start(function, rate=2)
    await run.end()
    times = [at for at, chunk in store.chunks if not chunk.final]
    assert times[0] - begun[0] < 0.4, "not after half a second"
    assert 3 <= len(times) <= 6
    assert [chunk.first_seq for _, chunk in store.chunks][1:] == [
        chunk.last_seq + 1 for _, chunk in store.chunks[:-1]
    ]


async def test_rate_0_delays_and_merges_nothing(bench: "Bench") -> None:
    async def function() -> AsyncIterator[str]:
        for _ in range(50):
            yield "x"

    events = await (await bench.start(function, rate=0)).events()
    assert [(event.seq, event.n) for event in events] == [(seq, 1) for seq in range(1, 52)]


async def test_what_is_merged_stands_for_all_of_it(bench: "Bench") -> None:
    async def function() -> AsyncIterator[str]:
        for number in range(500):
            yield f"{number} "

    run = await bench.start(function)
    events = await run.events()
    assert len(events) < 50
    assert sum(event.n for event in events) == 501
    assert (await run.fold()).text == "".join([f"{number} " for number in range(500)])


async def test_the_end_of_a_span_goes_at_once(bench: "Bench", store: Store) -> None:
    at: list[float] = []
    gate = asyncio.Event()

    async def function(run: penstock.Run) -> None:
        run.log("first")
        await asyncio.sleep(0)
        with run.span("s"):
            pass
        at.append(time.monotonic())
        await gate.wait()

    run = await bench.start(function, rate=0.5)
    await run.see(lambda fold: fold.seq == 3)
    assert store.chunks[-1][0] - at[0] < 1.5, "not after two seconds"
    gate.set()
    await run.end()


async def test_much_goes_early(bench: "Bench", store: Store) -> None:
    gate = asyncio.Event()

    async def function() -> AsyncIterator[str]:
        yield "first"
        yield "x" * (FLUSH_BYTES + 1)
        await gate.wait()

    run = await bench.start(function, rate=0.1)
    begun = time.monotonic()
    await run.see(lambda fold: fold.seq == 2)
    assert time.monotonic() - begun < 8, "not after ten seconds"
    gate.set()
    await run.end()


# --- Back-pressure ---


@pytest.mark.parametrize("kind", ["async_generator", "generator"])
async def test_a_slow_store_makes_the_function_wait(kind: str, bench: "Bench", store: Store) -> None:
    yielded = 0
    piece = "x" * 1000

    def generator() -> Iterator[str]:
        nonlocal yielded
        for _ in range(2000):
            yielded += 1
            yield piece

    async def async_generator() -> AsyncIterator[str]:
        for each in generator():
            yield each

    store.go.clear()
    run = await bench.start(locals()[kind])

    async def settled() -> bool:
        before = yielded
        await asyncio.sleep(0.1)
        return before == yielded > 0

    await until(settled)
    assert yielded * 1000 < 3 * FLUSH_BYTES, "one chunk under way, one waiting"
    store.go.set()
    assert (await run.fold()).text == piece * 2000


@pytest.mark.parametrize("kind", ["async_generator", "generator"])
@pytest.mark.parametrize("fault", ["refusals", "lies"])
async def test_a_store_that_fails_loses_and_repeats_nothing(
    kind: str, fault: str, bench: "Bench", store: Store
) -> None:
    def generator() -> Iterator[str]:
        for number in range(3000):
            if number % 500 == 0:
                setattr(store, fault, 2)
            yield f"{number} "

    async def async_generator() -> AsyncIterator[str]:
        for each in generator():
            yield each
            await asyncio.sleep(0)

    setattr(store, fault, 1)
    run = await bench.start(locals()[kind])
    events = await run.events()
    assert sum(event.n for event in events) == 3001
    assert (await run.fold()).text == "".join([f"{number} " for number in range(3000)])
    assert await run.outcome() == ("succeeded", "")


async def test_a_cancelled_run_ends_though_the_store_was_slow(bench: "Bench", store: Store) -> None:
    def generator() -> Iterator[str]:
        while True:
            yield "x" * 1000

    store.go.clear()
    run = await bench.start(generator)
    await until(lambda: bench.running == 1)
    await asyncio.sleep(0.05)
    await run.cancel()
    store.go.set()
    assert await run.outcome() == ("cancelled", "")


async def test_calls_that_can_not_wait_are_refused_in_the_end(bench: "Bench", store: Store) -> None:
    size = 1024 * 1024
    caught: list[BufferFull] = []
    written = 0

    async def function(run: penstock.Run) -> None:
        nonlocal written
        try:
            for _ in range(100):
                run.log("x" * size)
                written += size
        except BufferFull as error:
            caught.append(error)
            raise

    store.go.clear()
    run = await bench.start(function)
    await until(lambda: caught)
    assert MAX_BACKLOG_BYTES <= written <= MAX_BACKLOG_BYTES + 2 * size
    assert "await" in caught[0].hint
    store.go.set()
    assert await run.outcome() == ("failed", "buffer_full")


async def test_a_thread_waits_instead(bench: "Bench", store: Store) -> None:
    written = 0

    def function(run: penstock.Run) -> None:
        nonlocal written
        for _ in range(300):
            run.log("x" * 1000)
            written += 1

    store.go.clear()
    run = await bench.start(function)

    async def settled() -> bool:
        before = written
        await asyncio.sleep(0.1)
        return before == written > 0

    await until(settled)
    assert written < 200
    store.go.set()
    assert len(await run.events()) == 301


async def test_threads_of_one_run_write_whole_events_in_order(bench: "Bench") -> None:
    def function(run: penstock.Run) -> None:
        def work(name: int) -> None:
            for number in range(200):
                run.log(f"{name}:{number}")

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    events = await (await bench.start(function)).events()
    assert [event.seq for event in events] == list(range(1, 802))
    said = [getattr(event, "message", "").split(":") for event in events[:-1]]
    for name in range(4):
        assert [number for thread, number in said if thread == str(name)] == [str(n) for n in range(200)]


async def test_one_runs_trouble_is_not_anothers(bench: "Bench") -> None:
    """One that floods its log and one that streams, in one journal."""

    def flood(run: penstock.Run) -> None:
        while not run.should_stop():
            run.log("x" * 10_000)
            time.sleep(0.0005)

    async def calm() -> AsyncIterator[str]:
        for number in range(20):
            yield f"{number} "
            await asyncio.sleep(0.005)

    noisy = await bench.start(flood)
    run = await bench.start(calm)
    async with asyncio.timeout(30):
        assert (await run.fold()).text == "".join([f"{number} " for number in range(20)])
    await noisy.cancel()
    await until(lambda: bench.running == 0)
    assert (await bench.services.queue.get(noisy.id)).state == "cancelled"


async def test_a_fault_in_one_write_is_not_the_others(
    bench: "Bench", store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Appends, ends and runs that go back are written together, but do not fall together."""

    async def append(_batch: Sequence[Append]) -> list[bool]:
        raise ValueError("a fault of ours")

    async def talks() -> AsyncIterator[str]:
        yield "text"
        await asyncio.Event().wait()

    async def is_silent() -> str:
        return "silent"

    monkeypatch.setattr(store, "append", append)
    talking = await bench.start(talks, concurrency_limit=None)
    silent = [await bench.start(is_silent, concurrency_limit=None) for _ in range(5)]
    assert [(await run.end()).result for run in silent] == ["silent"] * 5
    await until(lambda: bench.running == 0, what="the one that can't be written is given up")
    assert (await bench.services.queue.get(talking.id)).state == "running", (
        "until its worker looks for strays"
    )


async def test_large_events_of_threads_and_of_the_function_keep_their_order(
    make_bench: "type[Bench]", tmp_path: Path
) -> None:
    sizes = (3, 50_000, 200_000)

    def emits(run: penstock.Run) -> Iterator[dict[str, Any]]:
        def logs(thread: int) -> None:
            for number in range(30):
                run.log("x" * sizes[(thread + number) % 3], thread=thread, number=number)

        threads = [threading.Thread(target=logs, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for number in range(30):
            yield {"number": number, "row": "y" * sizes[number % 3]}
            if number % 7 == 0:
                run.checkpoint(number)
        for thread in threads:
            thread.join()

    async with make_bench(store=f"sqlite:///{tmp_path / 'runs.db'}") as bench:
        events = await (await bench.start(emits)).events()
    place = 0
    for event in events:
        assert event.seq - event.n == place
        place = event.seq
    assert [event.value["number"] for event in events if isinstance(event, Json)] == list(range(30))
    for thread in range(4):
        mine = [
            event.fields for event in events if isinstance(event, Log) and event.fields["thread"] == thread
        ]
        assert [fields["number"] for fields in mine] == list(range(30))


async def test_a_large_end_whose_writes_fail_after_they_were_carried_out(
    bench: "Bench", store: Store
) -> None:
    def large() -> Generator[str, None, list[str]]:
        yield "y" * 1_000_000
        return ["r"] * 50_000

    store.lies = 3
    fold = await (await bench.start(large)).fold()
    assert store.lies == 0
    assert fold.text == "y" * 1_000_000
    assert fold.end is not None
    assert fold.end.result == ["r"] * 50_000


async def test_a_lease_that_is_lost_in_the_middle_of_a_large_event_is_noticed_once(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuses(batch: list[Any]) -> list[bool]:
        return [False] * len(batch)

    async def large() -> AsyncIterator[str]:
        yield "y" * 3_000_000

    monkeypatch.setattr(bench.services.store, "append", refuses)
    await bench.start(large)
    await until(lambda: "lease is lost" in caplog.text)
    await until(lambda: bench.running == 0)
    assert caplog.text.count("lease is lost") == 1
