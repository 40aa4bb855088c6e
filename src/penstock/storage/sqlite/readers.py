"""Reading beside the writer: a few threads, each with a connection of its own."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ...errors import StoreError
from ...meters import StoreWork
from .connection import connect, store_errors
from .file import StoreFile

__all__ = ["Readers"]

T = TypeVar("T")


class Readers:
    """Does reads in the pool's threads. A WAL reader never waits for the writer and never holds it up."""

    def __init__(self, file: StoreFile, pool: ThreadPoolExecutor, meter: StoreWork) -> None:
        self._file = file
        self._meter = meter
        self._path = file.path
        self._pool = pool
        self._own = threading.local()
        self._open: set[sqlite3.Connection] = set()

    async def do(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What `read` returns. Raises StoreError; the next read then opens the file anew."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, read)
        except StoreError:
            self._meter.failed("read")
            raise

    def close(self) -> None:
        """End the threads and close their connections. Blocks; called from a thread."""
        self._pool.shutdown()
        for connection in self._open:
            connection.close()
        self._open.clear()

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
