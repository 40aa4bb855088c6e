"""Opening the file: pragmas, schema, statements, and SQLite's errors as ours."""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from ...errors import (
    NotAStore,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreTooNew,
    StoreUnavailable,
)
from ...protocol.standing import ROUNDS_APART

__all__ = ["APPLICATION_ID", "STATEMENTS", "connect", "schema_version", "store_errors"]

APPLICATION_ID = 0x50656E53
"""`PenS`: written into the file's header, so that another program's database is not taken for a store."""

BUSY_TIMEOUT_S = 5.0
"""How long we wait for another process's write. Ours take milliseconds; only a stuck program holds for longer."""

_SWITCH_AGAIN_S = 0.01

JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024
"""Size to which the write-ahead log is cut back once a reader no longer holds it open."""


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _statements() -> dict[str, str]:
    text = "\n".join(_text(f"{name}.sql") for name in ("statements", "claims", "standings"))
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    named = {name: sql.strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}
    columns = re.sub("^--.*$", "", named["run_columns"], flags=re.MULTILINE)
    named["run_columns"] = columns = " ".join(columns.split())
    return {name: _filled(sql, columns) for name, sql in named.items()}


def _filled(sql: str, columns: str) -> str:
    return sql.replace("{run}", columns).replace("{rounds_apart}", str(ROUNDS_APART))


def _migrations() -> list[str]:
    found = resources.files(__package__).joinpath("migrations").iterdir()
    return [
        item.read_text(encoding="utf-8")
        for item in sorted(found, key=lambda f: f.name)
        if item.name[0].isdigit()
    ]


STATEMENTS = _statements()


def connect(path: Path, *, synchronous: str, writer: bool) -> sqlite3.Connection:
    """A connection of one thread's own. A writer alone creates the file and brings its schema up to date.

    Raises:
        StoreError: Of the kind that says what is wrong; nothing is left open.
    """
    with store_errors(path):
        # One thread uses it; another may close it, once that one has ended.
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'rwc' if writer else 'rw'}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            cached_statements=512,
            check_same_thread=False,
        )
        try:
            _prepare(connection, path, synchronous, writer=writer)
        except BaseException:
            connection.close()
            raise
        return connection


def _prepare(connection: sqlite3.Connection, path: Path, synchronous: str, *, writer: bool) -> None:
    if not writer:
        connection.execute("PRAGMA query_only = 1")
        return
    _check_owner(connection, path)
    _use_wal(connection)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT_BYTES}")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")  # 16 MB: fewer, larger copies back into the file
    _migrate(connection, path)


def _use_wal(connection: sqlite3.Connection) -> None:
    # Two processes that switch a new file block each other, and SQLite then tells one of them without waiting.
    give_up_at = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= give_up_at:
                raise
            time.sleep(_SWITCH_AGAIN_S)
        else:
            return


def _check_owner(connection: sqlite3.Connection, path: Path) -> None:
    # In one statement, so in one snapshot: another process may be making the store between two.
    owner, tables = connection.execute(
        "SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id"
    ).fetchone()
    if owner != APPLICATION_ID and (owner or tables):
        raise NotAStore(f"{path} is a database of another program.", hint=f"Name another file: {_NAMED}.")


def schema_version(connection: sqlite3.Connection) -> int:
    """The version of the schema in the file; 0 for a new one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    migrations = _migrations()
    if schema_version(connection) == len(migrations):
        return
    # The lock is taken before the version is read again: two processes may open a new file at once.
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = schema_version(connection)
        _refuse_newer(version, len(migrations), path)
        for number, script in enumerate(migrations[version:], start=version + 1):
            _run_script(connection, script)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _refuse_newer(version: int, known: int, path: Path) -> None:
    if version > known:
        raise StoreTooNew(
            f"{path} has schema version {version}; this Penstock knows {known}.",
            hint=f"A newer Penstock wrote it: upgrade, or name another file: {_NAMED}.",
        )


def _run_script(connection: sqlite3.Connection, script: str) -> None:
    # Not executescript(): that commits first, and a migration is all or nothing.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours: what happened, in which file, and what mends it."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error
    except OSError as error:
        raise StoreUnavailable(
            f"{path}: {error.strerror or error}.", hint="Check the folder and its rights."
        ) from error


def _translate(error: sqlite3.Error, path: Path) -> StoreError:
    # The low byte is the primary code; the rest says more (https://sqlite.org/rescode.html).
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    kind, hint = _KINDS.get(code, (StoreUnavailable, "Check the folder, its rights and the disk."))
    return kind(f"{path}: {error}.", hint=hint)


_NAMED = "--store sqlite:///PATH, PENSTOCK_STORE, or store= in the program"
"""Where a store's address may stand: not every program has the command line's options."""

_KINDS: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_FULL: (StoreFull, "Free disk space; work goes on by itself then."),
    sqlite3.SQLITE_BUSY: (
        StoreLocked,
        "Another program holds the file's lock; work goes on once it lets go.",
    ),
    sqlite3.SQLITE_LOCKED: (
        StoreLocked,
        "Another program holds the file's lock; work goes on once it lets go.",
    ),
    sqlite3.SQLITE_CORRUPT: (StoreCorrupt, "Restore the file from a backup, or try `sqlite3 FILE .recover`."),
    sqlite3.SQLITE_NOTADB: (
        NotAStore,
        f"The file is not a database: name another: {_NAMED}.",
    ),
    sqlite3.SQLITE_CANTOPEN: (StoreUnavailable, "The folder must exist and be writable."),
    sqlite3.SQLITE_READONLY: (StoreUnavailable, "The file and its folder must be writable."),
}
