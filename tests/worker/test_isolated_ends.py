"""Functions in processes of their own: how they end, that they can be ended, and that nothing is left."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from penstock.errors import ConfigError
from penstock.events import SpanEnd
from penstock.protocol.coalesce import Fold
from penstock.testing import until
from penstock.worker.function import Function
from penstock.worker.isolation.children import Children

if TYPE_CHECKING:
    from tests.conftest import Started


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
    assert await run.outcome() == ("interrupted", "shutdown")
    assert time.monotonic() - before < 30
    await until(lambda: all(dead(process) for process in processes))


async def test_a_polite_signal_to_all_of_a_service_is_the_workers_to_heed(
    place: Path, functions: ModuleType, apart: Any
) -> None:
    run = await apart(functions.waits_for_go)
    for process in (await begun(run)).values[0]:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(process, number)
    (place / "go").touch()
    assert await run.outcome() == ("succeeded", "")


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
    await until(lambda: files() <= with_server)  # fewer: the memory guard opens some for a moment
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


async def test_the_import_can_begin_before_the_first_run(functions: ModuleType, tmp_path: Path) -> None:
    isolated = {"where": Function(functions.where, isolation="process")}
    children = Children(isolated, tmp_path)
    children.begin()
    await until(lambda: len(own_children()) == 1)
    await children.close()
    assert own_children() == []
    Children({"where": Function(functions.where)}, tmp_path).begin()
    assert own_children() == []
    with pytest.raises(ConfigError):
        Children(isolated | {"f": Function(functions.nested(), isolation="process")}, tmp_path).begin()
