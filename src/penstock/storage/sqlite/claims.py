"""Claims: the rule of `protocol.limits` found by indexes, in one transaction.

What it costs depends on the number of functions and of runs started, not on how many wait: a line's row knows its
first run, an index knows the line whose turn is next, and a line that may give nothing now is taken out of that
index until it may (`barred`: until a run of its lane ends; `shut_until_ms`: until that time).
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...models import Claimed, Group, Lease, Stream
from ...protocol.limits import gathers_until, may_start_at, served_at
from .connection import STATEMENTS
from .records import rows, run_of

__all__ = ["claim", "due_at_ms", "lease"]


class _Line(NamedTuple):
    """A line that may have a turn now."""

    id: int
    lane: str
    turn: int
    head: int


def claim(
    connection: sqlite3.Connection, worker: str, groups: Sequence[Group], now_ms: int, limit: int
) -> list[Claimed]:
    """Start as many calls as may start, `limit` at most; see `RunStore.claim`."""
    for name in ("wake_parked", "park_overdue", "open_shut"):
        connection.execute(STATEMENTS[name], {"now_ms": now_ms})
    claims = _Claims(connection, worker, now_ms)
    sources = _sources(claims, groups)
    for place in range(limit):
        ready = [(line.turn, line.head, source) for source in sources if (line := source.next_line())]
        if not ready:
            break
        min(ready, key=lambda one: one[:2])[2].call(place)
    return claims.made


def due_at_ms(connection: sqlite3.Connection) -> int | None:
    """When next something may start that waits for its time only."""
    found: int | None = connection.execute(STATEMENTS["due_at"]).fetchone()[0]
    return found


def lease(connection: sqlite3.Connection, run_id: str, worker: str) -> tuple[Lease, Stream]:
    """A new lease on a run's stream: whoever held the old one can write no more."""
    # fetchall, not fetchone: RETURNING rows are only committed once the statement has run to its end.
    ((fence, epoch, ended, tail),) = connection.execute(
        STATEMENTS["raise_fence"], {"name": run_id}
    ).fetchall()
    return Lease(run_id, worker, fence), Stream(run_id, epoch, tail, bool(ended))


def _sources(claims: "_Claims", groups: Sequence[Group]) -> list["_Source"]:
    waiting = set(claims.connection.execute(STATEMENTS["waiting_functions"]).fetchall())
    found = []
    for group in groups:
        functions = [name for name in group.functions if (group.name, name) in waiting]
        room = _Room(claims.connection, group) if functions else None
        found += [_Source(claims, room, group, name) for name in functions if room is not None]
    return found


class _Claims:
    """What one transaction starts."""

    def __init__(self, connection: sqlite3.Connection, worker: str, now_ms: int) -> None:
        self.connection = connection
        self.worker = worker
        self.now_ms = now_ms
        self.made: list[Claimed] = []
        self.rounds = 0

    def one(self, statement: str, **given: Any) -> Any:
        """The only value of the only row, or None."""
        row = self.connection.execute(STATEMENTS[statement], given).fetchone()
        return None if row is None else row[0]

    def start(self, number: int, call: str | None) -> str:
        """Start one run, as part of a call where there is one. Its id."""
        given = {"number": number, "worker": self.worker, "now_ms": self.now_ms, "call": call}
        run = run_of(rows(self.connection, STATEMENTS["start"], given).fetchall()[0])
        self.made.append(Claimed(run, *lease(self.connection, run.id, self.worker)))
        return run.id


class _Room:
    """Calls that a group still has room for."""

    def __init__(self, connection: sqlite3.Connection, group: Group) -> None:
        self.free = float("inf")
        if group.concurrency_limit is not None:
            ((taken,),) = connection.execute(STATEMENTS["calls_in"], {"grp": group.name}).fetchall()
            self.free = group.concurrency_limit - taken


class _Source:
    """One function's lines, by turn."""

    def __init__(self, claims: _Claims, room: _Room, group: Group, function: str) -> None:
        self._claims = claims
        self._room = room
        self._terms = group.terms_of(function)
        self._place = {"grp": group.name, "function": function}
        self._known: tuple[int, _Line | None] | None = None  # as of how many starts

    def next_line(self) -> _Line | None:
        """The line whose turn it is; None where none may give a run."""
        if self._room.free <= 0:
            return None
        rounds = self._claims.rounds
        if self._known is None or self._known[0] != rounds:
            self._known = rounds, self._find(filling=False)
        return self._known[1]

    def _find(self, *, filling: bool) -> _Line | None:
        while row := self._claims.connection.execute(STATEMENTS["next_line"], self._place).fetchone():
            line = _Line(*row)
            if self._has_room(line) and (filling or not self._gathers(line)):
                return line
        return None

    def _has_room(self, line: _Line) -> bool:
        limit, rate = self._terms.key_limit, self._terms.rate
        if limit is not None and line.lane:
            running = self._claims.one("running_in_lane", grp=self._place["grp"], lane=line.lane)
            if running >= limit:
                self._claims.connection.execute(STATEMENTS["bar"], (line.id,))
                return False
        if rate is None:
            return True
        function = self._place["function"]
        oldest_ms = self._claims.one("start_before", function=function, lane=line.lane, count=rate.count)
        return self._has_come(line, may_start_at(rate, oldest_ms, self._claims.now_ms))

    def _gathers(self, line: _Line) -> bool:
        if self._terms.batch_size <= 1:
            return False
        waiting = self._claims.one("waiting_of", **self._place)
        created_ms = self._claims.one("created_at", number=line.head)
        until_ms = gathers_until(self._terms, created_ms, waiting)
        return not self._has_come(line, until_ms, gathers=True)

    def _has_come(self, line: _Line, time_ms: int, *, gathers: bool = False) -> bool:
        if time_ms <= self._claims.now_ms:
            return True
        given = {"id": line.id, "until_ms": time_ms, "gathers": gathers}
        self._claims.connection.execute(STATEMENTS["shut"], given)
        return False

    def call(self, place: int) -> None:
        """Start a call: the run whose turn it is, and as many more as its batch takes."""
        line = self.next_line()
        assert line is not None
        self._room.free -= 1
        call = self._start(line, place, None)
        self._claims.connection.execute(STATEMENTS["gathered"], self._place)
        for _ in range(self._terms.batch_size - 1):
            line = self._find(filling=True)
            if line is None:
                break
            self._start(line, place, call)
        self._claims.rounds += 1

    def _start(self, line: _Line, place: int, call: str | None) -> str:
        claims = self._claims
        if line.lane:
            mark = served_at(claims.now_ms, place)
            given = {"grp": self._place["grp"], "lane": line.lane, "mark": mark}
            claims.connection.execute(STATEMENTS["serve"], given)
        if self._terms.rate is not None:
            given = {"function": self._place["function"], "lane": line.lane, "now_ms": claims.now_ms}
            claims.connection.execute(STATEMENTS["note_start"], given)
            claims.connection.execute(STATEMENTS["forget_starts"], given | {"count": self._terms.rate.count})
        return claims.start(line.head, call)
