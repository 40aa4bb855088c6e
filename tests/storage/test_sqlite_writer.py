"""The writing thread: commits shared by many, the event loop never held, and no write lost by a cancel."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import StoreLocked, StoreUnavailable
from penstock.models import Chunk, Claimed, RunState
from penstock.storage.sqlite import SqliteStore, connection, writer
from penstock.storage.sqlite.file import StoreFile
from penstock.testing.store_contract import CHECKS

from .sqlite_files import EPOCH, Watch, append, chunk, execute, opened, queued, started

DEADLINE_S = 20.0

Heard = list[tuple[str | None, Chunk | None]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(tmp_path / "store.db") as store:
        yield store


@asynccontextmanager
async def locked(store: SqliteStore) -> AsyncIterator[None]:
    """Hold the file's write lock, so that work gathers behind it."""
    holder = sqlite3.connect(store.path, isolation_level=None, timeout=DEADLINE_S)
    try:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("COMMIT")
    finally:
        holder.close()


def own(heard: Heard) -> Heard:
    return [item for item in heard if item != (None, None)]


async def until(event: asyncio.Event) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await event.wait()


async def test_many_appends_share_few_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    async with opened(tmp_path / "store.db") as store:
        runs = [await started(store, f"r{number}") for number in range(200)]
        watch.words.clear()
        taken = await asyncio.gather(*(append(store, run, chunk(1)) for run in runs))
        appends = watch.words["COMMIT"]
        await asyncio.gather(*(store.submit(queued(f"s{number}"), EPOCH) for number in range(400)))
        submits = watch.words["COMMIT"] - appends
    assert taken == [[True]] * 200
    assert appends <= 200 // 5, "concurrent appends are committed together"
    assert submits <= 400 // 5


async def test_one_batch_is_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    async with opened(tmp_path / "store.db") as store:
        run = await started(store)
        watch.words.clear()
        assert all(await append(store, run, *(chunk(seq) for seq in range(1, 1101))))
    assert watch.words["COMMIT"] == 1


# Tracing spells out every row of a statement, so the check with the longest ones would take seconds.
@pytest.mark.parametrize("check", sorted(CHECKS.keys() - {"append_to_many_streams_is_one_batch"}))
async def test_the_event_loop_never_runs_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: str
) -> None:
    watch = Watch(monkeypatch)
    async with opened(tmp_path / "store.db") as store:
        await CHECKS[check](store)
    assert watch.threads
    assert threading.get_ident() not in watch.threads


async def test_waiting_for_the_lock_holds_up_no_reader(store: SqliteStore) -> None:
    run = await started(store)
    await append(store, run, chunk(1))
    async with locked(store):
        waiting = asyncio.create_task(append(store, run, chunk(2)))
        for _ in range(50):
            assert await store.read("r", 0, 100) == [chunk(1)]
        assert not waiting.done()
    assert await waiting == [True]


async def test_a_cancelled_write_is_done_and_heard_of(store: SqliteStore) -> None:
    run, heard, news = await started(store), Heard(), asyncio.Event()

    def listen(stream: str | None, chunk: Chunk | None) -> None:
        heard.append((stream, chunk))
        if len(own(heard)) == 2:
            news.set()

    store.listen(listen)
    async with locked(store):
        last = Chunk(2, 2, b"end", final=True)
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(append(store, run, chunk(1))),
            asyncio.create_task(store.finish(run.lease, RunState.SUCCEEDED, None, last, 5)),
        ]
        await asyncio.sleep(0)  # both have been handed to the writer
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
    await until(news)
    assert own(heard) == [("r", chunk(1)), ("r", last)]
    ended = await store.run("r")
    assert ended is not None
    assert ended.state is RunState.SUCCEEDED
    assert await append(store, await started(store, "next"), chunk(1)) == [True]


async def test_a_listener_that_fails_keeps_nobody_from_an_answer_nor_from_hearing(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    run, heard = await started(store), list[Chunk | None]()

    def fail(*_: object) -> None:
        raise ValueError("no")

    stop = store.listen(fail)
    store.listen(lambda stream, chunk: heard.append(chunk) if stream == run.run.id else None)
    async with asyncio.timeout(DEADLINE_S):
        answers = await asyncio.gather(*(append(store, run, chunk(seq)) for seq in (1, 2)))
    assert answers == [[True]] * 2
    stop()
    assert heard == [chunk(1), chunk(2)]
    assert "A listener failed" in caplog.text


async def test_work_that_fails_takes_nobody_with_it(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        await started(store)

    def sign(worker: str) -> writer.Work:
        return lambda connection: connection.execute("INSERT INTO workers VALUES (?, 1)", (worker,)).rowcount

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO workers VALUES ('half', 1)")
        raise ValueError("no")

    one = writer.Writer(StoreFile(path), "normal", lambda streams: None)
    answers = await asyncio.gather(
        *(one.do(work) for work in (sign("a"), fail, sign("b"))), return_exceptions=True
    )
    await asyncio.to_thread(one.close)
    assert [str(answer) for answer in answers] == ["1", "no", "1"]
    assert execute(path, "SELECT id FROM workers ORDER BY id") == [("a",), ("b",)]


async def test_a_lock_held_too_long_is_said_and_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.05)
    async with opened(tmp_path / "store.db") as store:
        runs = [await started(store, f"r{number}") for number in range(5)]
        async with locked(store):
            outcomes = await asyncio.gather(
                *(append(store, run, chunk(1)) for run in runs), return_exceptions=True
            )
            assert [type(outcome) for outcome in outcomes] == [StoreLocked] * 5
            assert len({id(outcome) for outcome in outcomes}) == 5, "each caller has its own error"
            assert await store.read("r0", 0, 10) == []
        assert await asyncio.gather(*(append(store, run, chunk(1)) for run in runs)) == [[True]] * 5
        for run in runs:
            assert await store.read(run.run.id, 0, 10) == [chunk(1)]


async def test_a_file_locked_from_the_start_opens_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.05)
    store = SqliteStore(tmp_path / "store.db")
    holder = sqlite3.connect(store.path, isolation_level=None)
    try:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreLocked):
            await store.open()
        holder.execute("ROLLBACK")
        await store.open()
        assert await append(store, await started(store), chunk(1)) == [True]
    finally:
        holder.close()
        await store.close()


async def test_others_are_heard_again_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The writer lets go of its connection when a write fails, and here nothing is written afterwards.
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(writer, "RECONNECT_S", 0.05)
    news = asyncio.Event()
    async with opened(tmp_path / "store.db") as store:
        run = await started(store)
        async with locked(store):
            with pytest.raises(StoreLocked):
                await append(store, run, chunk(1))
        store.listen(lambda stream, _: None if stream else news.set())
        for number in range(5):
            news.clear()
            execute(store.path, f"INSERT INTO workers VALUES ('other{number}', 1)")
            await until(news)


async def test_close_finishes_what_was_begun(tmp_path: Path) -> None:
    async with opened(tmp_path / "store.db") as store:
        runs = [await started(store, f"r{number}") for number in range(100)]
        begun = [asyncio.ensure_future(append(store, run, chunk(1))) for run in runs]
        await asyncio.sleep(0)
        await store.close()
        assert await asyncio.gather(*begun) == [[True]] * 100
        with pytest.raises(StoreUnavailable):
            await append(store, runs[0], chunk(2))
    names = {thread.name for thread in threading.enumerate()}
    assert not {name for name in names if name.startswith("penstock-sqlite")}, "its threads have ended"
    assert not list(tmp_path.glob("store.db-*")), "the last to leave folds the log into the file"


async def test_a_store_that_is_left_open_keeps_nothing_alive(tmp_path: Path) -> None:
    # Its loop ends without a close, as that of a program that crashed; another process goes on writing.
    path = tmp_path / "store.db"
    async with opened(path) as store:
        run: Claimed = await started(store)

        def abandon() -> SqliteStore:
            left = SqliteStore(path, synchronous="normal")
            asyncio.run(left.open())
            return left

        left = await asyncio.to_thread(abandon)
        for seq in range(1, 4):
            assert await append(store, run, chunk(seq)) == [True]
            await asyncio.sleep(writer.POLL_S * 1.5)
        assert left._writer is not None
        assert left._writer._thread.is_alive(), "it has nobody to tell, and lives with that"
        await left.close()


def test_the_poll_leaves_room_for_what_is_promised() -> None:
    assert writer.POLL_S <= 0.025, "50 ms with the read and a busy machine in them"
    assert time.get_clock_info("monotonic").resolution < writer.POLL_S
