"""A real TCP proxy between a client and a server on this machine, whose network can be made to fail."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Coroutine
from random import Random
from threading import Thread
from typing import Any, Literal, Self, TypeVar

from .faults import Fault

T = TypeVar("T")

__all__ = ["FaultProxy"]

PIECE_BYTES = 64 * 1024
"""Most that is read at once, and so that a connection holds in each direction: a Linux pipe holds as much."""

CALL_S = 10.0
"""Longest wait for the proxy's own thread, which never blocks: more than milliseconds is a bug."""


class FaultProxy:
    """Forwards connections to a server, and fails them as told.

    It runs in a thread of its own, so it serves sync and async tests and browsers alike, and every method may
    be called from any thread. Use it with `with` or `async with`; at the end all its connections are reset.

        with FaultProxy(server.port, seed=1) as proxy:
            proxy.fault = Cut(100, 5000)
            ...  # talk to proxy.url
            assert proxy.cuts

    Args:
        port: The server's. It need not be up: a client whose server can't be reached is reset.
        host: The server's.
        seed: Of the random places of faults.

    Attributes:
        fault: What befalls every connection whose first request comes from now on: one of `Answer`, `Cut`, `End`,
            `NoUpgrade` and `Swallow`, or None.
        latency_s: Seconds that each piece waits on its way, in both directions.
        connections: Connections accepted so far.
        cuts: Connections reset so far by a fault or by `cut_all`.
        ends: Bodies ended early, and answers replaced, so far.
    """

    def __init__(self, port: int, *, host: str = "127.0.0.1", seed: int = 0) -> None:
        self.fault: Fault | None = None
        self.latency_s = 0.0
        self.connections = 0
        self.cuts = 0
        self.ends = 0
        self.port = 0
        self.target = (host, port)
        self.chance = Random(seed)  # noqa: S311 - places of faults, no secrets
        self.flowing = asyncio.Event()
        self._links: dict[_Link, asyncio.Task[None]] = {}
        self._listening: socket.socket | None = None

    @property
    def url(self) -> str:
        """Where clients go instead of to the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """Connections of clients that are open now."""
        return len(self._links)

    # --- Faults ---

    def cut_all(self) -> int:
        """Reset every open connection now. Returns how many."""
        return self._call(self._cut_all())

    def stall(self) -> None:
        """Stop forwarding, in both directions, without closing anything: nothing arrives, nobody is told."""
        self._call(self._set_flowing(False))

    def flow(self) -> None:
        """Forward again after `stall`; what was held goes on."""
        self._call(self._set_flowing(True))

    def offline(self) -> None:
        """Reset every open connection and refuse new ones."""
        self._call(self._stop_listening())
        self.cut_all()

    def online(self) -> None:
        """Accept connections again, on the same port."""
        self._call(self._listen())

    # --- Life ---

    def __enter__(self) -> Self:
        # Holds the port while offline: else the system may lend it, even to a client of this very proxy.
        self._holder = _bound(0)
        self.port = self._holder.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self.flow()
        self.online()
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._holder.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *exception: object) -> None:
        await asyncio.to_thread(self.__exit__, *exception)

    # --- In the proxy's own thread ---

    def _call(self, act: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(CALL_S)

    async def _set_flowing(self, flowing: bool) -> None:
        if flowing:
            self.flowing.set()
        else:
            self.flowing.clear()

    async def _listen(self) -> None:
        if self._listening is None:
            self._listening = _bound(self.port)
            self._listening.setblocking(False)
            self._listening.listen()
            # No asyncio.Server: what that is just accepting as it is closed keeps its socket open.
            self._loop.add_reader(self._listening, self._accept, self._listening)

    async def _stop_listening(self) -> None:
        if self._listening is not None:
            self._loop.remove_reader(self._listening)
            self._listening.close()
            self._listening = None

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):  # it is gone again
            link = _Link(self, listening.accept()[0])
            self.connections += 1
            task = self._links[link] = self._loop.create_task(link.run())
            task.add_done_callback(lambda _: self._links.pop(link))

    async def _cut_all(self) -> int:
        count = await self._reset_links()
        self.cuts += count
        return count

    async def _reset_links(self) -> int:
        links = dict(self._links)
        for link in links:
            link.reset()
        for task in links.values():
            task.cancel()
        await asyncio.gather(*links.values(), return_exceptions=True)
        return len(links)

    async def _close(self) -> None:
        await self._stop_listening()
        await self._reset_links()
        await asyncio.sleep(0)  # what was aborted is closed in the loop's next turn


class _Link:
    """One client's connection, and the one to the server that it uses at the time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __init__(self, proxy: FaultProxy, client: socket.socket) -> None:
        self.proxy, self.client = proxy, client
        self._state: Literal["accepted", "opening", "open"] = "accepted"

    async def run(self) -> None:
        try:
            await self._open()
            while await self._exchange():
                pass
        except (
            OSError
        ):  # either side was reset, or the server can't be reached: the client learns it as a reset
            self.reset()
        finally:
            (self.writer if self._state == "open" else self.client).close()

    async def _open(self) -> None:
        self._state = "opening"
        self.reader, self.writer = await asyncio.open_connection(sock=self.client, limit=PIECE_BYTES)
        self._state = "open"
        self.writer.transport.set_write_buffer_limits(high=0)  # so that drained means: with the kernel

    def reset(self) -> None:
        """Close with an RST instead of a FIN. One that is being opened is closed by whoever cancels that."""
        if self._state != "open" or not self.writer.is_closing():
            with contextlib.suppress(OSError):  # it is gone
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self._state == "open":
            self.writer.transport.abort()
        elif self._state == "accepted":
            self.client.close()

    async def _exchange(self) -> bool:
        """Carry one connection to the server until it is over. Whether the client's goes on with another."""
        first = await self.reader.read(PIECE_BYTES)
        if not first:
            return False
        fault = self.proxy.fault
        reader, writer = await asyncio.open_connection(*self.proxy.target, limit=PIECE_BYTES)
        up = asyncio.ensure_future(self._carry_up(first, writer))
        down = asyncio.ensure_future(self._carry_down(reader, fault))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            return down.result() if down.done() else False
        finally:
            writer.transport.abort()  # before anything is awaited, where this task may be cancelled
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _carry_up(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        while piece:
            await self._pass()
            writer.write(piece)
            await writer.drain()
            piece = await self.reader.read(PIECE_BYTES)

    async def _carry_down(self, reader: asyncio.StreamReader, fault: Fault | None) -> bool:
        filter_ = fault.filter(self.proxy.chance) if fault else None
        while piece := await reader.read(PIECE_BYTES):
            await self._pass()
            passed = filter_.feed(piece) if filter_ else piece
            over = fault if filter_ and filter_.over else None
            self._count(over)  # before anybody can see it happen
            self.writer.write(passed)
            await self.writer.drain()
            if over:
                return self._fail(over)
        return False

    def _count(self, fault: Fault | None) -> None:
        if fault is not None and fault.clean:
            self.proxy.ends += 1
        elif fault is not None:
            self.proxy.cuts += 1

    def _fail(self, fault: Fault) -> bool:
        if not fault.clean:
            self.reset()
        return fault.keep_alive

    async def _pass(self) -> None:
        if self.proxy.latency_s:
            await asyncio.sleep(self.proxy.latency_s)
        await self.proxy.flowing.wait()


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    return sock
