"""One call that serves many runs: each has its own input, stream, stop and end."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.errors import ConfigError, InvalidInput
from penstock.events import Log, Progress, SpanEnd, SpanStart
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench, Started

KINDS = ["coroutine", "async_generator", "function", "generator"]
GENERATORS = ["async_generator", "generator"]
TOGETHER: Any = {"batch": True, "max_batch_size": 3, "max_wait_ms": 60_000}
"""A call begins when three runs are there, and not before."""

WELL = ("succeeded", "")
CANCELLED = ("cancelled", "")


@pytest.fixture(params=["memory", "sqlite"])
async def either(
    request: pytest.FixtureRequest, tmp_path: Path, make_bench: "type[Bench]"
) -> "AsyncIterator[Bench]":
    """A bench over each store."""
    store = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}"
    async with make_bench(store=store) as bench:
        yield bench


class Calls:
    """Batches of each kind that notes its calls, and yields or returns what `answer` makes of its words."""

    def __init__(
        self, answer: Callable[[list[str]], Any] = lambda words: list(map(str.upper, words))
    ) -> None:
        self.made: list[list[str]] = []
        self.most = self.on = 0
        self.gate = threading.Event()
        self.gate.set()
        self._answer = answer

    def _begin(self, words: list[str]) -> Any:
        self.made.append(list(words))
        self.on += 1
        self.most = max(self.most, self.on)
        return self._answer(words)

    async def coroutine(self, words: list[str]) -> Any:
        answer = self._begin(words)
        while not self.gate.is_set():
            await asyncio.sleep(0.002)
        self.on -= 1
        return answer

    def function(self, words: list[str]) -> Any:
        answer = self._begin(words)
        self.gate.wait()
        self.on -= 1
        return answer

    async def async_generator(self, words: list[str]) -> AsyncIterator[Any]:
        yield self._begin(words)

    def generator(self, words: list[str]) -> Iterator[Any]:
        yield self._begin(words)


async def start(bench: "Bench", call: Any, words: str, **options: Any) -> list["Started"]:
    """A run for each letter."""
    return [await bench.start(call, {"words": word}, **(TOGETHER | options)) for word in words]


async def outcomes(runs: list["Started"]) -> list[tuple[str, str]]:
    return [await run.outcome() for run in runs]


async def texts(runs: list["Started"]) -> list[str]:
    return [(await run.fold()).text for run in runs]


# --- What comes out ---


@pytest.mark.parametrize("kind", KINDS)
async def test_each_run_gets_its_own_item_of_one_call(kind: str, either: "Bench") -> None:
    calls = Calls()
    runs = await start(either, getattr(calls, kind), "abc")
    assert await outcomes(runs) == [WELL] * 3
    assert calls.made == [["a", "b", "c"]]
    if kind in GENERATORS:
        assert await texts(runs) == ["A", "B", "C"]
        assert [(await run.end()).result for run in runs] == [None] * 3
    else:
        assert [(await run.end()).result for run in runs] == ["A", "B", "C"]


@pytest.mark.parametrize("kind", KINDS)
async def test_none_is_nothing_for_its_run(kind: str, bench: "Bench") -> None:
    calls = Calls(lambda words: [None, "b", None])
    runs = await start(bench, getattr(calls, kind), "abc")
    assert await outcomes(runs) == [WELL] * 3
    assert [len(await run.events()) for run in runs] == ([1, 2, 1] if kind in GENERATORS else [1, 1, 1])
    ends = [(await run.end()).result for run in runs]
    assert ends == [None, None if kind in GENERATORS else "b", None]


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_nothing_at_all_is_nothing_for_each(kind: str, bench: "Bench") -> None:
    runs = await start(bench, getattr(Calls(lambda words: None), kind), "abc")
    assert [(await run.end()).result for run in runs] == [None] * 3


async def test_a_generators_return_value_is_a_result_for_each(bench: "Bench") -> None:
    def generator(words: list[str]) -> Generator[tuple[str | None, ...], None, list[str]]:
        yield ("text ", "text ", "text ")
        yield ("more", None, "more")
        return [word.upper() for word in words]

    runs = await start(bench, generator, "abc")
    assert await texts(runs) == ["text more", "text ", "text more"]
    assert [(await run.end()).result for run in runs] == ["A", "B", "C"]


async def test_items_are_of_any_kind_and_each_stream_counts_its_own(bench: "Bench") -> None:
    async def generator(words: list[str]) -> AsyncIterator[list[Any]]:
        yield ["ä", {"a": 1}, b"raw"]
        yield ["öü", [2], None]
        yield ["!", 3, b"!"]

    first, second, third = [await run.fold() for run in await start(bench, generator, "abc")]
    assert first.text == "äöü!"
    assert second.values == [{"a": 1}, [2], 3]
    assert third.data == b"raw!"
    assert [fold.seq for fold in (first, second, third)] == [4, 4, 3]


async def test_cumulative_batches(bench: "Bench") -> None:
    def generator(words: list[str]) -> Iterator[list[Any]]:
        yield list(words)
        yield [word * 2 for word in words]

    folds = [await run.fold() for run in await start(bench, generator, "abc", cumulative=True)]
    assert [fold.value for fold in folds] == ["aa", "bb", "cc"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [["x"], ["x"] * 4, [], "abc", {"a": 1, "b": 2, "c": 3}, 3], ids=str)
async def test_what_is_not_a_value_for_each_fails_them_all(kind: str, wrong: Any, bench: "Bench") -> None:
    runs = await start(bench, getattr(Calls(lambda words: wrong), kind), "abc")
    for run in runs:
        end = await run.end()
        assert (end.state, (end.error or {})["code"]) == ("failed", "bad_yield")
        assert kind in (end.error or {})["message"]
        assert (end.error or {})["hint"]
        assert len(await run.events()) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_fails_them_all(kind: str, either: "Bench") -> None:
    def fail(words: list[str]) -> None:
        raise ValueError(words[0])

    runs = await start(either, getattr(Calls(fail), kind), "abc")
    assert await outcomes(runs) == [("failed", "exception")] * 3
    assert [((await run.end()).error or {})["message"] for run in runs] == ["ValueError: a"] * 3
    await until(lambda: either.running == 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_is_tried_again_for_each(
    kind: str, either: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.worker.executor.random.random", lambda: 0.0)
    failed: list[int] = []

    def fail_once(words: list[str]) -> list[str]:
        if not failed:
            failed.append(1)
            raise ValueError
        return words

    runs = await start(either, getattr(Calls(fail_once), kind), "abc", max_wait_ms=50, retries=1)
    assert await outcomes(runs) == [WELL] * 3
    assert [(await either.services.queue.get(run.id)).attempt for run in runs] == [2] * 3


# --- Who shares a call ---


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_more_than_a_call_takes_are_several_calls_in_order(kind: str, either: "Bench") -> None:
    calls = Calls()
    calls.gate.clear()
    runs = await start(either, getattr(calls, kind), "x", max_wait_ms=0)
    await until(lambda: calls.made == [["x"]])
    runs += await start(either, getattr(calls, kind), "abcdefgh")
    calls.gate.set()
    assert await outcomes(runs) == [WELL] * 9
    assert calls.made == [["x"], ["a", "b", "c"], ["d", "e", "f"], ["g", "h"]]
    assert calls.most == 1, "one place of the group"


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_a_call_takes_one_place_however_many_it_serves(kind: str, either: "Bench") -> None:
    calls = Calls()
    calls.gate.clear()
    runs = await start(either, getattr(calls, kind), "abcdefgh", concurrency_limit=2)
    await until(lambda: calls.on == 2)
    for _ in range(3):
        await either.services.worker._claim()
    groups = (await either.services.standings.overview())["groups"]
    assert (groups[0]["waiting"], groups[0]["running"]) == (2, 6)
    await runs[1].cancel()
    assert await runs[1].outcome() == CANCELLED
    for _ in range(3):
        await either.services.worker._claim()
    assert calls.on == 2, "its call goes on"
    calls.gate.set()
    last = await start(either, getattr(calls, kind), "i")
    assert await outcomes(runs[6:] + last) == [WELL] * 3
    assert (calls.most, len(calls.made)) == (2, 3)


async def test_one_that_is_not_full_waits_for_more_and_then_goes(either: "Bench") -> None:
    calls = Calls()
    began = time.monotonic()
    runs = await start(either, calls.coroutine, "ab", max_wait_ms=150)
    assert await outcomes(runs) == [WELL] * 2
    assert calls.made == [["a", "b"]]
    assert time.monotonic() - began >= 0.14


async def test_runs_of_another_function_of_the_group_are_not_mixed_in(either: "Bench") -> None:
    one, other = Calls(), Calls()
    options: Any = {"concurrency_id": "gpu", "max_wait_ms": 0}
    one.gate.clear()
    runs = await start(either, one.coroutine, "x", name="one", **options)
    await until(lambda: one.on == 1)
    for words, calls, name in (
        ("a", one, "one"),
        ("b", other, "other"),
        ("c", one, "one"),
        ("d", other, "other"),
    ):
        runs += await start(either, calls.coroutine, words, name=name, **options)
    one.gate.set()
    assert await outcomes(runs) == [WELL] * 5
    assert (one.made, other.made) == ([["x"], ["a", "c"]], [["b", "d"]])


async def test_one_key_takes_no_more_places_of_a_call_than_it_may(either: "Bench") -> None:
    calls = Calls()
    either.app.function(concurrency_key="words", **(TOGETHER | {"max_wait_ms": 100}))(calls.coroutine)
    runs = await start(either, calls.coroutine, "aaab")
    assert await outcomes(runs) == [WELL] * 4
    assert sorted(map(sorted, calls.made), key=len) == [["a"], ["a"], ["a", "b"]]


# --- Each run's handle ---


@pytest.mark.parametrize("threaded", [False, True])
async def test_each_run_speaks_into_its_own_stream(threaded: bool, bench: "Bench") -> None:
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

    runs = await start(bench, function if threaded else coroutine, "abc")
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


async def test_text_inside_a_span_of_one_run_is_outside_any_for_the_others(bench: "Bench") -> None:
    async def generator(words: list[str], runs: list[penstock.Run]) -> AsyncIterator[list[str]]:
        with runs[1].span("deep"):
            yield words

    first, second, third = [await run.fold() for run in await start(bench, generator, "abc")]
    assert [fold.text_of(None) for fold in (first, second, third)] == ["a", "", "c"]
    assert second.text == "b"


@pytest.mark.parametrize("kind", GENERATORS)
async def test_each_run_goes_on_from_its_own_checkpoint(
    kind: str, either: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.worker.executor.random.random", lambda: 0.0)

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

    runs = await start(either, locals()[kind], "abc", max_wait_ms=50, retries=1)
    assert await texts(runs) == [f"{w}0 {w}1 {w}2 {w}3 " for w in "abc"]


# --- Stops ---


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
async def test_one_is_stopped_while_the_others_go_on(kind: str, either: "Bench") -> None:
    endless = Endless()
    runs = await start(either, getattr(endless, kind), "abc")
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
    assert await outcomes(await start(either, Calls().coroutine, "abc", name="next")) == [WELL] * 3


@pytest.mark.parametrize("kind", KINDS)
async def test_all_are_stopped_at_once(kind: str, either: "Bench") -> None:
    endless = Endless()
    runs = await start(either, getattr(endless, kind), "abc")
    for run in runs:
        await run.see(lambda fold: fold.seq)
    await asyncio.gather(*[run.cancel() for run in runs])
    assert await outcomes(runs) == [CANCELLED] * 3
    await until(endless.closed.is_set)
    await until(lambda: either.running == 0)
    await until(lambda: either.services.worker._executor.threads == 0)


async def test_a_blocked_thread_that_served_many_holds_one_place(either: "Bench") -> None:
    calls = Calls()
    calls.gate.clear()
    runs = await start(either, calls.function, "abc", time_limit_s=0.05, stop_grace_s=0.01)
    assert await outcomes(runs) == [("failed", "time_limit")] * 3
    await until(lambda: either.running == 0)

    async def held() -> int:
        (group,) = (await either.services.standings.overview())["groups"]
        return int(group["held"])

    assert (await held(), either.services.worker._executor.threads) == (1, 1)
    calls.gate.set()
    await until(lambda: calls.on == 0)

    async def free() -> bool:
        return await held() == 0

    await until(free)
    assert either.services.worker._executor.threads == 0


async def test_one_that_is_stopped_in_line_is_not_among_those_served(either: "Bench") -> None:
    calls = Calls()
    runs = await start(either, calls.coroutine, "ab")
    await runs[0].cancel()
    runs += await start(either, calls.coroutine, "cd")
    assert await outcomes(runs) == [CANCELLED, WELL, WELL, WELL]
    assert calls.made == [["b", "c", "d"]]


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_shutdown_interrupts_them_all_or_gives_them_back(
    kind: str, retries: int, either: "Bench"
) -> None:
    endless = Endless()
    runs = await start(either, getattr(endless, kind), "abc", retries=retries)
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


# --- What can't be ---


async def test_its_input_is_one_value_for_each_run(bench: "Bench") -> None:
    async def add(a: list[int], b: list[list[str]], c: list[Any]) -> list[Any]:
        return list(zip(a, b, c, strict=True))

    bench.app.function(batch=True)(add)
    schema = bench.app.functions["add"].input_schema
    assert schema["properties"]["a"] == {"type": "integer"}
    assert schema["properties"]["b"] == {"type": "array", "items": {"type": "string"}}
    run = await bench.start(add, {"a": 1, "b": ["x"], "c": None})
    assert (await run.end()).result == [1, ["x"], None]
    with pytest.raises(InvalidInput, match="a: "):
        await bench.start(add, {"a": [1], "b": [], "c": 0})


def test_a_signature_or_an_option_that_does_not_go_with_a_batch() -> None:
    def plain(word: str) -> list[str]:
        return [word]

    def default(word: list[str] = []) -> list[str]:  # noqa: B006 - what is refused
        return word

    def fits(word: list[str]) -> list[str]:
        return word

    app = penstock.App(store="memory:")
    for call, options in (
        (plain, {}),
        (default, {}),
        (fits, {"isolation": "process"}),
        (fits, {"queue": False}),
    ):
        with pytest.raises(ConfigError) as caught:
            app.function(batch=True, **options)(call)
        assert caught.value.hint
    assert app.functions == {}
