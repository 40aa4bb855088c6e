"""Plays all scenes at once, as most of them wait most of the time; each test then looks at one of them."""

import asyncio
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from penstock.testing import ServerProcess

from .chromium import Chromium
from .disturbance import Disturbance
from .scene import DISTURBANCES, play

__all__ = ["Stage", "cells_of"]

AT_ONCE = 6
"""Scenes that do something at a time: two cores are busy with them, and deadlines hold."""


def cells_of(request: pytest.FixtureRequest) -> list[Any]:
    """The parameters `cell` of those tests of the module that will run."""
    return [
        item.callspec.params["cell"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module and "cell" in item.fixturenames
    ]


class Stage:
    """Begins with the scenes that last longest."""

    def __init__(
        self,
        chromium: Chromium,
        server: ServerProcess,
        folder: Path,
        seed: int,
        needs: Callable[[str], str],
    ) -> None:
        self.chromium, self.server, self.folder, self.seed, self.needs = chromium, server, folder, seed, needs
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._played: dict[tuple[str, str], asyncio.Task[str]] = {}

    def begin(self, cells: Iterable[tuple[str, str]]) -> None:
        for name, way in sorted(cells, key=lambda cell: not DISTURBANCES[cell[0]].idles):
            self._played[name, way] = asyncio.create_task(self._play(DISTURBANCES[name], way))

    async def outcome(self, name: str, way: str) -> str:
        return await self._played[name, way]

    async def end(self) -> None:
        for task in self._played.values():
            task.cancel()
        await asyncio.gather(*self._played.values(), return_exceptions=True)

    async def _play(self, chosen: Disturbance, way: str) -> str:
        label = f"{chosen.name}-{way}"
        folder = self.folder / f"{len(list(self.folder.iterdir()))}-{way}"
        folder.mkdir()
        seed = self.seed + zlib.crc32(label.encode())
        scene = self.chromium, self.server, way, folder, seed, self.needs
        if chosen.idles:
            return await play(chosen, *scene)
        async with self._turns:
            return await play(chosen, *scene)
