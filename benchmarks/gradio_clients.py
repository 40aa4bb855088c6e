"""Clients of Gradio's own protocol on bare sockets, which do no more than they must while they read."""

import asyncio
import json
import time
from typing import Any, cast

from .servers import Server

__all__ = ["ask", "body_of", "join", "run", "shown", "updates"]

END = b"\r\n0\r\n\r\n"


class _Answer(asyncio.Protocol):
    """One request on a connection of its own, and all that comes back."""

    def __init__(self, request: bytes, done: "asyncio.Future[None]") -> None:
        self._request, self._done = request, done
        self.parts: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.parts.append(data)
        if data.endswith(END[2:]) and b"".join(self.parts[-2:]).endswith(END):
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def ask(server: Server, method: str, path: str, body: object = None) -> list[bytes]:
    """One request; its answer as it came."""
    loop = asyncio.get_running_loop()
    data = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    done: asyncio.Future[None] = loop.create_future()
    host, port = server.url.removeprefix("http://").split(":")
    _, answer = await loop.create_connection(lambda: _Answer(head.encode() + data, done), host, int(port))
    await done
    return answer.parts


def body_of(parts: list[bytes]) -> bytes:
    """The body of a chunked answer."""
    data = b"".join(parts).partition(b"\r\n\r\n")[2]
    found, place = [], 0
    while (end := data.find(b"\r\n", place)) >= 0 and (size := int(data[place:end], 16)):
        found.append(data[end + 2 : end + 2 + size])
        place = end + 2 + size + 2
    return b"".join(found)


async def join(server: Server, function: int, *data: object) -> str:
    """Begin an event; the path of its session's stream."""
    session = f"s{time.monotonic_ns()}"
    body = {"data": data, "fn_index": function, "session_hash": session}
    answer = b"".join(await ask(server, "POST", "/gradio_api/queue/join", body))
    assert b'"event_id"' in answer, answer
    return f"/gradio_api/queue/data?session_hash={session}"


async def run(server: Server, function: int, *data: object) -> list[bytes]:
    """One event to its end: its session's stream as it came."""
    return await ask(server, "GET", await join(server, function, *data))


def updates(parts: list[bytes]) -> int:
    """How often the outputs were changed."""
    return sum(message["msg"] == "process_generating" for message in _messages(parts))


def shown(parts: list[bytes]) -> Any:
    """What a page with one output shows in the end, which is also what Gradio says last."""
    messages, value = _messages(parts), None
    for message in messages:
        if message["msg"] == "process_generating":
            [change] = message["output"]["data"]
            value = change if value is None else _patched(value, change)
    assert messages[-1]["msg"] in ("process_completed", "close_stream"), messages[-1]
    last = next(message for message in reversed(messages) if message["msg"] == "process_completed")
    assert last["success"], last
    assert last["output"]["data"] == [value], (last["output"]["data"], value)
    return value


def _messages(parts: list[bytes]) -> list[dict[str, Any]]:
    lines = [line for line in body_of(parts).splitlines() if line.startswith(b"data: ")]
    return [json.loads(line.removeprefix(b"data: ")) for line in lines]


def _patched(value: Any, change: list[Any]) -> Any:
    """As Gradio's page does it, for texts that grow."""
    top = [value]
    for action, path, given in change:
        container: Any = top
        way = [0, *path]
        for part in way[:-1]:
            container = container[part]
        container[way[-1]] = container[way[-1]] + given if action == "append" else given
    return top[0]
