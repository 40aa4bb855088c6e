"""What `fan_out` serves: one stream to everybody, by Penstock and by its peers, from the same source of events.

A source waits until a file is there, which says that all readers are, and then makes events at a steady pace. Each
carries when it was due, not when it was made: a server that holds up its own source doesn't look faster for it.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import penstock

PAD = "." * 44
"""Brings an event's value to 92 bytes, and its frame without an id to 100."""

GO_EVERY_S = 0.01

NEVER = "/nonexistent/go"
"""For who is to stay idle: the source does not even look, which would be most of what an idle server does."""

TICK_S = 0.001
"""How often a source looks what is due, at most: uvloop takes less for no time at all, and would spin."""


async def due(count: int, per_s: float, go: str) -> AsyncIterator[list[dict[str, Any]]]:
    """`count` values, as many at a time as are due."""
    if go == NEVER:
        await asyncio.Event().wait()
    while not Path(go).exists():
        await asyncio.sleep(GO_EVERY_S)
    start, made = time.time_ns(), 0
    while made < count:
        upto = min(count, int((time.time_ns() - start) * per_s / 1e9))
        if upto > made:
            yield [value(no, start, per_s) for no in range(made + 1, upto + 1)]
        made = upto
        await asyncio.sleep(max(TICK_S, (start - time.time_ns()) / 1e9 + (made + 1) / per_s))


def value(no: int, start_ns: int, per_s: float) -> dict[str, Any]:
    """One event's value. The load looks for `~`."""
    return {"~no": no, "t": start_ns + int(no * 1e9 / per_s), "pad": PAD}


app = penstock.App()


@app.function(concurrency_limit=None)
async def feed(count: int, per_s: float, go: str) -> AsyncIterator[dict[str, Any]]:
    """Values, which never merge: each travels whole."""
    async for values in due(count, per_s, go):
        for one in values:
            yield one


@app.function(concurrency_limit=None, rate=0)
async def feed_each(count: int, per_s: float, go: str) -> AsyncIterator[dict[str, Any]]:
    """The same, and nothing waits for another."""
    async for values in due(count, per_s, go):
        for one in values:
            yield one


class Log:
    """What the peers serve from: all events so far, in memory, and one wake-up for all readers."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self.frames: list[bytes] = []
        self.more = asyncio.Event()
        self.source: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start the source with the first reader."""
        if self.source is None:
            self.source = asyncio.create_task(self._fill())

    async def _fill(self) -> None:
        count, per_s, go = json.loads(os.environ["FAN_OUT"])
        async for values in due(count, per_s, go):
            self._append([json.dumps(one, separators=(",", ":")) for one in values])

    def _append(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.values.append(text)
            self.frames.append(f"data: {text}\n\n".encode())
        self.more.set()
        self.more = asyncio.Event()


log = Log()

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")],
}


def _body(data: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def pending(send: Send) -> None:
    """All that has come since the last wake-up, in one write."""
    position = 0
    while True:
        if position == len(log.frames):
            await log.more.wait()
        end = len(log.frames)
        await send(_body(b"".join(log.frames[position:end])))
        position = end


async def each(send: Send) -> None:
    """One write for each event."""
    position = 0
    while True:
        if position == len(log.frames):
            await log.more.wait()
        await send(_body(log.frames[position]))
        position += 1


async def raw(scope: Scope, receive: Receive, send: Send) -> None:
    """ASGI without a framework."""
    await receive()
    log.begin()
    await send(START)
    await send(_body(b": hello\n\n"))
    await (pending if scope["path"] == "/pending" else each)(send)


async def _values() -> AsyncIterator[dict[str, str]]:
    position = 0
    while True:
        if position == len(log.values):
            await log.more.wait()
        yield {"data": log.values[position]}
        position += 1


async def _sse_starlette(_request: Request) -> Response:
    from sse_starlette.sse import EventSourceResponse  # the rest works without it

    log.begin()
    response: Response = EventSourceResponse(_values())
    return response


sse_starlette = Starlette(routes=[Route("/sse", _sse_starlette)])
