"""What is asked at every claim, or every second, finds what it needs: none of it may grow with the line.

Plans tell of tables that are walked, and of indexes that are not the right ones. But an index may be walked as
well, for what it does not say: so the work is counted too, in instructions of SQLite's machine.
"""

import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from penstock.models import Group, Rate, RunRecord, RunState, Terms
from penstock.storage.base import ANYTHING
from penstock.storage.sqlite import work
from penstock.storage.sqlite.claims import claim, due_at_ms
from penstock.storage.sqlite.connection import STATEMENTS, connect
from penstock.storage.sqlite.records import overdue

OFTEN = (
    "tallied", "wake_parked", "park_overdue", "open_shut", "open_shut_ahead", "due_at", "calls_in",
    "running_in_lane", "next_line", "bar", "shut", "gather", "oldest_of", "next_mark", "start_before",
    "note_start", "forget_starts", "waiting_of", "serve",
    "first_in_line", "start", "raise_fences", "tally_of", "going_on", "overdue", "begin_absence", "abandoned",
    "watch", "watched", "unwatch", "stopping", "standings", "appended_since", "finish", "learn_paces",
    "requeue", "acknowledge", "read_chunks", "size_of_next", "start_one", "unkept", "adopt",
)  # fmt: skip

SMALL = {
    "tallies", "t", "e", "asked", "ended", "given", "a", "b", "c", "by_number", "rounds", "own", "turns",
    "plain_before", "laned_before", "found", "f",
}  # fmt: skip
"""Tables that may be walked: as long as there are functions, or as what was given."""


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(tmp_path / "store.db", synchronous="off", writer=True)) as connection:
        yield connection


def plan(connection: sqlite3.Connection, sql: str) -> list[str]:
    given = dict.fromkeys(re.findall(r":(\w+)", sql), 1) or (1,) * sql.count("?")
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", given)]


@pytest.mark.parametrize("name", OFTEN)
def test_no_statement_walks_the_line(name: str, connection: sqlite3.Connection) -> None:
    for step in plan(connection, STATEMENTS[name]):
        scanned = re.match(r"SCAN (\w+)", step)
        walks = scanned is not None and scanned[1] not in SMALL | {"CONSTANT", "json_each"}
        by_state = "runs_by_state (state=?)" in step  # as long as what waits
        assert not by_state, step
        assert not walks or "runs_stopping" in step or "runs_to_end" in step, step


# --- The work of a claim that finds nothing to start ---

NOW_MS = 1_000_000
PERIOD_MS = 60_000
FEW, MANY = 20, 1000
FREELY = 2.0
"""What may be added by an index that is a level deeper, and by a row or two on the way."""


def submit(connection: sqlite3.Connection, name: str, **given: Any) -> None:
    plain = {
        "function": "f",
        "group": given.get("function", "f"),
        "state": RunState.QUEUED,
        "created_at_ms": NOW_MS,
    }
    work.submit(connection, RunRecord(id=name, **plain | given), "abcdefgh", ANYTHING)


def of_shut_lines(connection: sqlite3.Connection, count: int) -> list[Group]:
    """Each key has had its start, and another run of each waits for its time."""
    for number in range(2 * count):
        submit(connection, f"r{number}", lane=f"key {number % count}")
    return [Group("f", ("f",), None, {"f": Terms(rate=Rate(1, PERIOD_MS))})]


def of_overdue(connection: sqlite3.Connection, count: int) -> list[Group]:
    """They have waited too long, and nobody has ended them yet."""
    for number in range(count):
        submit(connection, f"r{number}", start_by_ms=number)
    return [Group("f", ("f",), 1)]


def of_retries(connection: sqlite3.Connection, count: int) -> list[Group]:
    """They wait for their time."""
    for number in range(count):
        submit(connection, f"r{number}", not_before_ms=2 * NOW_MS + number)
    return [Group("f", ("f",), 1)]


def of_full_keys(connection: sqlite3.Connection, count: int) -> list[Group]:
    """Of each key as many run as may."""
    for number in range(2 * count):
        submit(connection, f"r{number}", lane=f"key {number % count}")
    return [Group("f", ("f",), None, {"f": Terms(key_limit=1)})]


def of_a_full_group(connection: sqlite3.Connection, count: int) -> list[Group]:
    """One runs, the others wait."""
    for number in range(count):
        submit(connection, f"r{number}")
    return [Group("f", ("f",), 1)]


def of_functions(connection: sqlite3.Connection, count: int, *, limit: int | None = None) -> list[Group]:
    """One of each runs, another waits."""
    for number in range(2 * count):
        submit(connection, f"r{number}", function=f"f{number % count}", lane="" if limit is None else "key")
    terms = Terms(key_limit=limit)
    return [Group(f"f{number}", (f"f{number}",), 1, {f"f{number}": terms}) for number in range(count)]


Fill = Callable[[sqlite3.Connection, int], list[Group]]


def instructions(connection: sqlite3.Connection, ask: Callable[[], object]) -> int:
    """How much work SQLite has with what is asked."""
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1

    connection.set_progress_handler(tick, 1)
    ask()
    connection.set_progress_handler(None, 0)
    return count


def of_what_is_asked(folder: Path, fill: Fill, count: int) -> dict[str, int]:
    """The work of everything that a worker or a janitor asks, where there are so many."""
    with closing(connect(folder / f"{count}.db", synchronous="off", writer=True)) as connection:
        connection.execute("BEGIN")
        groups = fill(connection, count)
        while claim(connection, "w", groups, NOW_MS, MANY):  # all that may start
            pass
        connection.execute("COMMIT")
        asked: dict[str, Callable[[], object]] = {
            "claim": lambda: claim(connection, "w", groups, NOW_MS + 1, MANY),
            "due_at_ms": lambda: due_at_ms(connection),
            "overdue": lambda: overdue(connection, NOW_MS, FEW // 2),
        }
        return {name: instructions(connection, ask) for name, ask in asked.items()}


@pytest.mark.parametrize(
    "fill",
    [of_shut_lines, of_overdue, of_retries, of_full_keys, of_a_full_group],
    ids=lambda fill: fill.__name__,
)
def test_what_may_not_start_now_costs_nothing(fill: Fill, tmp_path: Path) -> None:
    few, many = [of_what_is_asked(tmp_path, fill, count) for count in (FEW, MANY)]
    assert {name: many[name] <= FREELY * few[name] for name in few} == dict.fromkeys(few, True), (few, many)


@pytest.mark.parametrize("fill", [of_functions, partial(of_functions, limit=1)], ids=["plain", "by turns"])
def test_each_function_costs_the_same(fill: Fill, tmp_path: Path) -> None:
    few, many = [of_what_is_asked(tmp_path, fill, count)["claim"] for count in (FEW, MANY)]
    assert many <= FREELY * few * MANY / FEW


def test_each_function_costs_the_same_in_the_program_too(tmp_path: Path) -> None:
    """Counted in instructions of Python's machine."""

    def instructions(count: int) -> int:
        ran = 0

        def trace(frame: FrameType, event: str, _given: object) -> Any:
            nonlocal ran
            frame.f_trace_opcodes = True
            ran += event == "opcode"
            return trace

        with closing(connect(tmp_path / f"{count}.db", synchronous="off", writer=True)) as connection:
            groups = of_functions(connection, count)
            claim(connection, "w", groups, NOW_MS, MANY)
            before = sys.gettrace()
            sys.settrace(trace)
            try:
                claim(connection, "w", groups, NOW_MS, MANY)
            finally:
                sys.settrace(before)
        return ran

    assert instructions(500) <= FREELY * instructions(50) * 10
