"""The worker: limits, stops before and after the start, lost leases, leaving."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.events import End, Reset, Text
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench, Started


class Hall:
    """Functions that stay until they are let go, and how many were inside at once."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.go = threading.Event()

    def enter(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)

    async def task(self) -> None:
        self.enter()
        while not self.go.is_set():
            await asyncio.sleep(0.005)
        self.inside -= 1

    def thread(self) -> None:
        self.enter()
        self.go.wait(10)
        self.inside -= 1


async def states(bench: "Bench", runs: "list[Started]") -> list[str]:
    return [str((await bench.services.queue.get(run.id)).state) for run in runs]


# --- Limits ---


@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (3, 3), (None, 8), ("default", 2)])
@pytest.mark.parametrize("kind", ["task", "thread"])
async def test_a_group_has_its_limit(kind: str, limit: Any, expected: int, make_bench: "type[Bench]") -> None:
    hall = Hall()
    async with make_bench(default_concurrency_limit=2) as bench:
        runs = [await bench.start(getattr(hall, kind), concurrency_limit=limit) for _ in range(8)]
        await until(lambda: hall.inside == expected)
        assert (await states(bench, runs)).count("running") == expected
        hall.go.set()
        assert {await run.outcome() for run in runs} == {("succeeded", "")}
        assert hall.most == expected


async def test_functions_of_a_group_share_the_lowest_limit(bench: "Bench") -> None:
    hall = Hall()
    for name, limit in (("a", 5), ("b", 2), ("c", None)):
        call = hall.thread if name == "b" else hall.task
        bench.app.function(name=name, concurrency_limit=limit, concurrency_id="gpu")(call)
    runs = [await bench.start(hall.task, name=name) for name in "abcabc"]
    other = await bench.start(hall.task, name="alone")
    await until(lambda: hall.inside == 3)
    assert (await states(bench, runs)).count("running") == 2
    assert (await states(bench, [other])) == ["running"], "another group does not wait for this one"
    hall.go.set()
    assert {await run.outcome() for run in [*runs, other]} == {("succeeded", "")}
    assert hall.most == 3


async def test_threads_have_a_limit_of_their_own(make_bench: "type[Bench]") -> None:
    hall = Hall()
    async with make_bench(max_threads=3) as bench:
        runs = [await bench.start(hall.thread, concurrency_limit=None) for _ in range(5)]
        await until(lambda: hall.inside == 3)
        quick = await bench.start(hall.task, concurrency_limit=None)
        await until(lambda: hall.inside == 4)
        hall.go.set()
        assert {await run.outcome() for run in [*runs, quick]} == {("succeeded", "")}
        assert hall.most == 4


async def test_what_waits_for_a_thread_has_nobody_look_again_and_again(
    make_bench: "type[Bench]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry whose time has come, while the only thread is taken: it is heard of when that returns."""
    monkeypatch.setattr("penstock.worker.executor.retry_delay_s", lambda attempt, chance: 0.5)
    hall = Hall()

    def once_more(run: penstock.Run) -> None:
        if run.attempt == 1:
            raise ValueError

    store = f"sqlite:///{tmp_path / 'runs.db'}"
    async with make_bench(store=store, max_threads=1, default_concurrency_limit=None) as bench:
        retried = await bench.start(once_more, retries=1)
        stays = await bench.start(hall.thread)
        await until(lambda: hall.inside == 1)
        looks, look = 0, bench.services.store.due_at_ms

        async def due_at_ms() -> int | None:
            nonlocal looks
            looks += 1
            return await look()

        record = await bench.services.queue.get(retried.id)
        assert (record.state, record.attempt) == ("queued", 1)
        await until(lambda: time.time() * 1000 > record.not_before_ms)
        monkeypatch.setattr(bench.services.store, "due_at_ms", due_at_ms)
        seen_until = time.monotonic() + 1.5
        await until(lambda: time.monotonic() > seen_until)
        assert looks <= 5
        hall.go.set()
        assert [await run.outcome() for run in (stays, retried)] == [("succeeded", "")] * 2


async def test_first_come_first_served(bench: "Bench") -> None:
    order: list[int] = []

    async def note(number: int) -> None:
        order.append(number)

    runs = [await bench.start(note, {"number": number}, concurrency_limit=1) for number in range(20)]
    for run in runs:
        await run.end()
    assert order == list(range(20))


# --- Stops ---


async def test_a_queued_run_is_cancelled_at_once(bench: "Bench") -> None:
    hall = Hall()
    first, second, third = [await bench.start(hall.task, concurrency_limit=1) for _ in range(3)]
    await until(lambda: hall.inside == 1)
    assert await second.cancel() == "stopped"
    (end,) = await second.events()
    assert isinstance(end, End)
    assert (end.seq, end.state) == (1, "cancelled")
    hall.go.set()
    assert await third.outcome() == await first.outcome() == ("succeeded", "")
    assert hall.most == 1
    assert (await bench.services.queue.get(second.id)).attempt == 0


async def test_a_stop_in_the_moment_of_the_start(bench: "Bench") -> None:
    """Whatever the moment, the run ends as cancelled, once."""
    begun = 0

    async def hang() -> None:
        nonlocal begun
        begun += 1
        await asyncio.Event().wait()

    for turns in range(12):
        run = await bench.start(hang, concurrency_limit=None)
        for _ in range(turns):
            await asyncio.sleep(0)
        await run.cancel()
        assert await run.outcome() == ("cancelled", "")
    assert begun <= 12
    await until(lambda: bench.running == 0)


async def test_a_stop_asked_for_elsewhere_is_noticed(bench: "Bench") -> None:
    hall = Hall()
    run = await bench.start(hall.task)
    await until(lambda: hall.inside == 1)
    await bench.services.store.request_cancel(run.id)  # as another process would
    assert await run.outcome() == ("cancelled", "")


async def test_cancelling_twice_is_once(bench: "Bench") -> None:
    closing = []

    async def slow_to_close() -> AsyncIterator[str]:
        try:
            yield "on"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            closing.append(1)

    run = await bench.start(slow_to_close)
    await run.see(lambda fold: fold.text)
    assert [await run.cancel(), await run.cancel()] == ["acknowledged", "acknowledged"]
    assert await run.outcome() == ("cancelled", "")
    assert closing == [1], "the second stop did not break into the clean-up"
    assert await run.cancel() == "stopped"


# --- A lost lease ---


@pytest.mark.parametrize("kind", ["async_generator", "generator"])
async def test_who_lost_the_lease_stops(kind: str, bench: "Bench") -> None:
    stopped = threading.Event()

    async def async_generator() -> AsyncIterator[str]:
        try:
            while True:
                yield "mine "
                await asyncio.sleep(0.002)
        finally:
            stopped.set()

    def generator() -> Iterator[str]:
        try:
            while True:
                yield "mine "
                time.sleep(0.002)
        finally:
            stopped.set()

    run = await bench.start(locals()[kind])
    await run.see(lambda fold: fold.text)
    store = bench.services.store
    sign = next(sign for sign in await store.workers() if sign.worker == bench.services.worker.name)
    (taken,) = await store.take_over("another", sign)
    await until(stopped.is_set)
    await until(lambda: bench.running == 0)
    stream = await store.stream(run.id)
    assert stream is not None
    assert (stream.tail, stream.ended) == (taken.stream.tail, False), "nothing came after the lease was lost"
    assert (await bench.services.queue.get(run.id)).state == "running", "it is the other worker's"


async def test_who_wakes_after_its_lease_stops_what_others_took(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that writes nothing would else go on beside the one that took its place."""
    stopped = asyncio.Event()

    async def silent() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    await bench.start(silent)
    await until(lambda: bench.running == 1)
    worker, store = bench.services.worker, bench.services.store
    sign = next(sign for sign in await store.workers() if sign.worker == worker.name)
    await store.take_over("another", sign)
    asleep_s = 2 * bench.services.worker._settings.lease_s
    now_ns = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now_ns + round(asleep_s * 1e9))
    await worker._sign()
    await until(stopped.is_set)
    await until(lambda: bench.running == 0)


# --- Leaving ---


async def test_what_finishes_in_the_grace_time_is_kept(bench: "Bench") -> None:
    gate = asyncio.Event()

    async def function() -> AsyncIterator[str]:
        yield "a"
        await gate.wait()
        yield "b"

    run = await bench.start(function)
    await run.see(lambda fold: fold.text)
    waiting = await bench.start(function)
    leaving = asyncio.create_task(bench.services.worker.drain(5))
    await asyncio.sleep(0.02)
    gate.set()
    await leaving
    assert (await run.fold()).text == "ab"
    assert await states(bench, [run, waiting]) == ["succeeded", "queued"], "what waits stays for the next"


@pytest.mark.parametrize("on_crash", ["fail", "retry"])
@pytest.mark.parametrize("kind", ["async_generator", "generator", "blocked"])
async def test_what_does_not_is_interrupted_or_given_back(kind: str, on_crash: Any, bench: "Bench") -> None:
    begun, release = threading.Event(), threading.Event()

    async def async_generator() -> AsyncIterator[str]:
        yield "x"
        begun.set()
        await asyncio.Event().wait()

    def generator() -> Iterator[str]:
        while True:
            yield "x"
            begun.set()
            time.sleep(0.002)

    def blocked() -> None:
        begun.set()
        release.wait(30)

    run = await bench.start(locals()[kind], on_crash=on_crash)
    await until(begun.is_set)
    if kind == "blocked":
        before = time.monotonic()
        await bench.services.worker.drain(0.4)
        assert time.monotonic() - before < 5
        release.set()
    else:
        await bench.interrupt()
    record = await bench.services.queue.get(run.id)
    if on_crash == "retry" and kind == "blocked":
        worker = bench.services.worker.name
        assert (record.state, record.worker) == ("running", worker), (
            "its function goes on: not to run it twice"
        )
        await bench.services.worker.stop()
        assert worker in [sign.worker for sign in await bench.services.store.workers()], (
            "nor to be taken for gone"
        )
    elif on_crash == "retry":
        assert (record.state, record.attempt, record.worker) == ("queued", 1, None)
    else:
        assert (record.state, (record.error or {})["code"]) == ("interrupted", "shutdown")
        assert await run.outcome() == ("interrupted", "shutdown")


async def test_a_run_given_back_begins_again(make_bench: "type[Bench]", tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'runs.db'}"

    async def function(run: penstock.Run) -> AsyncIterator[str]:
        yield f"attempt {run.attempt}"
        if run.attempt == 1:
            await asyncio.Event().wait()

    async with make_bench(store=store) as bench:
        run = await bench.start(function, on_crash="retry")
        await run.see(lambda fold: fold.text)
        await bench.interrupt()
    async with make_bench(store=store) as bench:
        bench.app.function(on_crash="retry")(function)
        run._bench = bench
        bench.services.worker.wake()
        events = await run.events()
        assert [event.to for event in events if isinstance(event, Reset)] == [0]
        assert [event.text for event in events if isinstance(event, Text)] == ["attempt 1", "attempt 2"]
        assert (await run.fold()).text == "attempt 2"
        assert (await bench.services.queue.get(run.id)).attempt == 2


async def test_a_signature_that_has_changed(bench: "Bench", monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was submitted to one version of the program and is executed by the next."""

    async def add(a: int) -> int:
        return a

    async def changed(b: int) -> int:
        return b

    other = penstock.App(store="memory:")
    other.function(name="add")(changed)
    run = await bench.start(add, {"a": 1})
    monkeypatch.setitem(bench.app.functions, "add", other.functions["add"])  # not claimed yet
    end = await run.end()
    assert end.state == "failed"
    assert (end.error or {})["code"] == "invalid_input"
