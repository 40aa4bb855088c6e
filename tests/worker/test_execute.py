"""Functions of every kind, to every kind of end, on a real worker."""

import asyncio
import contextvars
import functools
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from penstock.events import End, Json

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


# --- Threads and the loop ---


async def test_plain_functions_never_block_the_loop(bench: "Bench") -> None:
    def sleeper() -> Iterator[str]:
        time.sleep(1)
        yield "x"
        time.sleep(1)

    run = await bench.start(sleeper)
    longest = 0.0
    done = asyncio.create_task(run.end())
    while not done.done():
        before = time.monotonic()
        await asyncio.sleep(0.001)
        longest = max(longest, time.monotonic() - before)
    assert longest < 0.8


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
