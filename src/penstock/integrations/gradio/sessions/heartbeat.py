"""Presence: one heartbeat that Gradio sees, for as long as a session lives; and those that its pages hold."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from ..seams.inner import API, request_scope, stream
from .sessions import Session

__all__ = ["HEADERS", "Heart", "gone", "stay"]

log = logging.getLogger("penstock")

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]

ALIVE = b"data: ALIVE\n\n"


class Heart:
    """Gradio's own heartbeat of a session, held on its behalf: when it ends, Gradio runs the unload events."""

    def __init__(
        self, app: ASGIApp, session_hash: str, scope: Scope, keep: Callable[[Awaitable[Any]], None]
    ) -> None:
        self._app = app
        self._scope = request_scope(scope, "GET", f"{API}/heartbeat/{session_hash}")
        self._leave = asyncio.Event()
        self.over = asyncio.Event()
        """Gradio has ended it: its server stops, if nobody has asked for that."""
        keep(self._beat())

    async def _beat(self) -> None:
        try:
            await stream(self._app, self._scope, _nothing, self._leave)
        except Exception:
            log.warning("Gradio's heartbeat of a session failed.", exc_info=True)
        finally:
            self.over.set()

    async def leave(self) -> None:
        """The session is over."""
        self._leave.set()
        await self.over.wait()


async def _nothing(_: bytes) -> None:
    pass


async def gone(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def stay(session: Session, heart: Heart, receive: Receive, send: Send, heartbeat_s: float) -> None:
    """Answer a page's heartbeat for as long as it listens, and Gradio's server goes on."""
    with session.present():
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        ends = [asyncio.create_task(gone(receive)), asyncio.create_task(_until(heart.over))]
        try:
            while not any(end.done() for end in ends):
                await send({"type": "http.response.body", "body": ALIVE, "more_body": True})
                await asyncio.wait(ends, timeout=heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        await send({"type": "http.response.body", "body": b""})


async def _until(event: asyncio.Event) -> None:
    await event.wait()
