"""What is asked at every claim, or every second, finds its index: none of it may grow with the line."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from penstock.storage.sqlite.connection import STATEMENTS, connect

OFTEN = (
    "tallied", "wake_parked", "park_overdue", "open_shut", "due_at", "calls_in", "running_in_lane",
    "next_line", "bar", "shut", "gather", "oldest_of", "next_mark", "start_before",
    "note_start", "forget_starts", "waiting_of", "serve",
    "first_in_line", "start", "raise_fences", "tally_of", "going_on", "overdue", "begin_absence", "abandoned",
    "watch", "watched", "unwatch", "stopping", "standings", "appended_since", "finish", "learn_paces",
    "requeue", "acknowledge",
)  # fmt: skip

SMALL = {
    "tallies", "t", "e", "asked", "ended", "given", "a", "c", "g", "i", "in_line", "by_number", "by_rank",
    "by_turn", "found",
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
