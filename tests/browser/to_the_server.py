"""What befalls the server."""

import asyncio
import shutil
import sqlite3
from contextlib import closing

from .scene import Scene, disturbance


@disturbance("server killed and started again; the run is tried again", own_server=True)
async def killed_and_retried(scene: Scene) -> None:
    tab = await scene.begin(function="story-again")
    await asyncio.to_thread(scene.server.kill)
    await scene.is_at(tab, "reconnecting")
    await asyncio.to_thread(scene.server.restart)
    scene.over()


@disturbance("server killed and started again; the run is interrupted", own_server=True)
async def killed(scene: Scene) -> None:
    tab = await scene.begin()
    await asyncio.to_thread(scene.server.kill)
    await scene.is_at(tab, "reconnecting")
    await asyncio.to_thread(scene.server.restart)
    scene.over()


@disturbance("server leaves in order, as in a deploy, and a new one comes", own_server=True)
async def deployed(scene: Scene) -> None:
    await scene.begin(function="story-again")
    await asyncio.to_thread(scene.server.terminate)
    await asyncio.to_thread(scene.server.restart)
    scene.over()


@disturbance("store put back from a backup: reset", own_server=True)
async def put_back(scene: Scene) -> None:
    tab = await scene.begin(function="story-again", shut=(20,))
    folder = scene.folder
    with (
        closing(sqlite3.connect(folder / "runs.db")) as store,
        closing(sqlite3.connect(folder / "copy.db")) as copy,
    ):
        store.backup(copy)
    scene.let(20)
    await scene.gets(tab, 50)
    await asyncio.to_thread(scene.server.kill)
    for path in folder.glob("runs.db*"):
        path.unlink()
    shutil.move(folder / "copy.db", folder / "runs.db")
    scene.shut(2)  # the new attempt's events stay fewer than those that the page has
    await asyncio.to_thread(scene.server.restart)
    await tab.until(
        "probe.events.some(({type, seq}) => type === 'reset' && !seq)", what="it is told to forget"
    )
    scene.let(2)
    scene.over()


@disturbance("store wiped: the run is gone", own_server=True)
async def wiped(scene: Scene) -> str:
    tab = await scene.begin()
    await asyncio.to_thread(scene.server.kill)
    for path in scene.folder.glob("runs.db*"):
        path.unlink()
    await asyncio.to_thread(scene.server.restart)
    await scene.is_at(tab, "stopped")
    assert (await tab.page.evaluate("probe.stands()"))["error"]["code"] == "unknown_run"
    assert tab.bugs == []
    return "stops: 404"
