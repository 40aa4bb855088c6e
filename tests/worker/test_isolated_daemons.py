"""What functions in processes of their own start in other sessions: it ends with them, and nothing else does."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from penstock.events import SpanEnd
from penstock.memory.processes import children_of
from penstock.protocol.coalesce import Fold
from penstock.testing import until
from penstock.worker.isolation.descendants import Process, kill_below, kill_stray

if TYPE_CHECKING:
    from tests.conftest import Started


def dead(process: int) -> bool:
    """Whether it has ended, even if process 1 of this container buries nobody."""
    try:
        return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def processes_of(run: "Started") -> list[int]:
    """What it says that it consists of: itself first."""

    def told(fold: Fold) -> list[Any]:
        return [event.output for event in fold.events if isinstance(event, SpanEnd)]

    processes: list[int] = told(await run.see(told))[0]
    assert len(processes) == 5
    return processes


async def gone(processes: list[int]) -> None:
    await until(lambda: all(dead(process) for process in processes), what="all are dead")


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process of ours, in a session of its own."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process.pid
        process.kill()


async def test_a_kill_reaches_every_session(functions: ModuleType, apart: Any) -> None:
    run = await apart(functions.starts_daemons, stop_grace_s=0.1)
    processes = await processes_of(run)
    assert not any(dead(process) for process in processes)
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    executor = apart.bench.services.worker._executor
    await until(lambda: not (executor.active or executor.left_behind))
    assert all(dead(process) for process in processes), "before its place is free"


@pytest.mark.parametrize("end", ["return", "exit", "kill"])
async def test_what_left_the_group_ends_with_a_function_that_ends_by_itself(
    end: str, functions: ModuleType, apart: Any
) -> None:
    run = await apart(functions.starts_daemons, {"end": end})
    processes = await processes_of(run)
    assert (await run.end()).state == ("succeeded" if end == "return" else "failed")
    await gone(processes)


@pytest.mark.parametrize("end", ["", "return", "exit"])
async def test_what_other_runs_have_started_lives_on(
    end: str, functions: ModuleType, apart: Any, sleeper: int
) -> None:
    both = [
        await apart(functions.starts_daemons, {"end": how}, stop_grace_s=0.1, concurrency_limit=2)
        for how in (end, "")
    ]
    one, other = [await processes_of(run) for run in both]
    await both[0].cancel()
    await both[0].end()
    await gone(one)
    assert not any(dead(process) for process in other)
    await both[1].cancel()
    await both[1].end()
    await gone(other)
    assert not dead(sleeper)


async def test_a_shutdown_kills_in_every_session(functions: ModuleType, apart: Any) -> None:
    processes = await processes_of(await apart(functions.starts_daemons))
    await apart.bench.services.worker.drain(0.4)
    await gone(processes)


async def test_if_the_fork_server_dies_every_session_does(functions: ModuleType, apart: Any) -> None:
    run = await apart(functions.starts_daemons)
    processes = await processes_of(run)
    (server,) = [child for child in children_of(os.getpid()) if processes[0] in children_of(child)]
    os.kill(server, signal.SIGKILL)
    assert await run.outcome() == ("failed", "process_died")
    await gone(processes)


IMPORTS = """
import os, penstock
from pathlib import Path
from isolated_functions import apart, bare, daemon, starts_daemons

if not Path("own").exists():
    Path("own").touch()
else:
    Path("own").write_text(" ".join(map(str, [*apart(), daemon(bare)])))

def stays(run: penstock.Run):
    starts_daemons(run)

def crashes():
    yield apart()
    os._exit(3)
"""


async def test_what_the_module_started_when_it_was_imported_lives_on(
    functions: ModuleType, place: Path, write_module: Callable[[str, str], ModuleType], apart: Any
) -> None:
    module = write_module("imports", IMPORTS)
    stopped = await apart(module.stays, stop_grace_s=0.1)
    processes = await processes_of(stopped)
    own = [int(number) for number in (place / "own").read_text().split()]
    assert len(own) == 4
    try:
        await stopped.cancel()
        await stopped.end()
        await gone(processes)
        crashed = await apart(module.crashes)
        *programs, fork = (await crashed.see(lambda fold: fold.values)).values[0]
        own.append(fork)  # which can't be told from what the module has forked
        await crashed.end()
        await gone(programs)
        assert not any(dead(process) for process in own)
    finally:
        for process in own:
            os.kill(process, signal.SIGKILL)


# --- Whose id it is ---


def test_a_process_whose_id_is_anothers_now_is_left_alone(sleeper: int) -> None:
    was = Process.named(sleeper)
    kill_stray(was._replace(started=was.started - 1))
    me = Process.named(os.getpid())
    assert kill_below([me._replace(started=me.started - 1)])
    assert kill_below([me], lambda _child: False)
    assert not dead(sleeper)


async def test_a_stray_is_killed_with_what_is_below_it(sleeper: int) -> None:
    kill_stray(Process.named(sleeper))
    await until(lambda: dead(sleeper))
    kill_stray(Process(sleeper, 1))


@pytest.mark.parametrize("patience_s", [0, 0.05])
async def test_what_can_not_be_killed_in_time_is_not_waited_for(patience_s: float) -> None:
    """At every pass one is killed, and there is always another."""
    children: list[subprocess.Popen[bytes]] = []

    def breed(child: int) -> bool:
        if not children or children[-1].pid == child:
            children.append(subprocess.Popen(["sleep", "60"]))
        return any(other.pid == child for other in children)

    children.append(subprocess.Popen(["sleep", "60"]))
    try:
        assert not await asyncio.to_thread(kill_below, [Process.named(os.getpid())], breed, patience_s)
    finally:
        for process in children:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
