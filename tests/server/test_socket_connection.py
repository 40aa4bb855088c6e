"""WebSockets under `penstock serve`: what the connection was as HTTP's, pings, floods, the server's leaving."""

import base64
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from penstock.server.websocket import MAX_MESSAGE_BYTES
from penstock.testing import ServerProcess

from .links import until

HEAD_TIMEOUT_S = 0.3
BODY_TIMEOUT_S = 0.6
HEARTBEAT_S = 0.2
STALL_TIMEOUT_S = 1.0
DEADLINE_S = 30
SOURCE = f"""
import asyncio, penstock
from penstock.server import transport

transport.HEAD_TIMEOUT_S = {HEAD_TIMEOUT_S}
transport.BODY_TIMEOUT_S = {BODY_TIMEOUT_S}
app = penstock.App(rate=0, heartbeat_s={HEARTBEAT_S}, stall_timeout_s={STALL_TIMEOUT_S})

@app.function(concurrency_limit=None)
async def silent():
    await asyncio.Event().wait()

@app.function(concurrency_limit=None)
async def slow(steps: int = 8):
    for number in range(steps):
        yield f"{{number}} "
        await asyncio.sleep({HEAD_TIMEOUT_S})

@app.function(concurrency_limit=None)
async def writes():
    for number in range(400):
        yield "x" * 20_000
        if number % 50 == 0:
            await asyncio.sleep(0)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "app.py").write_text(SOURCE)
    with ServerProcess("app.py", "--grace-s", "1", cwd=folder) as server:
        yield server


def submit(server: ServerProcess, function: str, **given: object) -> str:
    answer = httpx.post(
        f"{server.url}/api/runs", json={"function": function, "input": given}, trust_env=False
    )
    run_id: str = answer.json()["run_id"]
    return run_id


def open_socket(server: ServerProcess, run_id: str) -> ClientConnection:
    url = f"{server.url}/api/runs/{run_id}/ws".replace("http:", "ws:")
    return connect(url, proxy=None, max_size=None, ping_interval=None)


def rest(connection: ClientConnection) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    deadline = time.monotonic() + DEADLINE_S  # heartbeats never cease by themselves
    with suppress(ConnectionClosed):
        while True:
            message = json.loads(connection.recv(timeout=DEADLINE_S))
            assert time.monotonic() < deadline, f"it goes on after {found[-5:]}"
            if message["type"] != "heartbeat":
                found.append(message)
    return found


def has_begun(connection: ClientConnection) -> None:
    """Return once its run is under way: one that still waits when the server leaves is begun by the next."""
    deadline = time.monotonic() + DEADLINE_S
    while json.loads(connection.recv(timeout=DEADLINE_S)).get("state") != "running":
        assert time.monotonic() < deadline, "it still waits"


def handshake(run_id: str) -> bytes:
    key = base64.b64encode(b"x" * 16)
    return (
        b"GET /api/runs/%b/ws?rate=0 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n\r\n" % (run_id.encode(), key)
    )


@contextmanager
def raw(server: ServerProcess, receive_bytes: int = 0) -> Iterator[socket.socket]:
    """A connection that answers nothing by itself, and is closed if nothing is sent for `HEAD_TIMEOUT_S`."""
    with closing(socket.socket()) as link:
        if receive_bytes:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        link.settimeout(DEADLINE_S)
        link.connect(("127.0.0.1", server.port))
        yield link


def to_the_end(link: socket.socket) -> bytes:
    got = b""
    with suppress(ConnectionError):
        while piece := link.recv(65536):
            got += piece
    return got


# --- A connection that was HTTP's ---


def test_the_times_of_a_request_are_not_its_own(server: ServerProcess) -> None:
    run_id = submit(server, "slow")
    begun = time.monotonic()
    with open_socket(server, run_id) as connection:
        messages = rest(connection)
    assert messages[-1]["type"] == "end"
    assert time.monotonic() - begun > BODY_TIMEOUT_S + 3 * HEAD_TIMEOUT_S


def test_it_follows_other_requests(server: ServerProcess) -> None:
    run_id = submit(server, "slow", steps=2)
    ping = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with raw(server) as link:
        for _ in range(3):
            link.sendall(ping)
            until(link, b'"ok"}')
        link.sendall(handshake(run_id))
        got = until(link, b'"succeeded"')
        assert got.startswith(b"HTTP/1.1 101 ")


def test_it_waits_for_the_answer_before_it(server: ServerProcess) -> None:
    run_id = submit(server, "slow", steps=3)
    events = b"GET /api/runs/%b/events HTTP/1.1\r\nHost: localhost\r\n\r\n" % run_id.encode()
    with raw(server) as link:
        link.sendall(events)
        until(link, b"text")
        link.sendall(handshake(run_id))
        answer, _, messages = until(link, b"HTTP/1.1 101 ").partition(b"HTTP/1.1 101 ")
        assert answer.endswith(b"0\r\n\r\n"), "nothing is written into it"
        if b'"succeeded"' not in messages:  # they may come together with what is before them
            until(link, b'"succeeded"')


# --- What a client may do to it ---


def test_a_long_message_ends_it(server: ServerProcess) -> None:
    with open_socket(server, submit(server, "silent")) as connection:
        connection.send("x" * (MAX_MESSAGE_BYTES + 1))
        rest(connection)
        assert connection.close_code == 1009


def test_who_answers_no_ping_is_gone(server: ServerProcess) -> None:
    run_id = submit(server, "silent")
    with raw(server) as link:
        link.sendall(handshake(run_id))
        begun = time.monotonic()
        got = to_the_end(link)
        assert time.monotonic() - begun > STALL_TIMEOUT_S / 2
    assert b"keepalive" in got


def test_who_answers_them_stays(server: ServerProcess) -> None:
    begun = time.monotonic()
    with open_socket(server, submit(server, "silent")) as connection:
        while time.monotonic() - begun < STALL_TIMEOUT_S + 3 * HEARTBEAT_S:
            assert json.loads(connection.recv(timeout=DEADLINE_S))["type"] in ("status", "heartbeat")


def test_a_slow_reader_is_not_cut_off(server: ServerProcess) -> None:
    """Its pongs come late, as the pings wait behind what it has not taken."""
    run_id = submit(server, "writes")
    begun, took = time.monotonic(), 0
    with raw(server, 64 * 1024) as link:
        link.sendall(handshake(run_id))
        while time.monotonic() - begun < 3 * STALL_TIMEOUT_S:
            piece = link.recv(16 * 1024)
            assert piece, f"cut off after {took} bytes"
            took += len(piece)
            time.sleep(STALL_TIMEOUT_S / 20)
    assert took < 4_000_000, "it was slow"


def test_a_stalled_reader_is_cut_off(server: ServerProcess) -> None:
    run_id = submit(server, "writes")
    with raw(server, 64 * 1024) as link:
        link.sendall(handshake(run_id))
        begun = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - begun < DEADLINE_S:
                link.sendall(Frame(Opcode.PONG, b"").serialize(mask=True))  # it lives, and takes nothing
                time.sleep(STALL_TIMEOUT_S / 10)
        assert time.monotonic() - begun < DEADLINE_S


def memory_kib(server: ServerProcess) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_pings_without_end_are_not_answered_to_nobody(server: ServerProcess) -> None:
    flood = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 1000
    run_id = submit(server, "silent")
    before = memory_kib(server)
    with raw(server, 64 * 1024) as link:
        link.sendall(handshake(run_id))
        with suppress(ConnectionError):
            for _ in range(400):  # 50 MB
                link.sendall(flood)
        assert memory_kib(server) - before < 16 * 1024


# --- The server leaves ---


def test_readers_are_told_that_it_leaves(server: ServerProcess) -> None:
    run_id = submit(server, "silent")
    with open_socket(server, run_id) as connection:
        has_begun(connection)
        leaving = threading.Thread(target=server.terminate)
        leaving.start()
        *_, last = rest(connection)
        leaving.join()
        assert last["type"] == "draining"
        assert 1000 <= int(str(last["retry_ms"])) <= 4000
        assert connection.close_code == 1012
    server.restart()
    with open_socket(server, run_id) as connection:
        assert [message["type"] for message in rest(connection)][-1] == "end", "the run was settled"
        assert connection.close_code == 1000


def test_the_library_is_loaded_with_the_first_handshake() -> None:
    code = "import penstock, penstock.serve, penstock.client, sys; sys.exit('websockets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("more", ["Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"])
def test_a_handshake_that_never_becomes_one_is_refused(server: ServerProcess, more: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_S) as link:
        link.sendall(
            f"GET /api/runs/x/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n".encode()
        )
        got = b""
        while piece := link.recv(1000):
            got += piece
    assert got.startswith(b"HTTP/1.1 400 ")
