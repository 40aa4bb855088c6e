"""SIGHUP: one process after the other is replaced, and nobody is refused."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from penstock.testing import ServerProcess, until

from ..functions import SOURCE
from ..servers import started
from .processes import READY_S, are_gone, ready_pids, told

if TYPE_CHECKING:
    from tests.conftest import Api


class Load:
    """Clients of every habit that go on for as long as they are let, and write down what they are answered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers = 0
        self.refused: list[str] = []
        self.pids: set[int] = set()
        self.over = False

    async def new_connections(self) -> None:
        while not self.over:
            async with self._client() as client:
                await self._ask(client)

    async def one_connection(self, pause_s: float) -> None:
        async with self._client() as client:
            while not self.over:
                await self._ask(client)
                await asyncio.sleep(pause_s)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=15, trust_env=False)

    async def _ask(self, client: httpx.AsyncClient) -> None:
        try:
            answer = await client.post("/api/runs", json={"function": "pid", "input": {}})
            if answer.status_code == 202:
                answer = await client.get("/readyz")
        except httpx.TransportError as error:
            self.refused.append(repr(error))
            return
        self.answers += 1
        if answer.status_code >= 300:
            self.refused.append(answer.text)


async def test_a_restart_refuses_no_request(
    server: ServerProcess, connect: "type[Api]", write_app: Callable[[str], Path], tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        load = Load(server.url)
        async with asyncio.TaskGroup() as tasks:
            for pause_s in (0, 0.01, 0.05, 0.1, 0.2):
                tasks.create_task(load.one_connection(pause_s))
                tasks.create_task(load.new_connections())
            await until(lambda: load.answers > 20)
            old = ready_pids(server.output)
            write_app(SOURCE.replace("return os.getpid()", "return -1"))
            os.kill(server.pid, signal.SIGHUP)
            await until(lambda: "All processes are new" in server.output, READY_S)
            before = load.answers
            await until(lambda: load.answers > before + 20)
            load.over = True
        assert load.refused == []
        assert are_gone(old)
        assert sorted(told(server.output)) == sorted(old), "each was told once"
        assert (await api.ended(await api.submit("pid")))["result"] == -1, "the new code is served"
        (tmp_path / "go").touch()
        assert await asyncio.to_thread(server.terminate) == 0


async def test_a_restart_leaves_what_runs_its_grace_time(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("wait")
        async with api.stream("GET", f"/api/runs/{run_id}/events") as reading:
            pieces = reading.aiter_text()
            assert "retry" in await anext(pieces)
            rest = asyncio.create_task(_joined(pieces))
            executes = await until(lambda: (tmp_path / "waits").exists() and (tmp_path / "waits").read_text())
            os.kill(server.pid, signal.SIGHUP)
            # They leave one by one, and the reader's process may be another than the run's, before it or after.
            await until(lambda: int(executes) in told(server.output), READY_S)
            (tmp_path / "go").touch()
            text = await asyncio.wait_for(rest, READY_S)
        assert "event: draining" in text or '"succeeded"' in text
        run = await api.ended(run_id)
        assert (run["state"], run["attempt"]) == ("succeeded", 1)


async def _joined(pieces: AsyncIterator[str]) -> str:
    return "".join([piece async for piece in pieces])


async def test_a_restart_with_code_that_does_not_start_changes_nothing(
    server: ServerProcess, connect: "type[Api]", write_app: Callable[[str], Path]
) -> None:
    async with started(server, connect) as api:
        write_app("raise ValueError('boom')")
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: "the restart ends here" in server.output, READY_S)
        assert "ValueError: boom" in server.output
        assert not told(server.output)
        assert (await api.get("/healthz")).status_code == 200
        write_app(SOURCE)
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: "All processes are new" in server.output, READY_S)
