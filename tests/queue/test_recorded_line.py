"""Lines that are kept elsewhere: who has which run, who is told, and what callers see of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from penstock.errors import InvalidInput, UnknownFunction
from penstock.events import MAX_EVENT_BYTES
from penstock.models import RunState
from penstock.storage.memory import MemoryStore
from penstock.testing import live_server, until

if TYPE_CHECKING:
    from tests.conftest import Api, Bench

GIVEN: dict[str, Any] = {"data": []}


class Keeper:
    """Keeps a line, as whoever executes its runs would."""

    def __init__(self, bench: "Bench") -> None:
        self.bench = bench
        self.left: list[tuple[str, str]] = []
        self.wakes = 0
        self.stop = bench.services.queue.recorded.listen(lambda *one: self.left.append(one), self._wake)

    def _wake(self) -> None:
        self.wakes += 1

    async def look(self, *functions: str) -> list[str]:
        found = await self.bench.services.queue.waiting_recorded(functions or ["predict"], 9)
        return [run.id for run in found]


async def take_in(bench: "Bench", *run_ids: str, **more: Any) -> None:
    for run_id in run_ids:
        await bench.services.queue.take_in("predict", GIVEN, run_id=run_id, **more)


@pytest.fixture
def keeper(bench: "Bench") -> Keeper:
    bench.app.recorded("predict")
    return Keeper(bench)


@pytest.fixture
async def two(tmp_path: Path, make_bench: "type[Bench]") -> AsyncIterator[list[Keeper]]:
    """Two processes' lines over one file."""
    store = f"sqlite:///{tmp_path / 'shared.db'}"
    async with make_bench(store=store) as one, make_bench(store=store) as other:
        for bench in (one, other):
            bench.app.recorded("predict")
        yield [Keeper(one), Keeper(other)]


def no_stop(reason: str) -> None:
    raise AssertionError(reason)


async def test_what_was_taken_in_is_in_a_line_already(bench: "Bench", keeper: Keeper) -> None:
    receipts = [await bench.services.queue.take_in("predict", GIVEN, run_id=name) for name in "abc"]
    assert [receipt.status["position"] for receipt in receipts] == [1, 2, 3]
    assert await keeper.look() == []


async def test_what_comes_through_the_api_waits_for_whoever_keeps_the_line(
    bench: "Bench", keeper: Keeper
) -> None:
    run, _ = await bench.services.queue.submit("predict", b'{"data": [1], "gradio": {"fn_index": 2}}')
    assert keeper.wakes == 1
    assert await keeper.look("another") == []
    assert await keeper.look() == [run.id]
    assert await keeper.look() == [], "it is told once"
    with pytest.raises(InvalidInput):
        await bench.services.queue.submit("predict", b'{"text": ""}')
    assert await bench.services.worker.record(run.id, no_stop) is not None


async def test_it_is_woken_now_and_then_all_the_same(keeper: Keeper) -> None:
    await until(lambda: keeper.wakes >= 2)
    keeper.stop()
    wakes = keeper.wakes
    keeper.bench.services.queue.recorded.wake()
    assert keeper.wakes == wakes


async def test_a_cancel_reaches_whoever_keeps_the_line(bench: "Bench", keeper: Keeper) -> None:
    def fails(*_: str) -> None:
        raise RuntimeError("a fault of its own")

    bench.services.queue.recorded.listen(fails, fails)
    await take_in(bench, "a", "b", "c")
    assert (await bench.services.queue.cancel("b"))[1] == "stopped"
    await bench.services.queue.stop_for("c", "abandoned")
    assert keeper.left == [("b", "cancelled"), ("c", "abandoned")]
    assert (await bench.services.queue.get("b")).state is RunState.CANCELLED
    await bench.services.worker.record("a", lambda _: None)
    await bench.services.queue.cancel("a")
    assert len(keeper.left) == 2, "what is recorded hears of it by itself"


async def test_a_cancel_in_another_process_reaches_it(two: list[Keeper]) -> None:
    one, other = two
    await take_in(one.bench, "a", "b")
    await other.bench.services.queue.cancel("a")
    await until(lambda: one.left == [("a", "cancelled")])
    assert other.left == []


async def test_a_run_is_in_one_processs_line(two: list[Keeper]) -> None:
    one, other = two
    await take_in(one.bench, "mine")
    assert await other.look() == []
    for number in range(6):
        await other.bench.services.queue.submit("predict", b'{"data": [%d]}' % number)
    await until(lambda: one.wakes > 0)
    found = await asyncio.gather(one.look(), other.look())
    assert len(found[0] + found[1]) == len({*found[0], *found[1]}) == 6


async def test_what_a_process_leaves_is_found_by_the_next(two: list[Keeper]) -> None:
    one, other = two
    await take_in(one.bench, "a", "b")
    one.bench.app.configure(grace_s=0)
    await one.bench.app.stop()
    assert await other.look() == ["a", "b"]
    assert await other.bench.services.worker.record("a", no_stop) is not None


async def test_a_run_that_another_started_is_out_of_the_line(two: list[Keeper]) -> None:
    one, other = two
    await take_in(one.bench, "a")
    recording = await other.bench.services.worker.record("a", no_stop)
    assert recording is not None
    assert await one.bench.services.worker.record("a", no_stop) is None
    recording.emit("it is here")
    await until(lambda: one.left == [("a", "fenced")])
    await recording.end(RunState.SUCCEEDED)


# Taking in


async def test_a_key_or_an_id_that_was_used_is_the_earlier_run(bench: "Bench", keeper: Keeper) -> None:
    await take_in(bench, "a", key="k", session="s")
    for given in ({"run_id": "b", "key": "k"}, {"run_id": "a"}, {"run_id": "a", "key": "k"}):
        run, status = await bench.services.queue.take_in("predict", {"data": [2]}, **given)
        assert (run.id, run.session, status["position"]) == ("a", "s", 1)
    assert await bench.services.store.run("b") is None
    assert bench.services.hub.known("b") is None
    await bench.services.queue.cancel("a")
    assert keeper.left == [("a", "cancelled")], "it was in this process's care all the time"


async def test_only_what_can_be_stored_is_taken_in(bench: "Bench", keeper: Keeper) -> None:
    take_in = bench.services.queue.take_in
    for given in (
        b"{",
        b"\xff",
        {"data": object()},
        {"data": "x" * MAX_EVENT_BYTES},
        b'"%b"' % (b"x" * MAX_EVENT_BYTES),
    ):
        with pytest.raises(InvalidInput):
            await take_in("predict", given, run_id="a")
    with pytest.raises(UnknownFunction):
        await take_in("nobody's", GIVEN, run_id="a")
    assert await bench.services.store.run("a") is None
    run, _ = await take_in("predict", b'{"data": [1.5]}', run_id="a")
    assert bytes(run.input) == b'{"data": [1.5]}'


async def test_a_first_reader_costs_the_store_nothing(
    make_bench: "type[Bench]", monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting(MemoryStore):
        """Counts what is asked."""

        asked = 0

        async def read(self, *given: Any) -> Any:
            self.asked += 1
            return await super().read(*given)

        async def stream(self, name: str) -> Any:
            self.asked += 1
            return await super().stream(name)

        async def standings(self, run_ids: Any) -> Any:
            self.asked += 1
            return await super().standings(run_ids)

    store = Counting()
    monkeypatch.setattr("penstock.app.make_store", lambda *_, **__: store)
    async with make_bench() as bench:
        bench.app.recorded("predict")
        await take_in(bench, "a")
        news = bench.services.follow("a")
        assert (await anext(news)).status == {"state": "queued", "position": 1, "eta_s": 0.0}
        recording = await bench.services.worker.record("a", no_stop)
        assert recording is not None
        assert ((await anext(news)).status or {})["state"] == "running", "at once"
        recording.emit("one")
        await recording.end(RunState.SUCCEEDED)
        events = [event async for told in news for event in told.events]
        assert [event.seq for event in events] == [1, 2]
        assert store.asked == 0


# Over HTTP


async def test_callers_see_them_as_any_others(bench: "Bench", keeper: Keeper, connect: "type[Api]") -> None:
    await take_in(bench, "a", "b", session="s")
    async with live_server(bench.app) as url, connect(url) as api:
        (function,) = (await api.get("/api/functions")).json()["functions"]
        assert function["input_schema"]["required"] == ["data"]
        assert [run["run_id"] for run in (await api.get("/api/runs")).json()["runs"]] == ["b", "a"]
        assert (await api.get("/api/runs/b")).json()["position"] == 2
        recording = await bench.services.worker.record("a", lambda _: None)
        assert recording is not None
        (group,) = (await api.get("/api/queue")).json()["groups"]
        assert (group["waiting"], group["running"], group["concurrency_limit"]) == (1, 1, 1)
        started = await api.submit("predict", data=[1])
        assert await keeper.look() == [started]
        recording.emit({"answer": 42})
        await recording.end(RunState.SUCCEEDED, result=[42])
        assert (await api.get("/api/runs/a")).json()["result"] == [42]
        messages = await api.messages("a")
        assert [msgspec.json.decode(one.data)["type"] for one in messages if one.event == "message"] == [
            "json",
            "end",
        ]
        assert (await api.post("/api/runs/b/cancel")).json()["cancel"] == "stopped"
        assert keeper.left == [("b", "cancelled")]
        scrape = await api.scrape()
        assert scrape("runs_submitted_total", function="predict") == 3
