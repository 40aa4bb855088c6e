"""How many run at once: by function, by group, by app, by thread."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.errors import ConfigError
from penstock.events import Text
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench
    from tests.queue.conftest import Line, Stage


async def start_all(bench: "Bench", call: Any, names: str, **options: Any) -> dict[str, Any]:
    """One run for each letter."""
    return {who: await bench.start(call, {"who": who}, **options) for who in names}


# --- One function ---


@pytest.mark.parametrize("call", ["hold", "block"])
@pytest.mark.parametrize(("options", "limit"), [({}, 1), ({"concurrency_limit": 2}, 2)])
async def test_as_many_run_as_may_and_the_rest_follow_in_order(
    call: str, options: Any, limit: int, bench: "Bench", line: "Line", stage: "Stage"
) -> None:
    runs = await start_all(bench, getattr(stage, call), "abcde", **options)
    await stage.has(*"abcde"[:limit])
    await line.looked_at()
    assert await line.counts(call) == (5 - limit, limit, 0)
    for index, who in enumerate("abcde"):
        stage.let_go(who)
        assert (await runs[who].end()).result == who
        await stage.has(*"abcde"[: index + limit + 1])
        await line.looked_at()
    assert stage.began == list("abcde")
    assert stage.most == limit


async def test_without_a_limit_all_run_at_once(bench: "Bench", line: "Line", stage: "Stage") -> None:
    names = "abcdefghijklmnopqrstuvwxyz"
    runs = await start_all(bench, stage.hold, names, concurrency_limit=None)
    await stage.has(*names)
    group = await line.group("hold")
    assert (group["concurrency_limit"], group["running"], group["eta_s"]) == (None, 26, 0.0)
    stage.let_go()
    assert [(await run.end()).result for run in runs.values()] == list(names)


@pytest.mark.parametrize("default", [None, 3])
async def test_the_apps_limit_holds_where_a_function_does_not_say(
    default: int | None, store: str, make_bench: "type[Bench]", line_of: "type[Line]", stage: "Stage"
) -> None:
    async with make_bench(store=store, default_concurrency_limit=default) as bench:
        await start_all(bench, stage.hold, "abcde")
        await start_all(bench, stage.hold, "xy", name="one", concurrency_limit=1)
        await stage.has(*"abcde"[:default], "x")
        await line_of(bench).looked_at()
        assert (await line_of(bench).group("hold"))["concurrency_limit"] == default
        assert len(stage.began) == (default or 5) + 1


@pytest.mark.parametrize("default", ["none", "2", "default"])
async def test_the_apps_limit_comes_from_the_environment(
    default: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_DEFAULT_CONCURRENCY_LIMIT", default)
    if default == "default":
        with pytest.raises(ConfigError, match="PENSTOCK_DEFAULT_CONCURRENCY_LIMIT"):
            penstock.App(store="memory:")
    else:
        limit = penstock.App(store="memory:").settings.default_concurrency_limit
        assert limit == (None if default == "none" else 2)


async def test_what_is_cancelled_or_fails_gives_its_place_back(
    bench: "Bench", line: "Line", stage: "Stage"
) -> None:
    async def fail(who: str) -> None:
        raise ValueError(who)

    options = {"concurrency_id": "both", "concurrency_limit": 1}
    held = await bench.start(stage.hold, {"who": "a"}, **options)
    failing = await start_all(bench, fail, "xyz", **options)
    last = await bench.start(stage.hold, {"who": "b"})
    await stage.has("a")
    await held.cancel()
    assert {await run.outcome() for run in failing.values()} == {("failed", "exception")}
    await stage.has("a", "b")
    stage.let_go("b")
    assert await last.outcome() == ("succeeded", "")
    await until(lambda: bench.running == 0)
    assert await line.counts("both") == (0, 0, 0)


# --- Several functions ---


@pytest.mark.parametrize(("one", "other", "holds"), [(3, 2, 2), (2, 3, 2), (None, 2, 2), (2, 2, 2)])
async def test_the_lowest_limit_of_a_group_holds_and_a_conflict_is_told_at_the_start(
    one: int | None, other: int | None, holds: int, store: str, make_bench: "type[Bench]",
    line_of: "type[Line]", stage: "Stage", caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    bench = make_bench(store=store)
    for name, limit in (("one", one), ("other", other)):
        bench.app.function(name=name, concurrency_id="gpu", concurrency_limit=limit)(stage.hold)
    with caplog.at_level(logging.WARNING, "penstock"):
        async with bench:
            warned = [record.getMessage() for record in caplog.records if "several limits" in record.message]
            if one == other:
                assert warned == []
            else:
                (message,) = warned
                assert all(
                    word in message for word in ("gpu", f"one {one}", f"other {other}", f"{holds} holds")
                )
            for who, name in zip("abcdef", ["one", "other"] * 3, strict=True):
                await bench.start(stage.hold, {"who": who}, name=name)
            await stage.has("a", "b")
            await line_of(bench).looked_at()
            group = await line_of(bench).group("gpu")
            assert (group["concurrency_limit"], group["running"], group["waiting"]) == (holds, 2, 4)
            assert sorted(group["functions"]) == ["one", "other"]
            stage.let_go(*"abcdef")
            await stage.has(*"abcdef")
            assert (stage.began, stage.most) == (list("abcdef"), 2)


@pytest.mark.parametrize(("identifier", "is_told"), [(None, True), ("embed", False), ("other", False)])
async def test_a_function_named_like_anothers_group_is_told_of(
    identifier: str | None,
    is_told: bool,
    make_bench: "type[Bench]",
    stage: "Stage",
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = make_bench()
    bench.app.function(name="embed", concurrency_id=identifier)(stage.hold)
    bench.app.function(name="rerank", concurrency_id="embed")(stage.hold)
    with caplog.at_level(logging.WARNING, "penstock"):
        async with bench:
            told = [one.getMessage() for one in caplog.records if "concurrency_id" in one.getMessage()]
    assert [("'embed'" in one, "rerank" in one) for one in told] == [(True, True)] * is_told


async def test_a_limit_that_one_function_gives_holds_for_its_whole_group(
    bench: "Bench", line: "Line", stage: "Stage"
) -> None:
    """Where the other does not say, the app's default is not a limit that was given."""
    await bench.start(stage.hold, {"who": "a"}, name="says", concurrency_id="gpu", concurrency_limit=2)
    await bench.start(stage.hold, {"who": "b"}, name="silent", concurrency_id="gpu")
    await line.looked_at()
    assert (await line.group("gpu"))["concurrency_limit"] == 2
    await stage.has("a", "b")


async def test_groups_do_not_wait_for_each_other(bench: "Bench", line: "Line", stage: "Stage") -> None:
    await start_all(bench, stage.hold, "ab", name="one")
    await start_all(bench, stage.hold, "cd", name="other")
    await stage.has("a", "c")
    await line.looked_at()
    assert sorted(stage.began) == ["a", "c"]


async def test_tasks_and_threads_of_one_group_take_turns(
    bench: "Bench", line: "Line", stage: "Stage"
) -> None:
    for who in "abcdef":
        call = stage.hold if who in "ace" else stage.block
        await bench.start(call, {"who": who}, concurrency_id="both", concurrency_limit=1)
    for index, who in enumerate("abcdef"):
        await stage.has(*"abcdef"[: index + 1])
        stage.let_go(who)
    assert (stage.began, stage.most) == (list("abcdef"), 1)


# --- Threads ---


async def test_no_more_threads_than_may_and_tasks_go_on_beside_them(
    store: str, make_bench: "type[Bench]", line_of: "type[Line]", stage: "Stage"
) -> None:
    options = {"concurrency_id": "both", "concurrency_limit": None}
    async with make_bench(store=store, max_threads=2) as bench:
        threads = await start_all(bench, stage.block, "abcd", **options)
        tasks = await start_all(bench, stage.hold, "xyz", **options)
        await stage.has(*"abxyz")
        await line_of(bench).looked_at()
        assert sorted(stage.began) == list("abxyz"), "two threads; tasks are not held up by those that wait"
        stage.let_go("b")
        assert await threads["b"].outcome() == ("succeeded", "")
        await stage.has(*"abcxyz")
        stage.let_go()
        await stage.has(*"abcdxyz")
        stage.let_go()
        for run in (threads | tasks).values():
            assert await run.outcome() == ("succeeded", "")


async def test_threads_are_not_starved_by_tasks_that_keep_coming(
    store: str, make_bench: "type[Bench]", stage: "Stage"
) -> None:
    """The places that become free go to whoever waits longest."""
    options = {"concurrency_id": "both", "concurrency_limit": 2}
    async with make_bench(store=store, max_threads=1) as bench:
        for who in "aAxByC":  # capitals are threads; one of them has the only thread, until it is let go
            call = stage.block if who.isupper() else stage.hold
            await bench.start(call, {"who": who}, **options)
        await stage.has("a", "A")
        stage.let_go("a")
        await stage.has("a", "A", "x")
        stage.let_go("A")
        await stage.has("a", "A", "x", "B")
        stage.let_go("x")
        await stage.has("a", "A", "x", "B", "y")
        stage.let_go("B", "y")
        await stage.has("a", "A", "x", "B", "y", "C")


# --- Outside the line ---


async def test_without_a_queue_it_runs_at_once_beside_a_full_line(
    store: str, make_bench: "type[Bench]", line_of: "type[Line]", stage: "Stage"
) -> None:
    async def at_once(who: str) -> AsyncIterator[str]:
        stage.began.append(who)
        yield "stored "
        while "go" not in stage.began:
            await asyncio.sleep(0.002)
        yield "and streamed"

    async with make_bench(store=store, max_size=1) as bench:
        await start_all(bench, stage.hold, "ab", name="full")
        runs = await start_all(bench, at_once, "stuvwxyz", queue=False)
        await stage.has("a", *"stuvwxyz")
        await runs["s"].see(lambda fold: fold.text == "stored ")
        (piece,) = await bench.services.store.read(runs["s"].id, 0, 1)
        assert b"stored" in piece.data
        assert await line_of(bench).counts("full") == (1, 1, 0)
        stage.began.append("go")
        for run in runs.values():
            events = [event for event in await run.events() if isinstance(event, Text)]
            assert "".join(event.text for event in events) == "stored and streamed"


@pytest.mark.parametrize(
    "said",
    [
        {"concurrency_limit": 1},
        {"concurrency_id": "gpu"},
        {"concurrency_key": "session"},
        {"max_size": 0},
        {"max_size": 5},
        {"rate_limit": "1/s"},
        {"queue_timeout_s": 1},
        {"batch": True},
    ],
    ids=str,
)
def test_what_is_said_of_a_line_can_not_hold_without_one(said: Any) -> None:
    app = penstock.App(store="memory:")
    with pytest.raises(ConfigError, match="queue=False") as caught:
        app.function(name="function", queue=False, **said)(lambda: None)
    assert caught.value.hint
    assert app.functions == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency_limit", 0),
        ("concurrency_limit", -1),
        ("concurrency_limit", "many"),
        ("concurrency_limit", 1.5),
        ("concurrency_key_limit", 0),
        ("max_size", -1),
        ("max_batch_size", 0),
        ("rate_limit", "0/s"),
        ("rate_limit", "often"),
        ("rate_limit", "1/week"),
        ("rate_limit", "9999999999999999999999/s"),
        ("priority", 1.5),
        ("priority", True),
        ("on_repeat", "ignore"),
        ("on_abandon", "stop"),
        ("on_crash", "again"),
        ("time_limit_s", 0),
        ("queue_timeout_s", -1),
        ("queue_timeout_s", float("inf")),
        ("queue_timeout_s", 1e18),
        ("stall_timeout_s", 0),
        ("abandon_grace_s", 0.5),
        ("abandon_grace_s", 1e18),
        ("retries", -1),
        ("concurrency_key", 3),
        ("concurrency_key", "nobody"),
    ],
)
def test_an_option_that_can_not_be_used_is_named(name: str, value: object) -> None:
    app = penstock.App(store="memory:")

    def function(user: str) -> None:
        """Takes a user."""

    options: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError) as caught:
        app.function(**options)(function)
    assert name in caught.value.message
    assert caught.value.hint
    assert app.functions == {}
