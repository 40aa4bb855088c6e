"""Lines that are full: who is refused, and when there is room again."""

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from penstock.errors import QueueFull
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench
    from tests.queue.conftest import Line, Stage


async def submit(bench: "Bench", function: str = "hold", *, key: str | None = None, **given: Any) -> str:
    run, _ = await bench.services.queue.submit(function, msgspec.json.encode(given), key=key)
    return run.id


async def is_full(bench: "Bench", function: str = "hold") -> bool:
    """Whether one more is refused. If not, it is taken back."""
    try:
        run_id = await submit(bench, function)
    except QueueFull as error:
        return error.retry_after_s >= 1 and error.hint != ""
    await bench.services.queue.cancel(run_id)
    return False


async def test_so_many_may_wait_and_whoever_leaves_makes_room(bench: "Bench", stage: "Stage") -> None:
    bench.app.function(concurrency_limit=2, max_size=3)(stage.hold)
    runs = [await submit(bench, who=who) for who in "abcde"]
    assert await is_full(bench), "two run, or are about to, and three wait"
    await stage.has("a", "b")
    assert await is_full(bench)
    await bench.services.queue.cancel(runs[3])
    assert not await is_full(bench)
    await submit(bench, who="f")
    assert await is_full(bench)
    stage.let_go("a")
    await stage.has("a", "b", "c")
    assert not await is_full(bench)


async def test_with_no_room_to_wait_a_run_is_taken_where_it_can_start(
    bench: "Bench", line: "Line", stage: "Stage"
) -> None:
    bench.app.function(concurrency_limit=1, max_size=0, stop_grace_s=0)(stage.block)
    first = await submit(bench, "block", who="a")
    assert await is_full(bench, "block")
    await stage.has("a")
    assert await is_full(bench, "block")
    await bench.services.queue.cancel(first)
    await until(lambda: bench.running == 0)
    assert await line.counts("block") == (0, 0, 1)
    assert await is_full(bench, "block"), "its thread goes on"
    stage.let_go("a")
    await until(lambda: not stage.on)
    await until(lambda: bench.services.worker._executor.threads == 0)
    await submit(bench, "block", who="b")
    await stage.has("a", "b")


@pytest.mark.parametrize(
    "options",
    [
        {"rate_limit": "1/h", "concurrency_limit": None},
        {"concurrency_key": "user", "concurrency_limit": None},
        {"concurrency_key": "user", "concurrency_limit": 5},
    ],
    ids=str,
)
async def test_the_bound_holds_whatever_it_is_that_runs_wait_for(
    options: Any, bench: "Bench", line: "Line", stage: "Stage"
) -> None:
    bench.app.function(max_size=2, **options)(stage.hold)
    await submit(bench, who="a")
    await stage.has("a")
    for who in "bc":
        await submit(bench, who=who)
    await line.looked_at()
    assert await line.counts("hold") == (2, 1, 0)
    assert await is_full(bench)


async def test_the_apps_bound_holds_where_a_function_does_not_say_and_the_lowest_in_a_group(
    store: str, make_bench: "type[Bench]", line_of: "type[Line]", stage: "Stage"
) -> None:
    async with make_bench(store=store, max_size=1) as bench:
        bench.app.function(name="apps")(stage.hold)
        bench.app.function(name="own", max_size=2)(stage.hold)
        for name, size in (("one", 3), ("other", 2)):
            bench.app.function(name=name, concurrency_id="gpu", max_size=size)(stage.hold)
        bench.app.function(name="free", concurrency_limit=None)(stage.hold)
        bench.app.function(name="beside", queue=False)(stage.hold)
        for name, waiting in ("apps", 1), ("own", 2), ("one", 2), ("free", 9), ("beside", 9):
            for _ in range(waiting + 1):
                await submit(bench, name, who=name)
        assert [name for name in bench.app.functions if await is_full(bench, name)] == [
            "apps",
            "own",
            "one",
            "other",
        ]
        sizes = [(await line_of(bench).group(name))["max_size"] for name in ("apps", "own", "gpu")]
        assert sizes == [1, 2, 2]


async def test_a_key_that_was_used_gives_its_run_though_the_line_is_full(
    bench: "Bench", stage: "Stage"
) -> None:
    bench.app.function(max_size=1)(stage.hold)
    await submit(bench, who="a")
    kept = await submit(bench, who="b", key="k")
    assert await is_full(bench)
    assert await submit(bench, who="b", key="k") == kept


async def test_when_to_come_back_is_told_from_how_long_runs_took(
    store: str, make_bench: "type[Bench]", stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    later = SimpleNamespace(time_ns=lambda: time.time_ns() + 90 * 10**9, monotonic=time.monotonic)
    monkeypatch.setattr("penstock.queue.standings.KNOWN_S", 0)
    async with make_bench(store=store, max_size=0) as bench:
        for name, limit in (("alone", 1), ("three", 3)):
            bench.app.function(name=name, concurrency_limit=limit)(stage.hold)
        with monkeypatch.context() as clock:
            clock.setattr("penstock.worker.journal.time", later)  # when they end
            stage.let_go("quick")
            for name in "alone", "three":
                await submit(bench, name, who="quick")
            await until(lambda: bench.running == 0 and len(stage.began) == 2)
        for name, runs, seconds in (("alone", 1, 90), ("three", 3, 30)):
            for _ in range(runs):
                await submit(bench, name, who=name)
            await until(lambda runs=runs, name=name: stage.on.count(name) == runs)  # type: ignore[misc]
            with pytest.raises(QueueFull) as caught:
                await submit(bench, name)
            assert isinstance(caught.value.retry_after_s, int)
            assert seconds <= caught.value.retry_after_s <= seconds + 2
