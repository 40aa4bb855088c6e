"""What `compression` serves: one growing text to everybody, by Penstock and by a peer."""

import asyncio
import json
import sys
import time
import zlib
from collections.abc import AsyncIterator
from random import Random
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

import penstock

from .apps import paced

UPDATES_PER_S = 20

WORDS = sorted(sys.stdlib_module_names)


async def words(count: int, per_s: float) -> AsyncIterator[str]:
    """As a model would send them, the same ones each time."""
    chance = Random(1)
    async for _ in paced(count, per_s):
        yield f"{chance.choice(WORDS)} "


app = penstock.App()


@app.function(concurrency_limit=None)
async def speak(count: int, per_s: float) -> AsyncIterator[str]:
    """The words."""
    async for word in words(count, per_s):
        yield word


class Source:
    """The peer's one stream: frames in memory, in updates."""

    def __init__(self) -> None:
        self.updates: list[bytes] = []
        self.over = False
        self.changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self, count: int, per_s: float) -> None:
        """Once."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(count, per_s))

    async def _run(self, count: int, per_s: float) -> None:
        held, position, due = "", 0, time.monotonic()
        async for word in words(count, per_s):
            held += word
            if time.monotonic() >= due:
                self._update(held, position)
                held, position, due = "", position + len(held), due + 1 / UPDATES_PER_S
        self.over = True
        self._update(held, position)

    def _update(self, text: str, position: int) -> None:
        event = json.dumps({"type": "text", "pos": position, "text": text, "at_ms": time.time_ns() // 10**6})
        self.updates.append(f"id: k3j9x0q2ab-{len(self.updates)}\ndata: {event}\n\n".encode())
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


_source = Source()


async def peer(scope: Scope, _receive: Receive, send: Send) -> None:
    """Raw ASGI with a compressor for each reader, flushed at each update, as is usual; nothing is stored."""
    query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
    _source.begin(int(query["count"]), float(query["per_s"]))
    gzip = zlib.compressobj(wbits=31)
    headers = [(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    sent = 0
    while not (_source.over and sent == len(_source.updates)):
        changed = _source.changed
        data = b"".join(_source.updates[sent:])
        sent = len(_source.updates)
        body = gzip.compress(data) + gzip.flush(zlib.Z_SYNC_FLUSH)
        await send({"type": "http.response.body", "body": body, "more_body": True})
        if not _source.over:
            await changed.wait()
    await send({"type": "http.response.body", "body": gzip.flush()})
