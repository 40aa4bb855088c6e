"""Hints of what other processes have appended: which streams, none too few, and none of one's own."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from penstock.errors import StoreLocked
from penstock.models import Append, Chunk
from penstock.storage.base import ANYTHING
from penstock.storage.sqlite import SqliteStore, connection, work, writer
from penstock.storage.sqlite.connection import connect
from penstock.storage.sqlite.watch import Watch
from penstock.testing import until

from .sqlite_files import EPOCH, append, chunk, opened, queued, started


class Process:
    """A process's writing connection with its watch, without the thread that looks by itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.watch = Watch()
        self.connect()

    def connect(self) -> None:
        self.connection = connect(self._path, synchronous="normal", writer=True)
        self.watch.connected(self.connection)

    def append(self, stream: str, *seqs: int) -> None:
        for seq in seqs:
            assert work.append(self.connection, [Append(stream, 0, chunk(seq))]) == [True]
            self.watch.wrote([Append(stream, 1, chunk(seq))])

    def look(self) -> set[str] | None:
        return self.watch.look(self.connection)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[tuple[Process, Process]]:
    one, other = Process(tmp_path / "store.db"), Process(tmp_path / "store.db")
    for stream in "abc":
        work.submit(one.connection, queued(stream), EPOCH, ANYTHING)
    other.append("c", 1)
    for process in (one, other):
        process.look()
    yield one, other
    one.connection.close()
    other.connection.close()


def test_what_another_appended_is_named_once(processes: tuple[Process, Process]) -> None:
    one, other = processes
    assert (one.look(), other.look()) == (None, None)
    other.append("a", 1, 2)
    other.append("b", 1)
    assert (one.look(), one.look(), other.look()) == ({"a", "b"}, None, None)
    one.append("c", 2)
    assert (one.look(), other.look()) == (None, {"c"})
    work.sign(other.connection, "w", 1)
    assert one.look() == set(), "something was written, but appended to no stream"


def test_a_burst_of_ones_own_is_not_told(processes: tuple[Process, Process]) -> None:
    one, other = processes
    for stream in "ab":
        one.append(stream, *range(1, 301))
    other.append("c", 2)
    one.append("a", 301)
    assert one.look() == {"c"}
    one.append("b", 301)
    assert one.look() is None
    other.append("c", 3)
    assert one.look() == {"c"}, "nor at the next look"


def test_a_stream_that_changes_hands_is_told_to_who_wrote_it_before(
    processes: tuple[Process, Process],
) -> None:
    one, other = processes
    one.append("a", 1)
    other.append("a", 2)
    assert one.look() == {"a"}, "its readers would else wait for the next heartbeat"
    other.append("b", 1)
    one.append("b", 2)
    assert one.look() == set(), "who goes on with it tells its readers of the gap"


def test_what_was_there_before_is_not_told(processes: tuple[Process, Process], tmp_path: Path) -> None:
    _, other = processes
    late = Process(tmp_path / "store.db")
    with closing(late.connection):
        assert not late.look()
        other.append("a", 1)
        assert late.look() == {"a"}


def test_what_came_while_there_was_no_connection_is_told(processes: tuple[Process, Process]) -> None:
    one, other = processes
    one.append("a", 1)
    one.look()
    one.connection.close()
    other.append("b", 1)
    one.connect()
    assert one.look() == {"b"}
    assert one.look() is None


# --- As a listener hears it ---


async def test_a_listener_hears_of_others_streams_by_name(tmp_path: Path) -> None:
    heard: list[tuple[str | None, Chunk | None]] = []
    async with opened(tmp_path / "store.db") as one, opened(tmp_path / "store.db") as other:
        mine, theirs = await started(one, "mine"), await started(other, "theirs")
        await append(other, theirs, chunk(1))
        one.listen(lambda stream, chunk: heard.append((stream, chunk)))
        for seq in range(2, 12):
            await asyncio.gather(append(one, mine, chunk(seq - 1)), append(other, theirs, chunk(seq)))
        count = heard.count(("theirs", None))
        await append(other, theirs, chunk(12))
        await until(lambda: heard.count(("theirs", None)) > count)
    assert [chunk for stream, chunk in heard if stream == "mine"] == [chunk(seq) for seq in range(1, 11)]
    assert ("theirs", None) in heard
    assert (None, None) in heard


async def test_a_listener_hears_what_came_while_the_store_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(writer, "RECONNECT_S", 0.1)
    streams: set[str | None] = set()
    async with opened(tmp_path / "store.db") as store:
        run = await started(store)
        await store.submit(queued("theirs"), EPOCH)
        store.listen(lambda stream, _: streams.add(stream))
        await _write_while_cut_off(store, Append("theirs", 0, chunk(1)))
        await until(lambda: "theirs" in streams)
        assert "r" not in streams
        assert await append(store, run, chunk(1)) == [True]


async def _write_while_cut_off(store: SqliteStore, item: Append) -> None:
    """Another process's write, from before the store loses its connection to after it."""
    with closing(sqlite3.connect(store.path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert work.append(holder, [item]) == [True]
        with pytest.raises(StoreLocked):
            await store.sign("w", 1)
        holder.execute("COMMIT")
