"""The clients of `queue_throughput`: each submits a run that does nothing and waits until it has seen its end.

For Penstock and Gradio the same light code: one kept-alive connection a client, a POST, then the events to their
end. SAQ has no HTTP: its clients speak to Redis, and hear of the end by the messages that SAQ publishes there.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import cast

from .servers import Server

__all__ = ["Clients", "Submit", "gradio_clients", "penstock_clients", "saq_clients"]

Submit = Callable[[], Awaitable[None]]
"""Submits one run and returns when its end has come."""

Clients = Callable[[Server, int], AbstractAsyncContextManager[list[Submit]]]
"""So many clients of a server, connected."""

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
EVENTS = re.compile(rb'"events":"([^"]+)"')


class Connection(asyncio.Protocol):
    """One kept-alive connection with one request at a time. It parses no more than it must."""

    def __init__(self) -> None:
        self._answer = bytearray()
        self._asked: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are, but not by their base class

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._asked is not None and _is_complete(self._answer):
            self._asked.set_result(bytes(self._answer))
            self._asked = None

    def connection_lost(self, error: Exception | None) -> None:
        if self._asked is not None:
            self._asked.set_exception(error or ConnectionError("The server closed the connection."))

    async def ask(self, request: bytes) -> bytes:
        """The whole answer to a request."""
        self._answer.clear()
        self._asked = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._asked

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


def _is_complete(answer: bytearray) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    length = LENGTH.search(head)
    return len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n")


@contextlib.asynccontextmanager
async def _connected(server: Server, count: int) -> AsyncIterator[list[Connection]]:
    loop = asyncio.get_running_loop()
    host, port = server.url.removeprefix("http://").split(":")
    made = [await loop.create_connection(Connection, host, int(port)) for _ in range(count)]
    try:
        yield [connection for _, connection in made]
    finally:
        for _, connection in made:
            connection.close()


def _post(path: bytes, body: bytes) -> bytes:
    head = (
        b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    return head % (path, len(body)) + body


def _get(path: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path


@contextlib.asynccontextmanager
async def penstock_clients(server: Server, count: int) -> AsyncIterator[list[Submit]]:
    """Clients of Penstock."""
    async with _connected(server, count) as connections:
        yield [_penstock_client(connection) for connection in connections]


def _penstock_client(connection: Connection) -> Submit:
    run = _post(b"/api/runs", b'{"function":"noop","input":{}}')

    async def submit() -> None:
        path = EVENTS.search(answer := await connection.ask(run))
        assert path is not None, answer
        events = await connection.ask(_get(path[1]))
        assert b'"state":"succeeded"' in events, events

    return submit


@contextlib.asynccontextmanager
async def gradio_clients(server: Server, count: int) -> AsyncIterator[list[Submit]]:
    """Clients of Gradio, as its page is one: a session each, and a stream for each run."""
    async with _connected(server, count) as connections:
        yield [_gradio_client(connection) for connection in connections]


def _gradio_client(connection: Connection) -> Submit:
    session = b"%x" % id(connection)
    join = _post(b"/gradio_api/queue/join", b'{"data":[],"fn_index":0,"session_hash":"%b"}' % session)
    listen = _get(b"/gradio_api/queue/data?session_hash=%b" % session)

    async def submit() -> None:
        answer = await connection.ask(join)
        assert b'"event_id"' in answer, answer
        events = await connection.ask(listen)
        assert b'"msg":"process_completed"' in events, events
        assert b'"success":true' in events, events

    return submit


@contextlib.asynccontextmanager
async def saq_clients(server: Server, count: int) -> AsyncIterator[list[Submit]]:
    """Clients of SAQ, which share one queue object, as those of one web server would."""
    from saq.job import Job, Status

    from .saq_app import make_queue

    queue = make_queue(server.url)
    # Kept open, or the queue would subscribe anew for each run.
    listening = asyncio.create_task(queue.listen(["none"], lambda *_: False, timeout=None))
    while not await queue.redis.pubsub_numpat():
        await asyncio.sleep(0.01)

    # Not the queue's `apply`, which looks for the end every half second only.
    async def submit() -> None:
        job = Job("noop")
        ended = asyncio.create_task(
            queue.listen([job.key], lambda _, status: status is Status.COMPLETE, timeout=None)
        )
        await asyncio.sleep(0)  # it listens now
        await queue.enqueue(job)
        await ended

    yield [submit] * count
    listening.cancel()
    await queue.disconnect()
