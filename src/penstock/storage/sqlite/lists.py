"""Lists of runs: pages by filters, each from its index, and searches that look at so much and no more."""

import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from ...errors import BadRequest
from ...models import LISTED_INPUT_BYTES, LISTED_INPUT_MOST_BYTES, RunFilter, RunPage, RunRecord
from ...protocol.search import DOCUMENT_CHARS, SEARCHED_BYTES, SEARCHED_RUNS, Search
from .connection import STATEMENTS
from .records import run_of

__all__ = ["read_runs"]

LOT_RUNS, LOT_BYTES = 500, 1024 * 1024
"""Runs, and bytes of theirs, that are searched at a time: one row of SQLite's for all, as each costs the
interpreter's lock, and a few milliseconds in which a thread holds it."""

_NO_NUMBER = 2**63 - 1
"""Before which every run stands."""

_INPUT_START = (
    f" CASE WHEN length(input) <= {LISTED_INPUT_MOST_BYTES}"
    f" THEN substr(CAST(input AS BLOB), 1, {LISTED_INPUT_BYTES}) ELSE x'' END,"
)

_LISTED = STATEMENTS["run_columns"].replace(" input,", _INPUT_START).replace(" checkpoint,", " NULL,")


def read_runs(connection: sqlite3.Connection, sought: RunFilter, limit: int, before: str | None) -> RunPage:
    """Runs, newest first, with how their inputs begin; see `RunStore.runs`."""
    newest = _Newest(sought, _NO_NUMBER if before is None else _number_of(connection, before))
    if not sought.text:
        found = _listed(connection, newest.sql, newest.given | {"most": limit + 1})
        return RunPage(found[:limit], found[limit - 1].id if len(found) > limit else None)
    numbers, went_to = _search(connection, newest, sought.text, limit + 1)
    given = {"numbers": msgspec.json.encode(numbers[:limit]).decode()}
    found = _listed(connection, "SELECT value AS number FROM json_each(:numbers)", given)
    if len(numbers) > limit:
        went_to = numbers[limit - 1]
    return RunPage(found, None if went_to is None else _id_of(connection, went_to))


class _Newest:
    """The numbers of the runs that a filter lets through, newest first, before `number`, `:most` of them."""

    def __init__(self, sought: RunFilter, number: int) -> None:
        self.given: dict[str, Any] = {"number": number}
        self._source, self._where = "runs", ["number < :number"]
        # Only the conditions that are asked for, so that each list finds its index.
        if sought.function is not None:
            self._where.append("function = :function")
            self.given["function"] = sought.function
        if sought.ids is not None:
            self._source = "(SELECT DISTINCT value FROM json_each(:ids)) CROSS JOIN runs ON runs.id = value"
            self.given["ids"] = msgspec.json.encode(sought.ids).decode()
        self.sql = self._of_states([str(state) for state in sought.states])

    def _of_states(self, states: list[str]) -> str:
        if not states:
            return self._newest([])
        # Each state from its own index: over several the newest could only be found by sorting all of them.
        for place, state in enumerate(states):
            self.given[f"state{place}"] = state
        parts = [self._newest([f"state = :state{place}"]) for place in range(len(states))]
        together = " UNION ALL ".join(f"SELECT number FROM ({part})" for part in parts)  # noqa: S608
        return f"SELECT number FROM ({together}) ORDER BY number DESC LIMIT :most"  # noqa: S608

    def _newest(self, more: list[str]) -> str:
        where = " AND ".join([*self._where, *more])
        return f"SELECT number FROM {self._source} WHERE {where} ORDER BY number DESC LIMIT :most"  # noqa: S608


def _listed(connection: sqlite3.Connection, numbers: str, given: dict[str, Any]) -> list[RunRecord]:
    sql = f"SELECT {_LISTED} FROM ({numbers}) AS one CROSS JOIN runs ON runs.number = one.number"  # noqa: S608
    return [run_of(row) for row in connection.execute(f"{sql} ORDER BY one.number DESC", given)]


class _Lot(NamedTuple):
    """Runs that were looked at together."""

    runs: list[tuple[int, str, str, str | None, str | None, str, str | None]]
    size_bytes: int
    is_last: bool


def _search(
    connection: sqlite3.Connection, newest: _Newest, text: str, most: int
) -> tuple[list[int], int | None]:
    """Numbers of the runs that have it, and how far it was looked; None for to the end."""
    search, found = Search(text), list[int]()
    went_to: int | None = None
    for lot in _lots(connection, newest):
        found += [number for number, *words, given, error in lot.runs if search.finds(words, (given, error))]
        went_to = None if lot.is_last else lot.runs[-1][0]
        if len(found) >= most:
            break
    return found, went_to


def _lots(connection: sqlite3.Connection, newest: _Newest) -> Iterator[_Lot]:
    runs, size_bytes, lot = 0, 0, None
    while runs < SEARCHED_RUNS and size_bytes < SEARCHED_BYTES and not (lot and lot.is_last):
        if lot:
            newest.given["number"] = lot.runs[-1][0]
        yield (lot := _lot(connection, newest))
        runs, size_bytes = runs + len(lot.runs), size_bytes + lot.size_bytes


def _lot(connection: sqlite3.Connection, newest: _Newest) -> _Lot:
    sql = STATEMENTS["searched"].replace("{newest}", newest.sql)
    given = {"most": LOT_RUNS, "most_bytes": LOT_BYTES, "most_chars": DOCUMENT_CHARS}
    looked_at, size_bytes, rows = connection.execute(sql, newest.given | given).fetchone()
    runs = msgspec.json.decode(rows, type=_Lot.__annotations__["runs"])
    return _Lot(runs, size_bytes, is_last=looked_at < LOT_RUNS and len(runs) == looked_at)


def _number_of(connection: sqlite3.Connection, run_id: str) -> int:
    row = connection.execute(STATEMENTS["number_of"], {"id": run_id}).fetchone()
    if row is None:
        raise BadRequest(
            f"{run_id!r} continues no list.", hint="Send a page's `next` as it came.", field="before"
        )
    return int(row[0])


def _id_of(connection: sqlite3.Connection, number: int) -> str:
    ((run_id,),) = connection.execute("SELECT id FROM runs WHERE number = ?", (number,)).fetchall()
    return str(run_id)
