"""Generators that take turns with Gradio: threads, tasks, closing, cancelling, contexts. No Gradio in it."""

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import to_thread

from penstock.integrations.gradio.merging.latest import Latest
from penstock.integrations.gradio.merging.outputs import Outputs, Parts
from penstock.integrations.gradio.merging.turns import TaskTurns, ThreadTurns, Turns
from penstock.testing import until

from .merging_world import Component

RATE = 20.0
SLOW = 1 / 3600
"""A rate at which nothing falls due within a test but the first value and the end."""

WAIT_S = 10


class Unheld(Outputs):
    """Outputs of which no value can be held: each is given."""

    def fixed(self, parts: Parts) -> None:
        return None


asked: contextvars.ContextVar[str] = contextvars.ContextVar("asked", default="nobody")


def latest(rate: float = RATE) -> Latest:
    return Latest(Outputs([Component(1)]), rate)


def each() -> Latest:
    return Latest(Unheld([Component(1)]), RATE)


def in_threads(
    generator: Generator[Any, None, None], rate: float = RATE, limiter: anyio.CapacityLimiter | None = None
) -> ThreadTurns:
    threads = limiter or anyio.CapacityLimiter(2)
    run_sync = partial(to_thread.run_sync, limiter=threads)
    return ThreadTurns(generator, latest(rate), run_sync, spare=lambda: threads.available_tokens >= 1)


async def taken(turns: Turns) -> list[Any]:
    return [value async for value in turns]


# Both kinds


def counted(count: int, error: Exception | None = None) -> Generator[int, None, None]:
    yield from range(count)
    if error is not None:
        raise error


async def counted_async(count: int, error: Exception | None = None) -> AsyncGenerator[int, None]:
    for number in range(count):
        yield number
    if error is not None:
        raise error


KINDS: dict[str, Callable[..., Turns]] = {
    "thread": lambda count, error=None, rate=RATE: in_threads(counted(count, error), rate),
    "task": lambda count, error=None, rate=RATE: TaskTurns(counted_async(count, error), latest(rate)),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Callable[..., Turns]:
    return KINDS[request.param]


async def test_the_first_and_the_last_of_many_values_arrive(kind: Callable[..., Turns]) -> None:
    assert await taken(kind(10_000, rate=SLOW)) == [0, 9_999]


async def test_a_generator_without_values_ends(kind: Callable[..., Turns]) -> None:
    turns = kind(0)
    assert await taken(turns) == []
    assert await taken(turns) == []


async def test_an_error_comes_after_the_last_value(kind: Callable[..., Turns]) -> None:
    turns = kind(3, ValueError("boom"), rate=SLOW)
    assert [await anext(turns), await anext(turns)] == [0, 2]
    with pytest.raises(ValueError, match="boom"):
        await anext(turns)
    with pytest.raises(StopAsyncIteration):
        await anext(turns)


async def test_nothing_comes_after_closing(kind: Callable[..., Turns]) -> None:
    turns = kind(3)
    assert await anext(turns) == 0
    await turns.aclose()  # type: ignore[attr-defined]
    assert await taken(turns) == []


# Threads


async def test_what_is_held_is_given_while_the_generator_is_in_the_middle_of_something() -> None:
    go = threading.Event()

    def slow() -> Generator[list[str], None, None]:
        history = ["a"]
        yield history
        history.append("b")
        yield history
        history.append("half done")
        go.wait(WAIT_S)
        history[-1] = "c"
        yield history

    turns = in_threads(slow())
    assert await anext(turns) == ["a"]
    held = await anext(turns)
    assert held == ["a", "b"], "as it was yielded"
    go.set()
    assert await taken(turns) == [["a", "b", "c"]]
    assert held == ["a", "b"]


async def test_a_paused_generator_holds_no_thread_and_does_not_run() -> None:
    limiter, steps = anyio.CapacityLimiter(2), []

    def stepping() -> Generator[int, None, None]:
        for number in range(3):
            steps.append(number)
            yield number

    turns = in_threads(stepping(), limiter=limiter)
    await anext(turns)
    await until(lambda: limiter.borrowed_tokens == 0)
    assert steps == [0]


async def test_where_there_is_no_spare_thread_nothing_is_held() -> None:
    turns = in_threads(counted(20), rate=SLOW, limiter=anyio.CapacityLimiter(1))
    assert await taken(turns) == list(range(20))


async def test_it_is_closed_where_it_is_paused() -> None:
    closed_in: list[str] = []

    def watched() -> Generator[int, None, None]:
        try:
            yield 1
            yield 2
        except GeneratorExit:
            closed_in.append("yield")
            raise

    turns = in_threads(watched())
    await anext(turns)
    await turns.aclose()
    assert closed_in == ["yield"]


async def test_closing_waits_until_its_step_is_over() -> None:
    inside, go, seen = threading.Event(), threading.Event(), []

    def busy() -> Generator[int, None, None]:
        yield 1
        inside.set()
        go.wait(WAIT_S)
        try:
            yield 2
        except GeneratorExit:
            seen.append("closed")
            raise

    turns = in_threads(busy())
    await anext(turns)
    waiting = asyncio.create_task(taken(turns))
    await until(inside.is_set)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    closing = asyncio.ensure_future(turns.aclose())
    await asyncio.wait({closing}, timeout=0.1)
    assert not closing.done()
    go.set()
    await closing
    assert seen in (["closed"], []), "closed at its yield, or before it went there"
    with pytest.raises(StopIteration):
        next(turns._generator)


async def test_a_cancelled_step_gives_its_thread_back_to_the_limit() -> None:
    limiter, inside, go = anyio.CapacityLimiter(2), threading.Event(), threading.Event()

    def stuck() -> Generator[int, None, None]:
        inside.set()
        go.wait(WAIT_S)
        yield 1

    waiting = asyncio.create_task(taken(in_threads(stuck(), limiter=limiter)))
    await until(inside.is_set)
    assert limiter.borrowed_tokens == 1
    waiting.cancel()
    await until(lambda: limiter.borrowed_tokens == 0)
    go.set()
    with suppress(asyncio.CancelledError):
        await waiting


async def test_a_thread_sees_what_gradio_has_set_for_its_step() -> None:
    def asking() -> Generator[str, None, None]:
        while True:
            yield asked.get()

    turns = ThreadTurns(asking(), each(), to_thread.run_sync)
    for name in "abc":
        asked.set(name)
        assert await anext(turns) == name
    await turns.aclose()


# Tasks


async def test_all_steps_are_one_task_to_the_last() -> None:
    tasks = []

    async def stepping() -> AsyncGenerator[int, None]:
        try:
            for number in range(100):
                tasks.append(asyncio.current_task())
                yield number
        finally:
            tasks.append(asyncio.current_task())

    turns = TaskTurns(stepping(), each())
    for _ in range(3):
        await asyncio.create_task(_first(turns))
    await asyncio.create_task(_closed(turns))
    assert len(tasks) == 4
    assert len(set(tasks)) == 1


async def _first(turns: Turns) -> Any:
    return await anext(turns)


async def _closed(turns: TaskTurns) -> None:
    await turns.aclose()


async def test_time_limits_and_groups_of_tasks_may_last_over_yields() -> None:
    async def grouped() -> AsyncGenerator[str, None]:
        async with asyncio.timeout(WAIT_S), anyio.create_task_group() as group:
            group.start_soon(asyncio.sleep, 0)
            yield "within"
            yield "still within"
        yield "after"

    turns = TaskTurns(grouped(), each())
    assert [await asyncio.create_task(_first(turns)) for _ in range(3)] == ["within", "still within", "after"]


async def test_a_time_limit_of_the_generator_hits_nobody_else() -> None:
    async def limited() -> AsyncGenerator[str, None]:
        yield "a"
        yield "b"
        try:
            async with asyncio.timeout(0.15):
                await asyncio.sleep(WAIT_S)
        except TimeoutError:
            yield "out of time"

    turns = TaskTurns(limited(), latest())
    assert [await anext(turns), await anext(turns)] == ["a", "b"]
    await asyncio.sleep(0.3)  # Gradio is at work meanwhile, in this task
    assert await anext(turns) == "out of time"


async def test_what_is_held_is_given_while_it_waits_for_something() -> None:
    go = asyncio.Event()

    async def slow() -> AsyncGenerator[list[str], None]:
        history = ["a"]
        yield history
        history.append("b")
        yield history
        history.append("half done")
        await go.wait()
        yield history

    turns = TaskTurns(slow(), latest())
    assert await anext(turns) == ["a"]
    assert await anext(turns) == ["a", "b"], "as it was yielded"
    go.set()
    assert await taken(turns) == [["a", "b", "half done"]]


async def test_cancelling_is_heard_by_the_generator_and_its_answer_counts() -> None:
    heard = []

    async def stubborn() -> AsyncGenerator[str, None]:
        try:
            await asyncio.sleep(WAIT_S)
        except asyncio.CancelledError:
            heard.append("cancelled")
            yield "not yet"
        await asyncio.sleep(WAIT_S)

    turns = TaskTurns(stubborn(), latest())
    first = asyncio.create_task(_first(turns))
    await until(lambda: turns._pump._task is not None)
    await asyncio.sleep(0)
    first.cancel()
    assert await first == "not yet"
    second = asyncio.create_task(_first(turns))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert heard == ["cancelled"]


async def test_closing_cancels_what_it_waits_for() -> None:
    ended: list[str] = []

    async def waiting() -> AsyncGenerator[str, None]:
        try:
            yield "a"
            yield "b"
            await asyncio.sleep(WAIT_S)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        finally:
            ended.append("closed")

    turns = TaskTurns(waiting(), latest())
    assert [await anext(turns), await anext(turns)] == ["a", "b"]
    await turns.aclose()
    assert ended == ["cancelled", "closed"]


async def test_a_dropped_iterator_closes_its_generator() -> None:
    ended: list[str] = []

    async def watched() -> AsyncGenerator[str, None]:
        try:
            yield "a"
            yield "b"
        finally:
            ended.append("closed")

    turns = TaskTurns(watched(), latest())
    await anext(turns)
    del turns
    gc.collect()
    await until(lambda: ended == ["closed"])


async def test_closing_needs_nobody_to_wait_for_it() -> None:
    ended: list[str] = []

    def watched(name: str) -> Generator[str, None, None]:
        try:
            yield name
        finally:
            ended.append(name)

    async def watched_async(name: str) -> AsyncGenerator[str, None]:
        for one in watched(name):
            yield one

    threads, task = in_threads(watched("thread")), TaskTurns(watched_async("task"), latest())
    await anext(threads)
    await anext(task)
    unawaited: list[Awaitable[None]] = [threads.aclose(), task.aclose()]
    await until(lambda: sorted(ended) == ["task", "thread"])
    del unawaited


async def test_what_gradio_sets_for_a_step_is_seen_and_what_the_generator_sets_stays() -> None:
    own: contextvars.ContextVar[int] = contextvars.ContextVar("own", default=0)

    async def asking() -> AsyncGenerator[tuple[str, int], None]:
        while True:
            own.set(own.get() + 1)
            yield asked.get(), own.get()

    turns, found = TaskTurns(asking(), each()), []
    for name in "abc":
        asked.set(name)
        found.append(await anext(turns))
    await turns.aclose()
    assert found == [("a", 1), ("b", 2), ("c", 3)]
    assert own.get() == 0


async def test_others_have_a_turn_while_a_generator_never_waits() -> None:
    turns, beats = TaskTurns(counted_async(10**9), latest(5)), 0
    await anext(turns)
    second = asyncio.create_task(_first(turns))
    while not second.done():
        beats += 1
        await asyncio.sleep(0)
    await turns.aclose()
    assert beats > 5
