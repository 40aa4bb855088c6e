"""Server processes that are killed and started again, servers in the loop, and waiting for a condition."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from penstock.testing import ServerProcess, live_server, until

PROGRAM = """
import http.server, os, sys
from http.server import SimpleHTTPRequestHandler as Handler
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("starting", os.getpid())
print(f"Penstock is ready at http://127.0.0.1:{server.server_port}", file=sys.stderr)
server.serve_forever()
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PROGRAM


def process(program: str, *, ready_s: float = 20) -> ServerProcess:
    return ServerProcess(argv=[sys.executable, "-u", "-c", program, "{port}"], ready_s=ready_s)


def answers(url: str) -> bool:
    return httpx.head(url).status_code == 200


def test_start_kill_and_restart_on_the_same_port() -> None:
    with process(PROGRAM) as server:
        first, port = server.pid, server.port
        assert port
        assert server.url == f"http://127.0.0.1:{port}"
        assert answers(server.url)
        assert server.kill() == -9
        assert not server.running
        with pytest.raises(httpx.ConnectError):
            answers(server.url)
        server.restart()
        assert (server.port, server.running) == (port, True)
        assert server.pid != first
        assert answers(server.url)
        assert f"starting {first}\n" in server.output
        assert f"starting {server.pid}\n" in server.output
    assert not server.running


def test_the_port_is_held_while_nobody_listens() -> None:
    with process(PROGRAM) as server:
        server.kill()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", server.port))


def test_terminate_tells_how_it_left() -> None:
    with process(PROGRAM) as server:
        assert server.terminate() == -15


def test_one_that_does_not_leave_is_killed() -> None:
    with process(STUBBORN) as server:
        with pytest.raises(TimeoutError, match=r"did not leave within 0\.2 s"):
            server.terminate(0.2)
        assert not server.running


def test_one_that_exits_early_shows_why() -> None:
    server = process("raise SystemExit('no such app')")
    with pytest.raises(RuntimeError, match="exited with 1 before it was ready:\nno such app"):
        server.start()
    assert not server.running


def test_one_that_is_never_ready_is_killed() -> None:
    server = process("input_ = __import__('threading').Event().wait()", ready_s=0.3)
    with pytest.raises(TimeoutError, match="not ready within"):
        server.start()
    assert not server.running


def test_what_can_not_be_done() -> None:
    server = process(PROGRAM)
    assert server.kill() is None
    with pytest.raises(RuntimeError, match="never started"):
        server.terminate()
    with server, pytest.raises(RuntimeError, match="running already"):
        server.start()


def test_the_default_command(tmp_path: Path) -> None:
    server = ServerProcess("app.py", "--store", "memory:", cwd=tmp_path)
    assert server.argv[1:] == [
        "-u",
        "-m",
        "penstock",
        "serve",
        "app.py",
        "--port",
        "{port}",
        "--store",
        "memory:",
    ]


async def test_in_an_async_test() -> None:
    async with process(PROGRAM) as server:
        assert server.running
    assert not server.running


# --- In the loop ---


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


async def open_disk() -> None:
    raise OSError("no disk")


async def endless(_: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    return StreamingResponse(body())


async def test_an_app_is_served_and_its_lifespan_runs() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        seen.append("up")
        yield
        seen.append("down")

    async with live_server(Starlette(routes=[Route("/", hello)], lifespan=lifespan)) as url:
        async with httpx.AsyncClient() as http:
            assert (await http.get(url)).text == "hello"
        assert seen == ["up"]
    assert seen == ["up", "down"]
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(url)


async def test_an_app_that_does_not_start_is_an_error_here() -> None:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await open_disk()
        yield

    with pytest.raises(RuntimeError, match="did not start"):
        async with live_server(Starlette(lifespan=lifespan)):
            pytest.fail("not reached")


async def test_streams_are_drained_first() -> None:
    class App(Starlette):
        drained = 0

        async def drain(self) -> None:
            self.drained += 1

    app = App()
    async with live_server(app):
        assert app.drained == 0
    assert app.drained == 1


async def test_an_error_in_the_test_is_the_tests() -> None:
    with pytest.raises(ZeroDivisionError):
        async with live_server(Starlette()):
            _ = 1 // 0


async def test_who_is_still_connected_is_cut() -> None:
    async with httpx.AsyncClient() as http:
        async with live_server(Starlette(routes=[Route("/", endless)]), grace_s=1) as url:
            request = http.build_request("GET", url)
            response = await http.send(request, stream=True)
            await anext(response.aiter_raw())
        await response.aclose()


# --- Waiting ---


async def test_until_gives_the_value() -> None:
    values = iter([0, None, "", "there"])
    assert await until(lambda: next(values)) == "there"


async def test_until_takes_coroutine_functions() -> None:
    async def condition() -> int:
        return 5

    assert await until(condition) == 5


async def test_until_says_what_it_waited_for() -> None:
    with pytest.raises(TimeoutError, match=r"Not within 0.02 s: the reader arrives. The last value was 0"):
        await until(lambda: 0, 0.02, "the reader arrives")
    with pytest.raises(TimeoutError, match="until_says_what"):
        await until(lambda: False, 0)


async def test_until_raises_what_the_condition_raises() -> None:
    def condition() -> bool:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await until(condition)
