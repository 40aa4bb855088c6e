"""Pieces of work for the writer: every change of the store. Each runs inside the writer's transaction."""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import msgspec

from ...errors import Fenced
from ...models import Append, Claimed, Ending, Group, Intake, Lease, RunRecord, RunState, Submitted
from ...protocol.limits import rank_ms
from ...protocol.runs import sources_of
from ..intake import already_running, check_room
from .claims import is_stuck, leases
from .connection import STATEMENTS
from .records import read_run, read_run_by_key, run_of

__all__ = [
    "abandoned",
    "acknowledge",
    "append",
    "finish",
    "forget",
    "prioritize",
    "regroup",
    "request_cancel",
    "requeue",
    "returned",
    "seize",
    "sign",
    "spare",
    "submit",
    "take_over",
    "watch",
]

MAX_ROWS = 1024
"""Appends in one statement; SQLite takes 32,766 variables, and a longer one gains nothing (benchmarks)."""

ROUNDED_ROWS = 64
"""To a multiple of it their number is rounded up, and below it to a power of two."""


@cache
def _insert(rows: int) -> str:
    values = ", ".join(["(?, ?, ?, ?, ?, ?)"] * rows)
    return f"INSERT INTO appends (stream, fence, first_seq, last_seq, final, data) VALUES {values}"  # noqa: S608


@cache
def _insert_together(rows: int) -> str:
    # What the trigger proves, for all rows at once and from one look at each stream: a row less than given is a
    # refusal. Each stream may be there once only, as all are compared with what was stored before the statement.
    values = ", ".join(["(?, ?, ?, ?, ?)"] * rows)
    return f"""
        INSERT INTO chunks (stream_id, last_seq, first_seq, final, data)
        WITH given (stream, fence, first_seq, last_seq, data) AS (VALUES {values})
        SELECT s.id, g.last_seq, g.first_seq, 0, g.data
        FROM given AS g CROSS JOIN streams AS s ON s.name = g.stream
        WHERE s.fence = g.fence AND NOT s.ended
          AND g.first_seq = 1 + coalesce((SELECT max(last_seq) FROM chunks WHERE stream_id = s.id), 0)"""  # noqa: S608


def append(connection: sqlite3.Connection, batch: Sequence[Append]) -> list[bool]:
    """Append all of a batch that the file accepts; one truth value an item.

    One statement for many rows: each statement lets go of the interpreter lock and has to win it back, which
    under load costs more than the row (measured: up to 5 ms a statement beside a busy event loop).
    """
    taken: list[bool] = []
    for alone, items in groupby(batch, key=lambda item: item.chunk.empty):
        given = list(items)
        taken += [_keep_alone(connection, item) for item in given] if alone else _append(connection, given)
    return taken


def _append(connection: sqlite3.Connection, batch: Sequence[Append]) -> list[bool]:
    taken: list[bool] = []
    for start in range(0, len(batch), MAX_ROWS):
        part = batch[start : start + MAX_ROWS]
        taken += [True] * len(part) if _try_together(connection, part) else _in_blocks(connection, part)
    for ok, item in zip(taken, batch, strict=True):
        if ok and item.checkpoint is not None:
            connection.execute(STATEMENTS["keep_checkpoint"], _kept(item))
    return taken


def _keep_alone(connection: sqlite3.Connection, item: Append) -> bool:
    """A checkpoint without events: of the stream as it stands, if the lease is still good."""
    return connection.execute(STATEMENTS["keep_checkpoint_alone"], _kept(item)).rowcount > 0


def _kept(item: Append) -> dict[str, object]:
    return {
        "id": item.stream,
        "fence": item.fence,
        "seq": item.chunk.last_seq,
        "checkpoint": item.checkpoint,
    }


def _in_blocks(connection: sqlite3.Connection, batch: Sequence[Append]) -> list[bool]:
    taken: list[bool] = []
    while len(taken) < len(batch):
        rest = batch[len(taken) :]
        block = rest[: 1 << (len(rest).bit_length() - 1)]  # few sizes: each is a statement that is kept
        taken += [True] * len(block) if _try_insert(connection, block) else _one_by_one(connection, block)
    return taken


def _one_by_one(connection: sqlite3.Connection, batch: Sequence[Append]) -> list[bool]:
    return [_try_insert(connection, [item]) for item in batch]


def _try_together(connection: sqlite3.Connection, batch: Sequence[Append]) -> bool:
    """The usual case, in half the time: one chunk each for many streams that go on."""
    if len(batch) < 2:
        return False
    given: list[object] = []
    for item in batch:
        chunk = item.chunk
        if chunk.final:
            return False
        given += (item.stream, item.fence, chunk.first_seq, chunk.last_seq, chunk.data)
    if len(set(given[::5])) < len(batch):
        return False
    rows = _rounded(len(batch))
    given += [None] * (5 * (rows - len(batch)))  # no stream is of that name
    connection.execute("SAVEPOINT together")
    done = connection.execute(_insert_together(rows), given).rowcount == len(batch)
    if not done:
        connection.execute("ROLLBACK TO together")
    connection.execute("RELEASE together")
    return done


def _rounded(rows: int) -> int:
    # Each number of rows is a statement of its own, and connections keep hundreds: 200 MB where all differed.
    return 1 << (rows - 1).bit_length() if rows <= ROUNDED_ROWS else -(-rows // ROUNDED_ROWS) * ROUNDED_ROWS


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


def submit(connection: sqlite3.Connection, run: RunRecord, epoch: str, intake: Intake) -> Submitted:
    """A new run with its stream, or the earlier one of the same key."""
    if run.key is not None and (earlier := read_run_by_key(connection, run.function, run.key)) is not None:
        return Submitted(earlier, fresh=False)
    if (known := read_run(connection, run.id)) is not None:
        return Submitted(known, fresh=False)
    replaced = _make_way(connection, run, intake)
    ((ahead, calls),) = connection.execute(STATEMENTS["tally_of"], {"grp": run.group})
    ahead -= sum(state == "queued" for state in replaced.values())
    if intake.max_size is not None:
        if intake.batches:
            ((calls,),) = connection.execute(STATEMENTS["calls_in"], {"grp": run.group})
        check_room(run.group, intake, ahead, calls, stuck=is_stuck(connection, run, intake.terms))
    given = {name: getattr(run, name) for name in _SUBMITTED} | {
        "grp": run.group,
        "input": bytes(run.input),
        "rank_ms": rank_ms(run.created_at_ms, run.priority),
    }
    connection.execute(STATEMENTS["submit"], given)
    connection.execute(STATEMENTS["create_stream"], {"name": run.id, "epoch": epoch})
    return Submitted(run, True, ahead, calls, tuple(replaced))


_SUBMITTED = (
    "id",
    "function",
    "key",
    "session",
    "lane",
    "priority",
    "created_at_ms",
    "crash_retries",
    "not_before_ms",
    "start_by_ms",
    "abandon_grace_ms",
    "worker",
)


def _make_way(connection: sqlite3.Connection, run: RunRecord, intake: Intake) -> dict[str, str]:
    """Refuse a repeat, or ask the runs whose place it takes to stop; their ids and states."""
    if intake.on_repeat == "enqueue" or run.session is None:
        return {}
    given = {"function": run.function, "session": run.session}
    going_on = connection.execute(STATEMENTS["going_on"], given).fetchall()
    if intake.on_repeat == "reject" and going_on:
        raise already_running(going_on[0][0])
    everything = intake.on_repeat == "interrupt"
    replaced = {run_id: state for run_id, state in going_on if everything or state == "queued"}
    for run_id in replaced:
        connection.execute(STATEMENTS["request_cancel"], {"id": run_id, "reason": "replaced"})
    return replaced


def seize(
    connection: sqlite3.Connection, worker: str, run_id: str, *, waiting: bool = False
) -> Claimed | None:
    """A lease on a run that nobody executes: a queued one, or one that runs in this worker's own name."""
    run = read_run(connection, run_id)
    if run is None or run.state.ended:
        return None
    if run.state is RunState.RUNNING and (waiting or run.worker != worker):
        return None
    return Claimed(run, *leases(connection, [run.id], worker)[run.id])


def finish(connection: sqlite3.Connection, ends: Sequence[Ending]) -> list[bool]:
    """The last chunks and the ended states, of each run both or neither; one truth value a run."""
    if len(ends) > 1 and _try_finish(connection, ends):
        return [True] * len(ends)
    return [_try_finish(connection, [end]) for end in ends]


def _try_finish(connection: sqlite3.Connection, ends: Sequence[Ending]) -> bool:
    connection.execute("SAVEPOINT ends")
    given = msgspec.json.encode([_row_of(end) for end in ends]).decode()
    changed = connection.execute(STATEMENTS["finish"], {"ends": given}).rowcount
    done = changed == len(ends) and _try_insert(
        connection, [Append(end.lease.run_id, end.lease.fence, end.last) for end in ends]
    )
    if done:
        _note_ends(connection, ends)
    else:
        connection.execute("ROLLBACK TO ends")
    connection.execute("RELEASE ends")
    return done


def _row_of(end: Ending) -> dict[str, Any]:
    return {
        "id": end.lease.run_id,
        "state": end.state,
        "error": None if end.error is None else msgspec.json.encode(end.error).decode(),
        "now_ms": end.now_ms,
        "sources": sources_of(end.state),
    }


def _note_ends(connection: sqlite3.Connection, ends: Sequence[Ending]) -> None:
    succeeded = [end.lease.run_id for end in ends if end.state is RunState.SUCCEEDED]
    if succeeded:
        connection.execute(STATEMENTS["learn_paces"], {"ids": msgspec.json.encode(succeeded).decode()})
    for end in ends:
        if end.lingers:
            connection.execute(STATEMENTS["linger"], {"id": end.lease.run_id})


def returned(connection: sqlite3.Connection, run_id: str) -> None:
    """A call that went on has come back."""
    connection.execute(STATEMENTS["returned"], {"id": run_id})


def regroup(connection: sqlite3.Connection, groups: Sequence[Group]) -> None:
    """Queued runs follow their functions."""
    for group in groups:
        functions = msgspec.json.encode(group.functions).decode()
        connection.execute(STATEMENTS["regroup"], {"grp": group.name, "functions": functions})


def requeue(
    connection: sqlite3.Connection,
    lease: Lease,
    not_before_ms: int,
    *,
    lost: bool,
    error: dict[str, Any] | None,
) -> None:
    """Back to the queue; the fence rises, so that whoever ran it can write no more."""
    row = connection.execute(STATEMENTS["fence_of"], {"name": lease.run_id}).fetchone()
    given = {
        "id": lease.run_id,
        "not_before_ms": not_before_ms,
        "lost": lost,
        "error": None if error is None else msgspec.json.encode(error),
    }
    if row is None or row[0] != lease.fence or connection.execute(STATEMENTS["requeue"], given).rowcount == 0:
        raise Fenced(f"Run {lease.run_id} is not this worker's to give back.")
    leases(connection, [lease.run_id], "")


def spare(connection: sqlite3.Connection, lease: Lease) -> None:
    """Its loss is not to count."""
    given = {"id": lease.run_id, "fence": lease.fence}
    if connection.execute(STATEMENTS["spare"], given).rowcount == 0:
        raise Fenced(f"Run {lease.run_id} is not this worker's.")


def request_cancel(connection: sqlite3.Connection, run_id: str, reason: str) -> RunRecord | None:
    """Note the wish; an ended run is left as it is."""
    connection.execute(STATEMENTS["request_cancel"], {"id": run_id, "reason": reason})
    return read_run(connection, run_id)


def prioritize(connection: sqlite3.Connection, run_id: str, priority: int) -> RunRecord | None:
    """Out of line, and in again where it belongs now: the ways that keep the line's row, whatever they change."""
    run = read_run(connection, run_id)
    if run is None or run.state is not RunState.QUEUED or run.priority == priority:
        return run
    given = {"id": run_id, "priority": priority, "rank_ms": rank_ms(run.created_at_ms, priority)}
    stood = connection.execute(STATEMENTS["step_out"], {"id": run_id}).rowcount > 0
    tally = {"grp": run.group, "function": run.function, "more": (priority != 0) - (run.priority != 0)}
    connection.execute(STATEMENTS["tally_ranked"], tally)
    connection.execute(STATEMENTS["prioritize"], given)
    if stood:
        connection.execute(STATEMENTS["step_in"], {"id": run_id})
    return read_run(connection, run_id)


def acknowledge(connection: sqlite3.Connection, run_ids: Sequence[str]) -> None:
    """Their worker knows that they are to stop."""
    for run_id in run_ids:
        connection.execute(STATEMENTS["acknowledge"], {"id": run_id})


def watch(connection: sqlite3.Connection, worker: str, present: Mapping[str, bool], now_ms: int) -> None:
    """Which runs have readers in this process, as far as that has changed."""
    for run_id, watched in present.items():
        given = {"id": run_id, "worker": worker}
        connection.execute(STATEMENTS["watch" if watched else "unwatch"], given)
        if watched:
            connection.execute(STATEMENTS["watched"], {"id": run_id})
    connection.execute(STATEMENTS["begin_absence"], {"now_ms": now_ms})


def abandoned(connection: sqlite3.Connection, now_ms: int, up_ms: int) -> list[str]:
    """Ids of runs that nobody has watched for as long as they wait for that."""
    connection.execute(STATEMENTS["begin_absence"], {"now_ms": now_ms})
    given = {"now_ms": now_ms, "up_ms": up_ms}
    return [row[0] for row in connection.execute(STATEMENTS["abandoned"], given)]


def sign(connection: sqlite3.Connection, worker: str, expires_at_ms: int) -> None:
    """A sign of life."""
    connection.execute(STATEMENTS["sign"], {"worker": worker, "expires_at_ms": expires_at_ms})


def forget(connection: sqlite3.Connection, worker: str) -> None:
    """A worker is gone, and with it the calls that went on in it and the readers that it had."""
    for name in ("forget_worker", "forget_calls", "forget_readers"):
        connection.execute(STATEMENTS[name], {"worker": worker})


def take_over(connection: sqlite3.Connection, worker: str, lost: str, expires_at_ms: int) -> list[Claimed]:
    """A lost worker's running runs, unless it has shown itself since."""
    row = connection.execute(STATEMENTS["expiry_of"], {"worker": lost}).fetchone()
    if (row[0] if row else 0) != expires_at_ms:
        return []
    forget(connection, lost)
    found = connection.execute(STATEMENTS["take_over"], {"worker": worker, "lost": lost}).fetchall()
    runs = [run_of(row) for row in found]
    held = leases(connection, [run.id for run in runs], worker)
    return [Claimed(run, *held[run.id]) for run in runs]
