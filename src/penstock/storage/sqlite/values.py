"""Values by name, in SQLite."""

import sqlite3

from .connection import STATEMENTS

__all__ = ["keep", "kept"]


def keep(connection: sqlite3.Connection, name: str, value: bytes | None, until_ms: int, now_ms: int) -> None:
    """See `ValueStore.keep`; inside the writer's transaction."""
    connection.execute(STATEMENTS["drop_over"], {"now_ms": now_ms})
    if value is None:
        connection.execute(STATEMENTS["drop_kept"], {"name": name})
    else:
        connection.execute(STATEMENTS["keep"], {"name": name, "value": value, "until_ms": until_ms})


def kept(connection: sqlite3.Connection, name: str, now_ms: int) -> bytes | None:
    """See `ValueStore.kept`."""
    row = connection.execute(STATEMENTS["kept"], {"name": name, "now_ms": now_ms}).fetchone()
    return None if row is None else bytes(row[0])
