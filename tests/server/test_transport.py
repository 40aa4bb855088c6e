"""The connection itself, under `penstock serve`: heads too large or without end, and what must not suffer."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
import uvloop

from penstock.server.cork import CORK_BYTES, PASSED_ON, Corked
from penstock.server.transport import MAX_HEAD_BYTES
from penstock.testing import ServerProcess

from .links import until

HEAD_TIMEOUT_S = 0.3
MAX_PIPELINED = 400
BODY_TIMEOUT_S = 1.0
SOURCE = f"""
import asyncio, penstock
from penstock.server import transport

transport.HEAD_TIMEOUT_S = {HEAD_TIMEOUT_S}
transport.BODY_TIMEOUT_S = {BODY_TIMEOUT_S}
transport.MAX_PIPELINED = {MAX_PIPELINED}
app = penstock.App(rate=0, heartbeat_s=0.2)

@app.function(on_abandon="cancel", abandon_grace_s=1, concurrency_limit=None)
async def watched():
    await asyncio.Event().wait()

@app.function
def size(text: str) -> int:
    return len(text)

@app.function
async def slow():
    for number in range(4):
        yield f"{{number}} "
        await asyncio.sleep({HEAD_TIMEOUT_S})
"""
PING = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
DEADLINE_S = 30


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "app.py").write_text(SOURCE)
    with ServerProcess("app.py", "--grace-s", "0", cwd=folder) as server:
        yield server


@contextmanager
def connected(server: ServerProcess) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S) as connection:
        yield connection


def rest(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    got = b""
    while piece := connection.recv(65536):
        got += piece
    return got


def post(function: str, **given: object) -> bytes:
    body = json.dumps({"function": function, "input": given}).encode()
    head = b"POST /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def submit(connection: socket.socket, request: bytes) -> str:
    connection.sendall(request)
    answer = until(connection, b"}")
    assert answer.startswith(b"HTTP/1.1 202 "), answer
    run_id: str = json.loads(answer.partition(b"\r\n\r\n")[2])["run_id"]
    return run_id


@pytest.mark.parametrize(
    "start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 9000]
)
def test_a_head_that_is_too_large_is_431(server: ServerProcess, start: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(start.ljust(MAX_HEAD_BYTES + 1, b"x"))
        assert rest(connection).startswith(b"HTTP/1.1 431 ")


def flood(connection: socket.socket) -> None:
    for _ in range(1000):  # 64 MB: more than both sides' buffers hold
        connection.sendall(b"X: ".ljust(64 * 1024 - 2, b"x") + b"\r\n")


@pytest.mark.parametrize("before", [b"", PING], ids=["first", "later"])
def test_a_head_without_end_is_not_taken(server: ServerProcess, before: bytes) -> None:
    with connected(server) as connection:
        if before:
            connection.sendall(before)
            until(connection, b'"ok"}')
        connection.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            flood(connection)


def test_a_large_head_is_taken(server: ServerProcess) -> None:
    with connected(server) as connection:
        connection.sendall(PING[:-2] + b"X: ".ljust(MAX_HEAD_BYTES - 200, b"x") + b"\r\n\r\n")
        until(connection, b'"ok"}')


@pytest.mark.parametrize("half", [b"", b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_half_a_head_is_closed(server: ServerProcess, half: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(half)
        assert rest(connection) == b""


def test_half_a_later_head_is_closed(server: ServerProcess) -> None:
    with connected(server) as connection:
        for _ in range(2):
            connection.sendall(PING)
            until(connection, b'"ok"}')
        begun = time.monotonic()
        connection.sendall(PING[:-2])
        assert rest(connection) == b""
        assert time.monotonic() - begun < 4, "uvicorn's own patience is 5 s"


def test_large_bodies_are_not_heads(server: ServerProcess) -> None:
    text = "x" * 3 * 1024 * 1024
    with connected(server) as connection:
        for _ in range(2):
            submit(connection, post("size", text=text))
        connection.sendall(PING)
        until(connection, b'"ok"}')


def test_a_slow_body_has_its_time(server: ServerProcess) -> None:
    request = post("size", text="x")
    with connected(server) as connection:
        connection.sendall(request[:-2])
        time.sleep(2 * HEAD_TIMEOUT_S)  # the head is complete: its clock must not run on
        submit(connection, request[-2:])


def test_a_stream_is_not_cut_nor_what_is_pipelined_behind_it(server: ServerProcess) -> None:
    last = PING.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with connected(server) as connection:
        run_id = submit(connection, post("slow"))
        begun = time.monotonic()
        events = b"GET /api/runs/%b/events HTTP/1.1\r\nHost: localhost\r\n\r\n" % run_id.encode()
        connection.sendall(events + PING * 300 + last)
        answers = rest(connection)
    assert time.monotonic() - begun > 2 * HEAD_TIMEOUT_S
    assert answers.index(b'"succeeded"') < answers.index(b'"ok"')
    assert answers.count(b"HTTP/1.1 200 ") == 302


def test_a_line_break_between_requests_does_not_hold_the_connection(server: ServerProcess) -> None:
    """The parser skips it, and with it uvicorn's own timer was gone."""
    with connected(server) as connection:
        connection.sendall(PING)
        until(connection, b"ok")
        connection.sendall(b"\r\n")
        rest(connection)


def test_trailers_are_passed_over(server: ServerProcess) -> None:
    """Headers after a body in chunks are kept by nobody, however many."""
    body = post("size", text="four").partition(b"\r\n\r\n")[2]
    head = b"POST /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    trailers = b"".join(b"X-%d: %b\r\n" % (number, b"y" * 1000) for number in range(200))
    with connected(server) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(body), body))
        connection.sendall(trailers + b"\r\n")
        assert b" 202 " in until(connection, b"run_id")
        connection.sendall(PING)
        until(connection, b"ok")


# --- While an answer is under way ---


def events_of(run_id: str) -> bytes:
    return b"GET /api/runs/%b/events HTTP/1.1\r\nHost: localhost\r\n\r\n" % run_id.encode()


@pytest.mark.parametrize("behind", [b"", PING, PING * 300], ids=["nothing", "one", "many"])
def test_a_reader_that_leaves_is_noticed_whatever_it_asked_for_next(
    behind: bytes, server: ServerProcess
) -> None:
    with connected(server) as connection:
        run_id = submit(connection, post("watched"))
    with connected(server) as connection:
        connection.sendall(events_of(run_id) + behind)
        until(connection, b'"running"')
    deadline = time.monotonic() + DEADLINE_S
    while state_of(server, run_id) == "running":
        assert time.monotonic() < deadline, "its reader counts as connected"
    assert state_of(server, run_id) == "cancelled"


def state_of(server: ServerProcess, run_id: str) -> str:
    with connected(server) as connection:
        connection.sendall(b"GET /api/runs/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % run_id.encode())
        state: str = json.loads(until(connection, b'"events"').partition(b"\r\n\r\n")[2])["state"]
        return state


@pytest.mark.parametrize(
    "rubbish",
    [b"GET / HTTP/1.1\r\nX: ".ljust(MAX_HEAD_BYTES + 1, b"x"), b"\x00\x01 no request\r\n\r\n"],
    ids=["too much", "no request"],
)
def test_nothing_is_written_into_an_answer_under_way(rubbish: bytes, server: ServerProcess) -> None:
    with connected(server) as connection:
        run_id = submit(connection, post("slow"))
        connection.sendall(events_of(run_id))
        got = until(connection, b"text")
        connection.sendall(rubbish)
        got += rest(connection)
    answer, end, after = got.partition(b"0\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1, got
    assert end
    assert after.startswith(b"HTTP/1.1 4"), "it has its own answer, once it is its turn"


def test_half_a_next_head_does_not_cut_the_answer_before_it(server: ServerProcess) -> None:
    with connected(server) as connection:
        run_id = submit(connection, post("slow"))
        connection.sendall(events_of(run_id) + b"\r\nGET / HTTP/1.1\r\n")
        assert b'"succeeded"' in until(connection, b"0\r\n\r\n")
        assert rest(connection) == b"", "it has its time, and no more"


def test_a_body_that_does_not_come_is_closed(server: ServerProcess) -> None:
    request = post("size", text="x")
    with connected(server) as connection:
        connection.sendall(request[:-2])
        assert rest(connection) == b""


def test_more_requests_than_are_kept_end_the_connection(server: ServerProcess) -> None:
    with connected(server) as connection:
        run_id = submit(connection, post("slow"))
        connection.sendall(events_of(run_id) + PING * (MAX_PIPELINED + 50))
        with suppress(ConnectionError):
            assert b'"ok"' not in rest(connection)


# --- What is written in one turn of the loop ---


@asynccontextmanager
async def corked() -> AsyncIterator[tuple[Corked, socket.socket]]:
    """Our end and the other one, which is read without waiting."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    with theirs:
        yield Corked(transport, loop), theirs
        transport.abort()


def test_a_head_comes_with_its_body(server: ServerProcess) -> None:
    with connected(server) as connection:
        for _ in range(20):
            connection.sendall(PING)
            assert connection.recv(65536).endswith(b'"ok"}')


async def test_what_is_written_in_one_turn_is_sent_at_its_end() -> None:
    async with corked() as (cork, reader):
        cork.write(b"head ")
        cork.write(b"body")
        with pytest.raises(BlockingIOError):
            reader.recv(100)
        await asyncio.sleep(0)
        assert reader.recv(100) == b"head body"
        await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):
            reader.recv(100)


async def test_little_is_held_back() -> None:
    async with corked() as (cork, reader):
        cork.write(b"head ")
        cork.write(b"x" * CORK_BYTES)
        assert len(reader.recv(2 * CORK_BYTES)) == 5 + CORK_BYTES
        cork.write(b"tail")
        await asyncio.sleep(0)
        assert reader.recv(100) == b"tail"


async def test_closing_sends_what_is_held_back() -> None:
    async with corked() as (cork, reader):
        cork.write(b"farewell")
        cork.close()
        assert reader.recv(100) == b"farewell"
        cork.write(b"too late")
        await asyncio.sleep(0)
        assert reader.recv(100) == b""


async def test_lines_keep_their_place() -> None:
    async with corked() as (cork, reader):
        cork.write(b"head ")
        cork.writelines([b"one ", memoryview(b"two ")])
        cork.write(b"tail")
        with pytest.raises(BlockingIOError):
            reader.recv(100)
        await asyncio.sleep(0)
        assert reader.recv(100) == b"head one two tail"


@pytest.mark.parametrize("name", ["sendfile", "write_eof", "can_write_eof", "_sock", "what_comes_one_day"])
async def test_what_might_overtake_held_bytes_is_refused(name: str) -> None:
    async with corked() as (cork, _):
        with pytest.raises(AttributeError, match=f"{name} might overtake"):
            getattr(cork, name)
        assert not hasattr(cork, name), "so that who asks first is told"


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_rest_is_the_transports_own(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def look() -> None:
        async with corked() as (cork, _):
            for name in PASSED_ON:
                assert callable(getattr(cork, name))
            assert cork.get_extra_info("socket") is not None
            assert (cork.is_closing(), cork.get_write_buffer_size()) == (False, 0)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(look())
