"""Calling the application that the middleware stands in front of, without a connection."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import msgspec
from starlette.types import ASGIApp, Message, Scope, Send

__all__ = [
    "API",
    "JSON",
    "Answer",
    "call",
    "json_in",
    "object_in",
    "prefix_of",
    "read_body",
    "refusal",
    "request_scope",
    "respond",
    "route_of",
    "stream",
]

API = "/gradio_api"

_SPEC = {"version": "3.0", "spec_version": "2.3"}
"""The version in which an application learns of a disconnect from `receive`, which is how it is told here."""


JSON = [(b"content-type", b"application/json")]


class Answer(NamedTuple):
    """A whole response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def refusal(status: int, detail: object) -> Answer:
    """An error in Gradio's form."""
    return Answer(status, list(JSON), msgspec.json.encode({"detail": detail}))


async def respond(answer: Answer, send: Send) -> None:
    """Send a whole response."""
    headers = [one for one in answer.headers if one[0] != b"content-length"]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def route_of(scope: Scope) -> str:
    """The path below where Gradio is mounted, or its root path."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :]
    return path


def prefix_of(scope: Scope) -> str:
    """What stands before `route_of` in the path."""
    path: str = scope["path"]
    return path[: len(path) - len(route_of(scope))]


def request_scope(
    like: Scope, method: str, route: str, query: str = "", headers: Iterable[tuple[bytes, bytes]] = ()
) -> Scope:
    """A request of our own to the inner app, on behalf of whoever made `like`."""
    path = prefix_of(like) + route
    dropped = {b"content-length", b"transfer-encoding", b"content-type"} if headers else set()
    kept = [(name, value) for name, value in like["headers"] if name not in dropped]
    own = {"method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode()}
    fresh: dict[str, Any] = {"type": "http", "headers": [*kept, *headers], "asgi": _SPEC, "extensions": {}}
    return {**like, **own, **fresh}  # the rest is what the parent application knows of its user


async def read_body(receive: Callable[[], Awaitable[Message]]) -> bytes | None:
    """A request's whole body; None where the client left in the middle of it."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def json_in(body: bytes) -> tuple[Any, bool]:
    """What Gradio will read of a body, and whether it is JSON: it reads NaN and UTF-16, too."""
    for decode in (msgspec.json.decode, json.loads):
        try:
            return decode(body), decode is msgspec.json.decode
        except (ValueError, RecursionError):
            continue
    return None, False


def object_in(body: bytes) -> dict[str, Any] | None:
    """The object that Gradio will take from a body; None where there is none in it."""
    given, _ = json_in(body)
    return given if isinstance(given, dict) else None


def _receive_of(body: bytes, leave: asyncio.Event) -> Callable[[], Awaitable[Message]]:
    given = False

    async def receive() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        await leave.wait()
        return {"type": "http.disconnect"}

    return receive


async def call(app: ASGIApp, scope: Scope, body: bytes = b"") -> Answer:
    """Ask the inner app something that it answers at once."""
    status, headers, parts = 500, [], bytearray()

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            parts.extend(message.get("body", b""))

    await app(scope, _receive_of(body, asyncio.Event()), send)
    return Answer(status, headers, bytes(parts))


async def stream(
    app: ASGIApp, scope: Scope, take: Callable[[bytes], Awaitable[None]], leave: asyncio.Event
) -> int:
    """Read a response that goes on, until its end, or until `leave` is set: then the app sees a disconnect.

    Returns the status. `take` is awaited for each piece of the body, so the app waits while it does.
    """
    status = 500

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message.get("body"):
            await take(message["body"])

    await app(scope, _receive_of(b"", leave), send)
    return status
