"""Each run of a batch has its own handle, stream, checkpoint and stop."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.events import MAX_EVENT_BYTES, Log, Progress, SpanEnd, SpanStart
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench
    from tests.worker.conftest import Together

KINDS = ["coroutine", "async_generator", "function", "generator"]
GENERATORS = ["async_generator", "generator"]

WELL = ("succeeded", "")
CANCELLED = ("cancelled", "")


# --- Each run's handle ---


@pytest.mark.parametrize("threaded", [False, True])
async def test_each_run_speaks_into_its_own_stream(
    threaded: bool, bench: "Bench", together: "Together"
) -> None:
    def speak(words: list[str], runs: list[penstock.Run]) -> None:
        assert [run.attempt for run in runs] == [1, 1, 1]
        for word, run in zip(words, runs, strict=True):
            run.log(word, id=run.id)
            run.progress(ord(word))
            with run.span(f"span {word}") as span:
                span.output = word

    async def coroutine(words: list[str], runs: list[penstock.Run]) -> None:
        speak(words, runs)

    def function(words: list[str], runs: list[penstock.Run]) -> None:
        speak(words, runs)

    runs = await together(bench, function if threaded else coroutine, "abc")
    for word, run in zip("abc", runs, strict=True):
        log, progress, begun, ended, _ = await run.events()
        assert isinstance(log, Log)
        assert (log.message, log.fields) == (word, {"id": run.id})
        assert isinstance(progress, Progress)
        assert progress.done == ord(word)
        assert isinstance(begun, SpanStart)
        assert begun.name == f"span {word}"
        assert isinstance(ended, SpanEnd)
        assert ended.output == word


async def test_text_inside_a_span_of_one_run_is_outside_any_for_the_others(
    bench: "Bench", together: "Together"
) -> None:
    async def generator(words: list[str], runs: list[penstock.Run]) -> AsyncIterator[list[str]]:
        with runs[1].span("deep"):
            yield words

    first, second, third = [await run.fold() for run in await together(bench, generator, "abc")]
    assert [fold.text_of(None) for fold in (first, second, third)] == ["a", "", "c"]
    assert second.text == "b"


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("kind", GENERATORS)
async def test_each_run_goes_on_from_its_own_checkpoint(
    kind: str, either: "Bench", together: "Together"
) -> None:
    def parts(words: list[str], runs: list[penstock.Run]) -> Iterator[list[str | None]]:
        state = [run.restored or 0 for run in runs]
        for step in range(4):
            yield [f"{w}{step} " if s <= step else None for w, s in zip(words, state, strict=True)]
            for number, run in enumerate(runs):
                if step >= number and state[number] <= step:  # the later, the fewer checkpoints
                    run.checkpoint(step + 1)
            if step == 1 and runs[0].attempt == 1:
                raise ValueError("once")

    async def async_generator(words: list[str], runs: list[penstock.Run]) -> AsyncIterator[Any]:
        for part in parts(words, runs):
            yield part

    def generator(words: list[str], runs: list[penstock.Run]) -> Iterator[Any]:
        yield from parts(words, runs)

    runs = await together(either, locals()[kind], "abc", max_wait_ms=50, retries=1)
    assert [(await run.fold()).text for run in runs] == [f"{w}0 {w}1 {w}2 {w}3 " for w in "abc"]


# --- Items that can't be stored ---


class Odd:
    """An item whose own method raises."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def tolist(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (object(), "bad_yield"),
        ([{"deep": object()}], "bad_yield"),
        (Odd(KeyError("oh")), "exception"),
        (Odd(SystemExit(1)), "exception"),
        (["x" * MAX_EVENT_BYTES], "event_too_large"),
    ],
    ids=["object", "deep", "odd", "exit", "large"],
)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_a_result_that_can_not_be_stored_fails_its_own_run_wherever_it_stands(
    kind: str, place: int, item: Any, code: str, bench: "Bench", together: "Together"
) -> None:
    def function(words: list[str]) -> list[Any]:
        return [item if number == place else word for number, word in enumerate(words)]

    async def coroutine(words: list[str]) -> list[Any]:
        return function(words)

    runs = await together(bench, locals()[kind], "abc")
    expected = [("failed", code) if number == place else WELL for number in range(3)]
    assert [await run.outcome() for run in runs] == expected
    assert [(await run.end()).result for run in runs] == [
        None if number == place else word for number, word in enumerate("abc")
    ]


class Spoiling:
    """Generators that yield `items` between two texts, wait for the gate, and note what they were told."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)
        self.gate = threading.Event()
        self.stops: list[bool] = []
        self.closed = threading.Event()

    def generator(self, words: list[str], runs: list[penstock.Run]) -> Iterator[Any]:
        try:
            yield words
            yield self.items
            self.stops = [run.should_stop() for run in runs]
            self.gate.wait()
            for run in runs:
                run.log("more")
            yield [word.upper() for word in words]
        finally:
            self.closed.set()

    async def async_generator(self, words: list[str], runs: list[penstock.Run]) -> AsyncIterator[Any]:
        try:
            yield words
            yield self.items
            self.stops = [run.should_stop() for run in runs]
            while not self.gate.is_set():
                await asyncio.sleep(0.002)
            for run in runs:
                run.log("more")
            yield [word.upper() for word in words]
        finally:
            self.closed.set()


BAD: Any = object()


@pytest.mark.parametrize(
    ("bad", "code"),
    [(BAD, "bad_yield"), (Odd(KeyError("oh")), "exception"), ("x" * MAX_EVENT_BYTES * 2, "event_too_large")],
    ids=["object", "odd", "large"],
)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("kind", GENERATORS)
async def test_a_yield_that_can_not_be_stored_ends_its_own_run_and_the_others_go_on(
    kind: str, place: int, bad: Any, code: str, either: "Bench", together: "Together"
) -> None:
    spoiling = Spoiling(*[bad if number == place else "-" for number in range(3)])
    runs = await together(either, getattr(spoiling, kind), "abc")
    assert await runs[place].outcome() == ("failed", code), "while the call goes on"
    await until(lambda: spoiling.stops == [number == place for number in range(3)])
    assert not spoiling.closed.is_set()
    spoiling.gate.set()
    expected = [("failed", code) if number == place else WELL for number in range(3)]
    assert [await run.outcome() for run in runs] == expected
    texts = [word if number == place else f"{word}-{word.upper()}" for number, word in enumerate("abc")]
    assert [(await run.fold()).text for run in runs] == texts


@pytest.mark.parametrize("kind", GENERATORS)
async def test_with_the_last_that_can_not_be_stored_the_call_ends(
    kind: str, either: "Bench", together: "Together"
) -> None:
    spoiling = Spoiling(BAD, BAD, BAD)
    runs = await together(either, getattr(spoiling, kind), "abc")
    assert [await run.outcome() for run in runs] == [("failed", "bad_yield")] * 3
    assert spoiling.closed.is_set(), "the last end waits for the clean-up"
    assert spoiling.stops == []
    await until(lambda: either.running == 0)
    assert either.services.worker._executor.threads == 0


@pytest.mark.parametrize("kind", GENERATORS)
async def test_those_that_are_left_can_be_stopped(kind: str, either: "Bench", together: "Together") -> None:
    spoiling = Spoiling(BAD, "-", "-")
    runs = await together(either, getattr(spoiling, kind), "abc")
    assert await runs[0].outcome() == ("failed", "bad_yield")
    await until(lambda: spoiling.stops)
    await asyncio.gather(*[run.cancel() for run in runs[1:]])
    spoiling.gate.set()
    assert [await run.outcome() for run in runs[1:]] == [CANCELLED] * 2
    await until(spoiling.closed.is_set)
    await until(lambda: either.running == 0)


async def test_a_run_that_failed_alone_keeps_its_end_whatever_becomes_of_the_call(
    bench: "Bench", together: "Together"
) -> None:
    def generator(words: list[str]) -> Generator[list[Any], None, list[str]]:
        yield [BAD, "-", "-"]
        if words[0] == "x":
            raise ValueError
        return words

    runs = await together(bench, generator, "abcxyz")
    assert [await run.outcome() for run in runs[:3]] == [("failed", "bad_yield"), WELL, WELL]
    assert [(await run.end()).result for run in runs[:3]] == [None, "b", "c"]
    assert [await run.outcome() for run in runs[3:]] == [
        ("failed", "bad_yield"),
        *[("failed", "exception")] * 2,
    ]


@pytest.mark.usefixtures("at_once")
async def test_only_the_run_whose_item_raised_is_tried_again(bench: "Bench", together: "Together") -> None:
    calls: list[list[str]] = []

    async def coroutine(words: list[str]) -> list[Any]:
        calls.append(words)
        return [Odd(KeyError()) if len(calls) == 1 and word == "a" else word for word in words]

    runs = await together(bench, coroutine, "abc", max_wait_ms=50, retries=1)
    assert [await run.outcome() for run in runs] == [WELL] * 3
    assert sorted(calls) == [["a"], ["a", "b", "c"]]


# --- Stops ---


async def say_nothing(words: list[str]) -> None:
    """Ends at once."""


class Endless:
    """Generators that go on until they are closed, and say which runs are not to stop."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    async def async_generator(self, words: list[str], runs: list[penstock.Run]) -> AsyncIterator[Any]:
        try:
            while True:
                yield [
                    f"{word}{'!' if run.should_stop() else ''}" for word, run in zip(words, runs, strict=True)
                ]
                await asyncio.sleep(0.002)
        finally:
            self.closed.set()

    def generator(self, words: list[str], runs: list[penstock.Run]) -> Iterator[Any]:
        try:
            while True:
                yield words
                time.sleep(0.002)
        finally:
            self.closed.set()

    async def coroutine(self, words: list[str], runs: list[penstock.Run]) -> None:
        try:
            while True:
                for word, run in zip(words, runs, strict=True):
                    run.log(word)
                await asyncio.sleep(0.002)
        finally:
            self.closed.set()

    def function(self, words: list[str], runs: list[penstock.Run]) -> None:
        try:
            while not all(run.should_stop() for run in runs):
                for word, run in zip(words, runs, strict=True):
                    run.log(word)
                time.sleep(0.002)
        finally:
            self.closed.set()


@pytest.mark.parametrize("kind", KINDS)
async def test_one_is_stopped_while_the_others_go_on(
    kind: str, either: "Bench", together: "Together"
) -> None:
    endless = Endless()
    runs = await together(either, getattr(endless, kind), "abc")
    for run in runs:
        await run.see(lambda fold: fold.seq)
    await runs[0].cancel()
    assert await runs[0].outcome() == CANCELLED
    seen = [(await run.see(lambda fold: fold.seq)).seq for run in runs[1:]]
    for run, seq in zip(runs[1:], seen, strict=True):
        await run.see(lambda fold, seq=seq: fold.seq > seq + 5)  # type: ignore[misc]
    assert not endless.closed.is_set()
    await runs[2].cancel()
    assert await runs[2].outcome() == CANCELLED
    assert not endless.closed.is_set()
    await runs[1].cancel()
    assert await runs[1].outcome() == CANCELLED
    await until(endless.closed.is_set, what="with the last one the call is stopped")
    await until(lambda: either.running == 0)
    assert either.services.worker._executor.threads == 0
    after = await together(either, say_nothing, "abc")
    assert [await run.outcome() for run in after] == [WELL] * 3, "their place is free"


@pytest.mark.parametrize("kind", KINDS)
async def test_all_are_stopped_at_once(kind: str, either: "Bench", together: "Together") -> None:
    endless = Endless()
    runs = await together(either, getattr(endless, kind), "abc")
    for run in runs:
        await run.see(lambda fold: fold.seq)
    await asyncio.gather(*[run.cancel() for run in runs])
    assert [await run.outcome() for run in runs] == [CANCELLED] * 3
    await until(endless.closed.is_set)
    await until(lambda: either.running == 0)
    await until(lambda: either.services.worker._executor.threads == 0)


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_shutdown_interrupts_them_all_or_gives_them_back(
    kind: str, retries: int, either: "Bench", together: "Together"
) -> None:
    endless = Endless()
    runs = await together(either, getattr(endless, kind), "abc", retries=retries)
    for run in runs:
        await run.see(lambda fold: fold.seq)
    await either.interrupt()
    records = [await either.services.queue.get(run.id) for run in runs]
    if retries:
        assert [(record.state, record.failures, record.call) for record in records] == [
            ("queued", 0, None)
        ] * 3
    else:
        assert [(record.state, (record.error or {})["code"]) for record in records] == [
            ("interrupted", "shutdown")
        ] * 3
    await until(endless.closed.is_set)
