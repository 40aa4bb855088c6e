"""A process that leaves while others accept: whoever holds a connection to it is answered, and sent elsewhere."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from penstock.process import handover
from penstock.process.handover import Door, hand_over
from penstock.testing import until

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n"


async def echo(request: Request) -> Response:
    return PlainTextResponse(b"got " + await request.body())


class Leaving(uvicorn.Server):
    """A server with its door, in the test's loop."""

    def __init__(self) -> None:
        self.door = Door(Starlette(routes=[Route("/", echo, methods=["GET", "POST"])]))
        super().__init__(uvicorn.Config(self.door, http="httptools", log_level="warning"))

    def hand_over(self, most_s: float = 60) -> "asyncio.Task[None]":
        return asyncio.create_task(hand_over(self, self.door, most_s))


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Leaving, int]]:
    """The server and its port."""
    monkeypatch.setattr(uvicorn.Server, "capture_signals", nullcontext)
    server = Leaving()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        yield server, port
        server.should_exit = True
        await asyncio.wait_for(serving, 30)


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader, body: bytes) -> bytes:
    """The head of an answer with this body."""
    whole: bytes = await asyncio.wait_for(reader.readuntil(body), 30)
    return whole.lower()


async def test_an_idle_connection_has_one_more_request(served: tuple[Leaving, int]) -> None:
    server, port = served
    async with connection(port) as (reader, writer):
        writer.write(GET)
        assert b"connection: close" not in await answer(reader, b"got ")
        leaving = server.hand_over()
        await until(lambda: server.door.leaving)
        writer.write(GET)
        assert b"connection: close" in await answer(reader, b"got ")
        assert await reader.read() == b""
        await asyncio.wait_for(leaving, 30)


async def test_a_connection_just_accepted_has_its_request(served: tuple[Leaving, int]) -> None:
    server, port = served
    async with connection(port) as (reader, writer):
        leaving = server.hand_over()
        writer.write(GET)
        assert b"connection: close" in await answer(reader, b"got ")
        await asyncio.wait_for(leaving, 30)


async def test_nobody_new_is_accepted(served: tuple[Leaving, int]) -> None:
    server, port = served
    await asyncio.wait_for(server.hand_over(), 30)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_connection_that_stays_idle_is_not_waited_for_long(
    served: tuple[Leaving, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "LINGER_S", 0.1)
    server, port = served
    async with connection(port) as (reader, writer):
        writer.write(GET)
        await answer(reader, b"got ")
        await asyncio.wait_for(server.hand_over(), 30)
        assert server.server_state.connections, "it is uvicorn's to close"


async def test_a_request_that_writes_is_waited_for(
    served: tuple[Leaving, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "LINGER_S", 0.0)
    server, port = served
    async with connection(port) as (reader, writer):
        writer.write(POST + b"a")
        await until(lambda: server.door.posts)
        leaving = server.hand_over()
        await until(lambda: server.door.leaving)
        writer.write(b"bc")
        assert b"connection: close" in await answer(reader, b"got abc")
        await asyncio.wait_for(leaving, 30)


async def test_a_request_that_never_comes_to_its_end_is_not_waited_for(served: tuple[Leaving, int]) -> None:
    server, port = served
    async with connection(port) as (_, writer):
        writer.write(POST + b"a")
        await until(lambda: server.door.posts)
        await asyncio.wait_for(server.hand_over(most_s=0.1), 30)
        assert server.door.posts == 1
        server.force_exit = True
