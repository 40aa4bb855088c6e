"""Nobody watching: which runs go on, which stop, and what counts as watching."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import penstock
from penstock.models import RunRecord, RunState
from penstock.presence import TOLD_S
from penstock.storage import make_store
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench
    from tests.queue.conftest import Serve, Site, Stage

ABANDONED = ("cancelled", "abandoned")
GRACE_MS = 1000
CANCEL: Any = {"on_abandon": "cancel", "abandon_grace_s": GRACE_MS / 1000, "concurrency_limit": None}
STAYS_S = 1.5
"""How long a run that is not to be stopped is looked at: longer than its grace."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers are counted, and limits looked at, often: what is measured here is the grace alone."""
    monkeypatch.setattr("penstock.presence.TELL_S", 0.02)
    monkeypatch.setattr("penstock.janitor.LIMITS_S", 0.02)


async def stays(site: "Site", *runs: str, for_s: float = STAYS_S) -> None:
    """These runs are still running once their grace has passed."""
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        for run_id in runs:
            run = await site.run(run_id)
            assert (run["state"], run["cancel"]) == ("running", None)
        await asyncio.sleep(0.1)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_who_stops_and_who_goes_on(store: str, serve: "Serve", stage: "Stage") -> None:
    """Never read, read and left, waiting in line: each after its grace; and everything that goes on."""
    functions = [
        (stage.hold, CANCEL),
        (stage.hold, CANCEL | {"name": "patient", "abandon_grace_s": 60}),
        (stage.hold, {"name": "goes_on", "concurrency_limit": None}),
        (stage.hold, CANCEL | {"name": "line", "concurrency_limit": 1}),
        (stage.block, CANCEL | {"stop_grace_s": 0}),
    ]
    async with serve(*functions, store=store) as site:
        never, left, watched, polled = [await site.submit("hold", {"who": "x"}) for _ in range(4)]
        goes_on = [await site.submit(name, {"who": "x"}) for name in ("patient", "goes_on")]
        first, waits = [await site.submit("line", {"who": "x"}) for _ in range(2)]
        blocks = await site.submit("block", {"who": "x"})
        watching = [site.read(run_id) for run_id in (left, watched, first)]
        for reader in watching:
            await reader.told(state="running")

        async def poll() -> None:
            while True:
                await site.api.get(f"/api/runs/{polled}/events", params={"poll": 0.3})

        polling = asyncio.create_task(poll())
        began = now_ms()
        await watching[0].leave()
        for run_id in (never, waits, blocks, left):
            assert await site.ended(run_id) == ABANDONED
        run = await site.run(never)
        assert run["ended_at_ms"] - run["created_at_ms"] >= GRACE_MS
        assert run["error"]["message"]
        assert run["error"]["hint"]
        assert (await site.run(waits))["started_at_ms"] is None
        assert (await site.run(left))["ended_at_ms"] - began >= GRACE_MS
        polling.cancel()
        assert await site.ended(polled) == ABANDONED
        assert now_ms() - began >= 2 * GRACE_MS
        for run_id in (watched, first, *goes_on):
            run = await site.run(run_id)
            assert (run["state"], run["cancel"]) == ("running", None)
        stage.let_go()


async def test_any_reader_in_any_process_keeps_it_alive_and_goes_with_its_process(
    file: str, serve: "Serve", stage: "Stage"
) -> None:
    function = (stage.hold, CANCEL)
    async with serve(function, store=file) as one:
        run_id = await one.submit("hold", {"who": "x"})
        readers = [one.read(run_id), one.read(run_id)]
        async with serve(function, store=file) as other:
            for reader in (*readers, other.read(run_id)):
                await reader.told(state="running")
            for reader in readers:
                await reader.leave()
            await stays(one, run_id)
            left_at = now_ms()
        assert await one.ended(run_id) == ABANDONED
        assert (await one.run(run_id))["ended_at_ms"] - left_at >= GRACE_MS


async def test_blips_inside_the_grace_change_nothing(serve: "Serve", stage: "Stage") -> None:
    async with serve((stage.hold, CANCEL)) as site:
        run_id = await site.submit("hold", {"who": "x"})
        end = time.monotonic() + STAYS_S
        while time.monotonic() < end:
            reader = site.read(run_id)
            await reader.told(state="running")
            await reader.leave()
            await asyncio.sleep(0.2)
        assert (await site.run(run_id))["cancel"] is None
        stage.let_go("x")
        assert await site.ended(run_id) == ("succeeded", "")


async def test_a_reader_in_another_process_may_come_until_the_grace_is_over(
    file: str, serve: "Serve", stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever time it takes until the store is told of it: these come at ten moments between two tellings."""
    tell_s = 0.5
    monkeypatch.setattr("penstock.presence.TELL_S", tell_s)
    function = (stage.hold, CANCEL)
    async with serve(function, store=file) as one, serve(function, store=file) as other:

        async def read_late(number: int) -> tuple[str, bool]:
            await asyncio.sleep(number * tell_s / 10)
            run_id = await one.submit("hold", {"who": "x"})
            over_ms = (await one.run(run_id))["created_at_ms"] + GRACE_MS
            await asyncio.sleep((over_ms - now_ms()) / 1000 - tell_s / 2)
            reader = other.read(run_id)
            await until(lambda: reader.messages or reader.ended)
            return run_id, now_ms() < over_ms

        found = await asyncio.gather(*[read_late(number) for number in range(10)])
        in_time = [run_id for run_id, came_in_time in found if came_in_time]
        assert in_time
        await stays(one, *in_time)
        stage.let_go()


async def test_a_run_that_is_read_here_is_not_ended_from_here(
    store: str, serve: "Serve", stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the store can't be told of its reader."""
    monkeypatch.setattr("penstock.presence.TELL_S", 600)
    async with serve((stage.hold, CANCEL), store=store) as site:
        run_id = await site.submit("hold", {"who": "x"})
        reader = site.read(run_id)
        await reader.told(state="running")
        await stays(site, run_id, for_s=GRACE_MS / 1000 + TOLD_S + 0.5)
        await reader.leave()
        assert await site.ended(run_id) == ABANDONED


async def test_after_a_restart_readers_have_the_grace_to_come_back(
    file: str, serve: "Serve", stage: "Stage"
) -> None:
    """The server was away for longer than it."""
    store = make_store(file)
    await store.open()
    for name in "comes", "stays away":
        run = RunRecord(
            id=f"run_{name}",
            function="hold",
            group="hold",
            state=RunState.QUEUED,
            created_at_ms=now_ms() - 60_000,
            input=msgspec.Raw(msgspec.json.encode({"who": name})),
            abandon_grace_ms=GRACE_MS,
        )
        await store.submit(run, "epoch00000")
    await store.close()
    up_at = now_ms()
    async with serve((stage.hold, CANCEL), store=file) as site:
        await stage.has("comes", "stays away")
        await site.read("run_comes").told(state="running")
        assert await site.ended("run_stays away") == ABANDONED
        assert (await site.run("run_stays away"))["ended_at_ms"] - up_at >= GRACE_MS
        await stays(site, "run_comes")


async def test_a_retry_that_nobody_reads_is_not_made(
    make_bench: "type[Bench]", monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []

    async def fails(run: penstock.Run) -> None:
        attempts.append(run.attempt)
        raise ValueError

    monkeypatch.setattr("penstock.worker.executor.random.random", lambda: 0.999)
    bench = make_bench()
    bench.app.function(**(CANCEL | {"retries": 50}))(fails)
    async with bench:
        run, _ = await bench.services.queue.submit("fails", b"{}")

        async def ended() -> Any:
            record = await bench.services.queue.get(run.id)
            return record if record.state.ended else None

        record = await until(ended)
        assert (record.state, (record.error or {})["code"]) == ABANDONED
        assert len(attempts) < 5
