"""Processes: how a server starts, leaves, dies and comes back. All of them are real ones."""

import asyncio
import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

import penstock
from penstock.errors import ConfigError
from penstock.events import End, decode
from penstock.protocol.coalesce import Fold
from penstock.protocol.sse import Decoder, Message
from penstock.serve import load_app
from penstock.testing import ServerProcess, until

if TYPE_CHECKING:
    from tests.conftest import Api

SOURCE = """
import asyncio, pathlib, threading, time

GO = pathlib.Path("go")

@app.function(concurrency_limit=None)
async def wait():
    yield "before "
    while not GO.exists():
        await asyncio.sleep(0.01)
    yield "after"

@app.function(on_crash="retry", concurrency_limit=None)
async def again(run: penstock.Run):
    yield f"attempt {run.attempt} "
    while not GO.exists():
        await asyncio.sleep(0.01)
    for number in range(50):
        yield f"{number} "

@app.function(concurrency_limit=None)
def deaf():
    print("deaf is on", flush=True)
    threading.Event().wait()

@app.function(concurrency_limit=None)
async def deaf_in_a_pool():
    print("deaf is on", flush=True)
    await asyncio.to_thread(threading.Event().wait)

@app.function(concurrency_limit=None)
async def block():
    print("block is on", flush=True)
    time.sleep(20)

@app.function(concurrency_limit=None)
async def leave():
    async def child():
        raise SystemExit(5)
    await asyncio.gather(child(), asyncio.sleep(60))

@app.function(concurrency_limit=None)
async def stubborn():
    print("stubborn is on", flush=True)
    while not GO.exists():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            print("stubborn stays", flush=True)

@app.function
def add(a: int) -> int:
    return a + 1

@app.function(concurrency_limit=1)
async def line(name: str):
    with open("begun", "a") as begun:
        begun.write(f"{name} ")
    while not GO.exists():
        await asyncio.sleep(0.01)

@app.function(concurrency_limit=None)
async def flood():
    for _ in range(2000):
        yield "x" * 10_000

@app.function(on_crash="retry", concurrency_limit=None)
async def log(run: penstock.Run, steps: int = 0):
    yield f"attempt {run.attempt} "
    number = 0
    while number < steps or (not steps and not GO.exists()):
        with open(f"log-{run.attempt}", "a") as lines:
            lines.write(f"{number}\\n")
        await asyncio.sleep(0.02)
        number += 1

@app.function(concurrency_limit=None)
async def steps(number: int):
    for step in range(60):
        yield f"{step} "
        await asyncio.sleep(0.08)
"""
AGAIN = "".join([f"{number} " for number in range(50)])


@pytest.fixture
def server(write_app: Callable[[str], Path], tmp_path: Path) -> ServerProcess:
    """A server that has not been started."""
    write_app(SOURCE)
    return make_server(tmp_path)


def make_server(folder: Path, *options: str) -> ServerProcess:
    return ServerProcess("app.py", "--grace-s", "5", *options, cwd=folder)


def run_serve(folder: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`penstock serve` where it is expected to end by itself."""
    argv = [sys.executable, "-m", "penstock", "serve", *options]
    return subprocess.run(argv, cwd=folder, env=os.environ | env, capture_output=True, text=True, timeout=30)


class Reading:
    """A reader in a task of its own."""

    def __init__(self, api: "Api", run_id: str) -> None:
        self._api, self._run_id = api, run_id
        self.messages: list[Message] = []
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> list[Message]:
        decoder = Decoder()
        async with self._api.stream("GET", f"/api/runs/{self._run_id}/events") as response:
            async for piece in response.aiter_raw():
                self.messages += decoder.feed(piece)
        return self.messages

    async def sees(self, text: str) -> None:
        """Wait until something that holds `text` has come."""
        await until(
            lambda: any(text in message.data for message in self.messages), 10, f"a reader sees {text!r}"
        )


def folded(messages: list[Message]) -> Fold:
    fold = Fold()
    for message in messages:
        if message.event == "message":
            fold.apply(decode(message.data))
    return fold


@asynccontextmanager
async def started(server: ServerProcess, connect: "type[Api]") -> "AsyncIterator[Api]":
    async with server, connect(server.url) as api:
        yield api


# --- Leaving ---


async def test_sigterm_tells_readers_and_exits_with_0(server: ServerProcess, connect: "type[Api]") -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("wait")
        reading = Reading(api, run_id)
        await reading.sees("before")
        leaving = asyncio.create_task(asyncio.to_thread(server.terminate))
        messages = await asyncio.wait_for(reading.task, 5)  # ended cleanly: httpx raises otherwise
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
        assert time.monotonic() - begun < 3.5
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


async def test_the_second_ctrl_c_ends_it_at_once(server: ServerProcess, connect: "type[Api]") -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("deaf")
        await until(lambda: "deaf is on" in server.output)
        os.kill(server.pid, signal.SIGINT)
        await until(lambda: "Leaving" in server.output)
        begun = time.monotonic()
        os.kill(server.pid, signal.SIGINT)
        await until(lambda: not server.running)
        assert time.monotonic() - begun < 1
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
        assert time.monotonic() - begun < 6
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
        assert (await asyncio.wait_for(reading.task, 5))[-1].event == "draining"
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
        answer = await asyncio.wait_for(reader.read(), 5)
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
            assert (await asyncio.wait_for(reading.task, 5))[-1].event == "draining"
        await asyncio.wait_for(serving, 5)


# --- Dying ---


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
        assert time.monotonic() - begun < 5, "a lease lasts 10 s"
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


# --- Starting, or not ---


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_a_public_address_needs_a_token(host: str, server: ServerProcess, tmp_path: Path) -> None:
    done = run_serve(tmp_path, "app.py", "--host", host, "--port", "0")
    assert done.returncode == 2
    assert f"penstock: {host} can be reached from other machines, and no token is set." in done.stderr
    assert "--token SECRET or PENSTOCK_TOKEN=SECRET" in done.stderr
    assert not (tmp_path / "penstock.db").exists()


async def test_a_public_address_with_a_token(
    server: ServerProcess, tmp_path: Path, connect: "type[Api]"
) -> None:
    server = make_server(tmp_path, "--host", "0.0.0.0", "--token", "secret")
    async with server, connect(f"http://127.0.0.1:{server.port}") as api:
        assert (await api.get("/api/functions")).status_code == 401
        headers = {"Authorization": "Bearer secret", "Host": "any.example"}
        assert (await api.get("/api/functions", headers=headers)).status_code == 200


async def test_without_a_token_only_names_of_this_machine(
    server: ServerProcess, tmp_path: Path, connect: "type[Api]"
) -> None:
    async with started(make_server(tmp_path, "--allowed-hosts", "box.lan, Other.lan"), connect) as api:
        for host, status in (("box.lan", 200), ("other.lan:80", 200), ("evil.example", 403)):
            assert (await api.get("/api/functions", headers={"Host": host})).status_code == status


def test_a_port_in_use(server: ServerProcess, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = run_serve(tmp_path, "app.py", "--port", port)
    assert done.returncode == 2
    assert f"Can't listen on 127.0.0.1 port {port}: Address already in use" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("nothing.py",), "There is no file nothing.py."),
        (("nothing",), "There is no module 'nothing'."),
        (("app.py:nothing",), "app.py has no App named 'nothing'."),
        (("app.py", "--store", "mysql://x"), "No store has the address 'mysql://x'."),
        (("app.py", "--store", "sqlite:///no/folder/x.db"), "no/folder/x.db"),
        (("app.py", "--store", "sqlite:///notes.db"), "notes.db: file is not a database."),
        (("app.py", "--store", "sqlite:///other.db"), "other.db is a database of another program."),
        (("app.py", "--store", "sqlite:///newer.db"), "newer.db has schema version 99"),
        (("app.py", "--rate", "x"), "The setting 'rate' can't be used"),
        (("app.py", "--host", "999.1.1.1", "--token", "x"), "Can't listen on 999.1.1.1"),
    ],
)
def test_what_can_not_start_says_why(
    options: tuple[str, ...], message: str, server: ServerProcess, tmp_path: Path
) -> None:
    (tmp_path / "notes.db").write_bytes(b"notes, not a database. " * 200)
    for name, sql in (("other", "CREATE TABLE t (x)"), ("newer", "PRAGMA application_id = 0x50656E53")):
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as connection:
            connection.execute(sql)
            connection.execute("PRAGMA user_version = 99")
            connection.commit()
    done = run_serve(tmp_path, *options, "--port", "0")
    assert done.returncode == 2, done.stderr
    assert f"penstock: {message}" in done.stderr or f"penstock: {message}" in done.stderr.replace(
        "store/", ""
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_an_error_in_the_program_shows_where(tmp_path: Path, write_app: Callable[[str], Path]) -> None:
    write_app("import nowhere_to_be_found")
    done = run_serve(tmp_path, "app.py", "--port", "0")
    assert done.returncode != 0
    assert re.search(r"app\.py.*line 3.*nowhere_to_be_found", done.stderr, re.DOTALL)


async def test_a_store_that_is_locked_at_the_start(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path, write_app: Callable[[str], Path]
) -> None:
    write_app(f"{SOURCE}\nfrom penstock.storage.sqlite import connection\nconnection.BUSY_TIMEOUT_S = 0.3")
    async with server:
        await asyncio.to_thread(server.terminate)  # has made the file
    path = tmp_path / "penstock.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with started(server, connect) as api:
            answer = await api.get("/api/functions")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_locked")
            assert answer.headers["retry-after"] == "1"
            other.execute("ROLLBACK")

            async def recovered() -> bool:
                return (await api.get("/readyz")).status_code == 200

            await until(recovered)
            assert (await api.ended(await api.submit("add", a=1)))["result"] == 2


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
            ends = [decode((await asyncio.wait_for(reading.task, 5))[-1].data) for reading in readings]
            assert ends[0] == ends[1]
            assert isinstance(ends[0], End)
            assert ends[0].state == "cancelled"

    asyncio.run(both())


@asynccontextmanager
async def pair(
    folder: Path, connect: "type[Api]", *options: str
) -> "AsyncIterator[list[tuple[ServerProcess, Api]]]":
    """Two servers of one store."""
    servers = [make_server(folder, *options) for _ in range(2)]
    async with started(servers[0], connect) as one, started(servers[1], connect) as two:
        yield list(zip(servers, (one, two), strict=True))


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
            messages = await asyncio.wait_for(reading.task, 20)
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


# --- Targets ---


def test_targets(tmp_path: Path, write_app: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_app("other = penstock.App(rate=3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert load_app(str(path)).settings.rate == 20
    assert load_app(f"{path}:other").settings.rate == 3
    assert load_app("app:other").settings.rate == 3
    (tmp_path / "one.py").write_text("import penstock\nmine = penstock.App(rate=7)")
    assert load_app("one.py").settings.rate == 7
    (tmp_path / "several.py").write_text("import penstock\na = penstock.App()\nb = penstock.App()")
    with pytest.raises(ConfigError, match=r"has several \(a, b\)"):
        load_app("several.py")
    (tmp_path / "none.py").write_text("x = 1")
    with pytest.raises(ConfigError, match="has none"):
        load_app("none.py")
