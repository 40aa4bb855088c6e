"""Plays all scenes at once, as most of them wait most of the time."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple, Self

from ..browser.chromium import Chromium
from ..browser.disturbance import Disturbance
from .scene import APP, DISTURBANCES, Times, play
from .seen import WATCH
from .server import GradioServer

__all__ = ["REOPENING", "Cell", "Stage"]

REOPENING = Path(__file__).parents[1] / "browser" / "reopening"
"""The extension that opens closed tabs again."""

AT_ONCE = 4
"""Scenes that do something at a time: two cores are busy with them, and deadlines hold."""


MANY = 40
"""Stories that a server tells at once to the pages that share it: more than there are."""


class Cell(NamedTuple):
    disturbance: str
    version: str
    hardened: bool


class Stage:
    """One server for all scenes of a version that do it no harm; begins with the scenes that last longest.

    apart: each scene that does harm has a server to itself. Else those of a version have one together, and play on
    it one after the other: a server that is hardened bears that.
    """

    def __init__(self, chromium: Chromium, folder: Path, times: Times, *, apart: bool = True) -> None:
        self.chromium, self.folder, self.times, self.apart = chromium, folder, times, apart
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._alone: dict[str, asyncio.Lock] = {}
        self._servers: dict[str, asyncio.Task[GradioServer]] = {}
        self._played: dict[Cell, asyncio.Task[str]] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        await self.chromium.browser.contexts[0].add_init_script(WATCH)
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in self._played.values():
            task.cancel()
        await asyncio.gather(*self._played.values(), return_exceptions=True)
        await self._stack.aclose()

    def begin(self, cells: Iterable[Cell]) -> None:
        for cell in sorted(cells, key=_how_soon):
            self._played[cell] = asyncio.create_task(self._play(cell))

    async def outcome(self, cell: Cell) -> str:
        return await self._played[cell]

    async def _play(self, cell: Cell) -> str:
        chosen = DISTURBANCES[cell.disturbance]
        if chosen.idles:
            return await self._act(chosen, cell)
        if not chosen.own_server:
            async with self._turns:
                return await self._act(chosen, cell)
        where = _server_name(cell, apart=self.apart)
        async with self._alone.setdefault(where, asyncio.Lock()), self._turns:
            return await self._act(chosen, cell)

    async def _act(self, chosen: Disturbance, cell: Cell) -> str:
        where = _server_name(cell, apart=self.apart)
        server = await self._server(cell, where, line=1 if chosen.own_server else MANY)
        name = f"{chosen.act.__name__}-{cell.version}-{'hardened' if cell.hardened else 'stock'}"
        try:
            scene = self.chromium, server, self.folder / where, name, self.times
            return await play(chosen, *scene, hardened=cell.hardened)
        finally:
            if chosen.own_server and self.apart:
                await asyncio.to_thread(server.kill)

    async def _server(self, cell: Cell, where: str, line: int) -> GradioServer:
        if where not in self._servers:
            folder = self.folder / where
            folder.mkdir()
            env = {"FAULTY_APP_NOTES": str(folder), "FAULTY_APP_LINE": str(line)}
            server = GradioServer(cell.version, APP, hardened=cell.hardened, cwd=folder, env=env)
            self._servers[where] = asyncio.create_task(self._stack.enter_async_context(server))
        return await asyncio.shield(self._servers[where])


def _how_soon(cell: Cell) -> tuple[bool, bool]:
    chosen = DISTURBANCES[cell.disturbance]
    return not chosen.idles, not chosen.own_server


def _server_name(cell: Cell, *, apart: bool) -> str:
    chosen = DISTURBANCES[cell.disturbance]
    what = "" if not chosen.own_server else f"-{chosen.act.__name__}" if apart else "-harmed"
    return f"{cell.version}-{'hardened' if cell.hardened else 'stock'}{what}"
