"""Appends a second through the store, beside what `sqlite3` itself does with the same rows and level.

The raw side commits the same bytes into one table with an index on (stream, seq), with `executemany` and the
same number of rows a commit, and checks nothing; ours also proves, in the file, that no chunk leaves a gap,
repeats one, or comes from a worker that has lost its lease.
"""

import asyncio
import sqlite3
import tempfile
import time
from functools import partial
from pathlib import Path

from penstock.models import Append, Chunk, Group, RunRecord, RunState
from penstock.storage import make_store

from .compare import interleave, report

REPEATS = 5
SECONDS = 1.0
STREAMS = 1000
DATA = (
    b'id: abcdefgh-123456\ndata: {"type":"text","pos":1234,"text":"a token or three","seq":1,"at_ms":1}\n\n'
)


def store_appends(level: str, batch: int, writers: int) -> float:
    """Appends a second of `writers` tasks, each waiting for its `batch` to be stored before the next."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_store_appends(Path(folder) / "bench.db", level, batch, writers))


async def _store_appends(path: Path, level: str, batch: int, writers: int) -> float:
    store = make_store(f"sqlite:///{path}", synchronous=level)
    await store.open()
    await store.sign("bench", 2**53)
    for number in range(STREAMS):
        run = RunRecord(
            id=f"run_{number:024}", function="f", group="f", state=RunState.QUEUED, created_at_ms=0
        )
        await store.submit(run, "abcdefgh")
    claimed = await store.claim("bench", [Group("f", ("f",), None)], 0, STREAMS)
    names = [one.run.id for one in claimed]
    shares = [names[n::writers] for n in range(writers)]
    started = time.perf_counter()
    done = await asyncio.gather(*[_append(store, share, batch, started + SECONDS) for share in shares])
    rate = sum(done) / (time.perf_counter() - started)
    await store.close()
    return rate


async def _append(store: object, names: list[str], batch: int, until: float) -> int:
    seqs = dict.fromkeys(names, 0)
    done = 0
    while time.perf_counter() < until:
        items = []
        for offset in range(batch):
            name = names[(done + offset) % len(names)]
            seqs[name] += 1
            items.append(Append(name, 1, Chunk(seqs[name], seqs[name], DATA)))
        assert all(await store.append(items))  # type: ignore[attr-defined]
        done += batch
    return done


def raw_appends(level: str, batch: int) -> float:
    """Rows a second of `executemany`, one commit for each `batch`."""
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
        connection.executescript(
            f"PRAGMA journal_mode = WAL; PRAGMA synchronous = {level};"
            "CREATE TABLE chunks (stream_id INTEGER, seq INTEGER, data BLOB);"
            "CREATE UNIQUE INDEX by_seq ON chunks (stream_id, seq);"
        )
        done, started = 0, time.perf_counter()
        while time.perf_counter() < started + SECONDS:
            rows = [((done + n) % STREAMS, (done + n) // STREAMS, DATA) for n in range(batch)]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO chunks VALUES (?, ?, ?)", rows)
            connection.execute("COMMIT")
            done += batch
        rate = done / (time.perf_counter() - started)
        connection.close()
        return rate


def main() -> None:
    """Print the medians for one appender, for many, and for a worker's batches, at both levels."""
    for level in ("full", "normal"):
        for title, batch, writers in (
            ("1 appender, 1 row a call", 1, 1),
            ("50 appenders, 1 row a call", 1, 50),
            ("a worker: 100 rows a call", 100, 1),
            ("a worker: 1,000 rows a call", 1000, 1),
        ):
            rows = batch * writers  # group commit: what waits together is committed together
            measures = {
                "through the store": partial(store_appends, level, batch, writers),
                f"raw sqlite3, {rows} rows a commit": partial(raw_appends, level, rows),
            }
            report(f"Appends a second, synchronous={level}, {title}", interleave(measures, REPEATS), "/s")


if __name__ == "__main__":
    main()
