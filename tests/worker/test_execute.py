"""Functions of every kind, to every kind of end, on a real worker."""

import asyncio
import contextlib
import contextvars
import functools
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.events import End, Json, Log, SpanEnd, SpanStart, Text
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench

ALL_KINDS = ["coroutine", "async_generator", "function", "generator"]
GENERATORS = ["async_generator", "generator"]


class Abort(BaseException):
    """What no `except Exception` catches."""


def of_kind(kind: str, body: Callable[[], Any]) -> Callable[..., Any]:
    """A function of that kind which calls `body`."""

    async def coroutine() -> Any:
        return body()

    async def async_generator() -> AsyncIterator[Any]:
        yield body()

    def function() -> Any:
        return body()

    def generator() -> Iterator[Any]:
        yield body()

    made: Callable[..., Any] = locals()[kind]
    return made


class Witness:
    """Tells in which threads a generator ran and was closed, and holds it where the test wants it."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.closed: list[int] = []
        self.hold = threading.Event()

    async def async_generator(self) -> AsyncIterator[str]:
        self.began.append(threading.get_ident())
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            self.closed.append(threading.get_ident())

    def generator(self) -> Iterator[str]:
        self.began.append(threading.get_ident())
        try:
            yield "first"
            while True:
                self.hold.wait(0.01)
                yield "more"
        finally:
            self.closed.append(threading.get_ident())


# --- Ends ---


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_what_is_returned_or_yielded_is_kept(kind: str, bench: "Bench") -> None:
    run = await bench.start(of_kind(kind, lambda: {"a": [1]}))
    *before, end = await run.events()
    assert isinstance(end, End)
    assert (end.state, end.error) == ("succeeded", None)
    if kind in GENERATORS:
        assert [event.value for event in before if isinstance(event, Json)] == [{"a": [1]}]
        assert end.result is None
    else:
        assert (before, end.result) == ([], {"a": [1]})


async def test_a_generators_return_value_is_its_result(bench: "Bench") -> None:
    def function() -> Generator[str, None, int]:
        yield "x"
        return 7

    assert (await (await bench.start(function)).end()).result == 7


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("too much"), "ValueError: too much"),
        (KeyError(), "KeyError"),
        (SystemExit(3), "SystemExit: 3"),
        (Abort("now"), "Abort: now"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError("\ud800"), "ValueError: \ufffd"),
        (RuntimeError("n" * 100_000), None),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_is_raised_ends_the_run(
    kind: str, error: BaseException, message: str | None, bench: "Bench"
) -> None:
    def body() -> None:
        raise error

    end = await (await bench.start(of_kind(kind, body))).end()
    assert end.state == "failed"
    assert end.error is not None
    assert end.error["code"] == "exception"
    assert message is None or end.error["message"] == message
    # And nothing else is harmed.
    assert await (await bench.start(of_kind(kind, lambda: 1), name="next")).outcome() == ("succeeded", "")


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_an_error_that_can_not_be_shown(kind: str, bench: "Bench") -> None:
    class Shy(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    def body() -> None:
        raise Shy

    end = await (await bench.start(of_kind(kind, body))).end()
    assert (end.state, (end.error or {})["message"]) == ("failed", "Shy")


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_what_has_no_json_form_ends_the_run(kind: str, bench: "Bench") -> None:
    end = await (await bench.start(of_kind(kind, object))).end()
    assert (end.state, (end.error or {})["code"]) == ("failed", "bad_yield")
    assert "object" in (end.error or {})["message"]
    assert (end.error or {})["hint"]


async def test_stop_iteration_out_of_a_function(bench: "Bench") -> None:
    def function() -> None:
        next(iter(()))

    assert await (await bench.start(function)).outcome() == ("failed", "exception")


async def test_one_that_cancels_itself_has_failed(bench: "Bench") -> None:
    async def function() -> None:
        raise asyncio.CancelledError

    assert await (await bench.start(function)).outcome() == ("failed", "exception")


async def test_a_wrapped_and_a_partial_function_are_what_they_wrap(bench: "Bench") -> None:
    def plain(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapper(*args: Any, **more: Any) -> Any:
            return call(*args, **more)

        return wrapper

    @plain
    async def wrapped() -> AsyncIterator[str]:
        yield "text"

    async def add(a: int, b: int) -> int:
        return a + b

    class Twice:
        async def __call__(self, a: int) -> int:
            return a * 2

    assert (await (await bench.start(wrapped)).fold()).text == "text"
    part = await bench.start(functools.partial(add, b=5), {"a": 2}, name="part")
    assert (await part.end()).result == 7
    assert (await (await bench.start(Twice(), {"a": 2}, name="twice")).end()).result == 4


def plain(a: int) -> int:
    return a + 1


def texts(a: int) -> Iterator[str]:
    yield from "abc"[:a]


async def coroutine(a: int) -> int:
    return a + 2


class Wrappers:
    """`functools.wraps` says what is wrapped, not how the wrapper is called."""

    @functools.wraps(plain)
    async def coroutine_around_plain(*given: Any, **more: Any) -> int:
        await asyncio.sleep(0)
        return plain(*given, **more)

    @functools.wraps(texts)
    async def coroutine_around_generator(*given: Any, **more: Any) -> list[str]:
        return list(texts(*given, **more))

    @functools.wraps(plain)
    async def stream_around_plain(*given: Any, **more: Any) -> AsyncIterator[str]:
        yield str(plain(*given, **more))

    @functools.wraps(coroutine)
    def plain_around_coroutine(*given: Any, **more: Any) -> Any:
        return coroutine(*given, **more)

    @functools.wraps(texts)
    def plain_around_generator(*given: Any, **more: Any) -> Iterator[str]:
        return texts(*given, **more)


@pytest.mark.parametrize(
    ("name", "result", "text"),
    [
        ("coroutine_around_plain", 3, ""),
        ("coroutine_around_generator", ["a", "b"], ""),
        ("stream_around_plain", None, "3"),
        ("plain_around_coroutine", 4, ""),
        ("plain_around_generator", None, "ab"),
    ],
)
async def test_a_wrapper_is_called_as_what_it_is(name: str, result: Any, text: str, bench: "Bench") -> None:
    fold = await (await bench.start(getattr(Wrappers, name), {"a": 2}, name=name)).fold()
    assert fold.end is not None
    assert (fold.end.state, fold.end.result, fold.text) == ("succeeded", result, text)


# --- The generator is always closed, where it ran ---


@pytest.mark.parametrize("kind", GENERATORS)
async def test_cancel_closes_it_in_its_thread(kind: str, bench: "Bench") -> None:
    witness = Witness()
    run = await bench.start(getattr(witness, kind))
    await run.see(lambda fold: fold.text)
    assert await run.cancel() == "acknowledged"
    assert await run.outcome() == ("cancelled", "")
    assert witness.closed == witness.began
    assert (witness.began == [threading.get_ident()]) is (kind == "async_generator")


@pytest.mark.parametrize("kind", GENERATORS)
async def test_a_value_that_can_not_be_stored_closes_it(kind: str, bench: "Bench") -> None:
    closed: list[int] = []

    async def async_generator() -> AsyncIterator[object]:
        try:
            yield object()
            pytest.fail("went on")
        finally:
            closed.append(threading.get_ident())

    def generator() -> Iterator[object]:
        try:
            yield object()
            pytest.fail("went on")
        finally:
            closed.append(threading.get_ident())

    assert await (await bench.start(locals()[kind])).outcome() == ("failed", "bad_yield")
    assert len(closed) == 1
    assert (closed == [threading.get_ident()]) is (kind == "async_generator")


async def test_one_that_will_not_be_closed_ends_all_the_same(bench: "Bench") -> None:
    def generator() -> Iterator[str]:
        with contextlib.suppress(GeneratorExit):
            while True:
                time.sleep(0.001)
                yield "on"
        yield "and on"

    run = await bench.start(generator)
    await run.see(lambda fold: fold.text)
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    await until(lambda: bench.running == 0)


async def test_clean_up_may_still_write(bench: "Bench") -> None:
    def generator(run: penstock.Run) -> Iterator[str]:
        try:
            with run.span("work"):
                while True:
                    time.sleep(0.001)
                    yield "on"
        finally:
            run.log("tidied")

    run = await bench.start(generator)
    await run.see(lambda fold: fold.text)
    await run.cancel()
    events = await run.events()
    assert [type(event) for event in events[-3:]] == [SpanEnd, Log, End]
    assert isinstance(end := events[-3], SpanEnd)
    assert (end.error or {})["code"] == "stopped"


# --- Cancel ---


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_cancel_without_yields(kind: str, bench: "Bench") -> None:
    begun, stopped = threading.Event(), threading.Event()

    async def coroutine() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    def function(run: penstock.Run) -> None:
        begun.set()
        while not run.should_stop():
            time.sleep(0.005)
        stopped.set()

    run = await bench.start(locals()[kind])
    await until(begun.is_set)
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    assert stopped.is_set()


async def test_a_call_of_the_run_stops_a_thread(bench: "Bench") -> None:
    begun, seen = threading.Event(), list[BaseException]()

    def function(run: penstock.Run) -> None:
        try:
            while True:
                run.progress(1)
                begun.set()
                time.sleep(0.001)
        except BaseException as error:
            seen.append(error)
            raise

    run = await bench.start(function)
    await until(begun.is_set)
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    assert [isinstance(error, Exception) for error in seen] == [False], "code that survives errors must not"


async def test_a_swallowed_cancel_stops_a_generator_at_its_next_yield(bench: "Bench") -> None:
    closed = []

    async def stubborn() -> AsyncIterator[str]:
        try:
            while True:
                try:
                    yield "on"
                    await asyncio.sleep(0.001)
                except asyncio.CancelledError:
                    continue
        finally:
            closed.append(True)

    run = await bench.start(stubborn)
    await run.see(lambda fold: fold.text)
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    assert closed == [True]


async def test_a_blocked_thread_is_left_behind_but_keeps_its_slot(bench: "Bench") -> None:
    begun, release = threading.Event(), threading.Event()

    def blocks(run: penstock.Run, wait: bool = True) -> str:
        begun.set()
        if wait:
            release.wait(30)
            run.log("too late")
        return "done"

    run = await bench.start(blocks, concurrency_limit=1)
    await until(begun.is_set)
    bench.services.worker._executor.active[run.id].stop("cancelled", within_s=0.05)
    assert await run.outcome() == ("cancelled", "")
    events = len(await run.events())
    second = await bench.start(blocks, {"wait": False})
    await until(lambda: bench.running == 0)
    worker = bench.services.worker
    for _ in range(3):
        worker.wake()
        await worker._claim()
        record = await bench.services.queue.get(second.id)
        assert record.state == "queued", "the slot is the thread's"
    release.set()
    assert (await second.end()).result == "done"
    assert len(await run.events()) == events, "nothing follows the end"
    await until(lambda: worker._executor.threads == 0)


# --- Threads and the loop ---


async def test_plain_functions_never_block_the_loop(bench: "Bench") -> None:
    def sleeper() -> Iterator[str]:
        time.sleep(0.3)
        yield "x"
        time.sleep(0.3)

    run = await bench.start(sleeper)
    longest = 0.0
    done = asyncio.create_task(run.end())
    while not done.done():
        before = time.monotonic()
        await asyncio.sleep(0.001)
        longest = max(longest, time.monotonic() - before)
    assert longest < 0.2


async def test_many_threads_at_once(bench: "Bench") -> None:
    """More than any default pool has: each run has its own."""
    barrier = threading.Barrier(60)

    def together() -> int:
        return barrier.wait(10)

    runs = [await bench.start(together, concurrency_limit=None) for _ in range(60)]
    results = [(await run.end()).result for run in runs]
    assert sorted(results) == list(range(60))


async def test_a_thread_sees_the_context_it_was_started_in(bench: "Bench") -> None:
    variable = contextvars.ContextVar("variable", default="none")
    seen = []

    def function() -> Iterator[str]:
        variable.set("mine")
        yield "x"
        seen.append(variable.get())

    await (await bench.start(function)).end()
    assert (seen, variable.get()) == (["mine"], "none")


# --- Spans ---


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
