"""How a server that was killed comes back: what it had been executing, and what had been waiting."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from penstock.events import End, decode
from penstock.testing import ServerProcess

from .functions import AGAIN
from .readers import Reading, folded
from .servers import started

if TYPE_CHECKING:
    from tests.conftest import Api


async def test_a_restart_settles_lost_runs_at_once(server: ServerProcess, connect: "type[Api]") -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("wait")
        reading = Reading(api, run_id)
        await reading.sees("before")
        await asyncio.to_thread(server.kill)
        with pytest.raises(httpx.RemoteProtocolError):
            await reading.task
        begun = time.monotonic()
        await asyncio.to_thread(server.restart)
        cursor = reading.messages[-1].id
        messages = await api.messages(run_id, cursor)
        assert time.monotonic() - begun < 9, "a lease lasts 10 s"
        (end,) = [decode(message.data) for message in messages if message.event == "message"]
        assert isinstance(end, End)
        assert (end.seq, end.state) == (2, "interrupted")
        assert end.error is not None
        assert end.error["code"] == "worker_lost"
        assert end.error["hint"]
        run = await api.ended(run_id)
        assert (run["state"], run["error"]["code"], run["attempt"]) == ("interrupted", "worker_lost", 1)


async def test_a_run_that_may_be_repeated_is(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("again")
        reading = Reading(api, run_id)
        await reading.sees("attempt 1")
        await asyncio.to_thread(server.kill)
        await asyncio.gather(reading.task, return_exceptions=True)
        (tmp_path / "go").touch()
        await asyncio.to_thread(server.restart)
        rest = await api.messages(run_id, reading.messages[-1].id)
        events = [decode(message.data) for message in rest if message.event == "message"]
        assert msgspec.to_builtins(events[0])["type"] == "reset"
        assert msgspec.to_builtins(events[0])["to"] == 0
        assert folded([*reading.messages, *rest]).text == f"attempt 2 {AGAIN}"
        assert folded(await api.messages(run_id)).text == f"attempt 2 {AGAIN}"
        assert (await api.ended(run_id))["attempt"] == 2


async def test_what_was_queued_is_run_after_a_kill(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        runs = [await api.submit("add", a=number) for number in range(20)]
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.restart)
        states = [await api.ended(run) for run in runs]
        assert all(
            run["result"] == number + 1 or run["error"]["code"] == "worker_lost"
            for number, run in enumerate(states)
        )
        assert sum(run["state"] == "interrupted" for run in states) <= 1, "only what was running is lost"
