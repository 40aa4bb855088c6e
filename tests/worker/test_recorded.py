"""Runs that something else executes: written down as it goes, stopped, lost and given back like any other."""

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.errors import (
    BadYield,
    ConfigError,
    EventTooLarge,
    ServerClosing,
    StoreUnavailable,
    UnknownFunction,
)
from penstock.events import AnyEvent, End, Log, Progress, Replace, Reset
from penstock.models import Claimed, RunRecord, RunState
from penstock.protocol.sse import events_in
from penstock.services import Host
from penstock.storage.memory import MemoryStore
from penstock.testing import until
from penstock.worker import Recording
from penstock.worker.recorder import FLUSH_BYTES

if TYPE_CHECKING:
    from tests.conftest import Bench

GIVEN = {"data": [1], "gradio": {"fn_index": 0}}


def no_stop(reason: str) -> None:
    raise AssertionError(f"it was asked to stop: {reason}")


async def taken_in(bench: "Bench", run_id: str = "run1", function: str = "predict", **more: Any) -> RunRecord:
    """A run that waits for something else."""
    if function not in bench.app.functions:
        bench.app.recorded(function, **more)
    run, _ = await bench.services.queue.take_in(function, GIVEN, run_id=run_id, session="s")
    return run


async def begun(
    bench: "Bench", run_id: str = "run1", stops: list[str] | None = None, **more: Any
) -> Recording:
    """A run under way elsewhere."""
    await taken_in(bench, run_id, **more)
    recording = await bench.services.worker.record(run_id, no_stop if stops is None else stops.append)
    assert recording is not None
    return recording


async def stored(bench: "Bench", count: int) -> None:
    """So many events have been stored."""

    async def look() -> bool:
        return len(await events_of(bench)) == count

    await until(look)


async def events_of(bench: "Bench", run_id: str = "run1") -> list[AnyEvent]:
    chunks = await bench.services.store.read(run_id, 0, 1 << 30)
    return [event for chunk in chunks for event in events_in(chunk.data)]


async def run_of(bench: "Bench", run_id: str = "run1") -> RunRecord:
    return await bench.services.queue.get(run_id)


async def test_what_is_said_of_a_run_is_kept(either: "Bench") -> None:
    run = await taken_in(either)
    assert (run.id, run.state, run.session, bytes(run.input)) == (
        "run1",
        RunState.QUEUED,
        "s",
        b'{"data":[1],"gradio":{"fn_index":0}}',
    )
    recording = await begun(either)
    assert (recording.run.state, recording.run.attempt) == (RunState.RUNNING, 1)
    recording.emit(penstock.Replace({"data": ["a" * 100]}))
    recording.emit(penstock.Replace({"data": ["a" * 100 + "b"]}))
    recording.progress(1, 4, "steps", desc="warming up")
    recording.log("careful", "warning", title="Mind", duration=10)
    assert await recording.end(RunState.SUCCEEDED, result=["ab"])
    key, delta, progress, said, end = await events_of(either)
    assert isinstance(key, Replace)
    assert isinstance(delta, Replace)
    assert (key.value, delta.delta) == ({"data": ["a" * 100]}, [["append", ["data", 0], "b"]])
    assert isinstance(progress, Progress)
    assert (progress.done, progress.total, progress.unit) == (1, 4, "steps")
    assert progress.fields == {"desc": "warming up"}
    assert isinstance(said, Log)
    assert (said.level, said.fields) == ("warning", {"title": "Mind", "duration": 10})
    assert isinstance(end, End)
    assert (end.state, end.result) == ("succeeded", ["ab"])
    ended = await run_of(either)
    assert (ended.state, ended.error) == (RunState.SUCCEEDED, None)
    assert (await either.services.store.paces())["predict"].runs == 1
    await until(lambda: either.running == 0)


async def test_the_last_event_goes_with_the_end(either: "Bench") -> None:
    recording = await begun(either)
    recording.emit("first")
    await stored(either, 1)
    recording.emit({"last": True})
    await recording.room()
    await recording.end(RunState.FAILED, error={"message": "No."})
    chunks = await either.services.store.read("run1", 0, 1 << 30)
    assert [(chunk.first_seq, chunk.last_seq) for chunk in chunks] == [(1, 1), (2, 3)]
    assert (await run_of(either)).error == {"code": "exception", "message": "No.", "hint": ""}


async def test_it_is_never_claimed(either: "Bench") -> None:
    either.app.recorded("predict", concurrency_limit=None)
    run, status = await either.services.queue.submit("predict", b'{"data": []}')
    assert status["position"] == 1

    async def hello() -> str:
        return "hello"

    executed = await either.start(hello, concurrency_id="predict")
    assert await executed.outcome() == ("succeeded", ""), (
        "though the worker has looked, and their group is one"
    )
    assert (await run_of(either, run.id)).state is RunState.QUEUED
    assert [tally.waiting for tally in await either.services.store.tallies()] == [1]


async def test_what_can_not_be_stored_is_refused_and_the_run_goes_on(either: "Bench") -> None:
    recording = await begun(either)
    with pytest.raises(BadYield):
        recording.emit(object())
    with pytest.raises(EventTooLarge):
        recording.log("x" * (17 << 20))
    with pytest.raises(BadYield):
        recording.progress(float("nan"))
    with pytest.raises(BadYield):
        await recording.end(RunState.SUCCEEDED, result=object())
    with pytest.raises(ValueError, match="can't end as running"):
        await recording.end(RunState.RUNNING)
    assert not recording.over
    assert await recording.end(RunState.CANCELLED)
    assert (await run_of(either)).state is RunState.CANCELLED
    assert len(await events_of(either)) == 1


async def test_what_is_said_after_the_end_is_dropped(either: "Bench") -> None:
    recording = await begun(either)
    assert await recording.end(RunState.SUCCEEDED)
    assert recording.over
    recording.emit("late")
    recording.log("late")
    recording.progress(1)
    await recording.room()
    assert await recording.end(RunState.FAILED), "it only waits"
    assert [type(event) for event in await events_of(either)] == [End]
    assert (await run_of(either)).state is RunState.SUCCEEDED


async def test_whoever_says_much_waits_for_the_store(either: "Bench") -> None:
    recording = await begun(either)
    for number in range(200):
        recording.emit({"number": number, "padding": "x" * 10_000})
        await recording.room()
        assert recording._recorder._pending_bytes < FLUSH_BYTES, (
            "there is room, or what was waiting was taken"
        )
    await recording.end(RunState.SUCCEEDED)
    assert len(await events_of(either)) == 201


async def test_a_run_that_waits_no_more_is_not_recorded(either: "Bench") -> None:
    await taken_in(either)
    _, receipt = await either.services.queue.cancel("run1")
    assert receipt == "stopped"
    record = either.services.worker.record
    assert await record("run1", no_stop) is None
    assert await record("nobody's", no_stop) is None
    await begun(either, "run2")
    assert await record("run2", no_stop) is None, "it is being recorded"


async def test_a_function_that_is_gone_gives_its_run_back(either: "Bench") -> None:
    await taken_in(either)
    del either.app.functions["predict"]
    with pytest.raises(UnknownFunction):
        await either.services.worker.record("run1", no_stop)
    assert (await run_of(either)).state is RunState.QUEUED


# Stops


async def test_a_stop_reaches_whoever_executes_it(either: "Bench") -> None:
    stops: list[str] = []
    recording = await begun(either, stops=stops)
    recording.emit("one")
    await until(lambda: either.running == 1)
    _, receipt = await either.services.queue.cancel("run1")
    await until(lambda: stops == ["cancelled"])
    assert receipt == "acknowledged"
    recording.emit("its last words")
    assert await recording.end(RunState.SUCCEEDED)
    assert (await run_of(either)).state is RunState.CANCELLED, "it was stopped, whatever came of it"
    assert len(await events_of(either)) == 3
    await until(lambda: either.running == 0)
    assert stops == ["cancelled"], "it is said once"


async def test_a_stop_that_nobody_heeds_ends_the_run_all_the_same(
    either: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.worker.active.STOP_GRACE_S", 0.05)

    def fails(reason: str) -> None:
        raise RuntimeError(reason)

    await taken_in(either)
    recording = await either.services.worker.record("run1", fails)
    assert recording is not None
    await either.services.queue.cancel("run1", "abandoned")
    await until(lambda: either.running == 0)
    assert recording.over
    run = await run_of(either)
    assert (run.state, (run.error or {})["code"]) == (RunState.CANCELLED, "abandoned")
    assert [tally.held for tally in await either.services.store.tallies()] == [], "no place is held for it"
    assert await recording.end(RunState.SUCCEEDED), "it only hears that it was stored"


async def test_a_stop_comes_from_another_process(tmp_path: Path, make_bench: "type[Bench]") -> None:
    store = f"sqlite:///{tmp_path / 'shared.db'}"
    async with make_bench(store=store) as one, make_bench(store=store) as other:
        stops: list[str] = []
        recording = await begun(one, stops=stops)
        _, receipt = await other.services.queue.cancel("run1")
        assert receipt == "requested"
        await until(lambda: stops == ["cancelled"])
        assert await recording.end(RunState.FAILED)
        assert (await run_of(other)).state is RunState.CANCELLED


async def test_a_lost_lease_is_said_and_nothing_more_is_written(either: "Bench") -> None:
    stops: list[str] = []
    recording = await begun(either, stops=stops)
    recording.emit("mine")
    await stored(either, 1)
    name = either.services.worker.name
    assert await either.services.store.seize(name, "run1") is not None
    recording.emit("no longer mine")
    await until(lambda: stops == ["fenced"])
    assert not await recording.end(RunState.SUCCEEDED)
    assert (await run_of(either)).state is RunState.RUNNING, "whoever has it now ends it"
    assert len(await events_of(either)) == 1
    await until(lambda: either.running == 0)


# Leaving, and coming back


@pytest.mark.parametrize(("on_crash", "state"), [("fail", RunState.INTERRUPTED), ("retry", RunState.QUEUED)])
async def test_what_is_open_when_the_app_leaves_is_interrupted_or_given_back(
    on_crash: str, state: RunState, tmp_path: Path, make_bench: "type[Bench]"
) -> None:
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    stops: list[str] = []
    async with make_bench(store=store) as bench:
        recording = await begun(bench, stops=stops, on_crash=on_crash)
        await taken_in(bench, "waits")
        recording.emit("so far")
        bench.app.configure(grace_s=1)
        await bench.app.stop()
    assert stops == ["shutdown"]
    assert await recording.end(RunState.SUCCEEDED)
    async with make_bench(store=store) as bench:
        bench.app.recorded("predict", on_crash="retry")
        run = await run_of(bench)
        assert (run.state, run.losses) == (state, 0)
        found = await bench.services.queue.waiting_recorded(["predict"], 9)
        assert [one.id for one in found] == (["waits"] if state.ended else ["run1", "waits"])
        if state is RunState.INTERRUPTED:
            assert (run.error or {})["code"] == "shutdown"
            return
        again = await bench.services.worker.record("run1", no_stop)
        assert again is not None
        assert again.run.attempt == 2
        again.emit("again")
        await again.end(RunState.SUCCEEDED)
        first, reset, second, _ = await events_of(bench)
        assert isinstance(reset, Reset)
        assert (reset.to, first.seq, second.seq) == (0, 1, 3)


async def test_an_end_is_not_waited_for_in_vain(either: "Bench") -> None:
    stops: list[str] = []
    recording = await begun(either, stops=stops)
    either.app.configure(grace_s=0)
    ending = asyncio.create_task(recording.end(RunState.SUCCEEDED))
    await either.app.stop()
    await asyncio.wait_for(ending, 10)
    other = recording.end(RunState.SUCCEEDED)
    assert await asyncio.wait_for(other, 10) == ending.result(), "stored or not, it is said"


async def test_an_app_that_leaves_begins_and_takes_in_no_more(either: "Bench") -> None:
    await taken_in(either)
    await either.app.drain()
    assert await either.services.worker.record("run1", no_stop) is None
    assert (await run_of(either)).state is RunState.QUEUED, "the next process has it executed"
    await either.services.store.leave(either.services.worker.name)
    assert await either.services.queue.waiting_recorded(["predict"], 9) == []
    with pytest.raises(ServerClosing):
        await taken_in(either, "run2")
    assert await either.services.store.run("run2") is None


class SlowStore(MemoryStore):
    """A store whose starts may take their time, or lose their answers."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.asked = asyncio.Event(), asyncio.Event()
        self.go.set()
        self.lost_answers = 0
        self.looks = 0

    async def start(self, worker: str, run_id: str, now_ms: int) -> Claimed | None:
        started = await super().start(worker, run_id, now_ms)
        self.asked.set()
        await self.go.wait()
        if self.lost_answers:
            self.lost_answers -= 1
            raise StoreUnavailable("An I/O error after the commit.")
        return started

    async def held(self, worker: str) -> dict[str, int]:
        self.looks += 1
        return await super().held(worker)


@pytest.fixture
async def slow(monkeypatch: pytest.MonkeyPatch) -> SlowStore:
    store = SlowStore()
    monkeypatch.setattr("penstock.app.make_store", lambda *_, **__: store)
    monkeypatch.setattr("penstock.worker.worker.LOOK_S", 0.05)
    return store


@pytest.fixture
async def bench(slow: SlowStore, make_bench: "type[Bench]") -> AsyncIterator["Bench"]:
    async with make_bench(lease_s=1) as bench:
        yield bench
        slow.go.set()


async def test_a_start_under_way_is_not_taken_for_a_stray(bench: "Bench", slow: SlowStore) -> None:
    await taken_in(bench)
    slow.go.clear()
    asking = asyncio.create_task(bench.services.worker.record("run1", no_stop))
    await slow.asked.wait()
    looks = slow.looks
    bench.services.worker._look_for_strays = True
    bench.services.worker.wake()
    await until(lambda: not bench.services.worker._starting._open.is_set(), what="a look waits for the start")
    assert slow.looks == looks
    slow.go.set()
    recording = await asking
    assert recording is not None
    await until(lambda: slow.looks > looks)
    recording.emit("still mine")
    assert await recording.end(RunState.SUCCEEDED)


async def test_a_start_whose_answer_was_lost_is_given_back(bench: "Bench", slow: SlowStore) -> None:
    await taken_in(bench)
    slow.lost_answers = 1
    with pytest.raises(StoreUnavailable):
        await bench.services.worker.record("run1", no_stop)
    assert (await run_of(bench)).state is RunState.RUNNING

    async def is_back() -> Collection[RunRecord]:
        return await bench.services.queue.waiting_recorded(["predict"], 9)

    assert [run.id for run in await until(is_back)] == ["run1"]


async def test_a_recording_is_nobodys_stray_however_long_it_takes(bench: "Bench", slow: SlowStore) -> None:
    recording = await begun(bench)
    looks = slow.looks
    await until(lambda: slow.looks > looks + 1)
    recording.emit("still mine")
    assert await recording.end(RunState.SUCCEEDED)


async def test_a_shutdown_in_the_moment_of_a_start_gives_the_run_back(
    bench: "Bench", slow: SlowStore
) -> None:
    await taken_in(bench)
    slow.go.clear()
    asking = asyncio.create_task(bench.services.worker.record("run1", no_stop))
    await slow.asked.wait()
    bench.services.worker.hold()
    slow.go.set()
    assert await asking is None
    assert (await run_of(bench)).state is RunState.QUEUED


# Functions


async def test_options_are_replaced_when_it_is_registered_again(either: "Bench") -> None:
    host: Host = either.app
    host.recorded("predict", concurrency_limit=2, description="Says what will be.")
    await taken_in(either)

    async def group(name: str) -> dict[str, Any]:
        groups = (await either.services.standings.overview())["groups"]
        return next(one for one in groups if one["group"] == name)

    assert (await group("predict"))["concurrency_limit"] == 2
    host.recorded("predict", concurrency_limit=3, concurrency_id="gpu")
    await either.services.store.regroup(either.services.worker.groups.of())
    gpu = await group("gpu")
    assert (gpu["concurrency_limit"], gpu["waiting"], gpu["functions"]) == (3, 1, ["predict"])


async def test_a_name_is_either_executed_or_recorded(either: "Bench") -> None:
    async def hello() -> None:
        """Says so."""

    either.app.function()(hello)
    with pytest.raises(ConfigError):
        either.app.recorded("hello")
    with pytest.raises(ConfigError):
        either.app.recorded("not a name")
    either.app.recorded("predict")
    with pytest.raises(ConfigError):
        either.app.function(name="predict")(hello)
