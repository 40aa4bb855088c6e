"""Two servers of one store: each sees the other's runs, and neither takes the other for dead too soon."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.events import End, decode
from penstock.testing import ServerProcess, until

from .functions import SOURCE
from .readers import Reading, folded
from .servers import make_server, started

if TYPE_CHECKING:
    from tests.conftest import Api


@asynccontextmanager
async def pair(
    folder: Path, connect: "type[Api]", *options: str
) -> "AsyncIterator[list[tuple[ServerProcess, Api]]]":
    """Two servers of one store."""
    servers = [make_server(folder, *options) for _ in range(2)]
    async with started(servers[0], connect) as one, started(servers[1], connect) as two:
        yield list(zip(servers, (one, two), strict=True))


def test_two_processes_share_one_store(server: ServerProcess, tmp_path: Path, connect: "type[Api]") -> None:
    """A reader of the one sees what the other's run writes, and stops it."""

    async def both() -> None:
        async with started(server, connect) as one, started(make_server(tmp_path), connect) as two:
            run_id = await one.submit("wait")
            readings = [Reading(api, run_id) for api in (one, two)]
            for reading in readings:
                await reading.sees("before")
            receipts: set[Any] = {
                (await api.post(f"/api/runs/{run_id}/cancel")).json()["cancel"] for api in (one, two)
            }
            assert receipts <= {"requested", "acknowledged", "stopped"}
            ends = [decode((await asyncio.wait_for(reading.task, 30))[-1].data) for reading in readings]
            assert ends[0] == ends[1]
            assert isinstance(ends[0], End)
            assert ends[0].state == "cancelled"

    asyncio.run(both())


async def test_nobody_is_lost_while_nobody_can_write(
    connect: "type[Api]", tmp_path: Path, write_app: Callable[[str], Path]
) -> None:
    """A lock that is held for longer than a lease keeps all from signing: that is nobody's death."""
    write_app(f"{SOURCE}\nfrom penstock.storage.sqlite import connection\nconnection.BUSY_TIMEOUT_S = 1")
    async with pair(tmp_path, connect, "--lease-s", "1.5") as both:
        runs = [(api, await api.submit("steps", number=number)) for _, api in both for number in range(3)]
        runs += [(api, await api.submit("log", steps=200)) for _, api in both]
        readings = [Reading(api, run_id) for api, run_id in runs]
        for reading in readings:
            await reading.sees('"text"')
        with closing(sqlite3.connect(tmp_path / "penstock.db", isolation_level=None, timeout=5)) as other:
            other.execute("BEGIN EXCLUSIVE")
            await asyncio.sleep(3)  # two leases
            other.execute("ROLLBACK")
        for reading, (api, run_id) in zip(readings, runs, strict=True):
            messages = await asyncio.wait_for(reading.task, 30)
            run = await api.ended(run_id)
            assert (run["state"], run["attempt"]) == ("succeeded", 1)
            assert not any('"reset"' in message.data for message in messages)
            if run["function"] == "steps":
                assert folded(messages).text == "".join([f"{step} " for step in range(60)])


async def test_a_server_that_overslept_does_not_go_on(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    first, second = [make_server(tmp_path, "--lease-s", "1.5") for _ in range(2)]
    lines = [tmp_path / f"log-{attempt}" for attempt in (1, 2, 3)]

    async def still() -> bool:
        size = lines[0].stat().st_size
        await asyncio.sleep(0.4)  # the time in which it would write twenty lines
        return lines[0].stat().st_size == size

    async with started(first, connect) as one:
        run_id = await one.submit("log")
        await until(lines[0].exists)  # before there is another who could have the run
        async with started(second, connect) as two:
            os.kill(first.pid, signal.SIGSTOP)
            await until(lines[1].exists, 15, "the other takes it over")
            os.kill(first.pid, signal.SIGCONT)
            await one.get("/healthz")
            await until(still, 5, "the first has noticed, though its run writes nothing")
            (tmp_path / "go").touch()
            run = await two.ended(run_id)
            assert (run["state"], run["attempt"]) == ("succeeded", 2)
            for api in (one, two):
                assert folded(await api.messages(run_id)).text == "attempt 2 "
            assert not lines[2].exists()
