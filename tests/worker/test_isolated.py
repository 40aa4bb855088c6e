"""Functions in processes of their own: what they can do, how they end, and that they can be ended."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from penstock.errors import ConfigError
from penstock.events import MAX_EVENT_BYTES, AnyEvent, SpanEnd
from penstock.protocol.coalesce import Fold
from penstock.testing import until
from penstock.worker.function import Function
from penstock.worker.isolation.children import Children

if TYPE_CHECKING:
    from tests.conftest import Bench, Started

HERE = Path(__file__).parent
KINDS = ["coroutine", "async_generator", "function", "generator"]


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


def dead(process: int) -> bool:
    """Whether it has ended, even if process 1 of this container buries nobody."""
    try:
        return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def own_children() -> list[int]:
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread may end meanwhile
            found += map(int, (task / "children").read_text().split())
    return found


def plain(events: list[AnyEvent]) -> list[AnyEvent]:
    """Without what differs from run to run."""
    names: dict[str | None, str | None] = {None: None}
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


# --- How it ends ---


@pytest.mark.parametrize(
    ("name", "code", "message", "before"),
    [
        ("raises", "exception", "ValueError: too much", "before"),
        ("yields_what_has_no_json", "bad_yield", "object", ""),
        ("yields_too_much", "event_too_large", "16777217 bytes", ""),
        ("exits", "process_died", "exited with code 3", "before"),
        ("exits_async", "process_died", "exited with code 3", "before"),
        ("exits_at_once", "process_died", "exited with code 3", "before"),
        ("crashes", "process_died", "SIGSEGV", "before"),
        ("is_killed", "process_died", "SIGKILL", "before"),
    ],
)
async def test_each_failure_has_its_code_and_loses_nothing_that_was_yielded(
    name: str, code: str, message: str, before: str, functions: ModuleType, apart: Any
) -> None:
    fold = await (await apart(getattr(functions, name))).fold()
    assert fold.text == before
    assert fold.end is not None
    assert fold.end.state == "failed"
    assert fold.end.error is not None
    assert fold.end.error["code"] == code
    assert message in fold.end.error["message"]


@pytest.mark.parametrize(("given", "code"), [(None, 0), (0, 0), ("a word", 1)])
async def test_sys_exit_means_what_it_always_means(
    given: Any, code: int, functions: ModuleType, apart: Any
) -> None:
    end = await (await apart(functions.exits, {"code": given})).end()
    assert end.error["code"] == "process_died"
    assert f"exited with code {code} before" in end.error["message"]


async def test_what_a_function_leaves_behind_ends_with_it(functions: ModuleType, apart: Any) -> None:
    end = await (await apart(functions.leaves_others_behind)).end()
    assert end.state == "succeeded"
    await until(lambda: dead(end.result))


# --- How it is stopped ---


async def begun(run: "Started") -> Fold:
    return await run.see(lambda fold: fold.events)


@pytest.mark.parametrize("name", ["heeds", "heeds_at_its_next_yield", "looks_whether_to_stop"])
async def test_who_heeds_a_stop_has_time_to_clean_up(
    name: str, functions: ModuleType, apart: Any, place: Path
) -> None:
    run = await apart(getattr(functions, name), stop_grace_s=60)
    await begun(run)
    await run.cancel()
    fold = await run.fold()
    assert fold.end is not None
    assert (fold.end.state, fold.end.error, fold.end.result) == ("cancelled", None, None)
    assert (place / "cleaned").exists()
    if name == "heeds_at_its_next_yield":
        assert any(isinstance(event, SpanEnd) for event in fold.events), "its last events came through"


DEAF = ["sleeps", "blocks_its_loop", "swallows", "holds_the_interpreter", "starts_others"]


@pytest.mark.parametrize("name", DEAF)
async def test_who_does_not_heed_a_stop_is_killed_and_its_place_is_free(
    name: str, functions: ModuleType, apart: Any
) -> None:
    group = {"concurrency_id": "one", "concurrency_limit": 1}
    run = await apart(getattr(functions, name), stop_grace_s=0.1, **group)
    second = await apart(functions.where, **group)
    fold = await begun(run)
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    assert (await second.end()).state == "succeeded"
    await until(lambda: apart.bench.running == 0)
    processes = fold.values[0] if name == "starts_others" else []
    await until(lambda: all(dead(process) for process in processes))


@pytest.mark.parametrize("stop", [True, False])
async def test_a_process_that_can_not_end_is_killed_when_its_function_has_ended(
    stop: bool, functions: ModuleType, apart: Any
) -> None:
    run = await apart(functions.leaves_a_thread_behind, {"wait": stop})
    process = (await begun(run)).values[0]
    if stop:
        await run.cancel()
    assert await run.outcome() == (("cancelled" if stop else "succeeded"), "")
    await until(lambda: dead(process))


async def test_a_stop_is_not_heard_before_its_grace_is_over_by_who_is_deaf(
    functions: ModuleType, apart: Any
) -> None:
    run = await apart(functions.sleeps, stop_grace_s=0.5)
    await begun(run)
    before = time.monotonic()
    await run.cancel()
    await run.end()
    assert time.monotonic() - before >= 0.5


@pytest.mark.parametrize("pause_s", [0, 0.001, 0.003, 0.01])
async def test_a_stop_may_come_at_any_moment_of_the_start(
    pause_s: float, functions: ModuleType, apart: Any
) -> None:
    await (await apart(functions.where)).end()
    run = await apart(functions.sleeps, stop_grace_s=0)
    await until(lambda: apart.bench.running == 1)
    await asyncio.sleep(pause_s)  # not to wait for something: to hit different moments
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    await until(lambda: apart.bench.running == 0)


WAITS = """
import time
from pathlib import Path

Path("importing").touch()
while not Path("go").exists():
    time.sleep(0.005)
if Path("go").read_text():
    raise RuntimeError(Path("go").read_text())

def function():
    return 1
"""


@pytest.fixture
def waiting(place: Path, write_module: Callable[[str, str], ModuleType]) -> Callable[[], int]:
    """A function in a module whose import, everywhere but here, lasts until there is a file `go`."""
    (place / "go").touch()
    module = write_module("waiting", WAITS)
    for file in ("go", "importing"):
        (place / file).unlink()
    return module.function  # type: ignore[no-any-return]


async def test_a_stop_while_the_module_is_imported_ends_the_run_and_not_the_import(
    place: Path, apart: Any, waiting: Callable[[], int]
) -> None:
    stopped, other = [await apart(waiting, concurrency_limit=2) for _ in range(2)]
    await until((place / "importing").exists)
    await stopped.cancel()
    assert await stopped.outcome() == ("cancelled", "")
    (place / "go").touch()
    assert (await other.end()).result == 1


async def test_a_shutdown_waits_for_no_import(
    place: Path, benches: Callable[..., Any], waiting: Callable[[], int]
) -> None:
    bench = await benches(grace_s=0.2)
    await bench.start(waiting, isolation="process")
    await until((place / "importing").exists)
    (importer,) = own_children()
    await bench.app.stop()
    assert dead(importer)


async def test_a_shutdown_shortens_the_grace(functions: ModuleType, apart: Any) -> None:
    run = await apart(functions.starts_others, stop_grace_s=60)
    processes = (await begun(run)).values[0]
    before = time.monotonic()
    await apart.bench.services.worker.drain(0.4)
    record = await apart.bench.services.queue.get(run.id)
    assert (record.state, (record.error or {})["code"]) == ("interrupted", "shutdown")
    assert time.monotonic() - before < 10
    await until(lambda: all(dead(process) for process in processes))


async def test_a_polite_signal_to_all_of_a_service_is_the_workers_to_heed(
    place: Path, functions: ModuleType, apart: Any
) -> None:
    run = await apart(functions.waits_for_go)
    for process in (await begun(run)).values[0]:
        os.kill(process, signal.SIGTERM)
        os.kill(process, signal.SIGINT)
    (place / "go").touch()
    assert await run.outcome() == ("succeeded", "")


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


# --- What is left ---


async def test_fifty_runs_leave_nothing_behind(functions: ModuleType, benches: Callable[..., Any]) -> None:
    def files() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    bench = await benches()
    before, children = files(), own_children()
    await (await bench.start(functions.where, isolation="process", concurrency_limit=5)).end()
    (server,) = set(own_children()) - set(children)
    with_server = files()
    runs = [await bench.start(functions.where) for _ in range(50)]
    processes = [(await run.end()).result[0] for run in runs]
    await until(lambda: files() == with_server)
    await until(lambda: not any(Path(f"/proc/{process}").exists() for process in processes))
    await bench.app.stop()
    assert not Path(f"/proc/{server}").exists(), "it was waited for"
    assert own_children() == children
    assert files() <= before


async def test_if_the_fork_server_dies_its_runs_fail_and_the_next_gets_another(
    functions: ModuleType, apart: Any
) -> None:
    run = await apart(functions.starts_others)
    processes = (await begun(run)).values[0]
    (server,) = own_children()
    os.kill(server, signal.SIGKILL)
    assert await run.outcome() == ("failed", "process_died")
    await until(lambda: all(dead(process) for process in processes))
    assert (await (await apart(functions.where)).end()).state == "succeeded"
    await until(lambda: len(own_children()) == 1)


async def test_what_can_not_be_imported_fails_its_runs_with_the_reason(
    place: Path, apart: Any, waiting: Callable[[], int]
) -> None:
    (place / "go").write_text("only once")
    end = await (await apart(waiting)).end()
    assert end.error["code"] == "process_died"
    assert "RuntimeError: only once" in end.error["message"]
    assert "__main__" in end.error["hint"]
    (place / "go").write_text("")
    assert (await (await apart(waiting)).end()).result == 1
    await until(lambda: len(own_children()) == 1)


async def test_the_import_can_begin_before_the_first_run(functions: ModuleType) -> None:
    isolated = {"where": Function(functions.where, isolation="process")}
    children = Children(isolated)
    children.begin()
    await until(lambda: len(own_children()) == 1)
    await children.close()
    assert own_children() == []
    Children({"where": Function(functions.where)}).begin()
    assert own_children() == []
    with pytest.raises(ConfigError):
        Children(isolated | {"f": Function(functions.nested(), isolation="process")}).begin()
