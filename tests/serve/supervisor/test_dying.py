"""A process that dies is followed by another, unless none can start any more."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.process import supervisor
from penstock.process.supervisor import restart_delay_s
from penstock.testing import ServerProcess, until

from ..functions import SOURCE
from ..servers import started
from .processes import READY_S, is_gone, ready_pids

if TYPE_CHECKING:
    from tests.conftest import Api


async def test_one_that_is_killed_is_followed_by_another(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("again")
        victims = ready_pids(server.output)
        os.kill(victims[0], signal.SIGKILL)
        await until(lambda: len(ready_pids(server.output)) == 4, READY_S, "another is ready")
        assert f"Process {victims[0]} was killed by SIGKILL" in server.output
        os.kill(victims[1], signal.SIGKILL)
        os.kill(victims[2], signal.SIGKILL)
        await until(lambda: len(ready_pids(server.output)) == 6, READY_S, "two more are ready")
        (tmp_path / "go").touch()
        run = await api.ended(run_id)
        assert run["state"] == "succeeded"
        assert run["attempt"] in (2, 3), "the one that took it up may have been the next to die"
        assert server.output.count("Penstock is ready at") == 1


async def test_one_that_was_told_to_leave_by_somebody_else_is_followed_by_another(
    server: ServerProcess, connect: "type[Api]"
) -> None:
    async with started(server, connect):
        first = ready_pids(server.output)[0]
        os.kill(first, signal.SIGTERM)
        await until(lambda: len(ready_pids(server.output)) == 4, READY_S)
        assert f"Process {first} ended with 0" in server.output


async def test_what_the_functions_of_a_killed_process_had_started_is_ended(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        await api.submit("keep", name="sleeper")
        sleeper = tmp_path / "sleeper"
        await until(lambda: sleeper.exists() and sleeper.read_text())
        pid = int(sleeper.read_text())
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert parent in ready_pids(server.output)
        os.kill(parent, signal.SIGKILL)
        await until(lambda: is_gone(pid))


def test_waits_between_quick_deaths_grow_to_a_bound() -> None:
    delays = [restart_delay_s(deaths) for deaths in range(100)]
    assert delays[:2] == [0, 0], "an accident is followed at once"
    assert delays[2] == supervisor.RESTART_S[0]
    assert delays == sorted(delays)
    assert delays[-1] == supervisor.RESTART_S[1]


async def test_one_that_dies_at_once_again_and_again_is_waited_for(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path, write_app: Callable[[str], Path]
) -> None:
    async with started(server, connect) as api:
        write_app("import os\nwith open('tries', 'a') as tries:\n    tries.write('x')\nos._exit(9)")
        os.kill(ready_pids(server.output)[0], signal.SIGKILL)
        await until(lambda: "another starts in 0.5 s" in server.output, READY_S)
        await until(lambda: "another starts in 1 s" in server.output, READY_S)
        assert (tmp_path / "tries").read_text().startswith("xx")
        assert (await api.get("/healthz")).status_code == 200
        write_app(SOURCE)
        await until(lambda: len(ready_pids(server.output)) == 4, READY_S)
        assert await asyncio.to_thread(server.terminate) == 0


async def test_when_the_last_is_dead_and_none_can_start_it_is_over(
    server: ServerProcess, connect: "type[Api]", write_app: Callable[[str], Path]
) -> None:
    async with started(server, connect):
        write_app("raise ValueError('boom')")
        for pid in ready_pids(server.output):
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not server.running, READY_S)
        assert server.kill() == 2
        assert "app.py can't be imported" in server.output
