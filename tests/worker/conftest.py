"""What tests of the worker share: both stores, batches, and functions that run in another process."""

import contextlib
import importlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Bench, Started

HERE = Path(__file__).parent

TOGETHER: Any = {"batch": True, "max_batch_size": 3, "max_wait_ms": 60_000}
"""A call begins when three runs are there, and not before."""

Together = Callable[..., Awaitable[list["Started"]]]


@pytest.fixture(params=["memory", "sqlite"])
async def either(
    request: pytest.FixtureRequest, tmp_path: Path, make_bench: "type[Bench]"
) -> "AsyncIterator[Bench]":
    """A bench over each store."""
    store = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}"
    async with make_bench(store=store) as bench:
        yield bench


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance has it that no attempt waits."""
    monkeypatch.setattr("penstock.worker.executor.random.random", lambda: 0.0)


@pytest.fixture
def together() -> Together:
    """`await together(bench, call, "abc", …)` starts a run for each letter; a call serves three of them."""

    async def start(bench: "Bench", call: Any, words: str, **options: Any) -> list["Started"]:
        return [await bench.start(call, {"words": word}, **(TOGETHER | options)) for word in words]

    return start


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, of the functions too."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of what is run here, found as a user's would be."""
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("isolated_functions")


@pytest.fixture
def write_module(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], ModuleType]:
    """`write_module(name, source)` makes a module in the working folder, and imports it for this test."""
    monkeypatch.syspath_prepend(place)

    def write(name: str, source: str) -> ModuleType:
        (place / f"{name}.py").write_text(source)
        monkeypatch.setitem(sys.modules, name, None)  # so that it is forgotten at the end
        del sys.modules[name]
        return importlib.import_module(name)

    return write


@pytest.fixture
async def benches(place: Path, make_bench: Any) -> AsyncIterator[Callable[..., Any]]:
    """Makes benches in the working folder, whose stores are slow to nobody but who asks for it."""
    async with contextlib.AsyncExitStack() as stack:
        yield lambda **settings: stack.enter_async_context(make_bench(**settings))


@pytest.fixture
async def apart(benches: Callable[..., Any]) -> Callable[..., Any]:
    """`await apart(function, input, …)` starts a run of it in a process of its own."""
    bench = await benches()

    def start(call: Callable[..., Any], given: dict[str, Any] | None = None, **options: Any) -> Any:
        return bench.start(call, given, **{"isolation": "process"} | options)

    start.bench = bench  # type: ignore[attr-defined]
    return start
