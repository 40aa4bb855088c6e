"""All processes leave: on SIGTERM, by force, and when their supervisor is no more."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from penstock.process import supervisor
from penstock.testing import ServerProcess, until

from ..functions import SOURCE
from ..servers import started
from .processes import READY_S, are_gone, is_gone, make_server, ready_pids, told

if TYPE_CHECKING:
    from tests.conftest import Api


async def test_sigterm_is_passed_on_once_and_all_leave_in_order(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("wait")
        await until(lambda: api.get(f"/api/runs/{run_id}"))
        leaving = asyncio.create_task(asyncio.to_thread(server.terminate))
        await until(lambda: len(told(server.output)) == 3)
        (tmp_path / "go").touch()
        assert await leaving == 0
        assert sorted(told(server.output)) == sorted(ready_pids(server.output))
        assert are_gone(ready_pids(server.output))
        assert "Traceback" not in server.output
        await asyncio.to_thread(server.restart)
        run = await api.ended(run_id)
        assert (run["state"], run["attempt"]) == ("succeeded", 1)


async def test_one_that_is_stuck_is_killed_after_its_time(
    write_app: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_app(SOURCE)
    async with make_server(tmp_path, 2, "--grace-s", "0") as server:
        stuck = ready_pids(server.output)[1]
        os.kill(stuck, signal.SIGSTOP)
        begun = time.monotonic()
        assert await asyncio.to_thread(server.terminate) == 0
        assert time.monotonic() - begun < supervisor.KILL_AFTER_S + 2
        assert f"Process {stuck} does not leave; it is killed." in server.output
        assert are_gone(ready_pids(server.output))


async def test_without_their_supervisor_all_leave_in_order(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("wait")
        await until(lambda: api.get(f"/api/runs/{run_id}"))
        pids = ready_pids(server.output)
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: len(told(server.output)) == 3, what="they notice")
        (tmp_path / "go").touch()
        await until(lambda: are_gone(pids), READY_S, "they leave")
        assert server.output.count("Stopped after") == 3
        await asyncio.to_thread(server.restart)
        assert (await api.ended(run_id))["state"] == "succeeded"


async def test_one_that_is_still_starting_notices_too(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, pathlib, time, penstock\napp = penstock.App()\n"
        "pathlib.Path('part').write_text(str(os.getpid()))\nos.rename('part', 'pid')\ntime.sleep(60)\n"
    )
    argv = [sys.executable, "-m", "penstock", "serve", "slow.py", "--port", "0", "--workers", "2"]
    with subprocess.Popen(argv, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        await until((tmp_path / "pid").exists, READY_S)
        process.kill()
    pid = int((tmp_path / "pid").read_text())
    await until(lambda: is_gone(pid), 5, "nobody is left behind")
