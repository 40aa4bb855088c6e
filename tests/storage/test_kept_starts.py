"""Starts that no rate counts any more are forgotten, however many keys came once."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from penstock.models import Group, Rate, RunRecord, RunState, Terms
from penstock.protocol.limits import STARTS_KEPT_MS
from penstock.storage.base import Store
from penstock.storage.memory import MemoryStore
from penstock.storage.sqlite import SqliteStore

PERIOD_MS = 1000
KEYS = 100
RATED = [Group("g", ("f",), None, {"f": Terms(rate=Rate(2, PERIOD_MS))})]


@pytest.fixture(params=["memory", "sqlite"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, Callable[[], int]]:
    """A store, and how many keys have starts in it."""
    if request.param == "memory":
        memory = MemoryStore()
        return memory, lambda: len(memory._kept.lineup._starts)
    path = tmp_path / "store.db"

    def count() -> int:
        with closing(sqlite3.connect(path)) as connection:
            return int(connection.execute("SELECT count(DISTINCT lane) FROM starts").fetchone()[0])

    return SqliteStore(path), count


async def start(store: Store, keys: range, now_ms: int) -> None:
    for key in keys:
        run = RunRecord(
            id=f"run_{now_ms}_{key}",
            function="f",
            group="g",
            state=RunState.QUEUED,
            created_at_ms=now_ms,
            lane=f"key {key}",
        )
        await store.submit(run, "abcdefgh")
    assert len(await store.claim("w", RATED, now_ms, len(keys))) == len(keys)


async def test_keys_that_came_once_are_forgotten(kept: tuple[Store, Callable[[], int]]) -> None:
    store, count = kept
    await store.open()
    await start(store, range(KEYS), 1)
    assert count() == KEYS
    await start(store, range(KEYS, 2 * KEYS), PERIOD_MS + STARTS_KEPT_MS)
    assert count() == 2 * KEYS, "a clock that is set back must not let a rate be broken"
    await start(store, range(2 * KEYS, 3 * KEYS), PERIOD_MS + STARTS_KEPT_MS + 2)
    assert count() <= 2 * KEYS
    await store.close()
