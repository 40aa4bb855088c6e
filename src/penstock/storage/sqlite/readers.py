"""Reading beside the writer: a few threads, each with a connection of its own."""

import asyncio
import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from ...errors import StoreError, StoreUnavailable
from ...meters import StoreWork
from .connection import connect, store_errors
from .file import StoreFile

__all__ = ["Readers"]

T = TypeVar("T")


class _Job:
    __slots__ = ("future", "loop", "read")

    def __init__(self, read: Callable[[sqlite3.Connection], Any]) -> None:
        self.read = read
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()

    def settle(self, found: Any, error: BaseException | None) -> None:
        """Called on the loop."""
        if self.future.done():  # whoever asked has left
            return
        if error is None:
            self.future.set_result(found)
        else:
            self.future.set_exception(error)


_Inbox = SimpleQueue[_Job | None]


class Readers:
    """Does reads in threads. A WAL reader never waits for the writer and never holds it up.

    The threads are our own: an executor's futures, and its turns from thread to thread, took a fifth of what a
    replay cost. Of those that are idle, the last one that worked goes on: its connection and its memory are warm.

    most: threads; they are started as they are needed.
    """

    def __init__(self, file: StoreFile, most: int, meter: StoreWork) -> None:
        self._file = file
        self._meter = meter
        self._path = file.path
        self._most = most
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle: list[_Inbox] = []
        self._waiting: deque[_Job] = deque()
        self._closed = False
        self._own = threading.local()
        self._open: set[sqlite3.Connection] = set()

    async def do(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What `read` returns. Raises StoreError; the next read then opens the file anew."""
        job = _Job(read)
        self._hand_over(job)
        try:
            found: T = await job.future
        except StoreError:
            self._meter.failed("read")
            raise
        return found

    def close(self) -> None:
        """Do what was asked for, end the threads and close their connections. Blocks; called from a thread."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for inbox in idle:
            inbox.put(None)
        for thread in self._threads:
            thread.join()
        for connection in self._open:
            connection.close()
        self._open.clear()

    def _hand_over(self, job: _Job) -> None:
        with self._lock:
            if self._closed:
                raise StoreUnavailable(f"{self._path} has been closed.")
            if self._idle:
                self._idle.pop().put(job)
            elif len(self._threads) >= self._most or not self._starts(job):
                self._waiting.append(job)

    def _starts(self, job: _Job) -> bool:
        inbox: _Inbox = SimpleQueue()
        inbox.put(job)
        name = f"penstock-sqlite-reader_{len(self._threads)}"
        thread = threading.Thread(target=self._work, args=(inbox,), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system gives no more
            if not self._threads:
                raise StoreUnavailable(f"{self._path} can't be read: {error}.") from error
            return False
        self._threads.append(thread)
        return True

    def _work(self, inbox: _Inbox) -> None:
        while (job := inbox.get()) is not None:
            found, failed = None, None
            if not job.future.cancelled():
                try:
                    found = self._read(job.read)
                except BaseException as error:  # noqa: BLE001 - it is whoever asked that meets it
                    failed = error
            self._find_work(inbox)  # before the answer, after which the next read may follow at once
            with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever asked
                job.loop.call_soon_threadsafe(job.settle, found, failed)
            del job, found, failed  # large, or a traceback; the next one may be long in coming

    def _find_work(self, inbox: _Inbox) -> None:
        with self._lock:
            if self._waiting:
                inbox.put(self._waiting.popleft())
            elif self._closed:
                inbox.put(None)
            else:
                self._idle.append(inbox)

    def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with store_errors(self._path):
                return read(self._connection())
        except StoreError:
            self._disconnect()
            raise

    def _connection(self) -> sqlite3.Connection:
        identity = self._file.identity()
        if getattr(self._own, "identity", None) != identity:
            self._disconnect()
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = connect(self._path, synchronous="off", writer=False)
            self._own.identity = identity
            self._open.add(connection)
        return connection

    def _disconnect(self) -> None:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is not None:
            self._own.connection = None
            self._open.discard(connection)
            connection.close()
