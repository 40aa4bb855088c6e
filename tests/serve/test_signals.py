"""Ctrl-C, once and twice, and a hang-up of a terminal."""

import asyncio
import os
import pty
import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.testing import ServerProcess, until

from .readers import Reading
from .servers import make_server, started

if TYPE_CHECKING:
    from tests.conftest import Api

IN_TERMINAL = """
import os, sys
os.setsid()
terminal = os.open({!r}, os.O_RDWR)  # a session's first is its own from then on
os.dup2(terminal, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


async def waits(api: "Api") -> str:
    """A run that has begun, and goes on until it is let."""
    run_id = await api.submit("wait")
    await Reading(api, run_id).sees("before")
    return run_id


async def finishes(server: ServerProcess) -> None:
    """It lets its run end, though it is hung up on once more, and leaves."""
    await until(lambda: "Leaving" in server.output)
    os.kill(server.pid, signal.SIGHUP)
    (Path(str(server.cwd)) / "go").touch()
    await until(lambda: not server.running)
    assert server.kill() == 0


async def test_the_second_ctrl_c_ends_it_at_once(server: ServerProcess, connect: "type[Api]") -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("deaf")
        await until(lambda: "deaf is on" in server.output)
        os.kill(server.pid, signal.SIGINT)
        await until(lambda: "Leaving" in server.output)
        begun = time.monotonic()
        os.kill(server.pid, signal.SIGINT)
        await until(lambda: not server.running)
        assert time.monotonic() - begun < 4, "the grace time is 5 s"
        assert "Stopped at once" in server.output
        assert server.kill() == 130
        await asyncio.to_thread(server.restart)
        assert (await api.ended(run_id))["error"]["code"] == "worker_lost"


async def test_the_first_ctrl_c_is_a_clean_end(server: ServerProcess, connect: "type[Api]") -> None:
    async with started(server, connect) as api:
        assert (await api.ended(await api.submit("add", a=1)))["result"] == 2
        os.kill(server.pid, signal.SIGINT)
        await until(lambda: not server.running)
        assert server.kill() == 0
        assert "Traceback" not in server.output


async def test_a_hang_up_is_a_clean_end(server: ServerProcess, connect: "type[Api]") -> None:
    async with started(server, connect) as api:
        run_id = await waits(api)
        os.kill(server.pid, signal.SIGHUP)
        await finishes(server)
        assert "Stopped after" in server.output
        assert "Traceback" not in server.output
        await asyncio.to_thread(server.restart)
        assert (await api.ended(run_id))["state"] == "succeeded"


async def test_a_terminal_that_is_closed_is_a_clean_end(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    server.argv = [sys.executable, "-c", IN_TERMINAL.format(os.ttyname(theirs)), *server.argv]
    async with started(server, connect) as api:
        os.close(theirs)
        run_id = await waits(api)
        os.close(ours)
        await finishes(server)
        server.argv = make_server(tmp_path).argv
        await asyncio.to_thread(server.restart)
        assert (await api.ended(run_id))["state"] == "succeeded"


async def test_nohup_is_heeded(server: ServerProcess, connect: "type[Api]") -> None:
    server.argv = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *server.argv]
    async with started(server, connect) as api:
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert int(re.findall(r"SigIgn:\s*(\w+)", status)[0], 16) & 1 << signal.SIGHUP - 1
        os.kill(server.pid, signal.SIGHUP)
        assert (await api.ended(await api.submit("add", a=1)))["result"] == 2
        os.kill(server.pid, signal.SIGTERM)
        await until(lambda: "Leaving" in server.output)
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: not server.running)
        assert server.kill() == 0
