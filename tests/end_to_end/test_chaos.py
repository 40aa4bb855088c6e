"""Two thousand runs in ten groups, four processes that are killed at random, and a restart in the middle of it."""

import asyncio
import os
import re
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import httpx
import pytest

from penstock import AsyncClient
from penstock.events import AnyEvent, End, Log, decode
from penstock.protocol.sse import Decoder
from penstock.testing import ServerProcess, until

from .chaos_app import FILE, KINDS, LOGGED, RECORD, story
from .chaos_checks import (
    Interval,
    check_attempts,
    check_limits,
    check_rate,
    intervals_of,
    losses_of,
    marks_in,
)
from .checks import check_log, check_seen, fold_of, resets_in, stored
from .readers import Listener

RUNS = 2000
WORKERS = 4

KILLS = 14
"""More than the ten that are asked for, so that some surely come while much is under way."""

KILL_AFTER_S = (0.3, 1.5)

RESTART_AFTER = KILLS // 2
"""The kill after which all processes are replaced, while others are killed."""

READERS = 10

SUBMITTERS = 4

FIRST_RUNS = 800
"""Submitted before anything happens, so that there are lines; then some more before each kill."""

BEFORE_KILL_S = 0.1
"""How long at most a kill waits for the submissions before it, so that it comes into the midst of them."""

ASKING = 8
"""Requests at once, when all is over."""

CRASH_RETRIES = 3
"""As docs/queue.md has it: a run whose process died is tried again three times."""

OUTPUT_CHARS = 8000
"""Of the server's output, shown where the test fails."""

RESTS = (
    "lines",
    "lots",
    "lingering",
    "tallies WHERE waiting OR laned OR running OR held",
    "streams WHERE NOT ended",
)
"""What a file holds no more when all runs have ended."""

LOOK_S = 0.2
"""Between two looks at the line: often enough, and little work beside the runs."""

ALL_S = 100
"""Several times what it takes: 25 s on two cores."""


class Planned(NamedTuple):
    name: str
    number: int
    session: str | None
    given: dict[str, Any]


def plan(chance: Random) -> list[Planned]:
    """All runs, in the order of their submission."""
    planned: list[Planned] = []
    for name, kind in KINDS.items():
        for _ in range(kind.runs):
            number = len(planned)
            lane = f"person {number % kind.lanes}" if kind.lanes else None
            given = {"number": number} | ({"caller": lane} if name == "paced" else {})
            planned.append(Planned(name, number, lane, given))
    chance.shuffle(planned)
    return planned


class Crowd:
    """Who submits runs, and who reads some of them all the while.

    over: nothing more is to be read.
    """

    def __init__(self, client: AsyncClient, chance: Random) -> None:
        self.client = client
        self.planned: dict[str, Planned] = {}
        self.readers: list[Listener] = []
        self.over = False
        self._chance = chance
        self._unread: list[str] = []

    async def submit(self, wave: list[Planned]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(SUBMITTERS):
                tasks.create_task(self._submit(wave))

    async def _submit(self, wave: list[Planned]) -> None:
        while wave:
            one = wave.pop()
            run = await self.client.submit(one.name, one.given, key=str(one.number), session=one.session)
            assert run.id not in self.planned
            self.planned[run.id] = one
            self._unread.append(run.id)

    async def read(self) -> None:
        """One after the other, drawn from those that nobody has read."""
        while not self.over:
            if not self._unread:
                await asyncio.sleep(LOOK_S)
                continue
            run_id = self._unread.pop(self._chance.randrange(len(self._unread)))
            self.readers.append(Listener(self.client, run_id))
            await self.readers[-1].read()

    async def is_idle(self) -> bool:
        """Whether all runs have been submitted, and none waits or goes on."""
        if len(self.planned) < RUNS:
            return False
        groups = (await self.client.queue())["groups"]
        return not any(group[what] for group in groups for what in ("waiting", "running", "held"))


class Havoc:
    """What is done to a server's processes.

    killed_ns: when each was killed: as of a moment before in which it lived.
    leaving: those that were told to leave.
    restarted: whether all have been replaced.
    """

    def __init__(self, server: ServerProcess, chance: Random) -> None:
        self.killed_ns: dict[int, int] = {}
        self.leaving: set[int] = set()
        self.restarted = False
        self._server = server
        self._chance = chance
        self._ready: set[int] = set()

    def look(self) -> None:
        """The server's output is kept for a while only."""
        output = self._server.output
        self._ready |= {int(pid) for pid in re.findall(r"Process (\d+) is ready", output)}
        self.leaving |= {int(pid) for pid in re.findall(r"\[(\d+)\] INFO Leaving: readers", output)}
        self.restarted |= "All processes are new" in output

    async def wreak(self, before_kill: Callable[[int], object]) -> None:
        """Kill one after the other; in the middle, ask for the restart, and wait until it is done."""
        for number in range(KILLS):
            await self._pause(self._chance.uniform(*KILL_AFTER_S))
            before_kill(number)
            await asyncio.sleep(self._chance.uniform(0, BEFORE_KILL_S))
            await until(self._kill, 20, "a process is ready")
            if number == RESTART_AFTER:
                os.kill(self._server.pid, signal.SIGHUP)
        while not self.restarted:
            await self._pause(LOOK_S)

    async def _pause(self, pause_s: float) -> None:
        end = time.monotonic() + pause_s
        while time.monotonic() < end:
            await asyncio.sleep(0.1)
            self.look()

    def _kill(self) -> bool:
        """Whether there was one to kill."""
        now_ns = time.monotonic_ns()  # those that are alive a moment later are alive now
        alive = [pid for pid in sorted(self._ready) if is_alive(pid)]
        self.look()
        if not alive:
            return False
        victim = self._chance.choice(alive)
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            self.killed_ns[victim] = now_ns
        return victim in self.killed_ns


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    return False


class Seen(NamedTuple):
    """What a server tells when all is over."""

    told: dict[str, dict[str, Any]]
    events: dict[str, list[AnyEvent]]


async def ask(url: str, client: AsyncClient, run_ids: Sequence[str]) -> Seen:
    """How each run has ended, and all its events, over HTTP."""
    told: dict[str, dict[str, Any]] = {}
    events: dict[str, list[AnyEvent]] = {}
    page: dict[str, Any] = {"next": None}
    while page["next"] or not told:
        page = await client.runs(limit=500, before=page["next"])
        told |= {run["run_id"]: run for run in page["runs"]}
    waiting = list(run_ids)

    async def read(http: httpx.AsyncClient) -> None:
        while waiting:
            run_id = waiting.pop()
            answer = await http.get(f"{url}/api/runs/{run_id}/events", timeout=ALL_S)
            messages = Decoder().feed(answer.content)
            events[run_id] = [decode(one.data) for one in messages if one.event == "message"]

    async with httpx.AsyncClient(trust_env=False) as http, asyncio.TaskGroup() as tasks:
        for _ in range(ASKING):
            tasks.create_task(read(http))
    return Seen(told, events)


def check_outcome(planned: Planned, events: Sequence[AnyEvent], run: Mapping[str, Any]) -> None:
    """One end, and what leads to it is the story, as if there had been no crash."""
    fold, pieces = fold_of(events), story(planned.number)
    assert [isinstance(event, End) for event in events].count(True) == 1
    assert fold.end is not None, "the last event is the end"
    assert fold.end.state == run["state"]
    logged = [event.message for event in fold.events if isinstance(event, Log)]
    told = logged if planned.name in LOGGED else [fold.text]
    if run["state"] == "succeeded":
        assert told == (pieces if planned.name in LOGGED else ["".join(pieces)])
        assert fold.end.result == ("".join(pieces) if planned.name in LOGGED else None)
    else:
        assert (run["state"], run["error"]["code"]) == ("interrupted", "worker_lost")
        assert "".join(pieces).startswith("".join(told))


def check_file(disk: Path) -> None:
    """The file is sound, and what is derived from its runs agrees that all is over. No process is using it."""
    with closing(sqlite3.connect(disk)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for rest in RESTS:
            assert file.execute(f"SELECT * FROM {rest}").fetchall() == []
        assert file.execute("SELECT count(*) FROM runs WHERE ended_at_ms > 0").fetchall() == [(RUNS,)]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    options = ("--workers", str(WORKERS), "--grace-s", "2", "--store", f"sqlite:///{tmp_path / 'runs.db'}")
    async with ServerProcess(str(FILE), *options, cwd=tmp_path) as server:
        yield server
        print(server.output[-OUTPUT_CHARS:])


async def live_through(client: AsyncClient, havoc: Havoc, chance: Random) -> Crowd:
    """Submit all runs and read some, wreak havoc meanwhile, and wait until all have ended."""
    crowd, planned = Crowd(client, chance), plan(chance)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(READERS):
            tasks.create_task(crowd.read())
        tasks.create_task(crowd.submit(planned[:FIRST_RUNS]))
        await havoc.wreak(lambda kill: tasks.create_task(crowd.submit(planned[FIRST_RUNS + kill :: KILLS])))
        while not await crowd.is_idle():
            await asyncio.sleep(LOOK_S)
        crowd.over = True
    return crowd


async def check_readers(readers: Sequence[Listener], disk: Path, seen: Seen) -> None:
    """What the file holds has reached each reader, and whoever asks now, once and in order."""
    rows = await stored(disk, seen.events)
    for run_id, events in seen.events.items():
        check_log(rows[run_id])
        check_seen(events, rows[run_id])
    for reader in readers:
        check_seen(reader.seen, rows[reader.run_id])
        assert fold_of(reader.seen).events == fold_of(seen.events[reader.run_id]).events


def check_runs(crowd: Crowd, havoc: Havoc, seen: Seen, record: Path) -> None:
    """Each run has ended once and as it should, and the limits were kept all the while."""
    marks, torn = marks_in(record)
    assert torn <= len(havoc.killed_ns)
    intervals = intervals_of(marks, havoc.killed_ns)
    print(summary(havoc, seen, intervals))
    assert set(seen.told) == set(crowd.planned)
    for run_id, planned in crowd.planned.items():
        check_outcome(planned, seen.events[run_id], seen.told[run_id])
    check_attempts(intervals, seen.told, havoc.killed_ns.keys() | havoc.leaving)
    for run in seen.told.values():
        if run["state"] != "succeeded":
            assert losses_of(intervals, run, havoc.killed_ns) > CRASH_RETRIES
    check_rate(intervals, seen.told)
    full = check_limits(intervals)
    # A rate keeps its group's places free; in the others there must have been somebody to keep out.
    assert full >= {kind.group for kind in KINDS.values() if kind.limit} - {"paced"}
    assert {"", "raised"} <= {one.fate for one in intervals}


def summary(havoc: Havoc, seen: Seen, intervals: Sequence[Interval]) -> str:
    """What the seed has led to; among it, how many runs were lost for good."""
    states = Counter(run["state"] for run in seen.told.values())
    attempts = Counter(run["attempt"] for run in seen.told.values())
    fates = Counter(one.fate or "cut short" for one in intervals)
    counts = [", ".join(f"{n} {what}" for what, n in sorted(c.items())) for c in (states, attempts, fates)]
    return f"{len(havoc.killed_ns)} kills. Runs: {counts[0]}. By attempts: {counts[1]}. Calls: {counts[2]}."


async def test_kills_break_no_limit_no_run_and_no_text(
    server: ServerProcess, tmp_path: Path, seed: int
) -> None:
    chance = Random(seed)
    havoc = Havoc(server, chance)
    async with asyncio.timeout(ALL_S), AsyncClient(server.url) as client:
        crowd = await live_through(client, havoc, chance)
        seen = await ask(server.url, client, list(crowd.planned))
        assert await crowd.is_idle()
    havoc.look()
    assert await asyncio.to_thread(server.terminate) == 0

    check_file(tmp_path / "runs.db")
    check_runs(crowd, havoc, seen, tmp_path / RECORD)
    await check_readers(crowd.readers, tmp_path / "runs.db", seen)
    # It must have hit something, or nothing was shown.
    assert len(havoc.killed_ns) >= 10
    assert havoc.restarted
    assert any(resets_in(reader.seen) for reader in crowd.readers)
    assert max(reader.tries for reader in crowd.readers) > 1
