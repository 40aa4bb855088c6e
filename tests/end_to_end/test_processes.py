"""Three processes behind one socket lose one under twenty readers, or are replaced: nobody misses an event."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from penstock.testing import ServerProcess, until

from . import stories
from .crowd import LONG_PAUSE_MS, Crowd, attend, busiest, check


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    options = ("--workers", "3", "--grace-s", "20", "--store", f"sqlite:///{tmp_path / 'runs.db'}")
    async with ServerProcess(str(stories.FILE), *options, cwd=tmp_path) as server:
        yield server


def pids(server: ServerProcess) -> list[int]:
    return [int(pid) for pid in re.findall(r"Process (\d+) is ready", server.output)]


async def test_one_that_is_killed_under_twenty_readers_loses_nothing(
    server: ServerProcess, tmp_path: Path, seed: int
) -> None:
    async def kill(crowd: Crowd) -> None:
        await crowd.sees(100)
        os.kill(busiest(pids(server)), signal.SIGKILL)

    crowd = await attend(server.url, Random(seed), kill)
    assert await asyncio.to_thread(server.terminate) == 0
    await check(crowd, tmp_path / "runs.db")
    assert crowd.cut, "it must have hit a reader, or nothing was shown"
    for run in crowd.interrupted:
        assert run["error"]["code"] == "worker_lost"


async def test_a_restart_under_twenty_readers_loses_nothing(
    server: ServerProcess, tmp_path: Path, seed: int
) -> None:
    async def restart(crowd: Crowd) -> None:
        await crowd.sees(50)
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: "All processes are new" in server.output, 30)

    crowd = await attend(server.url, Random(seed), restart, LONG_PAUSE_MS)
    assert await asyncio.to_thread(server.terminate) == 0
    await check(crowd, tmp_path / "runs.db")
    assert crowd.cut, "some were sent on by a process that left"
    assert not crowd.interrupted, "each had its grace time"
    assert not crowd.repeated
