"""Limits in time: for an attempt, for the wait in line, for silence. Each ends a run with its own reason."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.errors import StoreUnavailable
from penstock.events import End
from penstock.testing import until
from penstock.worker.recorder import FLUSH_BYTES

if TYPE_CHECKING:
    from tests.conftest import Bench

KINDS = ["coroutine", "async_generator", "function", "generator"]
SHORT_S = 0.05
WELL = ("succeeded", "")


@pytest.fixture
def bench(either: "Bench") -> "Bench":
    """A bench over each store."""
    return either


class Work:
    """Functions of each kind that say nothing, and heed a stop."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.stopped = threading.Event()
        self.open = threading.Event()

    async def coroutine(self, who: str = "") -> str:
        self.begun.append(who)
        try:
            while not self.open.is_set():
                await asyncio.sleep(0.002)
        finally:
            self.stopped.set()
        return who

    async def async_generator(self, who: str = "") -> AsyncIterator[str]:
        yield await self.coroutine(who)

    def function(self, run: penstock.Run, who: str = "") -> str:
        self.begun.append(who)
        while not (self.open.is_set() or run.should_stop()):
            time.sleep(0.002)
        self.stopped.set()
        return who

    def generator(self, run: penstock.Run, who: str = "") -> Iterator[str]:
        yield self.function(run, who)


@pytest.fixture
def work() -> Iterator[Work]:
    work = Work()
    yield work
    work.open.set()


def said(end: End) -> tuple[str, str]:
    """State and code of an end that is in words."""
    assert end.result is None
    assert end.error is not None
    assert end.error["message"]
    assert end.error["hint"]
    return end.state, end.error["code"]


# --- The duration ---


@pytest.mark.parametrize(("limit", "code"), [("time_limit_s", "time_limit"), ("stall_timeout_s", "stalled")])
@pytest.mark.parametrize("kind", KINDS)
async def test_one_that_takes_too_long_or_says_nothing_is_stopped(
    kind: str, limit: str, code: str, bench: "Bench", work: Work
) -> None:
    options: Any = {limit: SHORT_S}
    run = await bench.start(getattr(work, kind), **options)
    assert said(await run.end()) == ("failed", code)
    assert work.stopped.is_set(), "its function was stopped as by a person"
    record = await bench.services.queue.get(run.id)
    assert (record.state, (record.error or {})["code"]) == ("failed", code)
    assert (record.ended_at_ms or 0) - (record.started_at_ms or 0) >= SHORT_S * 1000 - 5
    assert not record.cancel
    work.open.set()
    assert await (await bench.start(getattr(work, kind))).outcome() == WELL, "its place is free"


@pytest.mark.parametrize("limit", ["time_limit_s", "stall_timeout_s", "queue_timeout_s"])
@pytest.mark.parametrize("kind", KINDS)
async def test_one_that_is_in_time_is_left_alone(kind: str, limit: str, bench: "Bench", work: Work) -> None:
    work.open.set()
    options: Any = {limit: 30}
    assert await (await bench.start(getattr(work, kind), **options)).outcome() == WELL


@pytest.mark.usefixtures("at_once")
async def test_the_limit_counts_from_the_start_and_is_each_attempts_own(bench: "Bench") -> None:
    async def function(run: penstock.Run) -> int:
        await asyncio.sleep(0.15)
        if run.attempt < 3:
            raise ValueError
        return run.attempt

    assert (await (await bench.start(function, time_limit_s=0.4, retries=2)).end()).result == 3


async def test_who_goes_on_after_its_limit_ends_all_the_same(bench: "Bench") -> None:
    release = asyncio.Event()

    async def deaf() -> str:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        return "all the same"

    run = await bench.start(deaf, time_limit_s=SHORT_S, stop_grace_s=0)
    assert said(await run.end()) == ("failed", "time_limit")
    release.set()
    await until(lambda: bench.running == 0)
    assert (await bench.services.queue.get(run.id)).state == "failed"


async def test_the_first_reason_stands(bench: "Bench", work: Work) -> None:
    run = await bench.start(work.coroutine, time_limit_s=SHORT_S, stall_timeout_s=60)
    assert said(await run.end()) == ("failed", "time_limit")
    await run.cancel()
    assert said(await run.end()) == ("failed", "time_limit")


# --- Silence ---


def in_a_span(run: penstock.Run) -> None:
    with run.span("on"):
        pass


SIGNS: dict[str, Callable[[penstock.Run], object]] = {
    "text": lambda run: "on",
    "value": lambda run: {"on": True},
    "log": lambda run: run.log("on"),
    "progress": lambda run: run.progress(1),
    "span": in_a_span,
    "checkpoint": lambda run: run.checkpoint(1),
}


async def test_whatever_a_run_says_is_a_sign_of_life(make_bench: "type[Bench]") -> None:
    async def task(sign: str, run: penstock.Run) -> AsyncIterator[object]:
        for _ in range(12):
            await asyncio.sleep(0.05)
            if (said := SIGNS[sign](run)) is not None:
                yield said

    def thread(sign: str, run: penstock.Run) -> Iterator[object]:
        for _ in range(12):
            time.sleep(0.05)
            if (said := SIGNS[sign](run)) is not None:
                yield said

    async with make_bench(default_concurrency_limit=None) as bench:
        runs = [
            (sign, await bench.start(call, {"sign": sign}, stall_timeout_s=0.5))
            for sign in SIGNS
            for call in (task, thread)
        ]
        assert [(sign, *await run.outcome()) for sign, run in runs] == [(sign, *WELL) for sign, _ in runs]


STALL_S = 1.0
LARGE = "x" * FLUSH_BYTES


class Stuck:
    """A store that takes no events until it is let go, one and a half limits after the first."""

    def __init__(self, bench: "Bench", *, fails: bool) -> None:
        self._append = bench.services.store.append
        self._fails = fails
        self.until_s: float | None = None

    async def append(self, batch: Any) -> list[bool]:
        if self.until_s is None:
            self.until_s = time.monotonic() + 1.5 * STALL_S
        while time.monotonic() < self.until_s:
            if self._fails:
                raise StoreUnavailable("stuck")
            await asyncio.sleep(0.01)
        return await self._append(batch)


async def writes() -> AsyncIterator[str]:
    yield LARGE  # goes on its way to the store
    yield LARGE  # waits until that has come there
    await asyncio.sleep(0.6 * STALL_S)
    yield "y"


def writes_in_a_thread() -> Iterator[str]:
    yield LARGE
    yield LARGE
    yield "waits too"
    time.sleep(0.6 * STALL_S)
    yield "y"


@pytest.mark.parametrize(("call", "fails"), [(writes, False), (writes_in_a_thread, True)])
async def test_waiting_for_the_store_is_not_silence(
    call: Any, fails: bool, make_bench: "type[Bench]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither while it waits, nor is that time counted afterwards."""
    async with make_bench() as bench:
        monkeypatch.setattr(bench.services.store, "append", Stuck(bench, fails=fails).append)
        assert await (await bench.start(call, stall_timeout_s=STALL_S)).outcome() == WELL


async def test_in_a_batch_waiting_for_the_store_is_nobodys_silence(
    make_bench: "type[Bench]", monkeypatch: pytest.MonkeyPatch
) -> None:
    async def batch(n: list[int]) -> AsyncIterator[list[str | None]]:
        yield [LARGE, "y"]
        yield [LARGE, None]
        yield [None, "y"]

    async with make_bench() as bench:
        monkeypatch.setattr(bench.services.store, "append", Stuck(bench, fails=False).append)
        options: Any = {"batch": True, "max_batch_size": 2, "max_wait_ms": 60_000, "stall_timeout_s": STALL_S}
        runs = [await bench.start(batch, {"n": number}, **options) for number in range(2)]
        assert [await run.outcome() for run in runs] == [WELL] * 2


async def test_silence_after_a_sign_is_counted_from_it(bench: "Bench") -> None:
    async def function(run: penstock.Run) -> None:
        for number in range(3):
            await asyncio.sleep(0.03)
            run.progress(number)
        await asyncio.Event().wait()

    run = await bench.start(function, stall_timeout_s=0.3)
    events = await run.events()
    assert said(await run.end()) == ("failed", "stalled")
    assert events[-1].at_ms - events[-2].at_ms >= 295


# --- The wait in line ---


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has waited too long is looked for often."""
    monkeypatch.setattr("penstock.janitor.LIMITS_S", 0.02)


@pytest.mark.usefixtures("quick")
async def test_one_that_waits_too_long_ends_where_it_stands(bench: "Bench", work: Work) -> None:
    first = await bench.start(work.coroutine, {"who": "a"}, queue_timeout_s=SHORT_S)
    await until(lambda: work.begun == ["a"])
    late, second = [await bench.start(work.coroutine, {"who": who}) for who in "bc"]
    for run in (late, second):
        (end,) = await run.events()
        assert isinstance(end, End)
        assert said(end) == ("failed", "queue_timeout")
        record = await bench.services.queue.get(run.id)
        assert (record.attempt, record.started_at_ms) == (0, None)
        assert (record.ended_at_ms or 0) - record.created_at_ms >= SHORT_S * 1000
    work.open.set()
    assert await first.outcome() == WELL, "what has started is not concerned"
    assert work.begun == ["a"]


async def test_many_that_wait_too_long_end_soon_and_hold_up_nobody(bench: "Bench", work: Work) -> None:
    await bench.start(work.coroutine, {"who": "a"}, queue_timeout_s=1)
    await until(lambda: work.begun == ["a"])
    late = await asyncio.gather(*[bench.start(work.coroutine) for _ in range(1000)])

    async def quick() -> None: ...

    async def others_take_s() -> float:
        began = time.monotonic()
        assert await (await bench.start(quick)).outcome() == WELL
        return time.monotonic() - began

    last, took_s = late[-1].id, [0.0]
    while not (await bench.services.queue.get(last)).state.ended:
        took_s.append(await others_take_s())
    assert max(took_s) < 1
    for run in late:
        record = await bench.services.queue.get(run.id)
        assert (record.ended_at_ms or 0) - (record.start_by_ms or 0) < 5000, (
            "at a hundred a second it were ten"
        )
        assert (record.error or {})["code"] == "queue_timeout"


@pytest.fixture
def rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has waited too long is not looked for while a test lasts."""
    monkeypatch.setattr("penstock.janitor.LIMITS_S", 600)


@pytest.mark.usefixtures("rarely")
async def test_one_that_has_waited_too_long_delays_nobody_before_it_is_looked_for(
    bench: "Bench", work: Work
) -> None:
    options: Any = {"concurrency_id": "gpu"}
    await bench.start(work.coroutine, {"who": "a"}, name="first", **options)
    await until(lambda: work.begun == ["a"])
    late = [
        await bench.start(work.coroutine, {"who": "b"}, queue_timeout_s=SHORT_S, **options) for _ in range(3)
    ]
    last = await bench.start(work.coroutine, {"who": "c"}, name="first")
    record = await bench.services.queue.get(late[-1].id)
    await until(lambda: time.time() * 1000 > (record.start_by_ms or 0))
    work.open.set()
    assert await last.outcome() == WELL
    assert work.begun == ["a", "c"]
    assert [(await bench.services.queue.get(run.id)).state for run in late] == ["queued"] * 3


@pytest.mark.usefixtures("quick")
async def test_waiting_for_another_attempt_is_not_the_wait_in_line(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.worker.executor.retry_delay_s", lambda attempt, chance: 24 * SHORT_S)

    async def function(run: penstock.Run) -> int:
        if run.attempt == 1:
            raise ValueError
        return run.attempt

    run = await bench.start(function, retries=1, queue_timeout_s=SHORT_S * 20)
    assert (await run.end()).result == 2


@pytest.mark.usefixtures("quick")
async def test_one_that_was_stopped_in_line_has_not_waited_too_long(bench: "Bench", work: Work) -> None:
    await bench.start(work.coroutine, queue_timeout_s=SHORT_S * 4)
    waits = await bench.start(work.coroutine)
    assert await waits.cancel() == "stopped"
    assert await waits.outcome() == ("cancelled", "")


@pytest.mark.usefixtures("quick")
async def test_a_rate_keeps_nobody_beyond_its_time(bench: "Bench", work: Work) -> None:
    work.open.set()
    runs = [
        await bench.start(work.coroutine, {"who": who}, rate_limit="1/h", queue_timeout_s=0.2) for who in "ab"
    ]
    assert [await run.outcome() for run in runs] == [WELL, ("failed", "queue_timeout")]
