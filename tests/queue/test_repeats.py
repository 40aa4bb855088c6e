"""The same run again: by its key, and by what a session has going on."""

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from penstock.errors import AlreadyRunning
from penstock.models import RunState
from penstock.queue.queue import Receipt
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench
    from tests.queue.conftest import Line, Stage

TOGETHER = 20


async def submit(
    bench: "Bench", function: str = "hold", *, session: str | None = "s", key: str | None = None, **given: Any
) -> Receipt:
    return await bench.services.queue.submit(function, msgspec.json.encode(given), key=key, session=session)


async def outcome(bench: "Bench", receipt: Receipt) -> tuple[str, str]:
    """Its state and its error's code, once it has ended."""

    async def look() -> Any:
        run = await bench.services.queue.get(receipt.run.id)
        return run if run.state.ended else None

    run = await until(look, what=f"{receipt.run.id} ends")
    return run.state, (run.error or {}).get("code", "")


REPLACED = ("cancelled", "replaced")
WELL = ("succeeded", "")


# --- Keys ---


async def test_a_key_gives_its_run_at_every_stage_of_its_life(bench: "Bench", stage: "Stage") -> None:
    bench.app.function(on_repeat="interrupt")(stage.hold)
    bench.app.function(name="other")(stage.hold)
    await submit(bench, who="before", session="x")
    await stage.has("before")
    first = await submit(bench, who="a", key="k")
    queued = await submit(bench, who="b", key="k")
    assert (queued.run.id, queued.status["position"]) == (first.run.id, 1)
    stage.let_go("before")
    await stage.has("before", "a")
    running = await submit(bench, who="a", key="k")
    assert (running.run.id, running.run.state) == (first.run.id, RunState.RUNNING)
    assert (await submit(bench, "other", who="c", key="k")).run.id != first.run.id, "a function's own"
    stage.let_go("a")
    assert await outcome(bench, first) == WELL
    ended = await submit(bench, who="a", key="k")
    assert (ended.run.id, ended.run.state, ended.status["position"]) == (first.run.id, "succeeded", None)
    await stage.has("before", "a", "c")


@pytest.mark.parametrize("apps", [1, 2])
async def test_who_submits_a_key_together_gets_one_run(
    apps: int, file: str, make_bench: "type[Bench]", stage: "Stage"
) -> None:
    async with make_bench(store=file) as one, make_bench(store=file) as other:
        for bench in (one, other):
            bench.app.function(concurrency_limit=None)(stage.hold)
        benches = [one, other][:apps]
        found = await asyncio.gather(
            *[submit(bench, who="once", key="k") for bench in benches for _ in range(TOGETHER)]
        )
        assert len({receipt.run.id for receipt in found}) == 1
        stage.let_go("once")
        assert await outcome(one, found[0]) == WELL
        assert stage.began == ["once"]


# --- What a session has going on ---


@pytest.mark.parametrize("on_repeat", ["reject", "replace", "interrupt"])
async def test_others_are_left_alone(on_repeat: Any, bench: "Bench", stage: "Stage") -> None:
    """Runs of other sessions, of other functions, and those of no session."""
    for name in "one", "other":
        bench.app.function(name=name, concurrency_id="gpu", on_repeat=on_repeat)(stage.hold)
    runs = [
        await submit(bench, name, who=f"{name} {session}", session=session)
        for name, session in [("one", "s"), ("one", "t"), ("other", "s"), ("one", None), ("one", None)]
    ]
    await stage.one_by_one(5)
    assert [await outcome(bench, run) for run in runs] == [WELL] * 5
    assert await outcome(bench, await again(bench, stage)) == WELL, "the earlier one has ended"


async def again(bench: "Bench", stage: "Stage") -> Receipt:
    stage.let_go("again")
    return await submit(bench, "one", who="again")


async def test_without_being_told_repeats_wait_in_line(bench: "Bench", stage: "Stage") -> None:
    bench.app.function(stage.hold)
    runs = [await submit(bench, who=who) for who in "abc"]
    assert await stage.one_by_one(3) == list("abc")
    assert [await outcome(bench, run) for run in runs] == [WELL] * 3


async def test_reject_refuses_while_one_waits_or_runs(bench: "Bench", stage: "Stage") -> None:
    bench.app.function(on_repeat="reject")(stage.hold)
    await submit(bench, who="before", session="other")
    await stage.has("before")
    first = await submit(bench, who="a")
    for waits in (True, False):
        with pytest.raises(AlreadyRunning) as caught:
            await submit(bench, who="b")
        assert first.run.id in caught.value.message
        assert caught.value.field == "session"
        if waits:
            stage.let_go("before")
            await stage.has("before", "a")
    stage.let_go("a")
    assert await outcome(bench, first) == WELL
    stage.let_go("b")
    assert await outcome(bench, await submit(bench, who="b")) == WELL


async def test_replace_takes_the_place_of_those_that_wait(
    bench: "Bench", line: "Line", stage: "Stage"
) -> None:
    bench.app.function(on_repeat="replace")(stage.hold)
    runs = [await submit(bench, who=who) for who in "a"]
    await stage.has("a")
    runs += [await submit(bench, who=who) for who in "bcd"]
    assert await outcome(bench, runs[1]) == await outcome(bench, runs[2]) == REPLACED
    assert await line.counts("hold") == (1, 1, 0)
    stage.let_go()
    await stage.has("a", "d")
    stage.let_go()
    assert await outcome(bench, runs[0]) == await outcome(bench, runs[3]) == WELL


@pytest.mark.parametrize("call", ["hold", "block"])
async def test_interrupt_takes_the_place_of_the_one_that_runs_too(
    call: str, bench: "Bench", line: "Line", stage: "Stage"
) -> None:
    bench.app.function(on_repeat="interrupt", stop_grace_s=0)(getattr(stage, call))
    runs = [await submit(bench, call, who="a")]
    await stage.has("a")
    runs += [await submit(bench, call, who=who) for who in "bc"]
    assert await outcome(bench, runs[0]) == REPLACED
    if call == "block":
        await line.looked_at()
        assert await line.counts("block") == (1, 0, 1), "its thread goes on, and has its place"
        assert (await bench.services.queue.get(runs[2].run.id)).state == "queued"
        stage.let_go("a")
    stage.let_go("c")
    assert [await outcome(bench, run) for run in runs[1:]] == [REPLACED, WELL]
    assert stage.began in (["a", "c"], ["a", "b", "c"])


@pytest.mark.parametrize("on_repeat", ["reject", "interrupt"])
async def test_outside_the_line_too(on_repeat: Any, bench: "Bench", stage: "Stage") -> None:
    bench.app.function(on_repeat=on_repeat, queue=False)(stage.hold)
    first = await submit(bench, who="a")
    await stage.has("a")
    if on_repeat == "reject":
        with pytest.raises(AlreadyRunning):
            await submit(bench, who="b")
        stage.let_go("a")
        assert await outcome(bench, first) == WELL
    else:
        second = await submit(bench, who="b")
        assert await outcome(bench, first) == REPLACED
        stage.let_go("b")
        assert await outcome(bench, second) == WELL


async def test_the_answer_says_where_the_one_stands_that_took_anothers_place(
    bench: "Bench", stage: "Stage"
) -> None:
    bench.app.function(on_repeat="replace")(stage.hold)
    await submit(bench, who="a")
    await stage.has("a")
    for _ in range(3):
        receipt = await submit(bench, who="next")
        assert receipt.status["position"] == 1
        assert (await bench.services.standings.of([receipt.run]))[receipt.run.id]["position"] == 1


async def test_a_stop_by_a_person_keeps_its_own_reason(bench: "Bench", stage: "Stage") -> None:
    bench.app.function(on_repeat="interrupt", stop_grace_s=0)(stage.block)
    first = await submit(bench, "block", who="a")
    await stage.has("a")
    await bench.services.queue.cancel(first.run.id)
    second = await submit(bench, "block", who="b")
    assert await outcome(bench, first) == ("cancelled", "")
    stage.let_go("a", "b")
    assert await outcome(bench, second) == WELL


@pytest.mark.parametrize("apps", [1, 2])
@pytest.mark.parametrize("on_repeat", ["reject", "replace", "interrupt"])
async def test_who_submits_together(
    on_repeat: Any, apps: int, file: str, make_bench: "type[Bench]", stage: "Stage"
) -> None:
    """Whatever the order, at most one that waits is left, and nobody is forgotten."""
    async with make_bench(store=file) as one, make_bench(store=file) as other:
        benches = [one, other][:apps]
        for bench in benches:
            bench.app.function(on_repeat=on_repeat, concurrency_id="gpu")(stage.hold)
        answers = await asyncio.gather(
            *[
                submit(bench, who=f"{place} {number}")
                for place, bench in enumerate(benches)
                for number in range(TOGETHER)
            ],
            return_exceptions=True,
        )
        taken = [answer for answer in answers if isinstance(answer, Receipt)]
        refused = [answer for answer in answers if isinstance(answer, AlreadyRunning)]
        assert len(taken) + len(refused) == TOGETHER * apps
        assert len(taken) == (1 if on_repeat == "reject" else TOGETHER * apps)
        runs = [await one.services.queue.get(receipt.run.id) for receipt in taken]
        going_on = [run for run in runs if not run.cancel]
        assert len(going_on) == 1 or (on_repeat == "replace" and len(going_on) == 2)
        stage.let_go(*[msgspec.json.decode(run.input)["who"] for run in going_on])
        for receipt, run in zip(taken, runs, strict=True):
            assert await outcome(one, receipt) == (REPLACED if run.cancel else WELL)


async def test_interrupt_reaches_another_process_of_the_file(
    file: str, make_bench: "type[Bench]", stage: "Stage"
) -> None:
    async with make_bench(store=file) as one:
        one.app.function(on_repeat="interrupt")(stage.hold)
        first = await submit(one, who="a")
        await stage.has("a")
        async with make_bench(store=file) as other:
            other.app.function(on_repeat="interrupt")(stage.hold)
            second = await submit(other, who="b")
            assert await outcome(other, first) == REPLACED
            stage.let_go("b")
            assert await outcome(one, second) == WELL
