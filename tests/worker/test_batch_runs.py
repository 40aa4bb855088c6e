"""Each run of a batch has its own handle, stream, checkpoint and stop."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.events import Log, Progress, SpanEnd, SpanStart
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
    await either.services.worker.drain(0.2)
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
