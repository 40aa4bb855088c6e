"""What a store's file keeps beside its runs, so that nobody has to count, against a plain count."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

__all__ = ["check_derived"]

TURNS = "max(rank_ms * 1000, served - priority * 60000000)"

CHECKS = {
    "each waiting run has its line, with its first run": (
        "SELECT grp, function, lane, waiting, head, rank_ms, priority FROM lines",
        """SELECT grp, function, lane, count(*), first, rank_ms, priority FROM (
               SELECT *, first_value(number) OVER line AS first FROM runs WHERE state = 'queued' AND NOT parked
               WINDOW line AS (PARTITION BY grp, function, lane ORDER BY rank_ms, number)
               ORDER BY number <> first)
           GROUP BY grp, function, lane""",
    ),
    "turns are those of the first runs": (
        "SELECT id, turn FROM lines",
        f"SELECT id, {TURNS} FROM lines",
    ),
    "a line without a lane has no turns": (
        "SELECT id FROM lines WHERE lane = '' AND served > 0",
        "SELECT 1 WHERE 0",
    ),
    "no turn is later than the group's last": (
        "SELECT id FROM lines WHERE served > coalesce((SELECT mark FROM marks WHERE grp = lines.grp), 0)",
        "SELECT 1 WHERE 0",
    ),
    "a line is barred only while its lane has something under way": (
        """SELECT id FROM lines WHERE barred
           AND NOT EXISTS (SELECT 1 FROM runs WHERE state = 'running' AND grp = lines.grp AND lane = lines.lane)
           AND NOT EXISTS (SELECT 1 FROM lingering WHERE grp = lines.grp AND lane = lines.lane)""",
        "SELECT 1 WHERE 0",
    ),
    "lots count those in line": (
        "SELECT grp, lot, waiting FROM lots",
        """SELECT grp, number / 256, count(*) FROM runs WHERE state = 'queued' AND NOT parked
           GROUP BY grp, number / 256""",
    ),
    "tallies count all that wait, run and linger": (
        """SELECT grp, function, waiting, laned, running, held FROM tallies
           WHERE waiting OR laned OR running OR held""",
        """SELECT grp, function, sum(state = 'queued'), sum(state = 'queued' AND lane <> ''),
               sum(state = 'running'), sum(state = 'held')
           FROM (SELECT grp, function, lane, state FROM runs WHERE state IN ('queued', 'running')
                 UNION ALL SELECT grp, function, lane, 'held' FROM lingering)
           GROUP BY grp, function""",
    ),
    "ranks are of the time and the priority": (
        "SELECT number, rank_ms FROM runs",
        "SELECT number, created_at_ms - priority * 60000 FROM runs",
    ),
    "only what is under way belongs to a call, and that to a worker": (
        """SELECT id FROM runs
           WHERE state = 'running' AND (call IS NULL OR worker IS NULL)
              OR state = 'queued' AND call IS NOT NULL""",
        "SELECT 1 WHERE 0",
    ),
    "starts are numbered without gaps": (
        "SELECT function, lane, count(*) FROM starts GROUP BY function, lane",
        "SELECT function, lane, max(place) - min(place) + 1 FROM starts GROUP BY function, lane",
    ),
    "readers are of runs that somebody must watch": (
        "SELECT run_id FROM watchers WHERE run_id NOT IN (SELECT id FROM runs WHERE abandon_grace_ms IS NOT NULL)",
        "SELECT 1 WHERE 0",
    ),
    "no absence while somebody watches": (
        """SELECT id FROM runs WHERE state IN ('queued', 'running') AND abandon_grace_ms IS NOT NULL
           AND (abandon_at_ms IS NULL) <> EXISTS (SELECT 1 FROM watchers WHERE run_id = runs.id)""",
        "SELECT 1 WHERE 0",
    ),
}
"""A promise to two queries that find the same rows: what is kept, and what a look at all runs says."""


def check_derived(path: Path) -> None:
    """Fails where the file keeps what is not so."""
    with closing(sqlite3.connect(path)) as connection:
        for promise, (kept, counted) in CHECKS.items():
            assert _rows(connection.execute(kept)) == _rows(connection.execute(counted)), promise


def _rows(found: Iterable[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return sorted(found, key=repr)
