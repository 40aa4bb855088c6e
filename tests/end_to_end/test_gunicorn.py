"""gunicorn with three workers on one file: with uvicorn's own worker, and with Penstock's, which ends in order."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Self

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from penstock import AsyncClient
from penstock.testing import until

from . import stories
from .checks import check_seen, stored
from .crowd import LONG_PAUSE_MS, Crowd, attend, busiest, check
from .readers import Recorder

OURS, STOCK = "penstock.gunicorn.Worker", "uvicorn_worker.UvicornWorker"

READY_S = 40.0

MOUNTED = """
import sys
sys.path.insert(0, {folder!r})
from starlette.applications import Starlette
from starlette.routing import Mount
from stories import app as penstock_app
app = Starlette(routes=[Mount("/penstock", penstock_app)])
"""


class Gunicorn:
    """It and its workers, on a free port. Killed, all of them, at the end."""

    def __init__(
        self, folder: Path, worker: str, *options: str, target: str = "stories:app", grace_s: float = 4
    ) -> None:
        self.argv = [
            sys.executable, "-m", "gunicorn", "-k", worker, "-w", "3", "-b", "127.0.0.1:0",
            "--pythonpath", str(stories.FILE.parent), *options, target,
        ]  # fmt: skip
        self.folder = folder
        store = f"sqlite:///{folder / 'runs.db'}"
        # Its control socket would lie in the home folder, and be shared by all that run.
        self.env = os.environ | {
            "PENSTOCK_STORE": store,
            "PENSTOCK_GRACE_S": str(grace_s),
            "HOME": str(folder),
        }

    async def __aenter__(self) -> Self:
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                self.argv, cwd=self.folder, env=self.env, stdout=output, stderr=subprocess.STDOUT
            )
        await until(lambda: self.output.count("startup complete") == 3 or self.ended, READY_S, "it is ready")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pid in self.booted:
            if not is_gone(pid):
                os.kill(pid, signal.SIGKILL)

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    @property
    def url(self) -> str:
        found = re.search(r"Listening at: (\S+)", self.output)
        assert found is not None, self.output
        return found[1]

    @property
    def booted(self) -> list[int]:
        """Workers that were started, in their order."""
        return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.output)]

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    async def terminate(self) -> int:
        self.process.terminate()
        await until(lambda: self.ended, READY_S, "it leaves")
        return self.process.wait()

    async def reload(self) -> None:
        """HUP, and wait until the old workers are gone."""
        old = self.booted
        self.process.send_signal(signal.SIGHUP)
        await until(
            lambda: self.output.count("startup complete") == len(old) + 3, READY_S, "new ones are there"
        )
        await until(lambda: all(is_gone(pid) for pid in old), READY_S, "the old ones are gone")


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


@asynccontextmanager
async def reading(
    url: str, name: str, steps: int, pause_ms: float
) -> AsyncIterator[tuple[str, httpx.Response]]:
    """A run that has begun, and the stream of its reader."""
    async with AsyncClient(url) as client, httpx.AsyncClient(trust_env=False, timeout=20) as http:
        run = await client.submit(name, {"seed": 1, "steps": steps, "pause_ms": pause_ms})
        async with http.stream("GET", f"{url}/api/runs/{run.id}/events") as response:
            yield run.id, response


async def begins(response: httpx.Response) -> AsyncIterator[str]:
    """What comes once the run has written something: one that still waits would be left to others."""
    pieces = response.aiter_text()
    async with asyncio.timeout(READY_S):
        piece = await anext(pieces)
        assert "retry" in piece
        while '"type":"text"' not in piece:
            piece = await anext(pieces)
    return pieces


async def rest_of(pieces: AsyncIterator[str]) -> str:
    async with asyncio.timeout(30):
        return "".join([piece async for piece in pieces])


@pytest.mark.parametrize("worker", [OURS, STOCK])
async def test_a_worker_that_is_killed_under_twenty_readers_loses_nothing(
    worker: str, tmp_path: Path, seed: int
) -> None:
    async with Gunicorn(tmp_path, worker, "--graceful-timeout", "8") as gunicorn:

        async def kill(crowd: Crowd) -> None:
            await crowd.sees(100)
            os.kill(busiest(gunicorn.booted), signal.SIGKILL)

        crowd = await attend(gunicorn.url, Random(seed), kill)
        assert await gunicorn.terminate() == 0
    await check(crowd, tmp_path / "runs.db")
    assert crowd.cut
    for run in crowd.interrupted:
        assert run["error"]["code"] == "worker_lost"


@pytest.mark.parametrize("worker", [OURS, STOCK])
async def test_a_reload_under_twenty_readers_loses_nothing(worker: str, tmp_path: Path, seed: int) -> None:
    async with Gunicorn(tmp_path, worker, "--graceful-timeout", "20", grace_s=15) as gunicorn:

        async def reload(crowd: Crowd) -> None:
            await crowd.sees(50)
            await gunicorn.reload()

        crowd = await attend(gunicorn.url, Random(seed), reload, LONG_PAUSE_MS)
        assert await gunicorn.terminate() == 0
    await check(crowd, tmp_path / "runs.db")
    assert not crowd.interrupted
    assert not crowd.repeated
    assert (crowd.cut > 0) == (worker == OURS), "uvicorn's waits for its streams to end by themselves"


async def test_term_tells_readers_and_gives_runs_their_time(tmp_path: Path) -> None:
    async with (
        Gunicorn(tmp_path, OURS, "--graceful-timeout", "16", grace_s=12) as gunicorn,
        reading(gunicorn.url, "write", 60, 25) as (run_id, response),
    ):
        pieces = await begins(response)
        leaving = asyncio.create_task(gunicorn.terminate())
        assert "event: draining" in await rest_of(pieces)
        assert await leaving == 0
        assert all(is_gone(pid) for pid in gunicorn.booted)
    assert '"state":"succeeded"' in (await stored(tmp_path / "runs.db", [run_id]))[run_id][-1].data.decode()


async def test_with_uvicorns_worker_term_takes_the_graceful_timeout_and_loses_nothing(tmp_path: Path) -> None:
    async with (
        Gunicorn(tmp_path, STOCK, "--graceful-timeout", "1") as gunicorn,
        reading(gunicorn.url, "write-again", 60, 50) as (run_id, response),
    ):
        pieces = await begins(response)
        begun = time.monotonic()
        leaving = asyncio.create_task(gunicorn.terminate())
        with pytest.raises(httpx.RemoteProtocolError):
            await rest_of(pieces)
        assert await leaving == 0
        assert time.monotonic() - begun < 10
    async with Gunicorn(tmp_path, STOCK) as gunicorn, httpx.AsyncClient(trust_env=False) as http:
        reader = Recorder(http, gunicorn.url, run_id)
        await asyncio.wait_for(reader.read(), 30)
        run = (await http.get(f"{gunicorn.url}/api/runs/{run_id}")).json()
        assert (run["state"], run["attempt"]) == ("succeeded", 2)
    check_seen(reader.seen, (await stored(tmp_path / "runs.db", [run_id]))[run_id])


async def test_readers_of_a_mounted_app_are_told_too(tmp_path: Path) -> None:
    (tmp_path / "outer.py").write_text(MOUNTED.format(folder=str(stories.FILE.parent)))
    async with (
        Gunicorn(tmp_path, OURS, "--graceful-timeout", "8", target="outer:app") as gunicorn,
        reading(f"{gunicorn.url}/penstock", "write", 60, 50) as (_, response),
    ):
        pieces = await begins(response)
        begun = time.monotonic()
        leaving = asyncio.create_task(gunicorn.terminate())
        assert "event: draining" in await rest_of(pieces)
        assert await leaving == 0
        assert time.monotonic() - begun < 7


async def test_without_gunicorn_its_workers_leave(tmp_path: Path) -> None:
    async with Gunicorn(tmp_path, OURS, "--graceful-timeout", "8") as gunicorn:
        gunicorn.process.kill()
        await until(lambda: all(is_gone(pid) for pid in gunicorn.booted), READY_S, "they leave")
        assert gunicorn.output.count("gunicorn is gone; leaving too.") == 3


@pytest.mark.parametrize("worker", [OURS, STOCK])
async def test_a_store_that_can_not_be_used_ends_it(worker: str, tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_text("this is no database\n" * 100)
    async with Gunicorn(tmp_path, worker) as gunicorn:
        await until(lambda: gunicorn.ended, READY_S)
        # 3 says that a worker could not start; 1 that a second one could not while gunicorn was ending for it.
        assert gunicorn.process.wait() in (1, 3)
        assert "runs.db: file is not a database." in gunicorn.output


async def test_a_grace_time_that_gunicorn_would_cut_short_is_warned_of(tmp_path: Path) -> None:
    async with Gunicorn(tmp_path, OURS, "--graceful-timeout", "5") as gunicorn:
        assert "Runs get grace_s = 4 s; give gunicorn --graceful-timeout 7." in gunicorn.output
        assert await gunicorn.terminate() == 0


async def test_a_websocket_is_told_that_its_worker_leaves(tmp_path: Path) -> None:
    async with Gunicorn(tmp_path, OURS, "--graceful-timeout", "8") as gunicorn:
        async with AsyncClient(gunicorn.url) as client:
            run = await client.submit("write", {"seed": 1, "steps": 60, "pause_ms": 25.0})
        url = gunicorn.url.replace("http", "ws", 1)
        async with connect(f"{url}/api/runs/{run.id}/ws", proxy=None) as socket, asyncio.timeout(30):
            messages = [await socket.recv()]
            leaving = asyncio.create_task(gunicorn.terminate())
            with contextlib.suppress(ConnectionClosed):
                while True:
                    messages.append(await socket.recv())
        assert '"draining"' in str(messages[-1])
        assert socket.close_code == 1012
        assert await leaving == 0
