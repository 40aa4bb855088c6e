"""Programs that share a store's file with the tests: `python child.py NAME PATH ARGUMENT…`.

Each writes a line on standard output for what is done, after it is done, and takes standard input's lines as
the word to go on.
"""

import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from penstock.errors import StoreError
from penstock.models import Append, Chunk, Claimed, Group, RunFilter, RunRecord, RunState
from penstock.storage.sqlite import SqliteStore

EPOCH = "epoch678"
CHUNK_BYTES = 3_000  # several pages of the write-ahead log each, so that a kill can hit the middle of one


def tell(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def heard() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


def content(run_id: str, seq: int) -> bytes:
    """What a chunk of a run holds: known, so that half a chunk is noticed."""
    return f"{run_id} {seq} ".encode() * CHUNK_BYTES


async def start(store: SqliteStore, run_id: str) -> Claimed:
    run = RunRecord(id=run_id, function="f", group=run_id, state=RunState.QUEUED, created_at_ms=1)
    await store.submit(run, EPOCH)
    tell(f"submitted {run_id}")
    (claimed,) = await store.claim("child", [Group(run_id, ("f",), 1)], 1, 1)
    return claimed


async def appends(store: SqliteStore) -> None:
    """One chunk a line heard; it holds the monotonic time at which the append began."""
    claimed, seq = await start(store, "timed"), 0
    while await heard():
        seq += 1
        chunk = Chunk(seq, seq, str(time.monotonic_ns()).encode())
        assert await store.append([Append("timed", claimed.lease.fence, chunk)]) == [True]


async def write(store: SqliteStore, name: str) -> None:
    """Eight tasks that submit, append and finish runs until the process is killed."""
    await asyncio.gather(*(_write_runs(store, f"{name}-{task}") for task in range(8)))


async def _write_runs(store: SqliteStore, name: str) -> None:
    number = 0
    while number := number + 1:
        claimed = await start(store, f"{name}-{number}")
        run_id, fence = claimed.run.id, claimed.lease.fence
        for seq in range(1, 6):
            assert await store.append([Append(run_id, fence, Chunk(seq, seq, content(run_id, seq)))]) == [
                True
            ]
            tell(f"appended {run_id} {seq}")
        await store.finish(claimed.lease, RunState.SUCCEEDED, None, Chunk(6, 6, content(run_id, 6), True), 2)
        tell(f"finished {run_id}")


async def work(store: SqliteStore, worker: str, limit: str) -> None:
    """Claims runs of the group "g", writes a little and finishes them, until there are none."""
    await store.sign(worker, 1)
    running: set[asyncio.Task[None]] = set()
    while True:
        for claimed in await store.claim(worker, [Group("g", ("f",), int(limit))], 1, 2):
            tell(f"claimed {claimed.run.id} {claimed.run.attempt}")
            running.add(asyncio.create_task(_execute(store, claimed)))
        running -= {task for task in running if task.done()}
        page = await store.runs(RunFilter(states=(RunState.QUEUED,)), limit=1)
        if not page.runs and not running:
            return
        await asyncio.sleep(0.001)


async def _execute(store: SqliteStore, claimed: Claimed) -> None:
    run_id, fence = claimed.run.id, claimed.lease.fence
    for seq in range(1, 4):
        assert await store.append([Append(run_id, fence, Chunk(seq, seq, b"x"))]) == [True]
    await store.finish(claimed.lease, RunState.SUCCEEDED, None, Chunk(4, 4, b"x", True), 2)


async def opens(store: SqliteStore) -> None:
    """Nothing more: it has been opened."""
    assert await store.workers() == []


COMMANDS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "appends": appends,
    "write": write,
    "work": work,
    "opens": opens,
}


async def with_store(name: str, path: str, *given: str) -> None:
    store = SqliteStore(path, synchronous="normal")
    tell("ready")
    await heard()
    try:
        await store.open()
        await COMMANDS[name](store, *given)
        tell("done")
    except StoreError as error:
        tell(f"{error.code}: {error.message}")
    finally:
        await store.close()


def hold(path: str) -> None:
    """Holds the file's lock from the first line heard to the second, and leaves a write behind."""
    tell("ready")
    sys.stdin.readline()
    connection = sqlite3.connect(Path(path), isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("INSERT INTO workers (id, expires_at_ms) VALUES ('holder', 1)")
    tell("held")
    sys.stdin.readline()
    connection.execute("COMMIT")
    connection.close()
    tell("done")


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        hold(sys.argv[2])
    else:
        asyncio.run(with_store(*sys.argv[1:]))
