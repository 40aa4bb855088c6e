"""Files that are not what they should be: each fault has its own error, and goes when its cause goes."""

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest

from penstock.errors import NotAStore, StoreCorrupt, StoreError, StoreTooNew, StoreUnavailable
from penstock.models import RunFilter, RunState
from penstock.storage.sqlite import SqliteStore, connection

from .children import child
from .sqlite_files import append, chunk, execute, opened, started

OLD = 3
"""Runs in the files that come to harm; each with enough chunks to make many pages."""


async def fill(path: Path) -> None:
    async with opened(path) as store:
        for number in range(OLD):
            run = await started(store, f"r{number}")
            await append(store, run, *(chunk(seq, 3000) for seq in range(1, 41)))


async def read_all(path: Path) -> None:
    """Go through everything in a store, and write to it."""
    async with opened(path) as store:
        for number in range(OLD):
            assert len(await store.read(f"r{number}", 0, 1 << 30)) == 40
            assert await store.run(f"r{number}") is not None
        await started(store, "new")


@pytest.mark.parametrize("name", ["plain.db", "a b%20c?d#e&f=g.db", "ü né:1.db"])
async def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    await fill(tmp_path / name)
    await read_all(tmp_path / name)
    assert (tmp_path / name).is_file()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await fill(path)
    (known,) = execute(path, "PRAGMA user_version")[0]
    execute(path, "PRAGMA user_version = 99")
    with pytest.raises(StoreTooNew, match=f"schema version 99; this Penstock knows {known}") as refusal:
        await read_all(path)
    assert "upgrade" in refusal.value.hint
    assert execute(path, "PRAGMA user_version") == [(99,)]
    execute(path, f"PRAGMA user_version = {known}")
    await read_all(path)


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE runs (id TEXT)",
        "PRAGMA application_id = 7; CREATE TABLE t (x)",
        "PRAGMA application_id = 7",
    ],
)
async def test_another_programs_database_is_refused(tmp_path: Path, script: str) -> None:
    path = tmp_path / "theirs.db"
    for statement in script.split("; "):
        execute(path, statement)
    before = path.read_bytes()
    with pytest.raises(NotAStore, match="another program"):
        await read_all(path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["theirs.db"]


async def test_a_text_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Not a database at all.\n" * 100, encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(NotAStore, match="not a database"):
        await read_all(path)
    assert path.read_bytes() == before


async def test_damaged_pages_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await fill(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    with pytest.raises(StoreCorrupt, match="malformed") as damage:
        await read_all(path)
    assert "backup" in damage.value.hint


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
async def test_a_truncated_file_is_noticed(tmp_path: Path, part: float) -> None:
    path = tmp_path / "store.db"
    await fill(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part) // 4096 * 4096])
    with pytest.raises(StoreCorrupt):
        await read_all(path)


async def test_damage_under_a_running_store_goes_with_a_good_copy(tmp_path: Path) -> None:
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    await fill(path)
    shutil.copy(path, copy)
    whole = path.read_bytes()
    async with opened(path) as store:
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (len(whole) - 4096))
        with pytest.raises(StoreCorrupt):
            await store.read("r0", 0, 1 << 30)
        with pytest.raises(StoreCorrupt):
            await started(store, "new")
        for rest in tmp_path.glob("store.db-*"):
            rest.unlink()
        copy.replace(path)
        assert len(await store.read("r0", 0, 1 << 30)) == 40
        assert await append(store, await started(store, "new"), chunk(1)) == [True]


async def test_a_missing_folder_may_come(tmp_path: Path) -> None:
    folder = tmp_path / "missing"
    store = SqliteStore(folder / "store.db")
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable) as refusal:
                await store.open()
            assert "folder" in refusal.value.hint
        folder.mkdir()
        await store.open()
        assert await append(store, await started(store), chunk(1)) == [True]
    finally:
        await store.close()


async def test_a_file_for_a_folder_and_a_folder_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path in (tmp_path / "file" / "store.db", tmp_path):
        with pytest.raises(StoreUnavailable):
            await read_all(path)


async def test_nothing_is_made_before_it_is_opened(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.run("r")
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.request_cancel("r")
    await store.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", ["", "PRAGMA journal_mode = WAL", "PRAGMA user_version = 0"])
async def test_an_empty_file_becomes_a_store(tmp_path: Path, script: str) -> None:
    path = tmp_path / "store.db"
    path.touch()
    execute(path, script)
    await fill(path)
    await read_all(path)
    assert execute(path, "PRAGMA application_id") == [(connection.APPLICATION_ID,)]


async def test_a_migration_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    await fill(path)
    known, (version,) = connection._migrations(), execute(path, "PRAGMA user_version")[0]
    later = "CREATE TABLE later (name TEXT);\nALTER TABLE runs ADD COLUMN later TEXT;\n"

    monkeypatch.setattr(
        connection, "_migrations", lambda: [*known, later + "INSERT INTO nowhere VALUES (1);\n"]
    )
    with pytest.raises(StoreError, match="nowhere"):
        await read_all(path)
    assert execute(path, "PRAGMA user_version") == [(version,)]
    assert execute(path, "SELECT name FROM sqlite_master WHERE name = 'later'") == []

    monkeypatch.setattr(connection, "_migrations", lambda: [*known, later])
    await read_all(path)
    assert execute(path, "PRAGMA user_version") == [(len(known) + 1,)]
    assert execute(path, "SELECT count(*) FROM later") == [(0,)]

    monkeypatch.setattr(connection, "_migrations", lambda: known)
    with pytest.raises(StoreTooNew):
        await read_all(path)


async def test_the_schema_says_what_the_migrations_say(tmp_path: Path) -> None:
    async with opened(tmp_path / "store.db") as store:
        assert store.path.is_file()
    assert execute(tmp_path / "store.db", "PRAGMA user_version") == [(len(connection._migrations()),)]
    assert execute(tmp_path / "store.db", "PRAGMA journal_mode") == [("wal",)]
    assert execute(tmp_path / "store.db", "PRAGMA integrity_check") == [("ok",)]


async def test_many_stores_make_one_file_at_once(tmp_path: Path) -> None:
    for turn in range(5):
        path = tmp_path / f"store{turn}.db"
        stores = [SqliteStore(path, synchronous="normal") for _ in range(6)]
        try:
            await asyncio.gather(*(store.open() for store in stores))
            assert await append(stores[0], await started(stores[1]), chunk(1)) == [True]
        finally:
            await asyncio.gather(*(store.close() for store in stores))


async def test_a_new_file_that_is_looked_at_can_wait(tmp_path: Path) -> None:
    """Switching it to the write-ahead log needs the file alone, and is not given up at once."""
    store = SqliteStore(tmp_path / "store.db")
    looker = sqlite3.connect(store.path, isolation_level=None)
    try:
        looker.execute("BEGIN")
        looker.execute("SELECT count(*) FROM sqlite_master").fetchall()
        opening = asyncio.create_task(store.open())
        await asyncio.wait([opening], timeout=0.2)
        assert not opening.done()
        looker.execute("COMMIT")
        await opening
    finally:
        looker.close()
        await store.close()


async def test_processes_make_one_file_at_once(tmp_path: Path) -> None:
    for turn in range(5):  # a race of milliseconds: once is no test
        path = tmp_path / f"store{turn}.db"
        async with child("opens", path) as one, child("opens", path) as two, child("opens", path) as three:
            for process in (one, two, three):
                process.say()
            assert [await process.finish() for process in (one, two, three)] == [["done"]] * 3
        async with opened(path) as store:
            page = await store.runs(RunFilter(states=(RunState.QUEUED,)), limit=1)
            assert page.runs == []


async def test_what_sqlite_reports_is_kept_as_the_cause(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with pytest.raises(NotAStore) as refusal:
        await read_all(tmp_path / "store.db")
    assert isinstance(refusal.value.__cause__, sqlite3.Error)
