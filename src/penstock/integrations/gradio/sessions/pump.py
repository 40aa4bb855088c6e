"""The only reader of a session's messages inside Gradio, where a message that was read is gone."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.types import ASGIApp, Scope

from ..seams.direct import Direct
from ..seams.inner import API, request_scope, stream

__all__ = ["Pump"]

log = logging.getLogger("penstock")

READ_AGAIN_S = 0.5
"""How soon Gradio is asked again where it broke off while something ran."""

MOST_FAILURES = 3
"""Times that Gradio may break off, one after the other, before what ran counts as lost."""


class Pump:
    """Reads one session's messages while anything of it is pending.

    hear: is given each message, in order; Gradio waits with the next one while it takes its time.
    lost: is called where Gradio does not know the session any more.
    short: the short way into Gradio, if there is one.
    """

    def __init__(
        self,
        app: ASGIApp,
        session_hash: str,
        pending: Callable[[], bool],
        hear: Callable[[dict[str, Any]], Awaitable[None]],
        lost: Callable[[str], None],
        keep: Callable[[Awaitable[None]], None],
        short: Direct | None = None,
    ) -> None:
        self._app = app
        self._short = short
        self._name = session_hash
        self._query = urlencode({"session_hash": session_hash})
        self._pending = pending
        self._hear = hear
        self._lost = lost
        self._keep = keep
        self._scope: Scope = {}
        self._leave = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._rest = b""
        self._said_lost = ""

    def ensure(self, scope: Scope) -> None:
        """Read, if that is not under way. scope: a request of the session's, which Gradio lets in."""
        self._scope = scope
        if self._task is None or self._task.done():
            self._leave = asyncio.Event()
            self._task = asyncio.create_task(self._run())
            self._keep(self._task)

    async def leave(self) -> None:
        """Let Gradio see that the reader is gone: it cancels what runs for the session."""
        self._leave.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        failures = 0
        while self._pending() and not self._leave.is_set():
            heard = await self._read()
            failures = 0 if heard else failures + 1
            if self._said_lost or failures >= MOST_FAILURES:
                self._lost(self._said_lost or "Gradio gave no more messages.")
                return
            if not heard:
                await asyncio.sleep(READ_AGAIN_S)

    async def _read(self) -> bool:
        """Read until Gradio ends it. Whether it went well."""
        self._rest, self._said_lost = b"", ""
        try:
            inner = request_scope(self._scope, "GET", f"{API}/queue/data", self._query)
            if self._short is not None and self._short.is_open:
                status = await self._short.stream(inner, self._name, self._take, self._leave)
            else:
                status = await stream(self._app, inner, self._take, self._leave)
        except Exception:
            log.debug("Gradio broke off a stream of messages.", exc_info=True)
            return False
        return status == 200

    async def _take(self, data: bytes) -> None:
        *frames, self._rest = (self._rest + data).split(b"\n\n")
        for frame in frames:
            if frame.startswith(b"data:"):
                await self._message(msgspec.json.decode(frame[5:]))

    async def _message(self, message: dict[str, Any]) -> None:
        kind = message.get("msg")
        if kind == "unexpected_error":
            if not self._leave.is_set():
                self._said_lost = str(message.get("message"))
        elif kind not in ("heartbeat", "close_stream"):
            await self._hear(message)
