"""The server is killed three times while twenty runs are read: nobody who was told something is let down."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import httpx
import pytest

from penstock import AsyncClient
from penstock.testing import ServerProcess, until

from . import stories
from .checks import (
    check_beginning,
    check_bytes,
    check_log,
    check_outcome,
    check_seen,
    fold_of,
    resets_in,
    stored,
)
from .readers import Listener, Reader, Recorder, Row

KILLS = 3
WAVE = 6
"""Runs begun in each of the server's four lives: one of each function."""

STEPS, PAUSE_MS = 50, 25.0
"""A run lasts 1.25 s. A wave has written some 200 events by then, and is killed after fewer."""

KILL_AFTER = (1, 120)
"""Events that all readers together are sent in one life before the server is killed."""

ALL_S = 50


class Planned(NamedTuple):
    name: str
    seed: int

    @property
    def again(self) -> bool:
        return self.name.endswith("-again")

    @property
    def expected(self) -> stories.Expected:
        return stories.expected(self.name, self.seed, STEPS)


def plan(chance: Random) -> list[list[Planned]]:
    """Waves of runs, one of each function; which of them survive crashes changes from wave to wave."""
    waves = [
        [
            Planned(function.__name__ + ("-again" if (number + life) % 2 else ""), chance.randrange(10**6))
            for number, function in enumerate(stories.FUNCTIONS)
        ]
        for life in range(KILLS + 1)
    ]
    for wave in waves:
        chance.shuffle(wave)
    return waves


class Readers:
    """A recorder for each run, and for every third a client beside it."""

    def __init__(
        self, url: str, client: AsyncClient, http: httpx.AsyncClient, tasks: asyncio.TaskGroup
    ) -> None:
        self.url, self.client, self.http, self.tasks = url, client, http, tasks
        self.planned: dict[str, Planned] = {}
        self.recorders: list[Recorder] = []
        self.listeners: list[Listener] = []

    def begin(self, one: Planned) -> None:
        self.tasks.create_task(self._begin(one))

    async def _begin(self, one: Planned) -> None:
        run = await self.client.submit(
            one.name, {"seed": one.seed, "steps": STEPS, "pause_ms": PAUSE_MS}, key=str(one.seed)
        )
        self.planned[run.id] = one
        self.recorders.append(Recorder(self.http, self.url, run.id))
        self.tasks.create_task(self.recorders[-1].read())
        if len(self.planned) % 3 == 0:
            self.listeners.append(Listener(self.client, run.id))
            self.tasks.create_task(self.listeners[-1].read())

    @property
    def all(self) -> list[Reader]:
        return [*self.recorders, *self.listeners]

    @property
    def count(self) -> int:
        return sum(len(recorder.seen) for recorder in self.recorders)

    async def until_count(self, mark: int) -> None:
        await until(lambda: self.count >= mark, 15, f"{mark} events have come")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    async with ServerProcess(str(stories.FILE), "--store", store, cwd=tmp_path) as server:
        yield server


async def kill(server: ServerProcess, readers: Readers, disk: Path, grave: Path) -> None:
    """SIGKILL; what a reader was told by then must be on the disk as the dead process left it."""
    assert await asyncio.to_thread(server.kill) == -9
    grave.mkdir()
    for file in disk.parent.glob(f"{disk.name}*"):
        shutil.copy(file, grave)
    told = [(reader.run_id, list(reader.seen)) for reader in readers.all]
    left = await stored(grave / disk.name, readers.planned)
    for run_id, seen in told:
        check_log(left[run_id])
        check_seen(seen, left[run_id], whole=False)


async def live_through(server: ServerProcess, readers: Readers, chance: Random, disk: Path) -> None:
    """Four lives with a wave of runs in each; one is submitted while nobody is there, and some may be while
    the server dies."""
    for life, (early, *rest) in enumerate(plan(chance)):
        readers.begin(early)
        if life > 0:
            await asyncio.to_thread(server.restart)
        mark = readers.count + chance.randint(*KILL_AFTER)
        for one in rest:
            readers.begin(one)
        if life < KILLS:
            await readers.until_count(mark)
            await kill(server, readers, disk, disk.parent / f"death-{life}")


def check_run(planned: Planned, rows: Sequence[Row], state: str, attempts: int) -> None:
    """How a run ended is how it was declared, and no attempt's events are in another's."""
    events = [row.event for row in rows]
    fold = fold_of(events)
    assert fold.end is not None
    assert fold.end.state == state
    if planned.again or state == "succeeded":
        check_outcome(fold, planned.expected)
        assert resets_in(events) <= attempts - 1 <= (KILLS if planned.again else 0)
    else:
        assert state == "interrupted"
        assert fold.end.error is not None
        assert fold.end.error["code"] == "worker_lost"
        check_beginning(fold, planned.expected)
        assert (resets_in(events), attempts) == (0, 1)


async def test_three_kills_lose_nothing(server: ServerProcess, tmp_path: Path, seed: int) -> None:
    async with (
        asyncio.timeout(ALL_S),
        AsyncClient(server.url) as client,
        httpx.AsyncClient(limits=httpx.Limits(max_connections=None)) as http,
    ):
        async with asyncio.TaskGroup() as tasks:
            readers = Readers(server.url, client, http, tasks)
            await live_through(server, readers, Random(seed), tmp_path / "runs.db")
        told = {run["run_id"]: run for run in (await client.runs(limit=100))["runs"]}
        replayed = {run_id: await client.run(run_id).fold() for run_id in readers.planned}
    assert await asyncio.to_thread(server.terminate) == 0

    rows = await stored(tmp_path / "runs.db", readers.planned)
    assert set(told) == set(readers.planned)
    assert len(told) == (KILLS + 1) * WAVE
    for reader in readers.all:
        check_seen(reader.seen, rows[reader.run_id])
    for recorder in readers.recorders:
        check_bytes(recorder, rows[recorder.run_id])
    for run_id, planned in readers.planned.items():
        check_log(rows[run_id])
        check_run(planned, rows[run_id], told[run_id]["state"], told[run_id]["attempt"])
        assert replayed[run_id].events == fold_of(row.event for row in rows[run_id]).events
    # The kills must have hit something, or nothing was shown.
    assert any(run["state"] == "interrupted" for run in told.values())
    assert any(resets_in(recorder.seen) for recorder in readers.recorders)
    assert max(recorder.tries for recorder in readers.recorders) > KILLS
