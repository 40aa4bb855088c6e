"""A server that misbehaves in every way we have seen networks and servers misbehave.

It is real (uvicorn, a port of its own) and follows a script: each connection to the stream is one act. When the
script is used up, the last act is the honest one.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from penstock.client import AsyncRemoteRun
from penstock.events import AnyEvent, End, Text
from penstock.protocol import sse

EPOCH, OTHER = "abcdefgh01", "zyxwvuts98"
WORDS = ["Ein ", "Rohr ", "führt ", "Wasser\n", "zur ", "Mühle ", "🌊", "."]
TEXT = "".join(WORDS)
DEADLINE_S = 10.0

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


def story(end: End | None = None, words: list[str] = WORDS) -> list[AnyEvent]:
    """A run that says its words and returns their number."""
    events: list[AnyEvent] = []
    pos = 0
    for seq, word in enumerate(words, 1):
        events.append(Text(pos, word, seq=seq, at_ms=1))
        pos += len(word)
    last = End("succeeded", result=len(words)) if end is None else end
    last.seq = len(events) + 1
    return [*events, last]


STORY = story()


def frames(events: list[AnyEvent], epoch: str = EPOCH) -> bytes:
    return b"".join([sse.encode_event(event, epoch) for event in events])


class Cut(Exception):
    """Raised in an act: uvicorn fails the connection without ending the body."""


class Stage:
    """One connection to the stream, as an act sees it."""

    def __init__(self, cursor: str | None, receive: Receive, send: Send, rogue: "Rogue") -> None:
        self.cursor = cursor
        self.rogue = rogue
        self._receive = receive
        self._send = send

    async def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer, without a stream."""
        await self.start(status, **headers)
        await self._send({"type": "http.response.body", "body": body})

    async def start(self, status: int = 200, **headers: str) -> None:
        given = {"content-type": "text/event-stream", **{k.replace("_", "-"): v for k, v in headers.items()}}
        raw = [(name.encode(), value.encode()) for name, value in given.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def left(self) -> None:
        """Wait until the client is gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.rogue.gone.set()

    def rest(self, events: list[AnyEvent] | None = None, epoch: str = EPOCH) -> bytes:
        """What an honest server sends to this cursor."""
        events = self.rogue.story if events is None else events
        after = int(self.cursor.partition("-")[2]) if self.cursor else 0
        return frames([event for event in events if event.seq > after], epoch)


Act = Callable[[Stage], Awaitable[None]]


class Rogue:
    """The ASGI application: a script for the stream, a script for everything else, and what was asked."""

    def __init__(self) -> None:
        self.story = STORY
        self.acts: list[Act] = []
        self.last: Act = honest
        self.cursors: list[str | None] = []
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.answers: list[Act] = []
        self.gone = threading.Event()
        self.url = ""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        stage = Stage(headers.get("last-event-id"), receive, send, self)
        if scope["path"].endswith("/events"):
            self.cursors.append(stage.cursor)
            await (self.acts.pop(0) if self.acts else self.last)(stage)
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path = scope["path"] + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        self.requests.append((scope["method"], path, headers, msgspec.json.decode(body) if body else None))
        await (self.answers.pop(0) if self.answers else says(202, {"run_id": "r1", "state": "queued"}))(stage)


async def honest(stage: Stage) -> None:
    await stage.start()
    await stage.write(sse.first_bytes(15) + stage.rest(), more=False)


def cut_after(size: int) -> Act:
    """So many bytes of what is due, then a broken connection."""

    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.write(stage.rest()[:size])
        raise Cut

    return act


def ends_after(size: int) -> Act:
    """So many bytes of what is due, then a clean end of the body, as proxies make it."""

    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.write(stage.rest()[:size], more=False)

    return act


def sends(data: bytes, *, then_cut: bool = False) -> Act:
    """These bytes, whatever was asked for."""

    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.write(data, more=then_cut)
        if then_cut:
            raise Cut

    return act


def stays_after(data: bytes) -> Act:
    """These bytes, then silence until the client goes."""

    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.write(data)
        await stage.left()

    return act


def says(status: int, body: Any, **headers: str) -> Act:
    """A JSON answer."""

    async def act(stage: Stage) -> None:
        await stage.answer(status, msgspec.json.encode(body), content_type="application/json", **headers)

    return act


def refuses(status: int, code: str, **headers: str) -> Act:
    return says(status, {"error": {"code": code, "message": "No.", "hint": "Because."}}, **headers)


async def fails(stage: Stage) -> None:
    """What uvicorn makes of it is a 500 that is not in our form."""
    raise Cut


class House:
    """One server for all tests of a file, since stopping uvicorn takes 0.2 s; each test has a path of its own."""

    def __init__(self) -> None:
        self.rogues: dict[str, Rogue] = {}
        self.url = ""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        name, _, path = scope["path"].removeprefix("/").partition("/")
        await self.rogues[name]({**scope, "path": "/" + path}, receive, send)

    def open(self) -> Rogue:
        rogue, name = Rogue(), str(len(self.rogues))
        self.rogues[name], rogue.url = rogue, f"{self.url}/{name}"
        return rogue


async def read(run: AsyncRemoteRun, after: str | None = None) -> list[AnyEvent]:
    """What a reader gets, to the end."""
    async with asyncio.timeout(DEADLINE_S), run.events(after) as events:
        return [event async for event in events]
