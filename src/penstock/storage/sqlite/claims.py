"""Claims: the rule of `protocol.limits` found by indexes, in one transaction.

What it costs grows with the functions that have had runs, and with the runs it starts; not with how many wait, in
line or for their time. A line's row knows its first run, an index knows the line whose turn is
next, and a line that may give nothing now is taken out of that index until it may (`barred`: until a run of its
lane ends; `shut_until_ms`: until that time). Whatever waits for a time has an index by it, so that only what has
come is looked at, and that once: it is in line then, or `parked` until somebody ends it.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from ...models import Claimed, Group, Lease, Rate, RunRecord, Stream, Terms
from ...protocol.limits import STARTS_KEPT_MS, TICKS, gathers_until, may_start_at
from .connection import STATEMENTS
from .records import run_of

__all__ = ["adopt", "claim", "due_at_ms", "is_stuck", "leases", "start", "unkept"]

PLAIN = Terms()


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
    found = connection.execute(STATEMENTS["tallied"], {"now_ms": now_ms}).fetchall()
    if found and found[-1][0] is None:
        found.pop()
        for name in ("wake_parked", "park_overdue", "open_shut", "open_shut_ahead", "gathered"):
            connection.execute(STATEMENTS[name], {"now_ms": now_ms})
    claims = _Claims(connection, worker, now_ms)
    sources = _sources(claims, groups, [_Tallied(*row) for row in found])
    if all(source.is_plain for source in sources):
        _claim_in_order(claims, sources, limit)
    else:
        _claim_by_turns(sources, limit)
    return claims.made


def _claim_in_order(claims: "_Claims", sources: "list[_Source]", limit: int) -> None:
    """All that may start at once, in a few statements: without lanes, rates and batches a turn is a rank."""
    ready = [(*first, source) for source in sources for first in source.first_in_line(limit)]
    ready.sort(key=lambda one: one[:2])
    numbers: list[int] = []
    for _, number, source in ready:
        if len(numbers) < limit and source.room.free > 0:
            source.room.free -= 1
            numbers.append(number)
    if numbers:
        claims.start(numbers, None)


def _claim_by_turns(sources: "list[_Source]", limit: int) -> None:
    for _ in range(limit):
        ready = [(line.turn, line.head, source) for source in sources if (line := source.next_line())]
        if not ready:
            break
        min(ready, key=lambda one: one[:2])[2].call()


def start(connection: sqlite3.Connection, worker: str, run_id: str, now_ms: int) -> Claimed | None:
    """Start one queued run, whatever its line says; see `RunStore.start`."""
    given = {"worker": worker, "id": run_id, "now_ms": now_ms}
    found = connection.execute(STATEMENTS["start_one"], given).fetchall()
    return Claimed(run_of(found[0]), *leases(connection, [run_id], worker)[run_id]) if found else None


def unkept(connection: sqlite3.Connection, functions: Sequence[str], now_ms: int, limit: int) -> list[int]:
    """Numbers of the queued runs of these functions that are in nobody's care, in order of submission."""
    given = {"functions": msgspec.json.encode(functions).decode(), "now_ms": now_ms, "limit": limit}
    return [number for (number,) in connection.execute(STATEMENTS["unkept"], given).fetchall()]


def adopt(
    connection: sqlite3.Connection, worker: str, functions: Sequence[str], now_ms: int, limit: int
) -> list[RunRecord]:
    """Put these runs into a worker's care."""
    numbers = unkept(connection, functions, now_ms, limit)
    given = {"worker": worker, "numbers": msgspec.json.encode(numbers).decode()}
    found = connection.execute(STATEMENTS["adopt"], given).fetchall()
    runs = {number: run_of(columns) for *columns, number in found}
    return [runs[number] for number in numbers]


def is_stuck(connection: sqlite3.Connection, run: RunRecord, terms: Terms) -> bool:
    """Whether a new run could not start at once, even if its group had room: for its key's limit, or its rate."""
    own = {"grp": run.group, "function": run.function, "lane": run.lane}
    if terms.key_limit is not None and run.lane:
        ((taken,),) = connection.execute(STATEMENTS["lane_of"], own)
        if taken >= terms.key_limit:
            return True
    if terms.rate is None:
        return False
    ((waiting,),) = connection.execute(STATEMENTS["line_of"], own)
    given = {"function": run.function, "lane": run.lane, "count": terms.rate.count}
    row = connection.execute(STATEMENTS["start_before"], given).fetchone()
    at_ms = may_start_at(terms.rate, None if row is None else row[0], run.created_at_ms)
    return waiting > 0 or at_ms > run.created_at_ms


def due_at_ms(connection: sqlite3.Connection) -> int | None:
    """When next something may start that waits for its time only."""
    found: int | None = connection.execute(STATEMENTS["due_at"]).fetchone()[0]
    return found


def leases(
    connection: sqlite3.Connection, run_ids: Sequence[str], worker: str
) -> dict[str, tuple[Lease, Stream]]:
    """New leases on runs' streams: whoever held the old ones can write no more."""
    names = msgspec.json.encode(run_ids).decode()
    # fetchall: RETURNING rows are only committed once the statement has run to its end.
    found = connection.execute(STATEMENTS["raise_fences"], {"names": names}).fetchall()
    return {
        name: (Lease(name, worker, fence), Stream(name, epoch, tail, bool(ended)))
        for name, fence, epoch, ended, tail in found
    }


class _Tallied(NamedTuple):
    """What a function has in a group."""

    group: str
    function: str
    waiting: bool
    laned: bool
    calls: int
    terms: str


def _sources(claims: "_Claims", groups: Sequence[Group], tallied: Sequence[_Tallied]) -> "list[_Source]":
    found = []
    by_group: dict[str, list[_Tallied]] = {}
    for one in tallied:
        by_group.setdefault(one.group, []).append(one)
    for group in groups:
        own, functions = by_group.get(group.name, ()), frozenset(group.functions)
        waiting = [one for one in own if one.waiting and one.function in functions]
        room = _Room(claims.connection, group, sum(one.calls for one in own)) if waiting else None
        found += [_Source(claims, room, group, one) for one in waiting if room is not None]
    return found


class _Claims:
    """What one transaction starts."""

    def __init__(self, connection: sqlite3.Connection, worker: str, now_ms: int) -> None:
        self.connection = connection
        self.worker = worker
        self.now_ms = now_ms
        self.made: list[Claimed] = []

    def one(self, statement: str, **given: Any) -> Any:
        """The only value of the only row, or None."""
        row = self.connection.execute(STATEMENTS[statement], given).fetchone()
        return None if row is None else row[0]

    def start(self, numbers: Sequence[int], call: str | None) -> str:
        """Start runs, in this order, each as a call of its own or as part of one. The last one's call."""
        given = {"worker": self.worker, "now_ms": self.now_ms, "call": call}
        given["numbers"] = msgspec.json.encode(numbers).decode()
        found = self.connection.execute(STATEMENTS["start"], given).fetchall()
        runs = {number: run_of(columns) for *columns, number in found}
        held = leases(self.connection, [run.id for run in runs.values()], self.worker)
        self.made += [Claimed(runs[number], *held[runs[number].id]) for number in numbers]
        return str(self.made[-1].run.call)


class _Room:
    """Calls that a group still has room for, and how many rounds of turns it has had in this claim."""

    def __init__(self, connection: sqlite3.Connection, group: Group, calls: int) -> None:
        self.rounds = 0
        self.free = float("inf")
        if group.concurrency_limit is not None:
            if group.batches:
                ((calls,),) = connection.execute(STATEMENTS["calls_in"], {"grp": group.name}).fetchall()
            self.free = group.concurrency_limit - calls


class _Source:
    """One function's lines, by turn."""

    def __init__(self, claims: _Claims, room: _Room, group: Group, tallied: _Tallied) -> None:
        self._claims = claims
        self.room = room
        self._terms = group.terms_of(tallied.function)
        self.is_plain = self._terms == PLAIN and not tallied.laned
        """It has one line only, and nothing but its group's room holds it up."""
        self._place = {"grp": group.name, "function": tallied.function}
        self._agree(tallied.terms)
        self._known: tuple[int, _Line | None] | None = None  # as of how many starts

    def _agree(self, known: str) -> None:
        # What was shut or barred was so under the terms of then; another version of the app may have others.
        terms = "" if self._terms == PLAIN else msgspec.json.encode(self._terms).decode()
        if terms != known:
            self._claims.connection.execute(STATEMENTS["agree"], self._place | {"terms": terms})
            self._claims.connection.execute(STATEMENTS["reopen"], self._place)

    def first_in_line(self, limit: int) -> list[tuple[int, int]]:
        """Rank and number of its first runs, as many as there is room for."""
        free = min(limit, self.room.free)
        if free <= 0:
            return []
        given = self._place | {"free": free}
        return self._claims.connection.execute(STATEMENTS["first_in_line"], given).fetchall()

    def next_line(self) -> _Line | None:
        """The line whose turn it is; None where none may give a run."""
        if self.room.free <= 0:
            return None
        rounds = self.room.rounds  # what another group starts changes nothing here
        if self._known is None or self._known[0] != rounds:
            self._known = rounds, None if self._gathers() else self._find()
        return self._known[1]

    def _find(self) -> _Line | None:
        while row := self._claims.connection.execute(STATEMENTS["next_line"], self._place).fetchone():
            line = _Line(*row)
            if self._has_room(line):
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

    def _gathers(self) -> bool:
        size, now_ms = self._terms.batch_size, self._claims.now_ms
        if size <= 1:
            return False
        waiting = self._claims.one("waiting_of", **self._place, size=size) or 0
        oldest_ms = self._claims.one("oldest_of", **self._place) if 0 < waiting < size else now_ms
        until_ms = gathers_until(self._terms, oldest_ms, waiting, now_ms) if waiting else 0
        gathers = until_ms > now_ms
        self._claims.connection.execute(
            STATEMENTS["gather"], self._place | {"until_ms": until_ms if gathers else 0}
        )
        return gathers

    def _has_come(self, line: _Line, time_ms: int) -> bool:
        if time_ms <= self._claims.now_ms:
            return True
        self._claims.connection.execute(
            STATEMENTS["shut"], {"id": line.id, "until_ms": time_ms, "now_ms": self._claims.now_ms}
        )
        return False

    def call(self) -> None:
        """Start a call: the run whose turn it is, and as many more as its batch takes."""
        line = self.next_line()
        assert line is not None
        self.room.free -= 1
        call = self._start(line, None)
        for _ in range(self._terms.batch_size - 1):
            line = self._find()
            if line is None:
                break
            self._start(line, call)
        self.room.rounds += 1

    def _start(self, line: _Line, call: str | None) -> str:
        claims = self._claims
        if line.lane:
            given = {"grp": self._place["grp"], "now": claims.now_ms * TICKS}
            ((mark,),) = claims.connection.execute(STATEMENTS["next_mark"], given).fetchall()
            given = {"grp": self._place["grp"], "lane": line.lane, "mark": mark}
            claims.connection.execute(STATEMENTS["serve"], given)
        if self._terms.rate is not None:
            self._note_start(line, self._terms.rate)
        return claims.start([line.head], call)

    def _note_start(self, line: _Line, rate: Rate) -> None:
        connection, now_ms = self._claims.connection, self._claims.now_ms
        own = {"function": self._place["function"], "lane": line.lane}
        connection.execute(STATEMENTS["note_start"], own | {"now_ms": now_ms, "period_ms": rate.period_ms})
        connection.execute(STATEMENTS["forget_starts"], own | {"count": rate.count})
        connection.execute(STATEMENTS["forget_old_starts"], {"before_ms": now_ms - STARTS_KEPT_MS})
