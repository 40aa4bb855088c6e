"""Functions that are stopped: generators are closed where they ran, and a thread that goes on keeps its slot."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

import penstock
from penstock.events import End, Log, SpanEnd
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench

GENERATORS = ["async_generator", "generator"]


class Witness:
    """Tells in which threads a generator ran and was closed, and holds it where the test wants it."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.closed: list[int] = []
        self.hold = threading.Event()

    async def async_generator(self) -> AsyncIterator[str]:
        self.began.append(threading.get_ident())
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            self.closed.append(threading.get_ident())

    def generator(self) -> Iterator[str]:
        self.began.append(threading.get_ident())
        try:
            yield "first"
            while True:
                self.hold.wait(0.01)
                yield "more"
        finally:
            self.closed.append(threading.get_ident())


# --- The generator is always closed, where it ran ---


@pytest.mark.parametrize("kind", GENERATORS)
async def test_cancel_closes_it_in_its_thread(kind: str, bench: "Bench") -> None:
    witness = Witness()
    run = await bench.start(getattr(witness, kind))
    await run.see(lambda fold: fold.text)
    assert await run.cancel() == "acknowledged"
    assert await run.outcome() == ("cancelled", "")
    assert witness.closed == witness.began
    assert (witness.began == [threading.get_ident()]) is (kind == "async_generator")


@pytest.mark.parametrize("kind", GENERATORS)
async def test_a_value_that_can_not_be_stored_closes_it(kind: str, bench: "Bench") -> None:
    closed: list[int] = []

    async def async_generator() -> AsyncIterator[object]:
        try:
            yield object()
            pytest.fail("went on")
        finally:
            closed.append(threading.get_ident())

    def generator() -> Iterator[object]:
        try:
            yield object()
            pytest.fail("went on")
        finally:
            closed.append(threading.get_ident())

    assert await (await bench.start(locals()[kind])).outcome() == ("failed", "bad_yield")
    assert len(closed) == 1
    assert (closed == [threading.get_ident()]) is (kind == "async_generator")


async def test_one_that_will_not_be_closed_ends_all_the_same(bench: "Bench") -> None:
    def generator() -> Iterator[str]:
        with contextlib.suppress(GeneratorExit):
            while True:
                time.sleep(0.001)
                yield "on"
        yield "and on"

    run = await bench.start(generator)
    await run.see(lambda fold: fold.text)
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    await until(lambda: bench.running == 0)


async def test_clean_up_may_still_write(bench: "Bench") -> None:
    def generator(run: penstock.Run) -> Iterator[str]:
        try:
            with run.span("work"):
                while True:
                    time.sleep(0.001)
                    yield "on"
        finally:
            run.log("tidied")

    run = await bench.start(generator)
    await run.see(lambda fold: fold.text)
    await run.cancel()
    events = await run.events()
    assert [type(event) for event in events[-3:]] == [SpanEnd, Log, End]
    assert isinstance(end := events[-3], SpanEnd)
    assert (end.error or {})["code"] == "stopped"


# --- Cancel ---


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_cancel_without_yields(kind: str, bench: "Bench") -> None:
    begun, stopped = threading.Event(), threading.Event()

    async def coroutine() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    def function(run: penstock.Run) -> None:
        begun.set()
        while not run.should_stop():
            time.sleep(0.005)
        stopped.set()

    run = await bench.start(locals()[kind])
    await until(begun.is_set)
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    assert stopped.is_set()


async def test_a_call_of_the_run_stops_a_thread(bench: "Bench") -> None:
    begun, seen = threading.Event(), list[BaseException]()

    def function(run: penstock.Run) -> None:
        try:
            while True:
                run.progress(1)
                begun.set()
                time.sleep(0.001)
        except BaseException as error:
            seen.append(error)
            raise

    run = await bench.start(function)
    await until(begun.is_set)
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    assert [isinstance(error, Exception) for error in seen] == [False], "code that survives errors must not"


async def test_a_swallowed_cancel_stops_a_generator_at_its_next_yield(bench: "Bench") -> None:
    closed = []

    async def stubborn() -> AsyncIterator[str]:
        try:
            while True:
                try:
                    yield "on"
                    await asyncio.sleep(0.001)
                except asyncio.CancelledError:
                    continue
        finally:
            closed.append(True)

    run = await bench.start(stubborn)
    await run.see(lambda fold: fold.text)
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    assert closed == [True]


async def test_a_blocked_thread_is_left_behind_but_keeps_its_slot(bench: "Bench") -> None:
    begun, release = threading.Event(), threading.Event()

    def blocks(run: penstock.Run, wait: bool = True) -> str:
        begun.set()
        if wait:
            release.wait(30)
            run.log("too late")
        return "done"

    run = await bench.start(blocks, concurrency_limit=1)
    await until(begun.is_set)
    bench.services.worker._executor.active[run.id].stop("cancelled", within_s=0.05)
    assert await run.outcome() == ("cancelled", "")
    events = len(await run.events())
    second = await bench.start(blocks, {"wait": False})
    await until(lambda: bench.running == 0)
    worker = bench.services.worker
    for _ in range(3):
        worker.wake()
        await worker._claim()
        record = await bench.services.queue.get(second.id)
        assert record.state == "queued", "the slot is the thread's"
    release.set()
    assert (await second.end()).result == "done"
    assert len(await run.events()) == events, "nothing follows the end"
    await until(lambda: worker._executor.threads == 0)
