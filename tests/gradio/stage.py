"""Plays all scenes at once, as most of them wait most of the time."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple, Self

from ..browser.chromium import Chromium
from .scene import APP, DISTURBANCES, Disturbance, Times, play
from .seen import WATCH
from .server import GradioServer

__all__ = ["REOPENING", "Cell", "Stage"]

REOPENING = Path(__file__).parents[1] / "browser" / "reopening"
"""The extension that opens closed tabs again."""

AT_ONCE = 4
"""Scenes that do something at a time: two cores are busy with them, and deadlines hold."""


class Cell(NamedTuple):
    disturbance: str
    version: str
    hardened: bool


class Stage:
    """One server for all scenes of a version that do it no harm; begins with the scenes that last longest."""

    def __init__(self, chromium: Chromium, folder: Path, times: Times) -> None:
        self.chromium, self.folder, self.times = chromium, folder, times
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._servers: dict[tuple[str, bool], asyncio.Task[GradioServer]] = {}
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
        for cell in sorted(cells, key=lambda cell: not DISTURBANCES[cell.disturbance].idles):
            self._played[cell] = asyncio.create_task(self._play(cell))

    async def outcome(self, cell: Cell) -> str:
        return await self._played[cell]

    async def _play(self, cell: Cell) -> str:
        chosen = DISTURBANCES[cell.disturbance]
        if chosen.idles:
            return await self._act(chosen, cell)
        async with self._turns:
            return await self._act(chosen, cell)

    async def _act(self, chosen: Disturbance, cell: Cell) -> str:
        name = f"{chosen.act.__name__}-{cell.version}-{'hardened' if cell.hardened else 'stock'}"
        async with AsyncExitStack() as stack:
            if chosen.own_server:
                server = await stack.enter_async_context(self._server(cell, name, line=1))
            else:
                server = await self._shared(cell)
            notes = self.folder / (name if chosen.own_server else _shared_name(cell))
            return await play(
                chosen, self.chromium, server, notes, name, self.times, hardened=cell.hardened
            )

    async def _shared(self, cell: Cell) -> GradioServer:
        key = cell.version, cell.hardened
        if key not in self._servers:
            server = self._server(cell, _shared_name(cell), line=40)
            self._servers[key] = asyncio.create_task(self._stack.enter_async_context(server))
        return await asyncio.shield(self._servers[key])

    def _server(self, cell: Cell, name: str, line: int) -> GradioServer:
        folder = self.folder / name
        folder.mkdir()
        env = {"FAULTY_APP_NOTES": str(folder), "FAULTY_APP_LINE": str(line)}
        return GradioServer(cell.version, APP, hardened=cell.hardened, cwd=folder, env=env)


def _shared_name(cell: Cell) -> str:
    return f"{cell.version}-{'hardened' if cell.hardened else 'stock'}"
