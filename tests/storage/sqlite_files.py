"""SQLite stores over given files, what they hold, and what their connections do."""

import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from penstock.models import Append, Chunk, Claimed, Group, RunRecord, RunState
from penstock.storage.sqlite import SqliteStore, connection, readers, writer

EPOCH = "epoch678"


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, synchronous="normal")
    try:
        await store.open()
        yield store
    finally:
        await store.close()


def queued(run_id: str, group: str = "g") -> RunRecord:
    return RunRecord(id=run_id, function="f", group=group, state=RunState.QUEUED, created_at_ms=1)


async def started(store: SqliteStore, run_id: str = "r") -> Claimed:
    await store.submit(queued(run_id, run_id), EPOCH)
    (claimed,) = await store.claim("w", [Group(run_id, ("f",), 1)], 1, 1)
    return claimed


async def append(store: SqliteStore, run: Claimed, *chunks: Chunk) -> list[bool]:
    return await store.append([Append(run.run.id, run.lease.fence, chunk) for chunk in chunks])


def chunk(seq: int, size_bytes: int = 1) -> Chunk:
    return Chunk(seq, seq, bytes([seq % 256]) * size_bytes)


def execute(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Ask the file behind the store's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


class Watch:
    """Counts the statements of a store's connections, by their first word, and the threads they ran in."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.words: Counter[str] = Counter()
        self.threads: set[int] = set()
        for module in (writer, readers):
            monkeypatch.setattr(module, "connect", self._connect)

    def _connect(self, path: Path, *, synchronous: str, writer: bool) -> sqlite3.Connection:
        self.threads.add(threading.get_ident())
        made = connection.connect(path, synchronous=synchronous, writer=writer)
        made.set_trace_callback(self._see)
        return made

    def _see(self, sql: str) -> None:
        self.threads.add(threading.get_ident())
        self.words[sql.partition(" ")[0]] += 1
