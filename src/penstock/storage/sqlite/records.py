"""Rows to values: every read of the store. Each function runs on a reader's connection, or inside a write."""

import math
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from ...models import Chunk, Pace, RunRecord, RunState, Standing, Stream, Tally
from .connection import STATEMENTS

__all__ = [
    "Sign",
    "cancels",
    "held",
    "homes",
    "overdue",
    "paces",
    "read_chunks",
    "read_run",
    "read_stream",
    "run_of",
    "standings",
    "stopping",
    "tallies",
    "workers",
]


class Sign(NamedTuple):
    """A worker's last sign of life."""

    worker: str
    expires_at_ms: int


def _error_of(data: bytes | None) -> dict[str, Any] | None:
    return None if data is None else msgspec.json.decode(data, type=dict[str, Any])


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "state": RunState,
    "input": msgspec.Raw,
    "cancel": bool,
    "acknowledged": bool,
    "error": _error_of,
}
_PLACES = [(RunRecord.__struct_fields__.index(name), convert) for name, convert in _CONVERT.items()]


def run_of(row: Sequence[Any]) -> RunRecord:
    """A row's `run_columns` as a value."""
    values = list(row)
    for place, convert in _PLACES:
        values[place] = convert(values[place])
    return RunRecord(*values)


def read_run(connection: sqlite3.Connection, run_id: str) -> RunRecord | None:
    """One run, or None."""
    row = connection.execute(STATEMENTS["run"], {"id": run_id}).fetchone()
    return None if row is None else run_of(row)


def read_run_by_key(connection: sqlite3.Connection, function: str, key: str | None) -> RunRecord | None:
    """The run that was submitted under this idempotency key, or None."""
    row = connection.execute(STATEMENTS["run_by_key"], {"function": function, "key": key}).fetchone()
    return None if row is None else run_of(row)


def read_stream(connection: sqlite3.Connection, name: str) -> Stream | None:
    """A stream as it stands, or None."""
    row = connection.execute(STATEMENTS["stream"], {"name": name}).fetchone()
    return None if row is None else Stream(row[0], row[1], row[2], bool(row[3]))


def read_chunks(connection: sqlite3.Connection, stream: str, after: int, limit_bytes: int) -> list[Chunk]:
    """Chunks past `after`: one at least where there is one, then while `limit_bytes` lasts."""
    found: list[Chunk] = []
    chunks = connection.execute(STATEMENTS["read_chunks"], {"stream": stream, "after": after})
    for first_seq, last_seq, data, final in chunks:
        limit_bytes -= len(data)
        if found and limit_bytes < 0:
            break
        found.append(Chunk(first_seq, last_seq, data, bool(final)))
        # A chunk read in vain costs what one sent does; where the next is likely too large, its size is looked at.
        if limit_bytes < len(data) and _size_of_next(connection, stream, last_seq) > limit_bytes:
            break
    chunks.close()  # a statement left open would keep its snapshot, and the write-ahead log with it
    return found


def _size_of_next(connection: sqlite3.Connection, stream: str, after: int) -> float:
    row = connection.execute(STATEMENTS["size_of_next"], {"stream": stream, "after": after}).fetchone()
    return math.inf if row is None else float(row[0])


def cancels(connection: sqlite3.Connection, worker: str) -> dict[str, str]:
    """Ids of the worker's running runs that were asked to stop, each with the reason."""
    return dict(connection.execute(STATEMENTS["cancels"], {"worker": worker}).fetchall())


def stopping(connection: sqlite3.Connection) -> dict[str, bool]:
    """Runs under way that were asked to stop, each with whether its worker knows."""
    found = connection.execute(STATEMENTS["stopping"])
    return {run_id: bool(acknowledged) for run_id, acknowledged in found}


def overdue(connection: sqlite3.Connection, now_ms: int, limit: int) -> dict[str, str]:
    """Queued runs that are to be ended, each with the reason; a stop that was asked for beats a timeout."""
    return dict(connection.execute(STATEMENTS["overdue"], {"now_ms": now_ms, "limit": limit}).fetchall())


def standings(connection: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, Standing]:
    """Where runs stand that have not ended."""
    found = connection.execute(STATEMENTS["standings"], {"ids": msgspec.json.encode(run_ids).decode()})
    return {
        run_id: Standing(
            run_id, function, group, RunState(state), ahead, bool(cancel), bool(told), not_before_ms
        )
        for run_id, function, group, state, cancel, told, not_before_ms, ahead in found
    }


def tallies(connection: sqlite3.Connection) -> list[Tally]:
    """How many wait and run, by group and function."""
    return [Tally(*row) for row in connection.execute(STATEMENTS["tallies"]) if any(row[2:])]


def paces(connection: sqlite3.Connection) -> dict[str, Pace]:
    """How long runs took, by function."""
    return {row[0]: Pace(*row[1:]) for row in connection.execute(STATEMENTS["paces"])}


def homes(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """Functions with the groups in which runs of theirs wait."""
    return set(connection.execute(STATEMENTS["homes"]).fetchall())


def held(connection: sqlite3.Connection, worker: str) -> dict[str, int]:
    """The worker's running runs with their streams' fences."""
    (found,) = connection.execute(STATEMENTS["held"], {"worker": worker}).fetchone()
    return msgspec.json.decode(found, type=dict[str, int])


def workers(connection: sqlite3.Connection) -> list[Sign]:
    """All workers known."""
    return [Sign(*row) for row in connection.execute(STATEMENTS["workers"])]
