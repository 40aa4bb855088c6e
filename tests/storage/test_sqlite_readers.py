"""The threads that read: as many as are needed, up to a bound, and none is lost to a read that fails."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.errors import StoreError, StoreUnavailable
from penstock.meters import StoreWork
from penstock.storage.sqlite import SqliteStore
from penstock.storage.sqlite.file import StoreFile
from penstock.storage.sqlite.readers import Readers
from penstock.testing import until

MOST = 3


@pytest.fixture
async def readers(tmp_path: Path) -> AsyncIterator[Readers]:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    file = StoreFile(store.path)
    file.opened()
    readers = Readers(file, MOST, StoreWork())
    yield readers
    await asyncio.to_thread(readers.close)
    await store.close()


def thread_name(_: sqlite3.Connection) -> str:
    return threading.current_thread().name


async def test_one_read_after_the_other_needs_one_thread(readers: Readers) -> None:
    assert len({await readers.do(thread_name) for _ in range(20)}) == 1


async def test_more_reads_than_threads_wait_for_their_turn(readers: Readers) -> None:
    gate, inside = threading.Event(), []

    def wait(connection: sqlite3.Connection) -> str:
        inside.append(1)
        gate.wait(10)
        return thread_name(connection)

    reads = [asyncio.create_task(readers.do(wait)) for _ in range(4 * MOST)]
    await until(lambda: len(inside) == MOST)
    gate.set()
    assert len(set(await asyncio.gather(*reads))) == MOST


async def test_a_read_that_fails_or_is_given_up_costs_no_thread(readers: Readers) -> None:
    gate = threading.Event()

    def fail(_: sqlite3.Connection) -> None:
        raise ZeroDivisionError

    def refuse(connection: sqlite3.Connection) -> None:
        connection.execute("SELECT * FROM nowhere")

    for _ in range(2 * MOST):
        with pytest.raises(ZeroDivisionError):
            await readers.do(fail)
        with pytest.raises(StoreError):
            await readers.do(refuse)
        given_up = asyncio.create_task(readers.do(lambda _: gate.wait(10)))
        await asyncio.sleep(0)
        given_up.cancel()
    gate.set()
    assert await readers.do(thread_name)


async def test_closing_does_what_was_asked_for_and_takes_no_more(readers: Readers) -> None:
    gate = threading.Event()
    reads = [asyncio.create_task(readers.do(lambda _: gate.wait(10))) for _ in range(2 * MOST)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(readers.close))
    gate.set()
    await closing
    assert await asyncio.gather(*reads) == [True] * (2 * MOST)
    with pytest.raises(StoreUnavailable):
        await readers.do(thread_name)
