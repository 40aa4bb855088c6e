"""Who is next: keys that take turns, priority, rates."""

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from penstock.errors import InvalidInput
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench
    from tests.queue.conftest import Line, Stage


async def submit(bench: "Bench", function: str, session: str | None = None, **given: Any) -> str:
    run, _ = await bench.services.queue.submit(function, msgspec.json.encode(given), session=session)
    return run.id


async def ended(bench: "Bench") -> None:
    """Nothing waits and nothing runs any more."""

    async def look() -> bool:
        tallies = await bench.services.store.tallies()
        return not any(tally.waiting or tally.running for tally in tallies)

    await until(look)


async def a_tick() -> None:
    """What happens from here on bears a later time than what happened before."""
    now_ms = time.time_ns() // 1_000_000
    await until(lambda: time.time_ns() // 1_000_000 > now_ms)


# --- Keys ---


def of_user(given: Any) -> str:
    return str(given["user"])


def of_plan(given: Any) -> list[str]:
    return [given["user"]]


@pytest.mark.parametrize("key", ["user", of_user, of_plan])
async def test_one_key_has_one_place_however_many_are_free(
    key: Any, bench: "Bench", line: "Line", stage: "Stage"
) -> None:
    bench.app.function(concurrency_limit=4, concurrency_key=key)(stage.hold)
    for who, user in ("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("b2", "b"), ("c1", "c"):
        await submit(bench, "hold", who=who, user=user)
    await stage.has("a1", "b1", "c1")
    await line.looked_at()
    assert await line.counts("hold") == (3, 3, 0)
    stage.let_go("a1")
    await stage.has("a1", "b1", "c1", "a2")
    stage.let_go("a2", "a3", "b1", "b2", "c1")
    await ended(bench)
    assert [who for who in stage.began if who[0] == "a"] == ["a1", "a2", "a3"]


async def test_a_sessions_runs_share_a_place_and_so_do_those_without_one(
    bench: "Bench", line: "Line", stage: "Stage"
) -> None:
    bench.app.function(concurrency_limit=None, concurrency_key="session")(stage.hold)
    for who, session in ("a1", "a"), ("a2", "a"), ("b1", "b"), ("n1", None), ("n2", None):
        await submit(bench, "hold", session, who=who)
    await stage.has("a1", "b1", "n1")
    await line.looked_at()
    stage.let_go("n1")
    await stage.has("a1", "b1", "n1", "n2")
    await line.looked_at()
    assert "a2" not in stage.began


async def test_a_key_may_have_several_places(bench: "Bench", line: "Line", stage: "Stage") -> None:
    bench.app.function(concurrency_limit=3, concurrency_key="user", concurrency_key_limit=2)(stage.hold)
    for who in ("a1", "a2", "a3", "b1", "b2"):
        await submit(bench, "hold", who=who, user=who[0])
    await stage.has("a1", "a2", "b1")
    await line.looked_at()
    stage.let_go("b1")
    await stage.has("a1", "a2", "b1", "b2")
    stage.let_go("a1")
    await stage.has("a1", "a2", "b1", "b2", "a3")
    assert stage.most == 3


async def test_a_key_has_its_place_in_the_whole_group(bench: "Bench", line: "Line", stage: "Stage") -> None:
    for name in ("one", "other"):
        bench.app.function(name=name, concurrency_id="gpu", concurrency_limit=None, concurrency_key="user")(
            stage.hold
        )
    await submit(bench, "one", who="a1", user="a")
    await submit(bench, "other", who="a2", user="a")
    await submit(bench, "other", who="b1", user="b")
    await stage.has("a1", "b1")
    await line.looked_at()
    assert sorted(stage.began) == ["a1", "b1"]
    stage.let_go("a1")
    await stage.has("a1", "b1", "a2")


async def test_keys_take_turns_and_within_one_it_is_first_in_first_out(
    bench: "Bench", stage: "Stage"
) -> None:
    """Whoever comes with a hundred runs does not keep those waiting who come with one."""
    bench.app.function(concurrency_limit=1, concurrency_key="user")(stage.hold)
    await submit(bench, "hold", who="z1", user="z")
    await stage.has("z1")
    for who in ("a1", "a2", "a3", "a4", "b1", "c1", "b2", "c2"):
        await submit(bench, "hold", who=who, user=who[0])
    await a_tick()
    assert await stage.one_by_one(9) == ["z1", "a1", "b1", "c1", "a2", "b2", "c2", "a3", "a4"]


async def test_a_thread_that_will_not_stop_keeps_its_keys_place(
    bench: "Bench", line: "Line", stage: "Stage"
) -> None:
    bench.app.function(concurrency_limit=None, concurrency_key="user", stop_grace_s=0)(stage.block)
    first = await submit(bench, "block", who="a1", user="a")
    await submit(bench, "block", who="a2", user="a")
    await stage.has("a1")
    await bench.services.queue.cancel(first)
    await until(lambda: bench.running == 0)
    await submit(bench, "block", who="b1", user="b")
    await stage.has("a1", "b1")
    await line.looked_at()
    assert await line.counts("block") == (1, 1, 1)
    stage.let_go("a1")
    await stage.has("a1", "b1", "a2")


# --- Functions of the input that have no answer ---


class Shy:
    def __str__(self) -> str:
        raise RuntimeError("no")


async def test_a_key_function_that_raises_refuses_the_run(bench: "Bench", stage: "Stage") -> None:
    bench.app.function(concurrency_key=lambda given: given["team"])(stage.hold)
    with pytest.raises(InvalidInput, match=r"concurrency_key.*KeyError: 'team'") as caught:
        await submit(bench, "hold")
    assert caught.value.hint
    assert (await bench.services.queue.page()).runs == []


@pytest.mark.parametrize(
    ("option", "call"),
    [
        ("priority", lambda given: given["rank"]),
        ("priority", lambda given: None),
        ("priority", lambda given: "high"),
        ("priority", lambda given: float("nan")),
        ("priority", lambda given: float("inf")),
        ("concurrency_key", lambda given: Shy()),
    ],
)
async def test_an_answer_that_can_not_be_used_refuses_the_run_and_harms_no_other(
    option: str, call: Callable[[Any], Any], bench: "Bench", stage: "Stage"
) -> None:
    options: dict[str, Any] = {"name": "odd", option: call}
    bench.app.function(**options)(stage.hold)
    bench.app.function(stage.hold)
    stage.let_go("well")

    async def refused() -> str:
        with pytest.raises(InvalidInput, match=option):
            await submit(bench, "odd")
        return ""

    answers = await asyncio.gather(
        submit(bench, "hold", who="well"), refused(), submit(bench, "hold", who="well")
    )
    await ended(bench)
    assert len([answer for answer in answers if answer]) == 2
    assert stage.began == ["well", "well"]


@pytest.mark.parametrize("key", ["\ud800", "a\0b", "😀", "", "x" * 1_000_000])
async def test_a_key_may_be_any_text(key: str, bench: "Bench", stage: "Stage") -> None:
    bench.app.function(concurrency_limit=None, concurrency_key=lambda given: key)(stage.hold)
    await submit(bench, "hold", who="a")
    await submit(bench, "hold", who="b")
    assert await stage.one_by_one(2) == ["a", "b"]
    await ended(bench)
    assert stage.most == 1


# --- Priority ---


async def test_who_has_priority_goes_first(bench: "Bench", stage: "Stage") -> None:
    bench.app.function(name="plain", concurrency_id="gpu")(stage.hold)
    bench.app.function(name="urgent", concurrency_id="gpu", priority=1)(stage.hold)
    bench.app.function(
        name="asked", concurrency_id="gpu", priority=lambda given: {"low": -5, "high": 5}[given["user"]]
    )(stage.hold)
    await submit(bench, "plain", who="first")
    await stage.has("first")
    for who, function, user in [
        ("p1", "plain", ""), ("low", "asked", "low"), ("p2", "plain", ""), ("u1", "urgent", ""),
        ("high", "asked", "high"), ("u2", "urgent", ""),
    ]:  # fmt: skip
        await submit(bench, function, who=who, user=user)
    assert await stage.one_by_one(7) == ["first", "high", "u1", "u2", "p1", "p2", "low"]
    await ended(bench)


async def test_a_priority_beyond_all_others_harms_nobody(bench: "Bench", stage: "Stage") -> None:
    for name, priority in ("most", 10**30), ("some", 10), ("least", -(10**30)):
        bench.app.function(name=name, concurrency_id="gpu", priority=priority)(stage.hold)
    await submit(bench, "some", who="first")
    await stage.has("first")
    for name in ("least", "some", "most"):
        await submit(bench, name, who=name)
    assert await stage.one_by_one(4) == ["first", "most", "some", "least"]
    await ended(bench)


async def test_priority_is_worth_minutes_of_waiting_and_not_more(
    bench: "Bench", stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many come with priority, each run's turn comes."""
    now_ns = time.time_ns()
    clock = SimpleNamespace(time_ns=lambda: now_ns)
    monkeypatch.setattr("penstock.queue.queue.time", clock)
    bench.app.function(name="plain", concurrency_id="gpu")(stage.hold)
    bench.app.function(name="urgent", concurrency_id="gpu", priority=3)(stage.hold)
    for who, ago_s in ("first", 190), ("old", 181), ("young", 175):
        clock.time_ns = lambda ago_s=ago_s: now_ns - ago_s * 1_000_000_000
        await submit(bench, "plain", who=who)
        await stage.has("first")
    clock.time_ns = lambda: now_ns
    await submit(bench, "urgent", who="urgent")
    assert await stage.one_by_one(4) == ["first", "old", "urgent", "young"]
    await ended(bench)


async def test_a_clock_that_is_set_back_does_not_put_later_runs_first(
    bench: "Bench", stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = time.time_ns()
    clock = SimpleNamespace(time_ns=lambda: now_ns)
    monkeypatch.setattr("penstock.queue.queue.time", clock)
    bench.app.function(name="plain", concurrency_id="gpu")(stage.hold)
    await submit(bench, "plain", who="first")
    await stage.has("first")
    await submit(bench, "plain", who="second")
    clock.time_ns = lambda: now_ns - 3600 * 1_000_000_000
    await submit(bench, "plain", who="third")
    assert await stage.one_by_one(3) == ["first", "second", "third"]
    await ended(bench)


async def test_positions_know_of_priority_and_turns(bench: "Bench", stage: "Stage") -> None:
    bench.app.function(name="plain", concurrency_id="gpu")(stage.hold)
    bench.app.function(name="urgent", concurrency_id="gpu", priority=1)(stage.hold)
    bench.app.function(name="keyed", concurrency_limit=1, concurrency_key="user")(stage.hold)
    await submit(bench, "plain", who="first")
    await submit(bench, "keyed", who="second", user="a")
    await stage.has("first", "second")
    order = [await submit(bench, "plain"), await submit(bench, "plain"), await submit(bench, "urgent")]
    turns = [await submit(bench, "keyed", user=user) for user in "aaab"]

    async def positions(run_ids: list[str]) -> list[Any]:
        runs = [await bench.services.queue.get(run_id) for run_id in run_ids]
        found = await bench.services.standings.of(runs)
        return [found[run_id]["position"] for run_id in run_ids]

    assert (await positions(order))[2] == 1
    *of_a, of_b = await positions(turns)
    assert of_a[0] == 1
    assert of_b == 2, "three of the other's stand before it, of which one has its turn first"


# --- Rates ---


async def begin_times(bench: "Bench", runs: list[str]) -> list[int]:
    records = [await bench.services.queue.get(run_id) for run_id in runs]
    return sorted(record.started_at_ms or 0 for record in records)


async def test_no_more_start_in_any_period_than_the_rate_says(bench: "Bench") -> None:
    async def quick() -> None:
        return

    bench.app.function(concurrency_limit=None, rate_limit="3/s")(quick)
    runs = [await submit(bench, "quick") for _ in range(5)]
    await ended(bench)
    times = await begin_times(bench, runs)
    assert times[2] < times[3], "three begin at once"
    assert all(late - early >= 1000 for early, late in zip(times, times[3:], strict=False))


async def test_each_key_has_its_own_rate(bench: "Bench", line: "Line", stage: "Stage") -> None:
    bench.app.function(
        concurrency_limit=None, rate_limit="2/min", concurrency_key="user", concurrency_key_limit=9
    )(stage.hold)
    for who in ("a1", "a2", "a3", "b1"):
        await submit(bench, "hold", who=who, user=who[0])
    await stage.has("a1", "a2", "b1")
    stage.let_go()
    await until(lambda: bench.running == 0)
    await line.looked_at()
    assert await line.counts("hold") == (1, 0, 0)
    assert (await line.group("hold"))["rate_limits"] == {"hold": "2/min"}


async def test_who_waits_for_its_rate_holds_nobody_up(bench: "Bench", line: "Line", stage: "Stage") -> None:
    options: Any = {"concurrency_id": "gpu", "concurrency_limit": 1}
    bench.app.function(name="slow", rate_limit="1/h", **options)(stage.hold)
    bench.app.function(name="free", **options)(stage.hold)
    stage.let_go("s1", "s2", "f1", "f2")
    for function, who in ("slow", "s1"), ("slow", "s2"), ("free", "f1"), ("free", "f2"):
        await submit(bench, function, who=who)
    await stage.has("s1", "f1", "f2")
    await line.looked_at()
    assert stage.began == ["s1", "f1", "f2"]


async def test_a_rate_holds_over_a_restart_and_for_all_who_share_the_file(
    file: str, make_bench: "type[Bench]", line_of: "type[Line]", stage: "Stage"
) -> None:
    stage.let_go("a", "b", "c")
    for names in ["a"], ["a"]:
        async with make_bench(store=file) as one, make_bench(store=file) as other:
            for bench in (one, other):
                bench.app.function(rate_limit="1/min", concurrency_limit=None)(stage.hold)
                await submit(bench, "hold", who="a")
            await stage.has(*names)
            for bench in (one, other):
                await line_of(bench).looked_at()
            assert stage.began == names
