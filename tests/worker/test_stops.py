"""Stops, whatever a function makes of its cancellation; and events that can't be stored, which harm one run."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.events import MAX_EVENT_BYTES, AnyEvent, Log
from penstock.models import Chunk, Ending
from penstock.protocol.sse import encode_chunks
from penstock.testing import until
from penstock.worker.execute import STOP_GRACE_S

if TYPE_CHECKING:
    from tests.conftest import Bench, Started


class Answers:
    """Functions with their own answer to a cancellation."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    async def generator_raises_in_its_clean_up(self) -> AsyncIterator[str]:
        try:
            yield "x"
            self.begun.set()
            await asyncio.Event().wait()
        finally:
            raise ValueError("in the clean-up")

    async def coroutine_raises_in_its_clean_up(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("in the clean-up")

    async def coroutine_returns(self) -> str:
        self.begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "all the same"

    async def generator_returns(self) -> AsyncIterator[str]:
        with contextlib.suppress(asyncio.CancelledError):
            yield "x"
            self.begun.set()
            await asyncio.Event().wait()

    def thread_returns(self, run: penstock.Run) -> str:
        self.begun.set()
        while not run.should_stop():
            time.sleep(0.002)
        return "all the same"

    def thread_raises_in_its_clean_up(self, run: penstock.Run) -> Iterator[str]:
        try:
            while True:
                yield "x"
                self.begun.set()
                time.sleep(0.002)
        finally:
            raise ValueError("in the clean-up")


ANSWERS = [name for name in vars(Answers) if not name.startswith("_")]


@pytest.mark.parametrize("name", ANSWERS)
async def test_who_was_cancelled_ends_as_cancelled(name: str, bench: "Bench") -> None:
    answers = Answers()
    run = await bench.start(getattr(answers, name))
    await until(answers.begun.is_set)
    assert await run.cancel() == "acknowledged"
    end = await run.end()
    assert (end.state, end.result, end.error) == ("cancelled", None, None)
    await until(lambda: bench.running == 0)


@pytest.mark.parametrize("on_crash", ["fail", "retry"])
@pytest.mark.parametrize("name", ANSWERS)
async def test_who_was_stopped_by_a_shutdown_is_not_to_blame(
    name: str, on_crash: Any, bench: "Bench"
) -> None:
    answers = Answers()
    run = await bench.start(getattr(answers, name), on_crash=on_crash)
    await until(answers.begun.is_set)
    await bench.interrupt()
    record = await bench.services.queue.get(run.id)
    if on_crash == "retry":
        assert (record.state, record.losses, record.worker) == ("queued", 0, None)
    else:
        assert (record.state, (record.error or {})["code"]) == ("interrupted", "shutdown")


async def test_who_never_heeds_its_cancellation_keeps_its_place(bench: "Bench") -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def deaf(heed: bool = False) -> str:
        begun.set()
        while not (heed or release.is_set()):
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        return "done"

    run = await bench.start(deaf, concurrency_limit=1)
    second = await bench.start(deaf, {"heed": True})
    await until(begun.is_set)
    before = time.monotonic()
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    assert time.monotonic() - before < STOP_GRACE_S + 1
    worker = bench.services.worker
    await until(lambda: bench.running == 0)
    for _ in range(3):
        await worker._claim()
        assert (await bench.services.queue.get(second.id)).state == "queued", "the place is taken"
    release.set()
    assert (await second.end()).result == "done"
    assert (await bench.services.queue.get(run.id)).state == "cancelled"


@pytest.mark.parametrize("stop", ["cancel", "drain"])
@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_what_had_finished_before_the_stop_has_succeeded(
    kind: str, stop: str, bench: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is on its way to the store."""
    on_its_way, go, finish = asyncio.Event(), asyncio.Event(), bench.services.store.finish_all

    async def slow(ends: Sequence[Ending]) -> list[bool]:
        on_its_way.set()
        await go.wait()
        return await finish(ends)

    async def coroutine() -> int:
        return 7

    def thread() -> int:
        return 7

    monkeypatch.setattr(bench.services.store, "finish_all", slow)
    run = await bench.start(locals()[kind], on_crash="retry")
    await until(on_its_way.is_set)
    if stop == "cancel":
        await run.cancel()
    else:
        await bench.services.worker.drain(0)
    go.set()
    end = await run.end()
    assert (end.state, end.result) == ("succeeded", 7)
    assert (await bench.services.queue.get(run.id)).state == "succeeded"


# --- What can't be stored ---

LARGE = "x" * (MAX_EVENT_BYTES + 1)
ESCAPED = "\0" * (MAX_EVENT_BYTES // 6 + 1)  # six bytes of JSON each


def of_log(run: penstock.Run, text: str) -> None:
    run.log(text)


def of_level(run: penstock.Run, text: str) -> None:
    run.log("", level=text)


def of_fields(run: penstock.Run, text: str) -> None:
    run.log("", more=text)


def of_unit(run: penstock.Run, text: str) -> None:
    run.progress(1, unit=text)


def of_span(run: penstock.Run, text: str) -> None:
    with run.span(text):
        pass


def of_kind(run: penstock.Run, text: str) -> None:
    with run.span("", kind=text):
        pass


def of_output(run: penstock.Run, text: str) -> None:
    with run.span("") as span:
        span.output = text


SAYS = [of_log, of_level, of_fields, of_unit, of_span, of_kind, of_output]


@pytest.fixture
async def other(bench: "Bench") -> "AsyncIterator[Started]":
    """A run that goes on beside, and is well at the end."""
    gate = asyncio.Event()

    async def beside(run: penstock.Run) -> AsyncIterator[str]:
        while not gate.is_set():
            run.log("on")
            yield "on "
            await asyncio.sleep(0.005)

    other = await bench.start(beside)
    await other.see(lambda fold: fold.text)
    yield other
    gate.set()
    assert await other.outcome() == ("succeeded", "")


@pytest.mark.parametrize(
    "say",
    [
        lambda run, text: run.log(text, more="x" * (MAX_EVENT_BYTES * 3 // 4)),
        lambda run, text: run.log(text, level=text),
        lambda run, text: run.span(text, kind=text).__enter__(),
        lambda run, text: run.span(text, input="x" * (MAX_EVENT_BYTES * 3 // 4)).__enter__(),
    ],
    ids=["fields", "level", "kind", "input"],
)
async def test_words_that_are_too_large_together_fail_their_run(
    say: Callable[[penstock.Run, str], None], bench: "Bench"
) -> None:
    """Each by itself would do, and as JSON the first is six times as large."""

    async def function(run: penstock.Run) -> None:
        say(run, "\0" * (MAX_EVENT_BYTES // 6 - 100))

    assert await (await bench.start(function)).outcome() == ("failed", "event_too_large")


@pytest.mark.parametrize("text", [LARGE, ESCAPED], ids=["large", "escaped"])
@pytest.mark.parametrize("say", SAYS)
async def test_too_large_a_word_fails_its_run_alone(
    say: Callable[[penstock.Run, str], None], text: str, bench: "Bench", other: "Started"
) -> None:
    async def function(run: penstock.Run) -> None:
        run.log("before")
        say(run, text)

    run = await bench.start(function)
    assert await run.outcome() == ("failed", "event_too_large")
    assert [event.message for event in await run.events() if isinstance(event, Log)] == ["before"]


@pytest.mark.parametrize(
    "text", [LARGE, ESCAPED, '"' * (MAX_EVENT_BYTES // 2 + 1)], ids=["large", "0", "quote"]
)
async def test_too_large_a_text_fails_its_run_alone(text: str, bench: "Bench", other: "Started") -> None:
    async def yields() -> AsyncIterator[str]:
        yield text

    async def returns() -> str:
        return text

    def thread() -> Iterator[str]:
        yield text

    for call in (yields, returns, thread):
        assert await (await bench.start(call)).outcome() == ("failed", "event_too_large")


@pytest.mark.parametrize("kind", ["task", "thread"])
async def test_what_can_not_be_encoded_fails_its_run_alone(
    kind: str, bench: "Bench", other: "Started", monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused where it is emitted; should something come through all the same, one run ends of it."""

    def encode(batch: list[AnyEvent], epoch: str) -> list[Chunk]:
        if any(isinstance(event, Log) and event.message == "poison" for event in batch):
            raise ValueError("no such bytes")
        return encode_chunks(batch, epoch)

    async def task(run: penstock.Run) -> AsyncIterator[str]:
        yield "before"
        run.log("poison")
        while True:
            yield "after"
            await asyncio.sleep(0.002)

    def thread(run: penstock.Run) -> Iterator[str]:
        yield "before"
        run.log("poison")
        while True:
            yield "after"
            time.sleep(0.002)

    monkeypatch.setattr("penstock.worker.recorder.encode_chunks", encode)
    run = await bench.start(locals()[kind])
    end = await run.end()
    assert end.state == "failed"
    assert (end.error or {})["code"] == "bad_yield"
    assert "no such bytes" in (end.error or {})["message"]
    seqs = [(event.seq - event.n + 1, event.seq) for event in await run.events()]
    assert [first for first, _ in seqs] == [1] + [last + 1 for _, last in seqs[:-1]], "without a gap"
    await until(lambda: bench.running == 1)
    assert (await bench.services.queue.get(run.id)).state == "failed"
