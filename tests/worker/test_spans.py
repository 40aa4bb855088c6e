"""Spans: how they nest, in tasks and threads too, and what is said in them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.events import End, Log, SpanEnd, SpanStart, Text

if TYPE_CHECKING:
    from tests.conftest import Bench

GENERATORS = ["async_generator", "generator"]


def tree_of(events: list[Any]) -> dict[str, str | None]:
    """Each span's name with its parent's."""
    names = {event.span: event.name for event in events if isinstance(event, SpanStart)}
    return {
        event.name: names.get(event.parent) if event.parent else None
        for event in events
        if isinstance(event, SpanStart)
    }


@pytest.mark.parametrize("kind", ["coroutine", "async_generator", "function", "generator"])
async def test_spans_nest_and_hold_what_is_said_in_them(kind: str, bench: "Bench") -> None:
    def outer(run: penstock.Run) -> Iterator[str]:
        with run.span("outer", kind="tool", input={"q": 1}) as span:
            run.log("in outer")
            with run.span("inner"):
                run.log("in inner")
                yield "inner text"
            yield "outer text"
            span.output = [2]
        yield "outside"

    def generator(run: penstock.Run) -> Iterator[str]:
        yield from outer(run)

    async def async_generator(run: penstock.Run) -> AsyncIterator[str]:
        for piece in outer(run):
            yield piece
            await asyncio.sleep(0)

    def function(run: penstock.Run) -> None:
        list(outer(run))

    async def coroutine(run: penstock.Run) -> None:
        list(outer(run))

    events = await (await bench.start(locals()[kind])).events()
    start, inner = [event for event in events if isinstance(event, SpanStart)]
    assert (start.name, start.kind, start.parent, start.input) == ("outer", "tool", None, {"q": 1})
    assert (inner.name, inner.parent) == ("inner", start.span)
    assert {event.message: event.span for event in events if isinstance(event, Log)} == {
        "in outer": start.span,
        "in inner": inner.span,
    }
    ends = {event.span: event for event in events if isinstance(event, SpanEnd)}
    assert (ends[start.span].output, ends[start.span].error) == ([2], None)
    if kind in GENERATORS:
        texts = {event.text: (event.span, event.pos) for event in events if isinstance(event, Text)}
        assert texts == {
            "inner text": (inner.span, 0),
            "outer text": (start.span, 0),
            "outside": (None, 0),
        }


async def test_a_span_is_seen_before_it_ends(bench: "Bench") -> None:
    go = asyncio.Event()

    async def function(run: penstock.Run) -> None:
        with run.span("slow", input="x"):
            await go.wait()

    run = await bench.start(function)
    fold = await run.see(lambda fold: any(isinstance(event, SpanStart) for event in fold.events))
    assert not any(isinstance(event, SpanEnd) for event in fold.events)
    go.set()
    await run.end()


async def test_an_error_ends_the_span_and_goes_on(bench: "Bench") -> None:
    async def function(run: penstock.Run) -> None:
        with run.span("bad"):
            raise ValueError("\ud800 broke")

    events = await (await bench.start(function)).events()
    ended = next(event for event in events if isinstance(event, SpanEnd))
    assert ended.error == {"code": "exception", "message": "ValueError: \ufffd broke"}
    assert isinstance(end := events[-1], End)
    assert end.state == "failed"


async def test_tasks_of_one_run_each_stand_in_their_own_span(bench: "Bench") -> None:
    async def function(run: penstock.Run) -> None:
        async def work(name: str) -> None:
            with run.span(name):
                await asyncio.sleep(0)
                with run.span(f"{name}'s child"):
                    await asyncio.sleep(0)

        with run.span("all"):
            await asyncio.gather(*[work(f"task {number}") for number in range(3)])

    events = await (await bench.start(function)).events()
    expected: dict[str, str | None] = {"all": None}
    for number in range(3):
        expected |= {f"task {number}": "all", f"task {number}'s child": f"task {number}"}
    assert tree_of(events) == expected


async def test_threads_of_one_run_each_stand_in_their_own_span(bench: "Bench") -> None:
    async def function(run: penstock.Run) -> None:
        def work(name: str) -> None:
            with run.span(name):
                run.log(f"in {name}")

        with run.span("all"):
            await asyncio.gather(*[asyncio.to_thread(work, f"thread {number}") for number in range(3)])

    events = await (await bench.start(function)).events()
    assert tree_of(events) == {"all": None} | {f"thread {number}": "all" for number in range(3)}
    spans = {event.span: event.name for event in events if isinstance(event, SpanStart)}
    assert all(event.message == f"in {spans[event.span]}" for event in events if isinstance(event, Log))


async def test_a_run_inside_a_run_has_its_own_spans(bench: "Bench") -> None:
    """A function that submits another run stands in a span of its own; the other does not."""

    async def inner() -> AsyncIterator[str]:
        yield "text"

    started = []

    async def outer(run: penstock.Run) -> None:
        with run.span("outer"):
            started.append(await bench.start(inner))
            await started[0].end()

    await (await bench.start(outer)).end()
    text = next(event for event in await started[0].events() if isinstance(event, Text))
    assert text.span is None
