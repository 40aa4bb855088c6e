"""Real processes, real memory: above the limit functions wait and new runs are refused, and then all goes on."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from penstock.memory.processes import Service
from penstock.testing import ServerProcess, until

if TYPE_CHECKING:
    from tests.conftest import Api

MB = 1024 * 1024
PIECE_MB = 4

SOURCE = f"""
import pathlib, threading, time

DROP = pathlib.Path("drop")
kept = []

def watch():
    while not DROP.exists():
        time.sleep(0.01)
    kept.clear()

threading.Thread(target=watch, daemon=True).start()

@app.function(concurrency_limit=None)
def grow(pieces: int, shared: bool = False, pace_s: float = 0.01):
    mine = kept if shared else []
    for number in range(pieces):
        mine.append(b"\\1" * ({PIECE_MB} << 20))
        yield f"{{number}} "
        time.sleep(pace_s)

@app.function(concurrency_limit=None)
async def rush(pieces: int):
    mine = []
    for number in range(pieces):  # without an await: the event loop is never free
        mine.append(b"\\1" * ({PIECE_MB} << 20))
        yield f"{{number}} "
        time.sleep(0.01)

@app.function(isolation="process", concurrency_limit=None)
def apart(pieces: int):
    mine = []
    for number in range(pieces):
        mine.append(b"\\1" * ({PIECE_MB} << 20))
        yield f"{{number}} "
        time.sleep(0.01)

@app.function(concurrency_limit=None)
async def say(word: str):
    yield word
"""

LIMIT_MB = 250
MOST_MB = 2 * LIMIT_MB
"""Beyond the limit there is what one function may have to spare, and what it takes before it is noticed."""

Serve = Callable[..., ServerProcess]


@pytest.fixture
def serve(write_app: Callable[[str], Path], tmp_path: Path) -> Serve:
    """`serve(…options)` is a server with a limit, with the app above."""
    path = write_app(SOURCE)

    def make(*options: str, limit_mb: int = LIMIT_MB) -> ServerProcess:
        more = ("--memory-limit-mb", str(limit_mb), "--grace-s", "0", *options)
        return ServerProcess(str(path), "--store", f"sqlite:///{tmp_path}/runs.db", *more, cwd=tmp_path)

    return make


@pytest.fixture
async def server(serve: Serve) -> AsyncIterator[ServerProcess]:
    async with serve() as server:
        yield server


@pytest.fixture
async def api(server: ServerProcess, connect: "type[Api]") -> "AsyncIterator[Api]":
    async with connect(server.url) as api:
        yield api


async def asked(api: "Api") -> httpx.Response:
    """The answer to whoever submits a run now."""
    return await api.post("/api/runs", json={"function": "say", "input": {"word": "hello"}})


async def refused(api: "Api") -> httpx.Response:
    """The refusal, once there is one."""

    answers: list[httpx.Response] = []

    async def look() -> bool:
        answers.append(await asked(api))
        return answers[-1].status_code == 503

    await until(look, 10, "a refusal")
    return answers[-1]


async def taken(api: "Api") -> None:
    """Return once runs are taken again, and executed."""

    async def look() -> str:
        answer = await asked(api)
        return answer.json()["run_id"] if answer.status_code == 202 else ""

    assert (await api.ended(await until(look, 15, "runs are taken")))["state"] == "succeeded"


async def test_all_goes_on_once_memory_is_freed_and_nothing_is_lost(
    server: ServerProcess, api: "Api", tmp_path: Path
) -> None:
    run_id = await api.submit("grow", pieces=70, shared=True, pace_s=0.02)
    reader = asyncio.create_task(api.messages(run_id))
    answer = await refused(api)
    error = answer.json()["error"]
    assert (error["code"], answer.headers["retry-after"]) == ("memory_limit", "5")
    assert "MB may be (memory_limit_mb, as set)" in error["message"]
    assert error["hint"]
    assert (await api.get("/healthz")).json() == {"status": "ok"}
    assert (await api.get("/readyz")).json() == {"status": "ready", "memory": "tight"}
    assert (await api.get(f"/api/runs/{run_id}")).json()["state"] == "running"
    assert not reader.done()
    (tmp_path / "drop").touch()
    await taken(api)
    expected = "".join(f"{number} " for number in range(70))
    messages = await asyncio.wait_for(reader, 30)
    events = [json.loads(message.data) for message in messages if message.event == "message"]
    assert "".join(event.get("text", "") for event in events) == expected
    assert server.output.count("Memory is tight") == server.output.count("Memory is eased") == 1
    assert (await api.get("/readyz")).json() == {"status": "ready"}


@pytest.mark.parametrize("function", ["grow", "rush", "apart"])
async def test_one_that_takes_ever_more_is_slowed_down_and_its_stop_frees_the_memory(
    function: str, server: ServerProcess, api: "Api"
) -> None:
    run_id = await api.submit(function, pieces=1000)
    await refused(api)
    service, used_mb = Service(server.pid), [0.0]

    def looked_at_for_long() -> bool:
        used_mb.append(service.exact_bytes() / MB)
        return len(used_mb) > 150

    await until(looked_at_for_long, 30)
    assert max(used_mb) < MOST_MB
    assert (await api.get(f"/api/runs/{run_id}")).json()["state"] == "running"
    assert (await api.post(f"/api/runs/{run_id}/cancel")).status_code == 202
    assert (await api.ended(run_id))["state"] == "cancelled"
    await taken(api)


async def test_functions_that_together_need_more_than_there_is_end_one_after_the_other(api: "Api") -> None:
    runs = [await api.submit("grow", pieces=29, pace_s=0.05) for _ in range(2)]
    await refused(api)
    assert [(await api.ended(run))["state"] for run in runs] == ["succeeded"] * 2
    await taken(api)


async def test_several_processes_share_one_limit(serve: Serve, connect: "type[Api]") -> None:
    async with serve("--workers", "2", limit_mb=LIMIT_MB + 100) as server, connect(server.url) as api:
        run_id = await api.submit("grow", pieces=1000)
        pids = set(re.findall(r"Process (\d+) is ready", server.output))

        async def each_refuses() -> bool:
            async with connect(server.url) as other:  # another connection may be another process's
                await refused(other)
            return set(re.findall(r"\[(\d+)\] WARNING Memory is tight", server.output)) == pids

        await until(each_refuses, 30)
        await api.post(f"/api/runs/{run_id}/cancel")
        assert (await api.ended(run_id))["state"] == "cancelled"
        await taken(api)


async def test_with_0_there_is_no_limit(serve: Serve, connect: "type[Api]") -> None:
    async with serve(limit_mb=0) as server, connect(server.url) as api:
        run_id = await api.submit("grow", pieces=100)
        assert (await api.ended(run_id))["state"] == "succeeded"
        assert "Memory" not in server.output
