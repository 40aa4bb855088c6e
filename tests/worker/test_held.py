"""While memory is tight functions wait at their yields, and queued runs in the line; stops and limits do not."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.errors import MemoryLimit
from penstock.events import Log
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench, Started

KINDS = ["async_generator", "generator", "async_batch", "batch"]
WELL = ("succeeded", "")
PIECES = 50


class Work:
    """Functions of each kind that yield as fast as they can once they may."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = 0
        self.steps = 0
        self.left = threading.Event()

    async def async_generator(self, run: penstock.Run) -> AsyncIterator[str]:
        yield "begun "
        self.begun += 1
        while not self.go.is_set():
            await asyncio.sleep(0.002)
        try:
            for _ in range(PIECES):
                self.steps += 1
                yield "x"
        finally:
            self.left.set()
            run.log("left")

    def generator(self, run: penstock.Run) -> Iterator[str]:
        yield "begun "
        self.begun += 1
        self.go.wait()
        try:
            for _ in range(PIECES):
                self.steps += 1
                yield "x"
        finally:
            self.left.set()
            run.log("left")

    async def async_batch(self, run: list[penstock.Run]) -> AsyncIterator[list[str]]:
        async for piece in self.async_generator(run[0]):
            yield [piece]

    def batch(self, run: list[penstock.Run]) -> Iterator[list[str]]:
        for piece in self.generator(run[0]):
            yield [piece]


@pytest.fixture
def work() -> Iterator[Work]:
    work = Work()
    yield work
    work.go.set()


@pytest.fixture
async def bench(make_bench: "type[Bench]") -> "AsyncIterator[Bench]":
    """A bench whose memory is as tight as the test says."""
    async with make_bench(memory_limit_mb=0) as bench:
        yield bench


def turn(bench: "Bench", *, tight: bool) -> None:
    bench.services.memory.turn(tight=tight)


def is_held(bench: "Bench", run: "Started") -> bool:
    active = bench.services.worker._executor.active[run.id]
    return active.execution is not None and active.execution.held_up


async def start(bench: "Bench", work: Work, kind: str, **options: Any) -> "Started":
    """A run whose function has passed its first yield."""
    more: Any = {"batch": True} if "batch" in kind else {}
    before = work.begun
    run = await bench.start(getattr(work, kind), **(more | options))
    await until(lambda: work.begun > before)
    return run


async def hold(bench: "Bench", work: Work, kind: str, **options: Any) -> "Started":
    """A run whose function is held at a yield."""
    run = await start(bench, work, kind, **options)
    turn(bench, tight=True)
    work.go.set()
    await until(lambda: is_held(bench, run))
    assert work.steps == 1
    return run


@pytest.mark.parametrize("kind", KINDS)
async def test_a_function_waits_at_its_yield_and_loses_nothing(kind: str, bench: "Bench", work: Work) -> None:
    run = await hold(bench, work, kind)
    await run.see(lambda fold: "begun x" in fold.text)  # what it yielded before is stored, and read
    assert work.steps == 1
    turn(bench, tight=False)
    assert await run.outcome() == WELL
    assert (await run.fold()).text == "begun " + "x" * PIECES


@pytest.mark.parametrize("kind", KINDS)
async def test_a_held_function_is_stopped_as_ever(
    kind: str, bench: "Bench", work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.memory.pressure.HELD_S", (60.0, 60.0))
    run = await hold(bench, work, kind)
    begun = time.monotonic()
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    assert time.monotonic() - begun < 30, "not only when its turn would have come"
    assert work.left.is_set()
    assert work.steps == 1
    assert bench.services.memory.tight


@pytest.mark.parametrize("kind", ["async_generator", "generator"])
async def test_what_a_held_function_says_in_its_clean_up_is_stored(
    kind: str, bench: "Bench", work: Work
) -> None:
    run = await hold(bench, work, kind)
    await run.cancel()
    assert [event.message for event in await run.events() if isinstance(event, Log)] == ["left"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_held_function_has_its_time_limit(kind: str, bench: "Bench", work: Work) -> None:
    run = await hold(bench, work, kind, time_limit_s=0.4)
    assert await run.outcome() == ("failed", "time_limit")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_held_functions_silence_is_not_its_own(kind: str, bench: "Bench", work: Work) -> None:
    run = await hold(bench, work, kind, stall_timeout_s=0.2)
    await until(lambda: bench.services.memory.lasted_s > 0.5)
    assert is_held(bench, run)
    turn(bench, tight=False)
    assert await run.outcome() == WELL


@pytest.mark.parametrize("kind", KINDS)
async def test_memory_that_stays_tight_holds_nobody_for_ever(
    kind: str, bench: "Bench", work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.memory.pressure.HELD_S", (0.002, 0.004))
    run = await start(bench, work, kind)
    turn(bench, tight=True)
    work.go.set()
    assert await run.outcome() == WELL
    assert bench.services.memory.lasted_s > 0.004 * (PIECES - 5)


async def test_while_some_is_to_spare_one_goes_on_after_the_other(
    bench: "Bench", work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.memory.pressure.HELD_S", (0.1, 3600.0))
    runs = [await start(bench, work, "generator", concurrency_limit=None) for _ in range(3)]
    bench.services.memory.turn(tight=True, spare=True)
    work.go.set()
    assert [await run.outcome() for run in runs] == [WELL] * 3


async def test_what_yields_nothing_is_not_held(bench: "Bench") -> None:
    go = asyncio.Event()

    async def function(run: penstock.Run) -> int:
        run.log("begun")
        await go.wait()
        run.checkpoint(1)
        with run.span("step"):
            run.progress(1, 2)
        return await asyncio.to_thread(said_in_a_thread, run)

    def said_in_a_thread(run: penstock.Run) -> int:
        run.log("more")
        return 3

    run = await bench.start(function)
    await run.see(lambda fold: fold.seq)
    turn(bench, tight=True)
    go.set()
    assert (await run.end()).result == 3
    assert bench.services.memory.tight


# --- The line ---


async def test_new_runs_are_refused_and_queued_ones_wait(bench: "Bench", work: Work) -> None:
    first = await start(bench, work, "async_generator")
    second = await bench.start(work.async_generator)
    turn(bench, tight=True)
    with pytest.raises(MemoryLimit, match="Memory is tight"):
        await bench.start(work.async_generator)
    await first.cancel()
    await first.end()
    worker = bench.services.worker
    worker.wake()
    await until(lambda: not (worker._wake.is_set() or worker._claiming.locked()))
    assert (await bench.services.queue.get(second.id)).state == "queued"
    work.go.set()
    turn(bench, tight=False)
    assert await second.outcome() == WELL
    assert await (await bench.start(work.async_generator)).outcome() == WELL


async def test_where_nothing_runs_that_could_free_memory_queued_runs_go_one_by_one(
    bench: "Bench", work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.worker.worker.HELD_S", (0.0, 0.2))
    monkeypatch.setattr("penstock.memory.pressure.HELD_S", (0.001, 0.001))
    runs = [await bench.start(work.async_generator) for _ in range(3)]
    await runs[0].see(lambda fold: "begun" in fold.text)
    turn(bench, tight=True)
    work.go.set()
    assert [await run.outcome() for run in runs] == [WELL] * 3
    assert bench.services.memory.tight


# --- In a process of its own ---

SOURCE = """
import asyncio, pathlib, time

GO = pathlib.Path("go")

def gaps(begun):
    longest, last = 0.0, time.monotonic()
    while not GO.exists():
        now = time.monotonic()
        longest, last = max(longest, now - last), now
        yield longest
    yield max(longest, time.monotonic() - last)

def generator():
    try:
        for longest in gaps(time.monotonic()):
            yield "begun "
            time.sleep(0.005)
        yield {"longest": longest}
    finally:
        pathlib.Path("left").touch()

async def async_generator():
    try:
        for longest in gaps(time.monotonic()):
            yield "begun "
            await asyncio.sleep(0.005)
        yield {"longest": longest}
    finally:
        pathlib.Path("left").touch()
"""


@pytest.fixture
def isolated(write_module: Callable[[str, str], ModuleType]) -> ModuleType:
    return write_module("held_functions", SOURCE)


@pytest.mark.parametrize("kind", ["async_generator", "generator"])
async def test_an_isolated_function_waits_in_its_own_process(
    kind: str, isolated: ModuleType, benches: Any, place: Path
) -> None:
    bench = await benches(memory_limit_mb=0)
    run = await bench.start(getattr(isolated, kind), isolation="process", stall_timeout_s=1)
    await run.see(lambda fold: "begun" in fold.text)
    turn(bench, tight=True)
    await until(lambda: bench.services.memory.lasted_s > 1.5)
    turn(bench, tight=False)
    (place / "go").touch()
    fold = await run.fold()
    assert await run.outcome() == WELL
    assert fold.values[-1]["longest"] > 0.5


@pytest.mark.parametrize("kind", ["async_generator", "generator"])
async def test_a_held_isolated_function_is_stopped_as_ever(
    kind: str, isolated: ModuleType, benches: Any, place: Path
) -> None:
    bench = await benches(memory_limit_mb=0)
    run = await bench.start(getattr(isolated, kind), isolation="process")
    await run.see(lambda fold: "begun" in fold.text)
    turn(bench, tight=True)
    await until(lambda: bench.services.memory.lasted_s > 0.1)
    begun = time.monotonic()
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    assert time.monotonic() - begun < 0.9
    assert (place / "left").exists()
