"""Stop that stops: receipts that readers see, wherever the run stands and whoever executes it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench
    from tests.queue.conftest import Serve, Stage

CANCELLED = ("cancelled", "")


class Deaf:
    """Functions of each kind that take their time over a stop, until they are let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()
        self.asked = threading.Event()
        self.closed = threading.Event()

    async def coroutine(self, run: penstock.Run) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self._linger(run)

    async def async_generator(self, run: penstock.Run) -> AsyncIterator[str]:
        try:
            self.begun.set()
            yield "on"
            await asyncio.Event().wait()
        finally:
            await self._linger(run)

    async def _linger(self, run: penstock.Run) -> None:
        if run.should_stop():
            self.asked.set()
        while not self.open.is_set():
            await asyncio.sleep(0.002)
        self.closed.set()

    def function(self, run: penstock.Run) -> None:
        self.begun.set()
        while not self.open.is_set():
            if run.should_stop():
                self.asked.set()
            time.sleep(0.002)
        self.closed.set()

    def generator(self, run: penstock.Run) -> Iterator[str]:
        yield "on"
        self.function(run)


KINDS = ["coroutine", "async_generator", "function", "generator"]


@pytest.fixture
def deaf() -> Iterator[Deaf]:
    deaf = Deaf()
    yield deaf
    deaf.open.set()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers are told more often than each second."""
    monkeypatch.setattr("penstock.queue.standings.TELL_S", 0.02)


# --- Receipts ---


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_stop_is_acknowledged_at_once_and_said_to_be_done_when_it_is(
    kind: str, file: str, serve: "Serve", deaf: Deaf
) -> None:
    async with serve((getattr(deaf, kind), {"stop_grace_s": 60}), store=file) as site:
        run_id = await site.submit(kind)
        reader = site.read(run_id)
        await until(deaf.begun.is_set)
        assert (await site.run(run_id))["cancel"] is None
        assert await site.cancel(run_id) == "acknowledged"
        assert await site.cancel(run_id) == "acknowledged"
        await until(deaf.asked.is_set, what="should_stop() says so")
        await reader.told(state="running", cancel="acknowledged")
        run = await site.run(run_id)
        assert (run["state"], run["cancel"]) == ("running", "acknowledged")
        assert (await site.queue())[kind]["running"] == 1, "it is waited for"
        late = site.read(run_id)
        await late.told(cancel="acknowledged")
        deaf.open.set()
        for one in (reader, late):
            assert (await one.end())["state"] == "cancelled"
        assert deaf.closed.is_set()
        run = await site.run(run_id)
        assert (run["state"], run["cancel"], run["error"]) == ("cancelled", "stopped", None)
        assert await site.cancel(run_id) == "stopped"


@pytest.mark.usefixtures("quick")
async def test_a_stop_goes_to_whoever_executes_the_run_and_its_receipts_come_back(
    file: str, serve: "Serve", deaf: Deaf
) -> None:
    """requested by one process, acknowledged by another, seen by the readers of both."""
    function = (deaf.coroutine, {"stop_grace_s": 60})
    async with serve(function, store=file) as executes:
        run_id = await executes.submit("coroutine")
        await until(deaf.begun.is_set)
        async with serve(function, store=file) as asks:
            readers = [asks.read(run_id), executes.read(run_id)]
            for reader in readers:
                await reader.told(state="running")
            assert await asks.cancel(run_id) == "requested"
            assert "requested" in [status.get("cancel") for status in readers[0].statuses] or (
                await readers[0].told(cancel="requested")
            )
            for reader in readers:
                await reader.told(state="running", cancel="acknowledged")
            for site in (asks, executes):
                assert (await site.run(run_id))["cancel"] == "acknowledged"
            deaf.open.set()
            for reader in readers:
                assert (await reader.end())["state"] == "cancelled"
            assert await asks.ended(run_id) == CANCELLED
            assert (await asks.run(run_id))["cancel"] == "stopped"


@pytest.mark.usefixtures("quick")
async def test_a_receipt_reaches_the_reader_of_a_run_that_goes_on_writing(serve: "Serve", deaf: Deaf) -> None:
    async def chatters(run: penstock.Run) -> None:
        deaf.begun.set()
        while not deaf.open.is_set():
            try:
                await asyncio.sleep(0.002)
            except asyncio.CancelledError:
                deaf.asked.set()
            run.log("on")

    async with serve((chatters, {"stop_grace_s": 60})) as site:
        run_id = await site.submit("chatters")
        reader = site.read(run_id)
        await until(lambda: reader.events)
        assert await site.cancel(run_id) == "acknowledged"
        await until(deaf.asked.is_set)
        await reader.told(cancel="acknowledged")
        deaf.open.set()
        assert (await reader.end())["state"] == "cancelled"


# --- Wherever it stands ---


async def test_one_that_waits_is_stopped_at_once_and_never_begins(
    store: str, serve: "Serve", stage: "Stage"
) -> None:
    async with serve(stage.hold, store=store) as site:
        runs = [await site.submit("hold", {"who": who}) for who in "abc"]
        await stage.has("a")
        assert await site.cancel(runs[1]) == "stopped"
        run = await site.run(runs[1])
        assert (run["state"], run["cancel"], run["started_at_ms"]) == ("cancelled", "stopped", None)
        stage.let_go("a")
        await stage.has("a", "c")


async def test_a_stop_is_remembered_by_whoever_claims_the_run(
    bench: "Bench", stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came after the claim, and before this process knew what it had claimed."""
    claim, store = bench.services.store.claim, bench.services.store

    async def claims(*given: Any) -> Any:
        claimed = await claim(*given)
        for one in claimed:
            assert await bench.services.queue.cancel(one.run.id) == (await store.run(one.run.id), "requested")
        return claimed

    monkeypatch.setattr(store, "claim", claims)
    run = await bench.start(stage.hold, {"who": "a"})
    assert await run.outcome() == CANCELLED
    await until(lambda: bench.running == 0)


async def test_a_stop_that_was_noted_before_the_claim_keeps_it_from_starting(
    bench: "Bench", stage: "Stage"
) -> None:
    """As where the process that took the request died in that moment."""
    bench.services.worker.hold()
    run = await bench.start(stage.hold, {"who": "a"})
    await bench.services.store.request_cancel(run.id, "cancelled")
    bench.services.worker._draining = False
    bench.services.worker.wake()
    assert await run.outcome() == CANCELLED
    assert stage.began == []


async def test_many_stops_at_once_are_one(file: str, make_bench: "type[Bench]", stage: "Stage") -> None:
    async with make_bench(store=file) as one, make_bench(store=file) as other:
        for bench in (one, other):
            bench.app.function(concurrency_limit=None)(stage.hold)
        runs = [await one.start(stage.hold, {"who": str(number)}) for number in range(10)]
        await until(lambda: len(stage.on) == 10)
        receipts = await asyncio.gather(
            *[bench.services.queue.cancel(run.id) for run in runs for bench in (one, other) for _ in range(3)]
        )
        assert {receipt for _, receipt in receipts} <= {"requested", "acknowledged", "stopped"}
        assert [await run.outcome() for run in runs] == [CANCELLED] * 10
        assert stage.on == []


async def test_an_ended_run_is_not_changed(store: str, serve: "Serve", stage: "Stage") -> None:
    stage.let_go("a")
    async with serve(stage.hold, store=store) as site:
        run_id = await site.submit("hold", {"who": "a"})
        assert await site.ended(run_id) == ("succeeded", "")
        before = await site.run(run_id)
        assert await site.cancel(run_id) == "stopped"
        assert await site.run(run_id) == before
        assert (await site.api.post("/api/runs/run_none/cancel")).status_code == 404
