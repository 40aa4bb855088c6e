"""A worker that has stopped leaves nothing going on in its loop, whatever its functions and its store do."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from penstock.errors import StoreFull
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench, Started

NOW: Any = {"stop_grace_s": 0}
SOON_S = 5.0


class Hall:
    """A function that hears of no stop until the doors are opened."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.doors = threading.Event()

    def block(self) -> None:
        self.threads.append(threading.current_thread())
        self.doors.wait()

    def clear(self) -> None:
        self.doors.set()
        for thread in self.threads:
            thread.join()


@pytest.fixture
def hall() -> Iterator[Hall]:
    hall = Hall()
    yield hall
    hall.clear()


@pytest.fixture(params=["memory:", "sqlite:///{}/runs.db"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    url: str = request.param
    return url.format(tmp_path)


@pytest.fixture(autouse=True)
async def nothing_goes_on() -> AsyncIterator[None]:
    """What the test has begun in its loop has come to its end."""
    before = asyncio.all_tasks()
    yield

    def left() -> set[str]:
        here = {asyncio.current_task(), *before}
        return {str(task.get_coro()) for task in asyncio.all_tasks() - here}

    await until(lambda: not left(), SOON_S, "all tasks have ended")


async def blocked(bench: "Bench", hall: Hall) -> "Started":
    run = await bench.start(hall.block, **NOW)
    await until(lambda: hall.threads)
    return run


async def left_behind(bench: "Bench", hall: Hall) -> None:
    run = await blocked(bench, hall)
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")


async def test_a_thread_returns_after_the_end(store: str, make_bench: "type[Bench]", hall: Hall) -> None:
    async with make_bench(store=store) as bench:
        await left_behind(bench, hall)
    hall.clear()


async def test_a_thread_returns_while_the_worker_stops(
    store: str, make_bench: "type[Bench]", hall: Hall
) -> None:
    async with make_bench(store=store) as bench:
        await left_behind(bench, hall)
        hall.clear()  # told to the loop, which has not looked yet


async def test_a_store_that_can_not_be_told_of_a_free_place(
    store: str, make_bench: "type[Bench]", hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def full(run_id: str) -> None:
        asked.set()
        raise StoreFull("There is no room.")

    async with make_bench(store=store) as bench:
        monkeypatch.setattr(bench.services.store, "returned", full)
        await left_behind(bench, hall)
        hall.clear()
        await asked.wait()


async def test_a_store_that_does_not_answer(
    store: str, make_bench: "type[Bench]", hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with make_bench(store=store) as bench:
        monkeypatch.setattr(bench.services.store, "finish_all", never)
        await bench.start(lambda: None, name="short")
        await asked.wait()


async def test_a_function_goes_on_when_the_grace_time_is_over(
    store: str, make_bench: "type[Bench]", hall: Hall
) -> None:
    async with make_bench(store=store) as bench:
        await blocked(bench, hall)
    hall.clear()


async def test_a_task_ends_after_the_end(store: str, make_bench: "type[Bench]") -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def deaf() -> None:
        begun.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with make_bench(store=store) as bench:
        run = await bench.start(deaf, **NOW)
        await begun.wait()
        await run.cancel()
        assert await run.outcome() == ("cancelled", "")
    release.set()
