"""Checkpoints: another attempt goes on from the last one, and what readers hold is exact."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.events import AnyEvent, Log, Reset, SpanEnd, SpanStart, Text
from penstock.protocol.coalesce import Fold, coalesce

if TYPE_CHECKING:
    from tests.conftest import Bench, Started

pytestmark = pytest.mark.usefixtures("at_once")

GENERATORS = ["async_generator", "generator"]
WELL = ("succeeded", "")


@pytest.fixture
def bench(either: "Bench") -> "Bench":
    """A bench over each store."""
    return either


def of_kind(kind: str, steps: Callable[[penstock.Run], Iterator[Any]]) -> Callable[..., Any]:
    """A generator of that kind that yields what `steps` does."""

    async def async_generator(run: penstock.Run) -> AsyncIterator[Any]:
        for item in steps(run):
            yield item
            await asyncio.sleep(0)

    def generator(run: penstock.Run) -> Iterator[Any]:
        yield from steps(run)

    made: Callable[..., Any] = locals()[kind]
    return made


async def folds(run: "Started") -> Fold:
    """The state of a run that has ended, which is the same however its events were merged on their way."""
    events = await run.events()
    seqs = [(event.seq - event.n, event.seq) for event in events]
    assert [before for before, _ in seqs] == [0, *(seq for _, seq in seqs[:-1])], "without a gap"
    whole = Fold()
    for event in coalesce(events):
        whole.apply(event)
    singly = await run.fold()
    assert (whole.text, whole.values, whole.data) == (singly.text, singly.values, singly.data)
    for place in range(0, len(events), max(1, len(events) // 7)):
        rejoined = Fold()
        for event in [*coalesce(events[:place]), *coalesce(events[place:])]:
            rejoined.apply(event)
        assert rejoined.text == singly.text
    return singly


def resets(events: list[AnyEvent]) -> list[Reset]:
    return [event for event in events if isinstance(event, Reset)]


# --- Going on ---


@pytest.mark.parametrize("rate", [None, 0])
@pytest.mark.parametrize("kind", GENERATORS)
async def test_it_goes_on_from_the_last_checkpoint_in_the_middle_of_a_text(
    kind: str, rate: float | None, bench: "Bench"
) -> None:
    seen = []

    def steps(run: penstock.Run) -> Iterator[str]:
        seen.append((run.attempt, run.restored))
        for number in range(run.restored or 0, 6):
            yield f"{number} "
            if number in (1, 3):
                run.checkpoint(number + 1)
        if run.attempt < 3:
            raise ValueError("cut")

    run = await bench.start(of_kind(kind, steps), retries=2, rate=rate)
    assert (await folds(run)).text == "0 1 2 3 4 5 "
    assert seen == [(1, None), (2, 4), (3, 4)]
    events = await run.events()
    assert [(reset.to, "checkpoint" in reset.reason) for reset in resets(events)] == [(4, True)] * 2
    assert (await bench.services.queue.get(run.id)).checkpoint is None, "an ended run needs none"


@pytest.mark.parametrize("rate", [None, 1000, 0])
@pytest.mark.parametrize("kind", GENERATORS)
async def test_a_checkpoint_for_each_token(kind: str, rate: float | None, bench: "Bench") -> None:
    tokens = 600

    def steps(run: penstock.Run) -> Iterator[str]:
        for number in range(run.restored or 0, tokens):
            yield f"{number} "
            run.checkpoint(number + 1)
            if number == 150 * run.attempt:
                yield "to be withdrawn "
                raise ValueError("cut")

    run = await bench.start(of_kind(kind, steps), retries=9, rate=rate)
    assert (await folds(run)).text == "".join(f"{number} " for number in range(tokens))
    assert len(resets(await run.events())) == 3


@pytest.mark.parametrize("kind", ["coroutine", "function"])
@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("after", [0, 1])
async def test_with_nothing_written_before_or_after_it(
    kind: str, before: int, after: int, bench: "Bench"
) -> None:
    def body(run: penstock.Run) -> Any:
        if run.attempt == 1:
            for _ in range(before):
                run.log("before")
            run.checkpoint({"at": before})
            for _ in range(after):
                run.log("after")
            raise ValueError("cut")
        return run.restored

    async def coroutine(run: penstock.Run) -> Any:
        return body(run)

    def function(run: penstock.Run) -> Any:
        return body(run)

    run = await bench.start(locals()[kind], retries=1)
    *events, end = await run.events()
    assert [event.message for event in events if isinstance(event, Log)] == ["before"] * before + [
        "after"
    ] * after
    assert [reset.to for reset in resets(events)] == [before] * after, "no reset where nothing is withdrawn"
    assert (end.state, end.result) == ("succeeded", {"at": before})  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_one_without_any_event_in_any_attempt(kind: str, bench: "Bench") -> None:
    async def coroutine(run: penstock.Run) -> Any:
        return body(run)

    def function(run: penstock.Run) -> Any:
        return body(run)

    def body(run: penstock.Run) -> Any:
        for number in range(run.restored or 0, 5):
            run.checkpoint(number + 1)
            if number == run.attempt:
                raise ValueError("cut")
        return run.attempt

    run = await bench.start(locals()[kind], retries=9)
    (end,) = await run.events()
    assert (end.result, end.seq) == (5, 1)  # type: ignore[union-attr]


# --- Spans ---


@pytest.mark.parametrize("kind", GENERATORS)
async def test_spans_that_were_open_are_ended_and_their_text_stays(kind: str, bench: "Bench") -> None:
    def steps(run: penstock.Run) -> Iterator[str]:
        yield "outside "
        if run.attempt == 1:
            with run.span("done"), run.span("inner"):
                yield "ä "
            with run.span("outer"):
                yield "ö "
                with run.span("deep"):
                    yield "ü "
                    run.checkpoint(1)
                    yield "never "
                    raise ValueError("cut")
        elif run.attempt == 2:
            raise ValueError("cut again, before another checkpoint")
        with run.span("outer"):
            yield "ß "
        yield "end"

    def resumed(run: penstock.Run) -> Iterator[str]:
        parts = steps(run)
        if run.restored:
            next(parts)  # what stands outside was written
        yield from parts

    run = await bench.start(of_kind(kind, resumed), retries=2)
    fold = await folds(run)
    assert fold.text == "outside ä ö ü ß end"
    assert fold.text_of(None) == "outside end"
    begun = {event.span: event.name for event in fold.events if isinstance(event, SpanStart)}
    assert list(begun.values()) == ["done", "inner", "outer", "deep", "outer"]
    texts = {span: fold.text_of(span) for span in begun}
    assert list(texts.values()) == ["", "ä ", "ö ", "ü ", "ß "]
    ends = {event.span: event.error for event in fold.events if isinstance(event, SpanEnd)}
    assert ends.keys() == begun.keys(), "each is ended, once"
    assert [(error or {}).get("code") for error in (ends[span] for span in begun)] == [
        None, None, "interrupted", "interrupted", None,
    ]  # fmt: skip
    assert len([event for event in fold.events if isinstance(event, SpanEnd)]) == 5


async def test_a_span_that_was_begun_after_it_is_withdrawn_with_its_text(bench: "Bench") -> None:
    async def generator(run: penstock.Run) -> AsyncIterator[str]:
        if run.attempt == 1:
            yield "kept "
            run.checkpoint(1)
        with run.span("work") as span:
            yield f"attempt {run.attempt} "
            span.output = run.attempt
            if run.attempt < 3:
                raise ValueError("cut")

    fold = await folds(await bench.start(generator, retries=2))
    assert fold.text == "kept attempt 3 "
    (span,) = [event for event in fold.events if isinstance(event, SpanEnd)]
    assert (span.output, span.error) == (3, None)


# --- Whatever the program ---


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_is_cut_short_where_the_text_is_exact(seed: int, bench: "Bench") -> None:
    """Programs of texts, spans, logs, values and checkpoints, each with its own cuts."""
    chance = random.Random(seed)
    size = chance.choice([5, 40, 200])
    in_span = [chance.random() < 0.4 for _ in range(size)]
    saves = [chance.random() < 0.3 for _ in range(size)]
    cuts = sorted(chance.sample(range(size), 4))

    def step(run: penstock.Run, number: int) -> Iterator[Any]:
        yield f"{number}ü "
        if number % 3 == 0:
            run.log(str(number))
        if number % 5 == 0:
            yield {"value": number}
        if saves[number]:
            run.checkpoint(number + 1)
            yield f"{number}+ "
            run.checkpoint(number + 1)
        if run.attempt <= len(cuts) and number == cuts[run.attempt - 1]:
            yield "to be withdrawn "
            raise ValueError("cut")

    def steps(run: penstock.Run) -> Iterator[Any]:
        for number in range(run.restored or 0, size):
            if in_span[number]:
                with run.span(f"span {number}"):
                    yield from step(run, number)
            else:
                yield from step(run, number)

    options: Any = {"retries": 4, "rate": chance.choice([0, 1000, None])}
    run = await bench.start(of_kind(chance.choice(GENERATORS), steps), **options)
    fold = await folds(run)
    assert await run.outcome() == WELL
    assert fold.text == "".join(f"{n}ü {f'{n}+ ' if saves[n] else ''}" for n in range(size))
    assert fold.values == [{"value": number} for number in range(0, size, 5)]
    logs = [event.message for event in fold.events if isinstance(event, Log)]
    assert logs == [str(number) for number in range(0, size, 3)]
    begun = [event.span for event in fold.events if isinstance(event, SpanStart)]
    ended = [event.span for event in fold.events if isinstance(event, SpanEnd)]
    assert sorted(map(str, begun)) == sorted(map(str, ended))


# --- Shutdowns ---


@pytest.mark.parametrize("kind", GENERATORS)
async def test_after_a_shutdown_the_next_process_goes_on_from_it(
    kind: str, tmp_path: Path, make_bench: "type[Bench]"
) -> None:
    file = f"sqlite:///{tmp_path / 'shared.db'}"

    def steps(run: penstock.Run) -> Iterator[str]:
        start = run.restored or 0
        for number in range(start, 10):
            yield f"{number} "
            if number == 4 and run.attempt == 1:
                run.checkpoint(5)
                while True:
                    yield "never "
                    time.sleep(0.005)
        yield f"by attempt {run.attempt}"

    call = of_kind(kind, steps)
    async with make_bench(store=file) as bench:
        run = await bench.start(call, on_crash="retry")
        await run.see(lambda fold: "never" in fold.text)
        await bench.interrupt()
    async with make_bench(store=file) as bench:
        bench.app.function(on_crash="retry")(call)
        bench.services.worker.wake()
        run._bench = bench
        fold = await folds(run)
        assert fold.text == "".join(f"{number} " for number in range(10)) + "by attempt 2"
        assert len([event for event in await run.events() if isinstance(event, Text)]) >= 3


async def test_a_thread_may_speak_right_after_a_checkpoint_and_a_large_value(bench: "Bench") -> None:
    async def function(run: penstock.Run) -> AsyncIterator[Any]:
        yield "a"
        await asyncio.sleep(0.2)
        run.checkpoint(1)
        yield {"row": "x" * 100_000}
        await asyncio.to_thread(run.log, "from a thread")
        yield "end"

    assert (await (await bench.start(function)).fold()).text == "aend"
