"""The file goes away under an open store, comes back, or is another one: nothing is made anew or mixed up."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from penstock.errors import StoreUnavailable
from penstock.models import Claimed
from penstock.storage.sqlite import SqliteStore
from penstock.testing import until

from .sqlite_files import append, chunk, execute, opened, queued, started

EVERYTHING = 1 << 30


def calls(store: SqliteStore) -> dict[str, Callable[[], Awaitable[object]]]:
    return {
        "submit": lambda: store.submit(queued("new"), "epoch"),
        "sign": lambda: store.sign("w", 1),
        "read": lambda: store.read("r", 0, EVERYTHING),
        "run": lambda: store.run("r"),
        "held": lambda: store.held("w"),
    }


async def filled(path: Path, run_id: str) -> Claimed:
    """A store with one run in one file: its log has gone into it."""
    async with opened(path) as store:
        run = await started(store, run_id)
        await append(store, run, chunk(1))
    # Closing a store waits a second at most for that.
    await until(lambda: not path.with_name(f"{path.name}-wal").exists(), what="the log is in the file")
    return run


async def test_a_removed_file_is_said_and_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        await append(store, await started(store), chunk(1))
        await store.run("r")
        path.unlink()
        for name, call in (*calls(store).items(), *calls(store).items()):
            with pytest.raises(StoreUnavailable, match=str(path)):
                pytest.fail(f"{name} answered {await call()}")
            assert not path.exists(), name
        with pytest.raises(StoreUnavailable, match="gone") as gone:
            await store.sign("w", 1)
        assert "restart" in gone.value.hint
    assert not path.exists()


async def test_a_file_that_is_put_back_goes_on_with_all_it_had(tmp_path: Path) -> None:
    path, away = tmp_path / "store.db", tmp_path / "away.db"
    async with opened(path) as store:
        run = await started(store)
        for seq in range(1, 4):
            assert await append(store, run, chunk(seq)) == [True]
            path.rename(away)
            for call in calls(store).values():
                with pytest.raises(StoreUnavailable):
                    await call()
            away.rename(path)
            assert await store.read("r", 0, EVERYTHING) == [chunk(before) for before in range(1, seq + 1)]
        assert await append(store, run, chunk(4)) == [True]
        assert await store.run("new") is None, "what was refused was not written"
    assert execute(path, "SELECT last_seq FROM chunks ORDER BY 1") == [(1,), (2,), (3,), (4,)]
    assert execute(path, "PRAGMA integrity_check") == [("ok",)]


async def test_another_store_in_its_place_is_served_and_written(tmp_path: Path) -> None:
    path, other = tmp_path / "store.db", tmp_path / "other.db"
    theirs = await filled(other, "theirs")
    async with opened(path) as store:
        mine = await started(store, "mine")
        await append(store, mine, chunk(1))
        assert await store.run("mine") is not None
        for rest in tmp_path.glob("store.db-*"):  # the old file's log is not the new one's
            rest.unlink()
        other.replace(path)
        assert await store.read("theirs", 0, EVERYTHING) == [chunk(1)]
        assert await store.run("mine") is None
        assert await append(store, theirs, chunk(2)) == [True]
        assert await append(store, mine, chunk(2)) == [False]
        assert await store.read("theirs", 0, EVERYTHING) == [chunk(1), chunk(2)]
    assert execute(path, "SELECT id FROM runs") == [("theirs",)]
    assert execute(path, "PRAGMA integrity_check") == [("ok",)]


async def test_another_store_beside_the_old_ones_log_is_refused(tmp_path: Path) -> None:
    """SQLite would play the old log back over it, and what it held would be gone."""
    path, other = tmp_path / "store.db", tmp_path / "other.db"
    await filled(other, "theirs")
    async with opened(path) as store:
        await append(store, await started(store, "mine"), chunk(1))
        other.replace(path)
        for call in calls(store).values():
            with pytest.raises(StoreUnavailable, match="replaced") as refused:
                await call()
            assert "store.db-wal" in refused.value.hint
        for rest in tmp_path.glob("store.db-*"):
            rest.unlink()
        (tmp_path / "neighbour").touch()  # the new log could else be given the old one's number
        assert await store.run("theirs") is not None
        assert await store.read("theirs", 0, EVERYTHING) == [chunk(1)]


async def test_no_other_file_is_given_the_number_of_one_that_is_gone(tmp_path: Path) -> None:
    """By its number a file is known, and file systems give a free one to the next file that is made."""
    path, log = tmp_path / "store.db", tmp_path / "store.db-wal"
    async with opened(path) as store:
        await append(store, await started(store), chunk(1))
        gone = {path.stat().st_ino, log.stat().st_ino}
        path.unlink()
        log.unlink()
        with pytest.raises(StoreUnavailable, match="gone"):  # and whoever had it open has closed it
            await store.sign("w", 1)
        made = [tmp_path / str(number) for number in range(256)]
        for other in made:
            other.touch()
        assert gone.isdisjoint(other.stat().st_ino for other in made)
