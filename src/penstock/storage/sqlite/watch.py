"""What other processes have appended: which streams, so that only their readers look again."""

import sqlite3
from collections.abc import Iterable

import msgspec

from ...models import Append, Ending
from .connection import STATEMENTS

__all__ = ["Watch"]


class Watch:
    """Looks at the writer's connection, in the writer's thread, again and again."""

    def __init__(self) -> None:
        self._version = -1
        self._seen: int | None = None  # rows of `chunks` up to here have been told of
        self._own: dict[str, int] = {}  # how far this process has written streams since the last look

    def connected(self, connection: sqlite3.Connection) -> None:
        """A new connection: its version counts anew; what came while there was none is still to be told."""
        self._version = -1
        if self._seen is None:
            self._seen = _last_row(connection)

    def wrote(self, batch: Iterable[Append]) -> None:
        """This process has appended these."""
        self._own.update({item.stream: item.chunk.last_seq for item in batch})

    def ended(self, batch: Iterable[Ending]) -> None:
        """It has ended these runs."""
        self._own.update({end.lease.run_id: end.last.last_seq for end in batch})

    def look(self, connection: sqlite3.Connection) -> set[str] | None:
        """Streams that others have appended to since the last look; None if no one else has written at all."""
        # The row first: if then the version is the old one, all rows up to it are our own.
        last = _last_row(connection)
        # Changes when another connection commits, never by our own (https://sqlite.org/pragma.html).
        version = int(connection.execute("PRAGMA data_version").fetchone()[0])
        own, self._own = self._own, {}
        if version == self._version:
            self._seen = last
            return None
        self._version = version
        # What we wrote ourselves is not told of, unless the stream has changed hands since and goes on.
        appended = self._appended(connection)
        return {stream for stream, last_seq in appended.items() if last_seq > own.get(stream, 0)}

    def _appended(self, connection: sqlite3.Connection) -> dict[str, int]:
        row = connection.execute(STATEMENTS["appended_since"], {"row": self._seen or 0}).fetchone()
        self._seen = row[0] if row[0] is not None else _last_row(connection)
        return msgspec.json.decode(row[1], type=dict[str, int])


def _last_row(connection: sqlite3.Connection) -> int:
    return int(connection.execute(STATEMENTS["last_row"]).fetchone()[0])
