"""Lost workers: noticed by their lease or their process, their runs settled once."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from penstock.errors import StoreUnavailable
from penstock.events import End, Text
from penstock.janitor import ENDED_AT_ONCE, Janitor, process_is_gone, worker_name
from penstock.meters import Runs
from penstock.models import Append, Claimed, Group, RunRecord, RunState
from penstock.protocol.sse import encode_chunk, events_in
from penstock.storage import make_store
from penstock.storage.base import Store
from penstock.testing import until
from penstock.worker import end_unexecuted

if TYPE_CHECKING:
    from tests.conftest import Bench

FAR_MS = 10**15
EPOCH = "epoch00000"


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = make_store("memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}")
    await store.open()
    yield store
    await store.close()


async def start(
    store: Store, worker: str, *, expires_at_ms: int, retries: int = 0, name: str = "run_1"
) -> Claimed:
    """A run that `worker` has begun and written two events of."""
    run = RunRecord(
        id=name, function="f", group="f", state=RunState.QUEUED, created_at_ms=1, crash_retries=retries
    )
    await store.submit(run, EPOCH)
    await store.sign(worker, expires_at_ms)
    (claimed,) = await store.claim(worker, [Group("f", ("f",), None)], 1, 1)
    chunk = encode_chunk([Text(0, "a", seq=1, at_ms=1), Text(1, "b", seq=2, at_ms=1)], EPOCH)
    assert await store.append([Append(name, claimed.lease.fence, chunk)]) == [True]
    return claimed


async def last_event(store: Store, run_id: str) -> object:
    chunks = await store.read(run_id, 0, 1 << 20)
    return list(events_in(chunks[-1].data))[-1]


async def record(store: Store, run_id: str = "run_1") -> RunRecord:
    run = await store.run(run_id)
    assert run is not None
    return run


# --- Whose process is gone ---


def child(program: str = "import sys; sys.stdin.read()") -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


NAME = (
    "from penstock.janitor import worker_name; import sys; print(worker_name(), flush=True); sys.stdin.read()"
)


def test_a_living_process_is_not_gone_and_a_dead_one_is() -> None:
    with child(NAME) as process:
        assert process.stdout is not None
        name = process.stdout.readline().decode().strip()
        assert not process_is_gone(name)
        process.kill()
        process.wait()
        assert process_is_gone(name)


def test_a_process_id_that_was_given_again() -> None:
    """The id is that of a living process, but it started at another time."""
    machine, pid, started, rest = worker_name().split("/")
    assert not process_is_gone(f"{machine}/{pid}/{started}/{rest}")
    assert process_is_gone(f"{machine}/{pid}/{int(started) - 1}/{rest}")


def test_another_machines_processes_are_unknown() -> None:
    _, _, started, rest = worker_name().split("/")
    assert not process_is_gone(f"elsewhere/999999999/{started}/{rest}")
    for nonsense in ("", "x", "a/b/c/d", f"{worker_name().split('/')[0]}/x/1/y"):
        assert not process_is_gone(nonsense)


def test_every_worker_has_its_own_name() -> None:
    assert len({worker_name() for _ in range(100)}) == 100
    assert str(os.getpid()) in worker_name()


# --- Sweeping ---


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_a_lease_that_ran_out(store: Store) -> None:
    await start(store, "elsewhere/1/1/x", expires_at_ms=now_ms() - 1)
    assert await Janitor(store, "janitor", 10).sweep() == 1
    run = await record(store)
    assert (run.state, (run.error or {})["code"]) == ("interrupted", "worker_lost")
    end = await last_event(store, "run_1")
    assert isinstance(end, End)
    assert (end.seq, end.state) == (3, "interrupted")
    assert end.error == run.error
    assert "on_crash" in (run.error or {})["hint"]
    stream = await store.stream("run_1")
    assert stream is not None
    assert (stream.tail, stream.ended) == (3, True)


async def test_a_lease_that_holds(store: Store) -> None:
    await start(store, "elsewhere/1/1/x", expires_at_ms=FAR_MS)
    await start(store, worker_name(), expires_at_ms=FAR_MS, name="run_2")
    assert await Janitor(store, "janitor", 10).sweep() == 0
    assert [(await record(store, name)).state for name in ("run_1", "run_2")] == ["running", "running"]


async def test_a_dead_process_needs_no_lease_to_run_out(store: Store) -> None:
    with child(NAME) as process:
        assert process.stdout is not None
        name = process.stdout.readline().decode().strip()
        await start(store, name, expires_at_ms=FAR_MS)
        janitor = Janitor(store, "janitor", 10)
        assert await janitor.sweep() == 0
        process.kill()
    assert await janitor.sweep() == 1
    assert (await record(store)).state == "interrupted"


async def test_its_own_runs_are_left_alone(store: Store) -> None:
    await start(store, "me", expires_at_ms=1)
    assert await Janitor(store, "me", 10).sweep() == 0


async def test_a_run_that_may_be_repeated_is_given_back_while_it_has_retries(store: Store) -> None:
    janitor = Janitor(store, "janitor", 10)
    lost = await start(store, "elsewhere/1/1/x", expires_at_ms=1, retries=1)
    assert await janitor.sweep() == 1
    run = await record(store)
    assert (run.state, run.attempt, run.worker) == ("queued", 1, None)
    assert run.not_before_ms <= now_ms(), "the first repetition is at once"
    late = encode_chunk([Text(2, "late", seq=3, at_ms=1)], EPOCH)
    assert await store.append([Append("run_1", lost.lease.fence, late)]) == [False]
    await store.sign("second", 1)
    (claimed,) = await store.claim("second", [Group("f", ("f",), None)], now_ms(), 1)
    assert claimed.run.attempt == 2
    assert await janitor.sweep() == 1
    assert (await record(store)).state == "interrupted", "its retries are used up"


async def test_one_that_was_to_be_stopped_is_cancelled(store: Store) -> None:
    await start(store, "elsewhere/1/1/x", expires_at_ms=1, retries=3)
    await store.request_cancel("run_1")
    assert await Janitor(store, "janitor", 10).sweep() == 1
    run = await record(store)
    assert (run.state, run.error) == ("cancelled", None)


async def test_several_janitors_settle_each_run_once(store: Store) -> None:
    for number in range(5):
        await start(store, f"elsewhere/1/{number}/x", expires_at_ms=1, name=f"run_{number}")
    janitors = [Janitor(store, f"janitor {number}", 10) for number in range(4)]
    settled = await asyncio.gather(*[janitor.sweep() for janitor in janitors])
    assert sum(settled) == 5
    for number in range(5):
        chunks = await store.read(f"run_{number}", 0, 1 << 20)
        events = [event for chunk in chunks for event in events_in(chunk.data)]
        assert [event.seq for event in events] == [1, 2, 3]
        assert isinstance(events[-1], End)
    assert await store.workers() == []


async def test_one_that_came_back_keeps_its_runs(store: Store) -> None:
    """It signs between the look and the taking over."""
    await start(store, "elsewhere/1/1/x", expires_at_ms=1)
    (sign,) = await store.workers()
    await store.sign("elsewhere/1/1/x", FAR_MS)
    assert list(await store.take_over("janitor", sign)) == []
    assert (await record(store)).worker == "elsewhere/1/1/x"


@pytest.mark.parametrize(
    ("call", "retries", "state"), [("finish", 0, "interrupted"), ("requeue", 1, "queued")]
)
async def test_what_could_not_be_settled_is_settled_by_the_next_sweep(
    call: str, retries: int, state: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store fails between the taking over and the settling."""
    for number in range(3):
        name = f"run_{number}"
        await start(store, "elsewhere/1/1/x", expires_at_ms=1, retries=retries, name=name)
    settle, failures = getattr(store, call), [StoreUnavailable("The disk is gone.")]

    async def fails_once(*given: Any, **more: Any) -> None:
        if failures:
            raise failures.pop()
        await settle(*given, **more)

    monkeypatch.setattr(store, call, fails_once)
    await store.sign("me", FAR_MS)
    janitor = Janitor(store, "me", 10)
    with pytest.raises(StoreUnavailable):
        await janitor.sweep()
    assert await store.held("me") == {}, "nothing runs under the name of one that lives"
    assert await janitor.sweep() == 3
    runs = [await record(store, f"run_{number}") for number in range(3)]
    assert [(run.state, run.losses) for run in runs] == [(state, retries)] * 3
    assert [sign.worker for sign in await store.workers()] == ["me"]


async def test_who_may_not_judge_leaves_leases_alone(store: Store) -> None:
    """Nobody could sign for a while, so silence says nothing. A process that is gone is gone all the same."""
    with child(NAME) as process:
        assert process.stdout is not None
        gone = process.stdout.readline().decode().strip()
        process.kill()
    await start(store, "elsewhere/1/1/x", expires_at_ms=1, name="silent")
    await start(store, gone, expires_at_ms=FAR_MS, name="gone")
    steady: list[bool] = []
    janitor = Janitor(store, "me", 10, may_judge=lambda: bool(steady))
    assert await janitor.sweep() == 1
    assert [(await record(store, name)).state for name in ("silent", "gone")] == ["running", "interrupted"]
    assert await janitor.sweep() == 0
    steady.append(True)
    assert await janitor.sweep() == 1
    assert (await record(store, "silent")).state == "interrupted"


async def test_only_lost_workers_use_up_retries(store: Store) -> None:
    """A run that was given back at many shutdowns has all its retries left."""
    run = await start(store, "w", expires_at_ms=1, retries=1)
    for _ in range(5):
        await store.requeue(run.lease, 0)
        (run,) = await store.claim("w", [Group("f", ("f",), None)], 1, 1)
    assert (run.run.attempt, run.run.losses) == (6, 0)
    janitor = Janitor(store, "me", 10)
    assert await janitor.sweep() == 1
    assert ((await record(store)).state, (await record(store)).losses) == ("queued", 1)
    await store.claim("w", [Group("f", ("f",), None)], FAR_MS, 1)
    assert await janitor.sweep() == 1
    assert (await record(store)).state == "interrupted"


async def test_who_waits_for_room_is_told(store: Store) -> None:
    told: list[int] = []
    janitor = Janitor(store, "me", 10, on_settled=lambda: told.append(1))
    await start(store, "elsewhere/1/1/x", expires_at_ms=FAR_MS)
    assert (await janitor.sweep(), told) == (0, [])
    for number in range(3):
        await start(store, f"elsewhere/1/2/{number}", expires_at_ms=1, name=f"lost_{number}")
    assert (await janitor.sweep(), told) == (3, [1])


# --- Limits in time ---


async def wait_too_long(store: Store, count: int) -> list[str]:
    """Ids of so many runs that have waited too long, the longest first."""
    names = [f"late_{number}" for number in range(count)]
    for number, name in enumerate(names):
        run = RunRecord(
            id=name, function="f", group="f", state=RunState.QUEUED, created_at_ms=1, start_by_ms=number + 2
        )
        await store.submit(run, EPOCH)
    return names


@asynccontextmanager
async def enforcing(store: Store, worker: str, faults: Collection[str] = ()) -> AsyncIterator[None]:
    """A process that keeps the limits, except that it fails to end some."""

    async def end(run_id: str, reason: str) -> None:
        if run_id in faults:
            raise StoreUnavailable("The disk is gone.") if run_id == min(faults) else ValueError(run_id)
        claimed = await store.seize(worker, run_id, waiting=True)
        if claimed is not None:
            await end_unexecuted(store, claimed, reason, Runs())

    task = asyncio.create_task(Janitor(store, worker, 10).enforce(end))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def all_ended(store: Store, names: Collection[str]) -> bool:
    return all([(await record(store, name)).state == "failed" for name in names])


async def test_however_many_wait_too_long_one_look_ends_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = await wait_too_long(store, 3 * ENDED_AT_ONCE + 1)
    monkeypatch.setattr("penstock.janitor.LIMITS_S", 0.01)
    async with enforcing(store, "w"):
        await asyncio.sleep(0)  # now it waits for its first look; the second is far
        monkeypatch.setattr("penstock.janitor.LIMITS_S", 600)
        await until(lambda: all_ended(store, names))


async def test_one_that_can_not_be_ended_keeps_no_other_from_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("penstock.janitor.LIMITS_S", 0.01)
    names = await wait_too_long(store, 2 * ENDED_AT_ONCE)
    faults = {names[0], names[1], names[50]}
    async with enforcing(store, "w", faults):
        await until(lambda: all_ended(store, set(names) - faults))
    assert [(await record(store, name)).state for name in faults] == ["queued"] * 3
    assert "The disk is gone." in caplog.text, "and whoever looks after the server is told"


async def test_two_that_end_the_same_runs_do_not_keep_each_other_from_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.janitor.LIMITS_S", 0.01)
    names = await wait_too_long(store, 3 * ENDED_AT_ONCE)
    async with enforcing(store, "one"), enforcing(store, "two"):
        await until(lambda: all_ended(store, names))
    for name in names:
        assert isinstance(await last_event(store, name), End)
        stream = await store.stream(name)
        assert stream is not None
        assert (stream.tail, stream.ended) == (1, True)


async def test_a_running_app_sweeps_by_itself(make_bench: "type[Bench]") -> None:
    async with make_bench(lease_s=1) as bench:
        store = bench.services.store
        await start(store, "elsewhere/1/1/x", expires_at_ms=now_ms() + 300)
        begun = time.monotonic()
        with bench.services.hub.subscribe("run_1", 2) as reader:
            async with asyncio.timeout(30):
                while not reader.ended:
                    await reader.take()
                    await reader.news(1)
        assert time.monotonic() - begun > 0.2


def test_a_name_that_is_cut_inside_a_character() -> None:
    """The kernel keeps 15 bytes of a process's name: what is left of it need not be text."""
    code = "import ctypes; ctypes.CDLL(None).prctl(15, 'prozeß-überwachung'.encode(), 0, 0, 0); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        try:
            machine = worker_name().partition("/")[0]
            assert process_is_gone(f"{machine}/{process.pid}/1/x"), "another process has its number now"
        finally:
            process.kill()
