"""Pieces of work for the writer: every change of the store. Each runs inside the writer's transaction."""

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from ...errors import Fenced
from ...models import Append, Chunk, Claimed, Group, Lease, RunRecord, RunState
from ...protocol.runs import sources_of
from .connection import STATEMENTS
from .records import read_run, read_run_by_key, read_stream, run_of

__all__ = [
    "append",
    "claim",
    "finish",
    "leave",
    "regroup",
    "request_cancel",
    "requeue",
    "seize",
    "sign",
    "submit",
    "take_over",
]

MAX_ROWS = 1024
"""Appends in one statement; SQLite takes 32,766 variables, and a longer one gains nothing (benchmarks)."""


@cache
def _insert(rows: int) -> str:
    values = ", ".join(["(?, ?, ?, ?, ?, ?)"] * rows)
    return f"INSERT INTO appends (stream, fence, first_seq, last_seq, final, data) VALUES {values}"  # noqa: S608


def append(connection: sqlite3.Connection, batch: Sequence[Append]) -> list[bool]:
    """Append all of a batch that the file accepts; one truth value an item.

    One statement for many rows: each statement lets go of the interpreter lock and has to win it back, which
    under load costs more than the row (measured: up to 5 ms a statement beside a busy event loop).
    """
    taken: list[bool] = []
    for start in range(0, len(batch), MAX_ROWS):
        part = batch[start : start + MAX_ROWS]
        taken += [True] * len(part) if _try_insert(connection, part) else _one_by_one(connection, part)
    return taken


def _one_by_one(connection: sqlite3.Connection, batch: Sequence[Append]) -> list[bool]:
    return [_try_insert(connection, [item]) for item in batch]


def _try_insert(connection: sqlite3.Connection, batch: Sequence[Append]) -> bool:
    given: list[object] = []
    for item in batch:
        chunk = item.chunk
        given += (item.stream, item.fence, chunk.first_seq, chunk.last_seq, chunk.final, chunk.data)
    try:
        connection.execute(_insert(len(batch)), given)
    except sqlite3.IntegrityError:  # refused by the trigger, which undoes its whole statement
        return False
    return True


def submit(connection: sqlite3.Connection, run: RunRecord, epoch: str) -> tuple[RunRecord, bool]:
    """A new run with its stream, or the earlier one of the same key."""
    given = {
        "id": run.id,
        "function": run.function,
        "grp": run.group,
        "input": bytes(run.input),
        "key": run.key,
        "session": run.session,
        "created_at_ms": run.created_at_ms,
        "retries": run.retries,
        "not_before_ms": run.not_before_ms,
    }
    if connection.execute(STATEMENTS["submit"], given).rowcount == 0:
        earlier = read_run_by_key(connection, run.function, run.key)
        assert earlier is not None
        return earlier, False
    connection.execute(STATEMENTS["create_stream"], {"name": run.id, "epoch": epoch})
    return run, True


def claim(
    connection: sqlite3.Connection, worker: str, groups: Sequence[Group], now_ms: int, limit: int
) -> list[Claimed]:
    """Start what may start, oldest first over all groups."""
    ready = [row for group in groups for row in _ready(connection, group, now_ms, limit)]
    ready.sort(key=lambda row: row[1])
    return [_start(connection, run_id, worker, now_ms) for run_id, _ in ready[:limit]]


def _ready(connection: sqlite3.Connection, group: Group, now_ms: int, limit: int) -> list[tuple[str, int]]:
    free = limit
    if group.concurrency_limit is not None:
        running = connection.execute(STATEMENTS["running_in"], {"grp": group.name}).fetchone()[0]
        free = min(limit, group.concurrency_limit - running)
    if free <= 0:
        return []
    functions = msgspec.json.encode(group.functions).decode()
    given = {"grp": group.name, "now_ms": now_ms, "functions": functions, "free": free}
    return connection.execute(STATEMENTS["ready"], given).fetchall()


def _start(connection: sqlite3.Connection, run_id: str, worker: str, now_ms: int) -> Claimed:
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    rows = cursor.execute(STATEMENTS["start"], {"id": run_id, "worker": worker, "now_ms": now_ms}).fetchall()
    return _lease(connection, run_of(rows[0]), worker)


def _lease(connection: sqlite3.Connection, run: RunRecord, worker: str) -> Claimed:
    # fetchall, not fetchone: RETURNING rows are only committed once the statement has run to its end.
    ((fence,),) = connection.execute(STATEMENTS["raise_fence"], {"name": run.id}).fetchall()
    stream = read_stream(connection, run.id)
    assert stream is not None
    return Claimed(run, Lease(run.id, worker, fence), stream)


def seize(connection: sqlite3.Connection, worker: str, run_id: str) -> Claimed | None:
    """A lease on a run that nobody executes: a queued one, or one that runs in this worker's own name."""
    run = read_run(connection, run_id)
    if run is None or run.state.ended or (run.state is RunState.RUNNING and run.worker != worker):
        return None
    return _lease(connection, run, worker)


def finish(
    connection: sqlite3.Connection,
    lease: Lease,
    state: RunState,
    error: dict[str, Any] | None,
    last: Chunk,
    now_ms: int,
) -> None:
    """The last chunk and the ended state, both or neither."""
    given = {
        "id": lease.run_id,
        "state": state,
        "error": None if error is None else msgspec.json.encode(error),
        "now_ms": now_ms,
        "sources": msgspec.json.encode(sources_of(state)).decode(),
    }
    changed = connection.execute(STATEMENTS["finish"], given).rowcount
    if not changed or append(connection, [Append(lease.run_id, lease.fence, last)]) != [True]:
        raise Fenced(f"Run {lease.run_id} is not this worker's to end.")


def regroup(connection: sqlite3.Connection, groups: Sequence[Group]) -> None:
    """Queued runs follow their functions."""
    for group in groups:
        functions = msgspec.json.encode(group.functions).decode()
        connection.execute(STATEMENTS["regroup"], {"grp": group.name, "functions": functions})


def requeue(connection: sqlite3.Connection, lease: Lease, not_before_ms: int, *, lost: bool) -> None:
    """Back to the queue; the fence rises, so that whoever ran it can write no more."""
    row = connection.execute(STATEMENTS["fence_of"], {"name": lease.run_id}).fetchone()
    given = {"id": lease.run_id, "not_before_ms": not_before_ms, "lost": lost}
    if row is None or row[0] != lease.fence or connection.execute(STATEMENTS["requeue"], given).rowcount == 0:
        raise Fenced(f"Run {lease.run_id} is not this worker's to give back.")
    connection.execute(STATEMENTS["raise_fence"], {"name": lease.run_id}).fetchall()


def request_cancel(connection: sqlite3.Connection, run_id: str) -> RunRecord | None:
    """Note the wish; an ended run is left as it is."""
    connection.execute(STATEMENTS["request_cancel"], {"id": run_id})
    return read_run(connection, run_id)


def sign(connection: sqlite3.Connection, worker: str, expires_at_ms: int) -> None:
    """A sign of life."""
    connection.execute(STATEMENTS["sign"], {"worker": worker, "expires_at_ms": expires_at_ms})


def leave(connection: sqlite3.Connection, worker: str) -> None:
    """Forget a worker."""
    connection.execute(STATEMENTS["leave"], {"worker": worker})


def take_over(connection: sqlite3.Connection, worker: str, lost: str, expires_at_ms: int) -> list[Claimed]:
    """A lost worker's running runs, unless it has shown itself since."""
    row = connection.execute(STATEMENTS["expiry_of"], {"worker": lost}).fetchone()
    if (row[0] if row else 0) != expires_at_ms:
        return []
    leave(connection, lost)
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    rows = cursor.execute(STATEMENTS["take_over"], {"worker": worker, "lost": lost}).fetchall()
    return [_lease(connection, run_of(row), worker) for row in rows]
