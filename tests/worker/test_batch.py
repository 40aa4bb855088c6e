"""One call that serves many runs: what comes out for each, and who shares it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.errors import ConfigError, InvalidInput
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench, Started
    from tests.worker.conftest import Together

KINDS = ["coroutine", "async_generator", "function", "generator"]
GENERATORS = ["async_generator", "generator"]

WELL = ("succeeded", "")
CANCELLED = ("cancelled", "")


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


async def outcomes(runs: list["Started"]) -> list[tuple[str, str]]:
    return [await run.outcome() for run in runs]


async def texts(runs: list["Started"]) -> list[str]:
    return [(await run.fold()).text for run in runs]


# --- What comes out ---


@pytest.mark.parametrize("kind", KINDS)
async def test_each_run_gets_its_own_item_of_one_call(
    kind: str, either: "Bench", together: "Together"
) -> None:
    calls = Calls()
    runs = await together(either, getattr(calls, kind), "abc")
    assert await outcomes(runs) == [WELL] * 3
    assert calls.made == [["a", "b", "c"]]
    if kind in GENERATORS:
        assert await texts(runs) == ["A", "B", "C"]
        assert [(await run.end()).result for run in runs] == [None] * 3
    else:
        assert [(await run.end()).result for run in runs] == ["A", "B", "C"]


@pytest.mark.parametrize("kind", KINDS)
async def test_none_is_nothing_for_its_run(kind: str, bench: "Bench", together: "Together") -> None:
    calls = Calls(lambda words: [None, "b", None])
    runs = await together(bench, getattr(calls, kind), "abc")
    assert await outcomes(runs) == [WELL] * 3
    assert [len(await run.events()) for run in runs] == ([1, 2, 1] if kind in GENERATORS else [1, 1, 1])
    ends = [(await run.end()).result for run in runs]
    assert ends == [None, None if kind in GENERATORS else "b", None]


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_nothing_at_all_is_nothing_for_each(kind: str, bench: "Bench", together: "Together") -> None:
    runs = await together(bench, getattr(Calls(lambda words: None), kind), "abc")
    assert [(await run.end()).result for run in runs] == [None] * 3


async def test_a_generators_return_value_is_a_result_for_each(bench: "Bench", together: "Together") -> None:
    def generator(words: list[str]) -> Generator[tuple[str | None, ...], None, list[str]]:
        yield ("text ", "text ", "text ")
        yield ("more", None, "more")
        return [word.upper() for word in words]

    runs = await together(bench, generator, "abc")
    assert await texts(runs) == ["text more", "text ", "text more"]
    assert [(await run.end()).result for run in runs] == ["A", "B", "C"]


async def test_items_are_of_any_kind_and_each_stream_counts_its_own(
    bench: "Bench", together: "Together"
) -> None:
    async def generator(words: list[str]) -> AsyncIterator[list[Any]]:
        yield ["ä", {"a": 1}, b"raw"]
        yield ["öü", [2], None]
        yield ["!", 3, b"!"]

    first, second, third = [await run.fold() for run in await together(bench, generator, "abc")]
    assert first.text == "äöü!"
    assert second.values == [{"a": 1}, [2], 3]
    assert third.data == b"raw!"
    assert [fold.seq for fold in (first, second, third)] == [4, 4, 3]


async def test_cumulative_batches(bench: "Bench", together: "Together") -> None:
    def generator(words: list[str]) -> Iterator[list[Any]]:
        yield list(words)
        yield [word * 2 for word in words]

    folds = [await run.fold() for run in await together(bench, generator, "abc", cumulative=True)]
    assert [fold.value for fold in folds] == ["aa", "bb", "cc"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [["x"], ["x"] * 4, [], "abc", {"a": 1, "b": 2, "c": 3}, 3], ids=str)
async def test_what_is_not_a_value_for_each_fails_them_all(
    kind: str, wrong: Any, bench: "Bench", together: "Together"
) -> None:
    runs = await together(bench, getattr(Calls(lambda words: wrong), kind), "abc")
    for run in runs:
        end = await run.end()
        assert (end.state, (end.error or {})["code"]) == ("failed", "bad_yield")
        assert kind in (end.error or {})["message"]
        assert (end.error or {})["hint"]
        assert len(await run.events()) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_fails_them_all(kind: str, either: "Bench", together: "Together") -> None:
    def fail(words: list[str]) -> None:
        raise ValueError(words[0])

    runs = await together(either, getattr(Calls(fail), kind), "abc")
    assert await outcomes(runs) == [("failed", "exception")] * 3
    assert [((await run.end()).error or {})["message"] for run in runs] == ["ValueError: a"] * 3
    await until(lambda: either.running == 0)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_is_tried_again_for_each(kind: str, either: "Bench", together: "Together") -> None:
    failed: list[int] = []

    def fail_once(words: list[str]) -> list[str]:
        if not failed:
            failed.append(1)
            raise ValueError
        return words

    full = {"max_batch_size": 3, "max_wait_ms": 20_000}  # all in one call, however slow the machine
    runs = await together(either, getattr(Calls(fail_once), kind), "abc", retries=1, **full)
    assert await outcomes(runs) == [WELL] * 3
    assert [(await either.services.queue.get(run.id)).attempt for run in runs] == [2] * 3


# --- Who shares a call ---


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_more_than_a_call_takes_are_several_calls_in_order(
    kind: str, either: "Bench", together: "Together"
) -> None:
    calls = Calls()
    calls.gate.clear()
    runs = await together(either, getattr(calls, kind), "x", max_wait_ms=0)
    await until(lambda: calls.made == [["x"]])
    runs += await together(either, getattr(calls, kind), "abcdefgh")
    calls.gate.set()
    assert await outcomes(runs) == [WELL] * 9
    assert calls.made == [["x"], ["a", "b", "c"], ["d", "e", "f"], ["g", "h"]]
    assert calls.most == 1, "one place of the group"


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_a_call_takes_one_place_however_many_it_serves(
    kind: str, either: "Bench", together: "Together"
) -> None:
    calls = Calls()
    calls.gate.clear()
    runs = await together(either, getattr(calls, kind), "abcdefgh", concurrency_limit=2)
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
    last = await together(either, getattr(calls, kind), "i")
    assert await outcomes(runs[6:] + last) == [WELL] * 3
    assert (calls.most, len(calls.made)) == (2, 3)


async def test_one_that_is_not_full_waits_for_more_and_then_goes(
    either: "Bench", together: "Together"
) -> None:
    calls = Calls()
    began = time.monotonic()
    runs = await together(either, calls.coroutine, "ab", max_wait_ms=150)
    assert await outcomes(runs) == [WELL] * 2
    assert calls.made == [["a", "b"]]
    assert time.monotonic() - began >= 0.14


async def test_runs_of_another_function_of_the_group_are_not_mixed_in(
    either: "Bench", together: "Together"
) -> None:
    one, other = Calls(), Calls()
    options: Any = {"concurrency_id": "gpu", "max_wait_ms": 0}
    one.gate.clear()
    runs = await together(either, one.coroutine, "x", name="one", **options)
    await until(lambda: one.on == 1)
    for words, calls, name in (
        ("a", one, "one"),
        ("b", other, "other"),
        ("c", one, "one"),
        ("d", other, "other"),
    ):
        runs += await together(either, calls.coroutine, words, name=name, **options)
    one.gate.set()
    assert await outcomes(runs) == [WELL] * 5
    assert (one.made, other.made) == ([["x"], ["a", "c"]], [["b", "d"]])


async def test_one_key_takes_no_more_places_of_a_call_than_it_may(
    either: "Bench", together: "Together"
) -> None:
    calls = Calls()
    runs = await together(either, calls.coroutine, "aaab", concurrency_key="words", max_wait_ms=100)
    assert await outcomes(runs) == [WELL] * 4
    assert sorted(map(sorted, calls.made), key=len) == [["a"], ["a"], ["a", "b"]]


async def test_a_blocked_thread_that_served_many_holds_one_place(
    either: "Bench", together: "Together"
) -> None:
    calls = Calls()
    calls.gate.clear()
    runs = await together(either, calls.function, "abc", time_limit_s=0.05, stop_grace_s=0.01)
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


async def test_one_that_is_stopped_in_line_is_not_among_those_served(
    either: "Bench", together: "Together"
) -> None:
    calls = Calls()
    runs = await together(either, calls.coroutine, "ab")
    await runs[0].cancel()
    runs += await together(either, calls.coroutine, "cd")
    assert await outcomes(runs) == [CANCELLED, WELL, WELL, WELL]
    assert calls.made == [["b", "c", "d"]]


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
