"""A file of an earlier version goes on as if it had been written by this one."""

import asyncio
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings

from penstock.models import Chunk, Claimed, Group, Lease, RunRecord, RunState, Standing, Stream, Tally
from penstock.storage.base import Store
from penstock.storage.sqlite import SqliteStore, connection

from .children import child
from .derived import check_derived
from .player import Player, Step
from .sqlite_files import EPOCH, execute, opened
from .test_histories import busy_histories, histories

LATER_MS = 90_000
ERROR = {"code": "exception", "message": "näh", "hint": ""}

QUEUED, RUNNING = RunState.QUEUED, RunState.RUNNING


def old_run(run_id: str, state: RunState = QUEUED, **more: Any) -> RunRecord:
    """A run as version 1 kept it."""
    given: dict[str, Any] = {
        "function": "f",
        "group": "g",
        "created_at_ms": 1000,
        "input": msgspec.Raw(b'{"n":1}'),
    }
    if state is RUNNING:
        given |= {"worker": "old", "attempt": 1, "started_at_ms": 2000}
    elif state is not QUEUED:
        given |= {"attempt": 1, "started_at_ms": 2000, "ended_at_ms": 2500}
    return RunRecord(id=run_id, state=state, **(given | more))


OLD_RUNS = [
    *(old_run(f"done{number}", RunState.SUCCEEDED, key=f"k{number}") for number in range(300)),
    old_run("failed", RunState.FAILED, error=ERROR),
    old_run("cancelled", RunState.CANCELLED, attempt=0, started_at_ms=None, cancel=True),
    old_run("interrupted", RunState.INTERRUPTED, losses=2, crash_retries=1),
    old_run("first", key="k", session="s"),
    old_run("running", RUNNING, crash_retries=3),
    old_run("parked", attempt=1, losses=1, crash_retries=3, not_before_ms=LATER_MS, started_at_ms=500),
    old_run("second", function="e", created_at_ms=1001),
    old_run("stopping", RUNNING, cancel=True, function="e", created_at_ms=1001),
    old_run("elsewhere", group="h", function="h", created_at_ms=1002, key="k"),
    old_run("woken", not_before_ms=1500, created_at_ms=1002),
    old_run("third", created_at_ms=1003, cancel=True),
    *(old_run(f"more{number:03}", created_at_ms=1004 + number // 2) for number in range(300)),
]
"""One of each, and enough for several lots."""

GROUPS = [Group("g", ("f", "e"), 4), Group("h", ("h",), None)]


def make_old(path: Path, runs: Iterable[RunRecord] = OLD_RUNS) -> None:
    """A file as version 1 left it."""
    script = connection._migrations()[0]
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.executescript(script)
        made.execute("PRAGMA user_version = 1")
        made.execute(f"PRAGMA application_id = {connection.APPLICATION_ID}")
        made.execute("BEGIN")
        for run in runs:
            _insert(made, "runs", _columns(run))
            stream = {"name": run.id, "epoch": EPOCH, "fence": run.attempt, "ended": run.state.ended}
            _insert(made, "streams", stream)
            for chunk in chunks_of(run):
                given = (run.id, run.attempt, chunk.first_seq, chunk.last_seq, chunk.final, chunk.data)
                made.execute("UPDATE streams SET ended = 0 WHERE name = ?", (run.id,))
                made.execute("INSERT INTO appends VALUES (?, ?, ?, ?, ?, ?)", given)
        made.execute("INSERT INTO workers VALUES ('idle', 12345)")
        made.execute("COMMIT")


def _insert(made: sqlite3.Connection, table: str, row: Mapping[str, object]) -> None:
    values = ", ".join(f":{name}" for name in row)
    made.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})", row)


def _columns(run: RunRecord) -> dict[str, object]:
    same = (
        "id", "function", "state", "key", "session", "attempt", "losses", "worker", "not_before_ms",
        "created_at_ms", "started_at_ms", "ended_at_ms", "cancel",
    )  # fmt: skip
    return {name: getattr(run, name) for name in same} | {
        "grp": run.group,
        "input": bytes(run.input),
        "retries": run.crash_retries,
        "error": None if run.error is None else msgspec.json.encode(run.error),
    }


def chunks_of(run: RunRecord) -> list[Chunk]:
    """What its attempts have written."""
    written = [Chunk(1, 3, b"x" * 500), Chunk(4, 4, b"")] if run.attempt else []
    tail = written[-1].last_seq if written else 0
    return [*written, Chunk(tail + 1, tail + 1, b"end", True)] if run.state.ended else written


def now(run: RunRecord) -> RunRecord:
    """As it is to be told from now on."""
    reason = "cancelled" if run.cancel else None  # there was no other
    return msgspec.structs.replace(run, call=run.id if run.state is RUNNING else None, cancel_reason=reason)


async def kept(store: Store, run_id: str) -> RunRecord:
    run = await store.run(run_id)
    assert run is not None
    return run


async def test_nothing_is_lost(tmp_path: Path) -> None:
    make_old(tmp_path / "store.db")
    async with opened(tmp_path / "store.db") as store:
        for run in OLD_RUNS:
            written = chunks_of(run)
            assert msgspec.structs.replace(
                await kept(store, run.id), cancel_reason=now(run).cancel_reason
            ) == now(run)
            tail = written[-1].last_seq if written else 0
            assert await store.stream(run.id) == Stream(run.id, EPOCH, tail, run.state.ended)
            assert await store.read(run.id, 0, 1 << 20) == written
        page = await store.runs(limit=10_000)
        assert [run.id for run in page.runs] == [run.id for run in reversed(OLD_RUNS)]
        assert {(one.worker, one.expires_at_ms) for one in await store.workers()} == {
            ("idle", 12345),
            ("old", 0),
        }
        known = await store.submit(old_run("again", key="k"), EPOCH)
        assert (known.run.id, known.fresh) == ("first", False)
    check_derived(tmp_path / "store.db")


async def test_what_waits_is_counted(tmp_path: Path) -> None:
    make_old(tmp_path / "store.db")
    async with opened(tmp_path / "store.db") as store:
        wanted = {Tally("g", "f", 304, 1, 0, 1), Tally("g", "e", 1, 1, 0, 1), Tally("h", "h", 1, 0, 0, 0)}
        assert set(await store.tallies()) == wanted
        looks = {"first": 0, "second": 1, "third": 2, "more000": 3, "more299": 302}
        standings = await store.standings([*looks, "elsewhere", "done0"])
        assert {run_id: one.ahead for run_id, one in standings.items()} == looks | {"elsewhere": 0}
        assert standings["third"] == Standing("third", "f", "g", QUEUED, 2, True, False)
        assert await store.paces() == {}
        assert await store.abandoned(1 << 50, 1 << 50) == []


async def test_stops_that_were_asked_for_have_a_reason_now(tmp_path: Path) -> None:
    make_old(tmp_path / "store.db")
    async with opened(tmp_path / "store.db") as store:
        assert await store.stopping() == {"stopping": False}
        assert await store.cancels("old") == {"stopping": "cancelled"}
        assert await store.overdue(1 << 50, 9) == {"third": "cancelled"}
        for run in OLD_RUNS:
            if run.cancel:
                assert await kept(store, run.id) == now(run)


async def test_what_waits_is_claimed_in_order_under_the_limits(tmp_path: Path) -> None:
    make_old(tmp_path / "store.db")
    async with opened(tmp_path / "store.db") as store:
        claimed = await store.claim("w", GROUPS, 5000, 99)
        assert ids(claimed) == ["first", "second", "elsewhere"], "two of the old worker's are under way"
        await end(store, claimed.pop())
        order = ["woken", "third", *(f"more{number:03}" for number in range(300))]
        for name in order[:20]:
            await end(store, claimed.pop(0))
            claimed += await store.claim("w", GROUPS, 6000, 99)
            assert claimed[-1].run.id == name
        assert await store.due_at_ms() == LATER_MS
        rest = [Group("g", ("f", "e"), None)]
        assert ids(await store.claim("w", rest, LATER_MS, 999)) == ["parked", *order[20:]]
        assert await store.due_at_ms() is None
    check_derived(tmp_path / "store.db")


async def test_what_ran_can_go_on_or_be_taken_over(tmp_path: Path) -> None:
    make_old(tmp_path / "store.db")
    async with opened(tmp_path / "store.db") as store:
        (lost,) = [sign for sign in await store.workers() if sign.worker == "old"]
        moved = {one.run.id: one for one in await store.take_over("w", lost)}
        assert moved.keys() == {"running", "stopping"}
        assert moved["running"].stream.tail == 4
        assert moved["running"].lease == Lease("running", "w", 2)
        await store.requeue(moved["running"].lease, 0, lost=True)
        (again, *_) = [one for one in await store.claim("w", GROUPS, 5000, 99) if one.run.attempt > 1]
        assert (again.run.id, again.run.losses, again.run.crash_retries) == ("running", 1, 3)
        await store.finish(moved["stopping"].lease, RunState.CANCELLED, None, Chunk(5, 5, b"end", True), 6000)
    check_derived(tmp_path / "store.db")


def ids(claimed: Iterable[Claimed]) -> list[str]:
    return [one.run.id for one in claimed]


async def end(store: Store, claimed: Claimed) -> None:
    last = claimed.stream.tail + 1
    await store.finish(claimed.lease, RunState.SUCCEEDED, None, Chunk(last, last, b"end", True), 5500)


async def test_opening_it_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    make_old(path)
    seen = []
    for _ in range(3):
        async with opened(path):
            pass
        seen.append(dumped(path))
    assert seen[0] == seen[1] == seen[2]
    assert execute(path, "PRAGMA user_version") == [(len(connection._migrations()),)]
    assert execute(path, "PRAGMA integrity_check") == [("ok",)]
    assert execute(path, "PRAGMA foreign_key_check") == []


async def test_it_is_built_like_a_new_one(tmp_path: Path) -> None:
    make_old(tmp_path / "old.db")
    for name in ("old.db", "new.db"):
        async with opened(tmp_path / name):
            pass
    schema = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
    assert execute(tmp_path / "old.db", schema) == execute(tmp_path / "new.db", schema)


def dumped(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as made:
        return list(made.iterdump())


async def test_stores_open_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    make_old(path)
    stores = [SqliteStore(path, synchronous="normal") for _ in range(4)]
    try:
        await asyncio.gather(*(store.open() for store in stores))
        for store in stores:
            assert await store.run("first") == now(old_run("first", key="k", session="s"))
    finally:
        await asyncio.gather(*(store.close() for store in stores))
    check_derived(path)


async def test_processes_open_it_at_once_and_work_it_off(tmp_path: Path) -> None:
    for turn in range(3):
        path, names = tmp_path / f"store{turn}.db", [f"r{number:02}" for number in range(20)]
        make_old(path, [old_run(name) for name in names])
        async with child("work", path, "one", "3") as one, child("work", path, "two", "3") as two:
            for process in (one, two):
                process.say()
            told = [await process.finish() for process in (one, two)]
        assert [lines.pop() for lines in told] == ["done"] * 2
        assert Counter(line for lines in told for line in lines) == {f"claimed {name} 1": 1 for name in names}
        check_derived(path)


@settings(max_examples=60, deadline=None)
@given(histories | busy_histories)
def test_whatever_happens_what_is_kept_is_what_a_count_says(history: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "store.db")
        asyncio.run(played(path, history))
        check_derived(path)


async def played(path: Path, history: list[Step]) -> None:
    make_old(path, [old_run(f"done{number}", RunState.SUCCEEDED) for number in range(250)])
    async with opened(path) as store:  # the runs to come stand in two lots
        player = Player(store)
        for step in history:
            await player.play(step)
