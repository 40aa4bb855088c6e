"""Twenty readers of ten runs behind one address, while something happens to the processes there."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import httpx

from penstock import AsyncClient
from penstock.testing import until

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
from .readers import Recorder, Row

READERS = 20
"""One or two for each run, and a run of each function with and without its repetition."""

STEPS, PAUSE_MS = 60, 25.0
"""A run lasts 1.5 s: time for a process to die under it."""

LONG_PAUSE_MS = 100.0
"""6 s: time for a process to start, and to take the place of one, under it."""

ALL_S = 90


class Planned(NamedTuple):
    name: str
    seed: int


class Crowd:
    """The runs and their readers, and what became of them."""

    def __init__(self) -> None:
        self.planned: dict[str, Planned] = {}
        self.readers: list[Recorder] = []
        self.told: dict[str, dict[str, Any]] = {}

    @property
    def seen(self) -> int:
        return sum(len(reader.seen) for reader in self.readers)

    async def sees(self, more: int) -> None:
        """Wait until all readers together have got so many more events."""
        mark = self.seen + more
        await until(lambda: self.seen >= mark, 30, f"{mark} events have come")

    @property
    def interrupted(self) -> list[dict[str, Any]]:
        return [run for run in self.told.values() if run["state"] == "interrupted"]

    @property
    def repeated(self) -> list[dict[str, Any]]:
        return [run for run in self.told.values() if run["attempt"] > 1]

    @property
    def cut(self) -> int:
        """Readers that had to come back."""
        return sum(reader.tries > 1 for reader in self.readers)


async def attend(
    url: str, chance: Random, happens: Callable[[Crowd], Awaitable[None]], pause_ms: float = PAUSE_MS
) -> Crowd:
    """Begin the runs and their readers, let it happen, and wait until every reader has seen an end."""
    crowd = Crowd()
    names = [f"{function.__name__}{again}" for function in stories.FUNCTIONS for again in ("", "-again")]
    async with (
        asyncio.timeout(ALL_S),
        AsyncClient(url) as client,
        httpx.AsyncClient(limits=httpx.Limits(max_connections=None), trust_env=False) as http,
        asyncio.TaskGroup() as tasks,
    ):
        for number, name in enumerate(names):
            planned = Planned(name, chance.randrange(10**6))
            given = {"seed": planned.seed, "steps": STEPS, "pause_ms": pause_ms}
            run = await client.submit(name, given)
            crowd.planned[run.id] = planned
            for _ in range(number, READERS, len(names)):
                crowd.readers.append(Recorder(http, url, run.id))
                tasks.create_task(crowd.readers[-1].read())
        await happens(crowd)
        await until(lambda: all(reader.ended for reader in crowd.readers), ALL_S, "all have seen an end")
        crowd.told = {run["run_id"]: run for run in (await client.runs(limit=100))["runs"]}
    return crowd


async def check(crowd: Crowd, disk: Path) -> None:
    """Each reader was sent what the file holds, once and in order, and each run ended as it was declared to.

    No process may be using the file.
    """
    rows = await stored(disk, crowd.planned)
    assert len(crowd.readers) == READERS
    for reader in crowd.readers:
        check_seen(reader.seen, rows[reader.run_id])
        check_bytes(reader, rows[reader.run_id])
    for run_id, planned in crowd.planned.items():
        check_log(rows[run_id])
        _check_run(planned, rows[run_id], crowd.told[run_id])


def _check_run(planned: Planned, rows: list[Row], told: dict[str, Any]) -> None:
    events = [row.event for row in rows]
    expected = stories.expected(planned.name, planned.seed, STEPS)
    if told["state"] == "succeeded":
        check_outcome(fold_of(events), expected)
        assert resets_in(events) <= told["attempt"] - 1
    else:
        assert (told["state"], told["attempt"]) == ("interrupted", 1)
        assert not planned.name.endswith("-again")
        check_beginning(fold_of(events), expected)


def busiest(pids: Iterable[int]) -> int:
    """The process that has the most connections."""
    return max(pids, key=lambda pid: len(list(Path(f"/proc/{pid}/fd").iterdir())))
