"""How a server leaves: what readers are told, what runs are given, and what does not hold it."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

import penstock
from penstock.testing import ServerProcess, until

from .functions import AGAIN
from .readers import Reading, folded
from .servers import make_server, started

if TYPE_CHECKING:
    from tests.conftest import Api


async def test_sigterm_tells_readers_and_exits_with_0(server: ServerProcess, connect: "type[Api]") -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("wait")
        reading = Reading(api, run_id)
        await reading.sees("before")
        leaving = asyncio.create_task(asyncio.to_thread(server.terminate))
        messages = await asyncio.wait_for(reading.task, 30)  # ended cleanly: httpx raises otherwise
        assert messages[-1].event == "draining"
        assert not leaving.done(), "the run has the grace time"
        (Path(str(server.cwd)) / "go").touch()
        assert await leaving == 0
        await asyncio.to_thread(server.restart)
        # What ended inside the grace time is kept.
        run = await api.ended(run_id)
        assert (run["state"], run["attempt"]) == ("succeeded", 1)
        assert folded(await api.messages(run_id)).text == "before after"


@pytest.mark.parametrize("function", ["wait", "deaf", "deaf_in_a_pool"])
async def test_the_grace_time_is_kept(
    function: str, server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    server = make_server(tmp_path, "--grace-s", "1")
    async with started(server, connect) as api:
        run_id = await api.submit(function)

        async def runs() -> bool:
            state: str = (await api.get(f"/api/runs/{run_id}")).json()["state"]
            return state == "running"

        await until(runs)
        begun = time.monotonic()
        assert await asyncio.to_thread(server.terminate) == 0
        assert time.monotonic() - begun < 10
        await asyncio.to_thread(server.restart)
        run = await api.ended(run_id)
        assert (run["state"], run["error"]["code"]) == ("interrupted", "shutdown")


async def test_unfinished_runs_that_may_be_repeated_go_back(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    server = make_server(tmp_path, "--grace-s", "0.5")
    async with started(server, connect) as api:
        run_id = await api.submit("again")
        reading = Reading(api, run_id)
        await reading.sees("attempt 1")
        assert await asyncio.to_thread(server.terminate) == 0
        (tmp_path / "go").touch()
        await asyncio.to_thread(server.restart)
        run = await api.ended(run_id)
        assert (run["state"], run["attempt"]) == ("succeeded", 2)
        assert folded(await api.messages(run_id)).text == f"attempt 2 {AGAIN}"


async def test_a_stalled_reader_does_not_hold_it(server: ServerProcess, connect: "type[Api]") -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("wait")
        with socket.create_connection(("127.0.0.1", server.port)) as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            stalled.sendall(b"GET /api/runs/%b/events HTTP/1.1\r\nHost: localhost\r\n\r\n" % run_id.encode())
            (Path(str(server.cwd)) / "go").touch()
            await api.ended(run_id)
            begun = time.monotonic()
            assert await asyncio.to_thread(server.terminate) == 0
            assert time.monotonic() - begun < 4


async def test_a_function_that_blocks_the_loop_does_not_hold_it(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    server = make_server(tmp_path, "--grace-s", "1.5")
    async with started(server, connect) as api:
        run_id = await api.submit("block")
        await until(lambda: "block is on" in server.output)
        begun = time.monotonic()
        assert await asyncio.to_thread(server.terminate) == 0
        assert time.monotonic() - begun < 15
        await asyncio.to_thread(server.restart)
        run = await api.ended(run_id)
        assert (run["state"], run["error"]["code"]) == ("interrupted", "worker_lost")


@pytest.mark.parametrize("company", ["", "stubborn"])
async def test_a_function_that_exits_ends_its_run_only(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path, company: str
) -> None:
    """From a task of its own: asyncio ends the loop for that, whoever else is on it."""
    async with started(server, connect) as api:
        if company:
            other = await api.submit(company)
            await until(lambda: "stubborn is on" in server.output)
            assert (await api.post(f"/api/runs/{other}/cancel")).status_code == 202
            await until(lambda: "stubborn stays" in server.output)
        run = await api.ended(await api.submit("leave"))
        assert run["state"] == "failed"
        assert "SystemExit" in run["error"]["message"]
        assert (await api.ended(await api.submit("add", a=1)))["result"] == 2
        reading = Reading(api, await api.submit("wait"))
        await reading.sees("before")
        leaving = asyncio.create_task(asyncio.to_thread(server.terminate))
        assert (await asyncio.wait_for(reading.task, 30))[-1].event == "draining"
        (tmp_path / "go").touch()
        assert await leaving == 0
        assert "Stopped after" in server.output


async def test_a_reader_that_takes_nothing_does_not_hold_it(
    server: ServerProcess, connect: "type[Api]"
) -> None:
    """20 MB wait for it: more than all buffers take, so its stream can't be ended in order."""
    async with started(server, connect) as api:
        run_id = await api.submit("flood")
        await api.ended(run_id)
        with socket.socket() as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.connect(("127.0.0.1", server.port))
            stalled.sendall(
                b"GET /api/runs/%b/events?rate=0 HTTP/1.1\r\nHost: localhost\r\n\r\n" % run_id.encode()
            )
            assert stalled.recv(100).startswith(b"HTTP/1.1 200")
            begun = time.monotonic()
            assert await asyncio.to_thread(server.terminate) == 0
            assert time.monotonic() - begun < 4.5
            assert "Traceback" not in server.output


async def test_who_is_late_is_refused_and_who_waits_is_kept(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        runs = [await api.submit("line", name=name) for name in "abc"]
        begun = tmp_path / "begun"
        await until(lambda: begun.exists() and begun.read_text() == "a ")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        body = b'{"function":"add","input":{"a":1}}'
        head = b"POST /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:-1])
        await api.get("/healthz")  # what was sent before it has been read
        leaving = asyncio.create_task(asyncio.to_thread(server.terminate))
        await until(lambda: "Leaving" in server.output)
        writer.write(body[-1:])
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        assert not answer or (answer.split()[1], b"server_closing" in answer) == (b"503", True)
        (tmp_path / "go").touch()
        assert await leaving == 0
        assert begun.read_text() == "a ", "nothing is begun by a server that leaves"
        await asyncio.to_thread(server.restart)
        assert [(await api.ended(run))["state"] for run in runs] == ["succeeded"] * 3
        assert begun.read_text() == "a b c "
        assert len((await api.get("/api/runs")).json()["runs"]) == 3


async def test_under_an_ordinary_uvicorn_drain_ends_the_streams(
    connect: "type[Api]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs say for an app mounted in another: uvicorn would wait for its streams for ever."""
    monkeypatch.setattr(uvicorn.Server, "capture_signals", nullcontext)
    app = penstock.App(store="memory:", grace_s=0)

    @app.function
    async def wait() -> AsyncIterator[str]:
        yield "before"
        await asyncio.Event().wait()

    outer = Starlette(routes=[Mount("/p", app)], lifespan=app.lifespan)
    server = uvicorn.Server(uvicorn.Config(outer, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        async with connect(f"http://127.0.0.1:{listener.getsockname()[1]}/p") as api:
            reading = Reading(api, await api.submit("wait"))
            await reading.sees("before")
            server.should_exit = True
            await app.drain()
            assert (await asyncio.wait_for(reading.task, 30))[-1].event == "draining"
        await asyncio.wait_for(serving, 30)
