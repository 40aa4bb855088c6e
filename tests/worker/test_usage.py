"""What a step used, and how long it and its run took to their first output."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.errors import BadYield
from penstock.events import AnyEvent, Bytes, End, Json, Replace, SpanEnd, SpanStart, Text, decode, encode
from penstock.protocol.coalesce import Fold
from penstock.worker.firsts import Firsts

if TYPE_CHECKING:
    from tests.conftest import Bench


def end_of(events: list[Any], name: str) -> SpanEnd:
    (span,) = [event.span for event in events if isinstance(event, SpanStart) and event.name == name]
    (end,) = [event for event in events if isinstance(event, SpanEnd) and event.span == span]
    return end


HERE = Path(__file__).parent


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of what is run here, found as a user's would be."""
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("usage_functions")


PAUSE_S = 0.05
"""As in `usage_functions`."""

CALLED = {"input_tokens": 300, "output_tokens": 14, "cost": 0.2, "currency": "USD", "model": "m2"}


@pytest.mark.parametrize("isolation", [None, "process"])
@pytest.mark.parametrize("name", ["spend", "spend_in_thread"])
async def test_what_the_calls_of_a_step_used_is_added_up(
    name: str, isolation: Any, functions: ModuleType, bench: "Bench"
) -> None:
    run = await bench.start(getattr(functions, name), isolation=isolation)
    events = await run.events()
    assert end_of(events, "calls").usage == CALLED
    assert end_of(events, "free").usage == {"output_tokens": 3}
    assert end_of(events, "plain").usage is None
    folded = [event for event in (await run.fold()).events if isinstance(event, SpanEnd)]
    assert [event.usage for event in folded] == [CALLED, {"output_tokens": 3}, None], "a fold keeps it"


WRONG: list[dict[str, Any]] = [
    {"input_tokens": -1}, {"input_tokens": 1.5}, {"output_tokens": "7"}, {"output_tokens": True},
    {"output_tokens": 2**53 + 1}, {"cost": -0.1}, {"cost": float("nan")}, {"cost": float("inf")},
    {"cost": "free"}, {"cost": True}, {"currency": ""}, {"currency": 1}, {"model": "m" * 201}, {"model": b"m"},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=str)
async def test_what_is_no_usage_is_refused_by_name_and_adds_nothing(
    wrong: dict[str, Any], bench: "Bench"
) -> None:
    async def errs(run: penstock.Run) -> None:
        with run.span("step") as span:
            span.usage(input_tokens=1, output_tokens=1, cost=1, currency="EUR", model="m")
            given: dict[str, Any] = {"input_tokens": 5, "cost": 5, "model": "other"} | wrong
            with pytest.raises(BadYield) as caught:
                span.usage(**given)
            assert caught.value.field == next(iter(wrong))

    run = await bench.start(errs)
    end = end_of(await run.events(), "step")
    assert await run.outcome() == ("succeeded", "")
    assert end.usage == {"input_tokens": 1, "output_tokens": 1, "cost": 1.0, "currency": "EUR", "model": "m"}


async def test_a_span_has_one_currency_and_reports_before_its_end(bench: "Bench") -> None:
    async def errs(run: penstock.Run) -> None:
        with run.span("step") as span:
            span.usage(cost=1, currency="EUR")
            with pytest.raises(BadYield, match=r"'USD', and was 'EUR'"):
                span.usage(cost=1, currency="USD")
        with pytest.raises(BadYield, match="has ended"):
            span.usage(cost=1)

    run = await bench.start(errs)
    assert end_of(await run.events(), "step").usage == {"cost": 1.0, "currency": "EUR"}


async def test_an_error_about_usage_ends_the_run_and_names_the_field(bench: "Bench") -> None:
    async def errs(run: penstock.Run) -> None:
        with run.span("step") as span:
            span.usage(output_tokens=-1)

    end = await (await bench.start(errs)).end()
    assert (end.state, (end.error or {})["code"]) == ("failed", "bad_yield")
    assert "output_tokens" in (end.error or {})["message"]


@pytest.mark.parametrize("isolation", [None, "process"])
@pytest.mark.parametrize("name", ["speak_late", "speak_late_in_thread"])
async def test_ends_say_when_the_first_output_came(
    name: str, isolation: Any, functions: ModuleType, bench: "Bench"
) -> None:
    run = await bench.start(getattr(functions, name), isolation=isolation)
    events = await run.events()
    assert end_of(events, "silent").first_ms is None, "a log line is no output"
    inner, outer = end_of(events, "inner").first_ms, end_of(events, "outer").first_ms
    start = next(event.at_ms for event in events if isinstance(event, SpanStart))
    (row,) = [event for event in events if isinstance(event, Json)]
    assert inner is not None
    assert inner >= PAUSE_S * 1000 - 2
    assert outer == row.at_ms - start, "what is inside of an inner span is not directly in it"
    record = await bench.services.queue.get(run.id)
    first = next(event for event in events if isinstance(event, Text))
    assert isinstance(events[-1], End)
    assert events[-1].first_ms is not None
    assert inner <= events[-1].first_ms <= first.at_ms - (record.started_at_ms or 0)


async def test_a_run_without_output_has_no_first_one(bench: "Bench") -> None:
    async def mute(run: penstock.Run) -> int:
        with run.span("step"):
            run.progress(1, 2)
        return 7

    end = await (await bench.start(mute)).end()
    assert (end.result, end.first_ms) == (7, None)
    assert b"first_ms" not in encode(end)


async def test_another_attempt_counts_from_its_own_start(bench: "Bench") -> None:
    async def retries(run: penstock.Run) -> AsyncIterator[str]:
        if run.attempt == 1:
            yield "early"
            raise ValueError("once")
        await asyncio.sleep(PAUSE_S)
        yield "late"

    end = await (await bench.start(retries, retries=1)).end()
    assert end.first_ms is not None
    assert end.first_ms >= PAUSE_S * 1000 - 2


@pytest.mark.parametrize(
    "output", [Text(0, "x", span="s"), Json(1, span="s"), Replace(1, span="s"), Bytes(b"x", span="s")]
)
def test_every_kind_of_output_counts(output: AnyEvent) -> None:
    firsts, end = Firsts(1000), SpanEnd(span="s")
    for event, at_ms in ((SpanStart("step", span="s"), 1010), (output, 1030), (output, 1050), (end, 1060)):
        event.at_ms = at_ms
        firsts.see(event)
    assert (end.first_ms, firsts.run_ms) == (20, 30)
    assert decode(encode(end)) == end


def test_a_clock_that_was_set_back_gives_no_negative_time() -> None:
    firsts = Firsts(1000)
    firsts.see(SpanStart("step", span="s", at_ms=1010))
    firsts.spoke("s", 900)
    end = SpanEnd(span="s", at_ms=1020)
    firsts.see(end)
    assert (end.first_ms, firsts.run_ms) == (0, 0)


def test_a_fold_keeps_what_ends_say() -> None:
    fold = Fold()
    end = SpanEnd(span="s", seq=2, usage={"cost": 1.0}, first_ms=5)
    last = End("succeeded", seq=3, first_ms=9)
    for event in (SpanStart("step", span="s", seq=1), end, last):
        fold.apply(event)
    assert fold.events[1:] == [end, last]
