"""Functions in processes of their own: what they can do, and what goes through the pipe."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from penstock.events import MAX_EVENT_BYTES, AnyEvent, End, Progress, Replace, SpanEnd
from penstock.protocol.coalesce import coalesce
from penstock.worker.isolation.pipe import decode_items, encode

if TYPE_CHECKING:
    from tests.conftest import Bench

KINDS = ["coroutine", "async_generator", "function", "generator"]


def plain(events: list[AnyEvent]) -> list[AnyEvent]:
    """Without what differs from run to run."""
    names: dict[str | None, str | None] = {None: None}
    for event in events:
        if isinstance(event, SpanEnd | End):
            event.first_ms = None
    return [
        msgspec.structs.replace(event, at_ms=0, span=names.setdefault(event.span, f"span {len(names)}"))
        for event in events
    ]


# --- What it can do ---


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_of_function_can_be_isolated(kind: str, functions: ModuleType, apart: Any) -> None:
    run = await apart(getattr(functions, kind), {"value": {"a": [1, None]}})
    fold = await run.fold()
    assert fold.end is not None
    assert (fold.end.state, fold.end.error) == ("succeeded", None)
    yields = kind.endswith("generator")
    assert fold.values == ([{"a": [1, None]}] if yields else [])
    assert fold.end.result == {"generator": "returned", "async_generator": None}.get(kind, {"a": [1, None]})


async def test_a_callable_object_and_a_partial_go_along_with_what_is_in_them(
    functions: ModuleType, apart: Any
) -> None:
    assert (await (await apart(functions.called, {"value": "x"}, name="called")).fold()).text == "called x"
    assert (await (await apart(functions.part, name="part")).end()).result == "of a partial"


async def test_every_event_is_what_it_is_without_isolation(
    functions: ModuleType, apart: Any, bench: "Bench"
) -> None:
    def everything(events: list[AnyEvent]) -> list[AnyEvent]:
        return [event for event in plain(events) if not (hasattr(event, "value") and "id" in event.value)]

    isolated = await apart(functions.everything, rate=0)
    usual = await bench.start(functions.everything, rate=0)
    events = await isolated.events()
    assert everything(events) == everything(await usual.events())
    assert any(isinstance(event, SpanEnd) and event.output == 2**70 for event in events)
    fold = await isolated.fold()
    assert fold.values[-1] == {"attempt": 1, "session": None, "key": None, "id": isolated.id}


async def test_cumulative_values_replace_each_other(functions: ModuleType, apart: Any) -> None:
    run = await apart(functions.growing, cumulative=True)
    fold = await run.fold()
    assert fold.value == {"text": "".join(f"{number} " for number in range(20))}
    assert fold.values == []


def test_what_comes_from_a_process_merges_as_elsewhere() -> None:
    row = [
        Replace("a"), Replace(delta=[["append", [], "b"]]), Replace(None), Replace({"c": "d"}),
        Replace(delta=[["append", ["c"], "e"]]), Progress(1, 2), Progress(2, 2),
    ]  # fmt: skip
    items: list[Any] = decode_items(b"".join(map(encode, row)))
    for seq, item in enumerate(items, start=1):
        item.seq = seq
    merged: list[Any] = coalesce(items)
    assert [(type(event).__bases__[0], event.n) for event in merged] == [(Replace, 5), (Progress, 2)]
    assert (merged[0].value, merged[1].done) == ({"c": "de"}, 2)


@pytest.mark.parametrize("size", [1_000_000, MAX_EVENT_BYTES])
async def test_large_events_come_through(size: int, functions: ModuleType, apart: Any) -> None:
    fold = await (await apart(functions.large, {"size": size})).fold()
    assert (fold.text, fold.values) == ("." * size, [["." * (size - 4)]])


async def test_another_attempt_goes_on_from_the_checkpoint_of_one_that_died(
    functions: ModuleType, apart: Any
) -> None:
    run = await apart(functions.counting, {"to": 6, "die_at": 3}, on_crash="retry")
    fold = await run.fold()
    assert fold.end is not None
    assert fold.end.state == "succeeded"
    assert fold.text == "0 1 2 3 4 5 "
    assert (await apart.bench.services.queue.get(run.id)).attempt == 2


async def test_each_run_has_its_own_process_group_and_session_and_the_module_is_imported_once(
    functions: ModuleType, apart: Any
) -> None:
    first, second = [(await (await apart(functions.where)).end()).result for _ in range(2)]
    assert first[0] != second[0]
    for process, parent, session, group, importer in (first, second):
        assert session == group == process
        assert importer == parent
        assert os.getpid() not in (process, parent)
    assert first[1] == second[1]


DRAWS = """
import random
import sys
import types

# As numpy has it, whose generator is made with it, and not seeded anew after a fork.
generator = random.Random()
sys.modules["numpy.random"] = types.SimpleNamespace(seed=generator.seed)

def draw():
    return generator.random()
"""


async def test_what_was_made_at_the_import_by_chance_is_made_anew(
    apart: Any, write_module: Callable[[str, str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "numpy.random", None)
    draw = write_module("drawing", DRAWS).draw
    drawn = {(await (await apart(draw)).end()).result for _ in range(3)}
    assert len(drawn) == 3


# --- The pipe ---


class Gate:
    """Before the store's appends."""

    def __init__(self, bench: "Bench", monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = asyncio.Event()
        append = bench.services.store.append

        async def later(*given: Any) -> Any:
            await self.open.wait()
            return await append(*given)

        monkeypatch.setattr(bench.services.store, "append", later)


async def standstill(file: Path) -> int:
    """What is in the file once nobody writes to it any more."""
    last, since = "", time.monotonic()
    while time.monotonic() - since < 0.3 or not last:
        if (now := file.read_text() if file.exists() else "") != last:
            last, since = now, time.monotonic()
        await asyncio.sleep(0.01)
    return int(last)


@pytest.mark.parametrize("name", ["many", "many_async"])
async def test_a_function_waits_while_the_store_is_behind(
    name: str, functions: ModuleType, apart: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(apart.bench, monkeypatch)
    run = await apart(getattr(functions, name), {"count": 300})
    assert await standstill(place / "yielded") < 100, "of its 3 MB there is less than 1 MB on its way"
    gate.open.set()
    fold = await run.fold()
    assert fold.text == "".join(f"{number} " + "." * 10_000 for number in range(300))


async def test_calls_that_can_not_wait_are_refused_while_the_store_is_behind(
    functions: ModuleType, apart: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(apart.bench, monkeypatch)
    run = await apart(functions.logs_without_a_pause)
    assert 100 < await standstill(place / "yielded") < 1000
    gate.open.set()
    assert await run.outcome() == ("failed", "buffer_full")


@pytest.mark.parametrize("name", ["many", "many_async"])
async def test_who_waits_for_the_store_can_be_stopped(
    name: str, functions: ModuleType, apart: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(apart.bench, monkeypatch)
    run = await apart(getattr(functions, name), {"count": 300}, stop_grace_s=60)
    await standstill(place / "yielded")
    await run.cancel()
    gate.open.set()
    assert await run.outcome() == ("cancelled", "")
