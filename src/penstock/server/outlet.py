"""Where one reader's frames go: a response of any ASGI server, or straight to the connection under our own."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol, Self

from starlette.types import Message, Receive, Send

from ..hub import SHARED_BYTES, Frames

__all__ = ["HIGH_WATER_BYTES", "SLICE_BYTES", "TAKE_OVER", "Outlet", "SendOutlet", "Watch", "nobody"]

SLICE_BYTES = SHARED_BYTES
"""Most that another server than ours is given at once: so far is to be seen how much its reader takes."""

HIGH_WATER_BYTES = 64 * 1024
"""A connection in which so much waits is given no more; with the piece that went over it, it holds a bit more."""

WATCH_AFTER_S = 0.5
"""How long a response goes on before anybody looks whether its reader is still there: a task for each reader of a
short run is a tenth of what the run costs (benchmarks), and its leaving is noticed soon enough."""

TAKE_OVER = "penstock.take_over"
"""ASGI extension of our own server: takes a response's `send` and gives an outlet in its place, after which the
application returns while the response goes on; None where the connection is not there for it. For a WebSocket it
takes the `send` of one that was accepted, and the application goes on to hear its reader."""

GONE = ("http.disconnect", "websocket.disconnect")

Told = Callable[[], None]


Hear = Callable[[Message], None]


def nobody() -> None:
    """Nobody listens yet."""


def nothing(_: Message) -> None:
    """What comes is for nobody."""


class Outlet(Protocol):
    """One response that has begun.

    on_room: called when a full outlet takes more. on_gone: called once when the reader has left.
    """

    on_room: Told
    on_gone: Told

    @property
    def full(self) -> bool:
        """Whether its buffer holds what it should; a write is taken all the same."""
        ...

    @property
    def buffered_bytes(self) -> int:
        """What the reader has not taken."""
        ...

    @property
    def taken_bytes(self) -> int:
        """What it has; only ever grows."""
        ...

    def write(self, frames: Frames) -> None:
        """Send; nothing once the reader has left."""
        ...

    def end(self, last: Frames) -> None:
        """Send the last frames, and end the response."""
        ...

    def cut(self) -> None:
        """End it without sending what is held: the reader takes nothing. `on_gone` is called."""
        ...


class SendOutlet:
    """A response under any ASGI server; `run` is the application's part of it."""

    def __init__(self, send: Send) -> None:
        self.on_room: Told = nobody
        self.on_gone: Told = nobody
        self._send = send
        self._held: list[Frames] = []
        self._held_bytes = self._sending_bytes = self._written_bytes = 0
        self._ended = self._gone = self._was_full = False
        self._news = asyncio.Event()

    @property
    def full(self) -> bool:
        return self.buffered_bytes >= HIGH_WATER_BYTES

    @property
    def buffered_bytes(self) -> int:
        return self._held_bytes + self._sending_bytes

    @property
    def taken_bytes(self) -> int:
        return self._written_bytes - self.buffered_bytes

    def write(self, frames: Frames) -> None:
        self._held.append(frames)
        self._held_bytes += frames.size_bytes
        self._written_bytes += frames.size_bytes
        self._was_full |= self.full  # at whatever time: the writer has stopped then
        self._news.set()

    def end(self, last: Frames) -> None:
        self._ended = True
        self.write(last)

    def cut(self) -> None:
        self._pumping.cancel()
        self._leave()

    def _leave(self) -> None:
        if not (self._gone or self._ended):
            self._gone = True
            self._pumping.cancel()
            self.on_gone()

    async def run(self, receive: Receive, watch_after_s: float = WATCH_AFTER_S, hear: Hear = nothing) -> None:
        """Send what is written, until the end of the response or the reader's leaving.

        hear: is told what the reader sends, which is looked for after `watch_after_s`.
        """
        self._pumping = asyncio.create_task(self._pump())
        try:
            with Watch(receive, self._leave, watch_after_s, hear) as watch:
                watch.begin()
                await asyncio.wait([self._pumping])
        finally:  # the server may end this task, in the middle of the last frames too
            self._leave()
            self._pumping.cancel()
            self._held_bytes = self._sending_bytes = 0  # nobody will take it
        if self._pumping.done() and not self._pumping.cancelled():
            with contextlib.suppress(OSError):  # servers may raise it where the reader has gone
                self._pumping.result()

    async def _pump(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            held, self._held = self._held, []
            more = not self._ended
            self._sending_bytes, self._held_bytes = self._held_bytes, 0
            await self._pass_on(held, more=more)
            self._sending_bytes = 0
            if not more:
                return
            if self._was_full and not self.full:
                self._was_full = False
                self.on_room()

    async def _pass_on(self, held: list[Frames], *, more: bool) -> None:
        data = memoryview(b"".join([frames.data for frames in held]))
        for start in range(0, max(1, len(data)), SLICE_BYTES):
            piece = bytes(data[start : start + SLICE_BYTES])
            goes_on = more or start + SLICE_BYTES < len(data)
            await self._send({"type": "http.response.body", "body": piece, "more_body": goes_on})
            self._sending_bytes -= len(piece)


class Watch:
    """Tells when a request's reader has gone; not before `after_s`, as the end may be near."""

    def __init__(
        self, receive: Receive, on_gone: Told, after_s: float = WATCH_AFTER_S, hear: Hear = nothing
    ) -> None:
        self._receive = receive
        self._on_gone = on_gone
        self._after_s = after_s
        self._hear = hear
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """From now on."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._after_s, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        while (message := await self._receive())["type"] not in GONE:
            self._hear(message)
        self._on_gone()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            self._task = None  # else it and the traceback of its cancellation hold each other
