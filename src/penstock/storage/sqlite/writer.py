"""The one thread that writes: it takes whatever work has gathered and commits it together.

Group commit: while one commit waits for the disk, work of all runs gathers; the next commit carries it all. So
the number of runs costs no commits, and the slower the disk, the larger the groups.
"""

import asyncio
import contextlib
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ...errors import PenstockError, StoreError, StoreUnavailable
from ...meters import StoreWork
from . import connection as opening
from .connection import connect, store_errors
from .file import Identity, StoreFile
from .watch import Watch

__all__ = ["MAX_GROUP", "POLL_S", "Work", "Writer"]

Work = Callable[[sqlite3.Connection], Any]
"""A piece of work inside a transaction that it neither begins nor ends. What it returns is the answer."""

Committed = Callable[[Any], None]
"""Called on the event loop with the answer of work that was committed, before whoever asked goes on."""

MAX_GROUP = 512
"""Pieces of work in one commit: beyond it, the first would wait long for the last."""

RECONNECT_S = 1.0
"""How soon after an error we open the file again when nobody writes: readers still want to hear of others."""

CLOSE_S = 1.0
"""How long closing waits for the last commit: one that is held up by another program's lock must not hold up the
end of the process. It is then in doubt, as a cancelled write is."""

TRY_AGAIN_S = (0.0002, 0.001)
"""Shortest and longest wait for another process's commit before the next try; most take less."""

POLL_S = 0.02
"""How often we look for other processes' commits: their readers are promised 50 ms."""


class _Job:
    __slots__ = ("answer", "committed", "failed", "future", "loop", "work")

    def __init__(self, work: Work, committed: Committed | None, loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.committed = committed
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.answer: Any = None
        self.failed: BaseException | None = None


class Writer:
    """Runs work on its own connection, in its own thread.

    on_foreign_commit: called in the thread when another process has committed something, with the streams
        that it has appended to.
    meter: where commits are counted, in the thread.
    """

    def __init__(
        self,
        file: StoreFile,
        synchronous: str,
        on_foreign_commit: Callable[[set[str]], None],
        meter: StoreWork | None = None,
    ) -> None:
        self._meter = meter or StoreWork()
        self._file = file
        self._path = file.path
        self._synchronous = synchronous
        self._on_foreign_commit = on_foreign_commit
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        self.watch = Watch()
        self._polled_at = 0.0
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="penstock-sqlite-writer", daemon=True)
        self._thread.start()

    def do(self, work: Work, committed: Committed | None = None) -> asyncio.Future[Any]:
        """The answer of `work` once it is committed. Work is done in the order in which it was given.

        Raises, through the future, what `work` raised (it alone is rolled back) or the StoreError that kept
        its whole group from being committed. Cancelling the future stops nothing: `committed` is called all
        the same.
        """
        job = _Job(work, committed, asyncio.get_running_loop())
        with self._wake:
            if self._closing:
                raise StoreUnavailable(f"{self._path} has been closed.")
            self._jobs.append(job)
            self._wake.notify()
        return job.future

    def close(self) -> None:
        """Finish the work given so far and end the thread. Blocks, `CLOSE_S` at most; called from a thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            if group:
                self._commit(group)
            self._look_for_others()
        self._disconnect()
        self._file.close()

    def _next_group(self) -> list[_Job] | None:
        with self._wake:
            if not self._jobs and not self._closing:
                self._wake.wait(POLL_S)
            if not self._jobs and self._closing:
                return None
            return [self._jobs.popleft() for _ in range(min(MAX_GROUP, len(self._jobs)))]

    def _commit(self, group: list[_Job]) -> None:
        begun = time.monotonic()
        try:
            with store_errors(self._path):
                self._transact(group)
            self._meter.commits.add(time.monotonic() - begun)
        except (StoreError, sqlite3.Error) as error:
            self._meter.failed("write")
            for job in group:
                job.failed = error
            self._disconnect()  # the next group opens the file anew, so a mended cause is noticed
        _answer(group)

    def _transact(self, group: list[_Job]) -> None:
        connection = self._current()
        _begin(connection)
        for job in group:
            connection.execute("SAVEPOINT job")
            try:
                job.answer = job.work(connection)
            except (sqlite3.Error, StoreError):
                raise
            except Exception as error:  # noqa: BLE001 - the work's own refusal, handed to whoever asked
                job.failed = error
                connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
        connection.execute("COMMIT")

    def _current(self) -> sqlite3.Connection:
        """The connection to the file that stands at the path now. Raises StoreError."""
        identity = self._file.identity()
        if identity != self._identity:
            self._disconnect()
            self.watch = Watch()
        if self._connection is None:
            self._connection = connect(self._path, synchronous=self._synchronous, writer=True)
            self.watch.connected(self._connection)
            self._file.opened()
            self._identity = self._file.identity()
        return self._connection

    def _look_for_others(self) -> None:
        now = time.monotonic()
        if now - self._polled_at < (RECONNECT_S if self._connection is None else POLL_S):
            return
        self._polled_at = now
        try:
            streams = self.watch.look(self._current())
        except (StoreError, sqlite3.Error):
            self._disconnect()
            return
        if streams is not None:
            self._on_foreign_commit(streams)

    def _disconnect(self) -> None:
        self._polled_at = time.monotonic()
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with contextlib.suppress(sqlite3.Error):
                connection.close()  # rolls back what is open


def _begin(connection: sqlite3.Connection) -> None:
    """Take the file's lock, waiting for other processes' commits as long as the connection does."""
    # SQLite's own wait sleeps up to 100 ms between two tries, past many moments in which the lock is free: with
    # two processes writing, p99 of a run was 200 ms (benchmarks).
    connection.execute("PRAGMA busy_timeout = 0")
    give_up_at = time.monotonic() + opening.BUSY_TIMEOUT_S
    try:
        while not _try_begin(connection, last=time.monotonic() >= give_up_at):
            time.sleep(random.uniform(*TRY_AGAIN_S))  # noqa: S311 - so that two do not wait in step
    finally:
        connection.execute(f"PRAGMA busy_timeout = {round(opening.BUSY_TIMEOUT_S * 1000)}")


def _try_begin(connection: sqlite3.Connection, *, last: bool) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if last or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


def _answer(group: list[_Job]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in group:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, jobs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, jobs)
        except RuntimeError:  # the loop is gone, and with it whoever asked
            continue


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.committed is not None and job.failed is None:
            # Called by the loop, so that one that raises keeps nobody from an answer.
            job.loop.call_soon(job.committed, job.answer)
        if job.future.done():
            continue  # cancelled while it waited
        if job.failed is None:
            job.future.set_result(job.answer)
        else:
            job.future.set_exception(_own_copy(job.failed))


def _own_copy(error: BaseException) -> BaseException:
    # One error object raised in several tasks would gather all their tracebacks.
    if not isinstance(error, PenstockError):
        return error
    copy = type(error)(error.message, hint=error.hint, field=error.field)
    copy.__cause__ = error.__cause__
    return copy
