"""What the store says runs here, and what does: lost answers, claims in flight, risen fences, moved groups."""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.errors import StoreUnavailable
from penstock.events import AnyEvent, Log
from penstock.models import Append, Chunk, Claimed, Group
from penstock.protocol.sse import encode_chunks
from penstock.settings import load
from penstock.storage.memory import MemoryStore
from penstock.testing import until
from penstock.worker import Worker
from penstock.worker.options import CRASH_RETRIES

if TYPE_CHECKING:
    from tests.conftest import Bench


class Store(MemoryStore):
    """A store whose claims can lose their answer, or take their time before or after they are carried out."""

    def __init__(self) -> None:
        super().__init__()
        self.claims = 0
        self.lost_answers = 0
        self.refusals = 0
        self.before, self.after = asyncio.Event(), asyncio.Event()
        self.before.set()
        self.after.set()
        self.in_flight = asyncio.Event()

    async def claim(self, worker: str, groups: Sequence[Group], now_ms: int, limit: int) -> list[Claimed]:
        self.claims += 1
        if not self.before.is_set():
            self.in_flight.set()
            await self.before.wait()
        claimed = await super().claim(worker, groups, now_ms, limit)
        if claimed and self.lost_answers:
            self.lost_answers -= 1
            raise StoreUnavailable("An I/O error after the commit.")
        if claimed and not self.after.is_set():
            self.in_flight.set()
            await self.after.wait()
        return claimed

    async def requeue(self, *given: Any, **more: Any) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("The disk is full.")
        await super().requeue(*given, **more)


@pytest.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr("penstock.app.make_store", lambda *_, **__: store)
    monkeypatch.setattr("penstock.worker.worker.LOOK_S", 0.05)
    return store


@pytest.fixture
async def bench(store: Store, make_bench: "type[Bench]") -> "AsyncIterator[Bench]":
    async with make_bench(lease_s=1) as bench:
        yield bench
        store.before.set()
        store.after.set()


async def hello() -> str:
    return "hello"


async def for_ever() -> None:
    await asyncio.Event().wait()


# --- Strays ---


@pytest.mark.parametrize("on_crash", ["fail", "retry"])
async def test_a_claim_whose_answer_was_lost_is_given_back(
    on_crash: Any, bench: "Bench", store: Store
) -> None:
    """It was never begun: that is no crash."""
    store.lost_answers = 1
    run = await bench.start(hello, on_crash=on_crash)
    assert (await run.end()).result == "hello"
    record = await bench.services.queue.get(run.id)
    assert (record.attempt, record.losses) == (2, 0)
    assert (await (await bench.start(hello)).end()).result == "hello", "its place in the group is free"


async def test_a_run_whose_fence_has_risen_is_stopped_and_settled(bench: "Bench", store: Store) -> None:
    stopped = asyncio.Event()

    async def silent() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    run = await bench.start(silent)
    await until(lambda: bench.running == 1)
    assert await store.seize(bench.services.worker.name, run.id) is not None
    await until(stopped.is_set)
    assert await run.outcome() == ("interrupted", "worker_lost")
    await until(lambda: bench.running == 0)


async def test_a_run_given_up_is_not_begun_beside_itself(
    bench: "Bench", store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread heeds no stop: until it is back, nobody takes the run for lost."""
    gate, begun = threading.Event(), []
    append, faults = store.append, iter([ValueError("a fault of ours")])

    async def faulty(batch: Sequence[Append]) -> list[bool]:
        for fault in faults:
            raise fault
        return await append(batch)

    def deaf(run: penstock.Run) -> int:
        begun.append(run.attempt)
        if run.attempt == 1:
            run.log("lost by the fault")
            gate.wait()
        return run.attempt

    monkeypatch.setattr(store, "append", faulty)
    run = await bench.start(deaf, on_crash="retry", stop_grace_s=0.1)
    await until(lambda: bench.services.worker._executor.left_behind == {run.id})
    for _ in range(3):
        bench.services.worker._look_for_strays = True
        bench.services.worker.wake()
        await until(lambda: not bench.services.worker._look_for_strays)
    assert begun == [1]
    gate.set()
    assert (await run.end()).result == 2
    assert begun == [1, 2]


async def test_a_stray_that_is_cancelled_does_not_make_the_worker_spin(
    store: Store, make_bench: "type[Bench]"
) -> None:
    async with make_bench() as bench:  # its lease is long: nobody looks for strays in the meantime
        await bench.start(for_ever)
        await until(lambda: bench.running == 1)
        store.lost_answers = 1
        stray = await bench.start(hello)
        await until(lambda: store.lost_answers == 0)
        assert await stray.cancel() == "requested"
        before = store.claims
        await asyncio.sleep(0.3)
        assert store.claims - before < 30
        assert (await bench.services.queue.get(stray.id)).state == "running"
        bench.services.worker._look_for_strays = True
        bench.services.worker.wake()
        assert await stray.outcome() == ("cancelled", "")
        assert bench.running == 1, "the others are left alone"


# --- Leaving ---


@pytest.mark.parametrize("gate", ["before", "after"])
@pytest.mark.parametrize("on_crash", ["fail", "retry"])
async def test_a_claim_in_flight_is_given_back_at_shutdown(
    on_crash: Any, gate: str, bench: "Bench", store: Store
) -> None:
    getattr(store, gate).clear()
    run = await bench.start(hello, on_crash=on_crash)
    await until(store.in_flight.is_set)
    leaving = asyncio.create_task(bench.services.worker.drain(5))
    await until(lambda: bench.services.worker._draining)
    getattr(store, gate).set()
    await leaving
    record = await bench.services.queue.get(run.id)
    assert (record.state, record.worker, record.losses, record.error) == ("queued", None, 0, None)
    assert await store.held(bench.services.worker.name) == {}


@pytest.mark.parametrize("gate", ["before", "after"])
async def test_a_store_that_fails_meanwhile_is_asked_again(gate: str, bench: "Bench", store: Store) -> None:
    getattr(store, gate).clear()
    run = await bench.start(hello, on_crash="fail")
    await until(store.in_flight.is_set)
    leaving = asyncio.create_task(bench.services.worker.drain(5))
    await until(lambda: bench.services.worker._draining)
    store.refusals = 2
    getattr(store, gate).set()
    await leaving
    record = await bench.services.queue.get(run.id)
    assert (record.state, record.losses, store.refusals) == ("queued", 0, 0)


async def test_who_leaves_claims_no_more(bench: "Bench", store: Store) -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    first, second = [await bench.start(wait) for _ in range(2)]
    await until(lambda: bench.running == 1)
    await bench.app.drain()
    before = store.claims
    gate.set()
    assert await first.outcome() == ("succeeded", "")
    await until(lambda: bench.running == 0)
    await bench.services.worker._claim()
    assert (await bench.services.queue.get(second.id)).state == "queued"
    assert store.claims == before


async def test_giving_back_uses_up_no_retries(make_bench: "type[Bench]", tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'runs.db'}"
    run = None
    for _ in range(CRASH_RETRIES + 2):
        async with (bench := make_bench(store=address, synchronous="normal")):
            run = run or await bench.start(for_ever, on_crash="retry")
            if "for_ever" not in bench.app.functions:
                bench.app.function(on_crash="retry")(for_ever)
                bench.services.worker.wake()
            await until(lambda: bench.running == 1)
            await bench.interrupt()
            record = await bench.services.queue.get(run.id)
            assert (record.state, record.losses, record.crash_retries) == ("queued", 0, CRASH_RETRIES)
    assert record.attempt == CRASH_RETRIES + 2


# --- A new start ---


async def test_queued_runs_follow_a_function_that_changed_its_group(
    make_bench: "type[Bench]", tmp_path: Path
) -> None:
    address = f"sqlite:///{tmp_path / 'runs.db'}"
    async with make_bench(store=address) as bench:
        bench.services.worker.hold()
        runs = [await bench.start(hello, concurrency_id="old") for _ in range(3)]
    bench = make_bench(store=address)
    bench.app.function(concurrency_id="new")(hello)
    async with bench:
        for run in runs:
            run._bench = bench
            assert (await run.end()).result == "hello"
            assert (await bench.services.queue.get(run.id)).group == "new"


# --- Judging others ---


async def test_who_has_signed_steadily_may_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    clock = SimpleNamespace(monotonic=lambda: now_s, time_ns=time.time_ns)
    monkeypatch.setattr("penstock.worker.worker.time", clock)
    worker = Worker("w", MemoryStore(), {}, load({"lease_s": 9.0}))
    assert not worker.may_judge(), "it has never signed"

    async def judged_after(*waits_s: float) -> list[bool]:
        nonlocal now_s
        said = []
        for wait_s in waits_s:
            now_s += wait_s
            await worker._sign()
            said.append(worker.may_judge())
        return said

    await worker.sign_in()
    assert not worker.may_judge(), "just started"
    assert await judged_after(3, 3, 2.9, 0.1, 3, 4) == [False, False, False, True, True, True]
    now_s += 5
    assert not worker.may_judge(), "it has not signed lately"
    assert await judged_after(0, 3, 3, 3, 3) == [False, False, False, True, True], "a gap, then a whole lease"
    now_s += 100
    assert not worker.may_judge(), "it was asleep"
    assert await judged_after(0) == [False]


async def test_signs_that_fail_are_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a store is full nobody signs: who comes first afterwards must not take what is not lost."""
    clock = SimpleNamespace(monotonic=itertools.count(1000, 3).__next__, time_ns=time.time_ns)
    monkeypatch.setattr("penstock.worker.worker.time", clock)  # each look at it is three seconds later
    store = MemoryStore()
    worker = Worker("w", store, {}, load({"lease_s": 12.0}))
    for _ in range(6):
        await worker._sign()
    assert worker.may_judge()
    with monkeypatch.context() as full:

        async def fail(*_: object) -> None:
            clock.monotonic()
            raise StoreUnavailable("full")

        full.setattr(store, "sign", fail)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await worker._sign()
    await worker._sign()
    assert not worker.may_judge()


async def test_a_run_that_was_spoiled_stops_its_function(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that emits nothing more would else go on, and keep its place in the group."""

    def encode(batch: list[AnyEvent], epoch: str) -> list[Chunk]:
        if any(isinstance(event, Log) for event in batch):
            raise ValueError("no such bytes")
        return encode_chunks(batch, epoch)

    async def poisoned(run: penstock.Run) -> None:
        run.log("poison")
        await asyncio.Event().wait()

    monkeypatch.setattr("penstock.worker.recorder.encode_chunks", encode)
    run = await bench.start(poisoned)
    assert await run.outcome() == ("failed", "bad_yield")
    await until(lambda: bench.running == 0)


async def test_a_lost_run_comes_back_into_its_functions_new_group(
    tmp_path: Path, make_bench: "type[Bench]"
) -> None:
    store = f"sqlite:///{tmp_path / 'store.db'}"

    async def function() -> int:
        return 1

    async with make_bench(store=store) as before:
        before.services.worker.hold()
        run = await before.start(function, concurrency_id="old", on_crash="retry")
        await before.services.store.claim("elsewhere", [Group("old", ("function",), None)], 2**53, 1)
    after = make_bench(store=store, lease_s=1)
    after.app.function(concurrency_id="new", on_crash="retry")(function)
    async with after:

        async def done() -> bool:
            return (await after.services.queue.get(run.id)).state == "succeeded"

        await until(done)


async def test_a_leap_of_the_wall_clock_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine was asleep, and the other clock with it: every lease seems to have run out."""
    now_s, leap_s = 1000.0, 0
    clock = SimpleNamespace(monotonic=lambda: now_s, time_ns=lambda: int((now_s + leap_s) * 1e9))
    monkeypatch.setattr("penstock.worker.worker.time", clock)
    worker = Worker("w", MemoryStore(), {}, load({"lease_s": 9.0}))
    for _ in range(5):
        now_s += 3
        await worker._sign()
    assert worker.may_judge()
    leap_s = 3600
    assert not worker.may_judge()
    for judges in (False, False, False, True):
        await worker._sign()
        assert worker.may_judge() is judges
        now_s += 3


# --- Nothing ends the loops ---


async def test_a_fault_of_ours_does_not_end_the_claims(
    bench: "Bench", store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, faults = store.claim, iter([ValueError("a fault")])

    async def faulty(*given: Any) -> list[Claimed]:
        for fault in faults:
            raise fault
        return await claim(*given)

    monkeypatch.setattr(store, "claim", faulty)

    async def function() -> str:
        return "claimed all the same"

    run = await bench.start(function)
    assert (await run.end()).result == "claimed all the same"
