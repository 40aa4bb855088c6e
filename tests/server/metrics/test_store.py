"""The store: what is appended and how long it takes, and a scrape while it refuses, fails or dawdles."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import penstock
from penstock.storage.sqlite import SqliteStore, connection
from penstock.storage.sqlite.store import READERS
from penstock.testing import live_server

from ..faults import locked
from .scraping import scraped

if TYPE_CHECKING:
    from tests.conftest import Api


async def test_appends_are_counted_with_the_time_they_took(api: "Api", path: Path) -> None:
    run_id = await api.submit("count", to=9)
    await api.ended(run_id)
    scrape = await api.scrape()
    with closing(sqlite3.connect(path)) as file:
        chunks, size = file.execute("SELECT count(*), sum(length(data)) FROM chunks").fetchone()
    assert (scrape("appends_total"), scrape("appended_bytes_total")) == (chunks, size)
    assert scrape("events_appended_total") == 10
    assert scrape("append_duration_seconds_count") == chunks
    assert scrape("append_duration_seconds_bucket", le="10.0") == chunks
    assert 0 <= scrape("append_duration_seconds_sum") < 10
    commits = scrape("commit_duration_seconds_count")
    assert commits >= chunks >= 2
    assert 0 < scrape("commit_duration_seconds_sum") < 10
    await api.ended(await api.submit("count"))
    assert (await api.scrape())("commit_duration_seconds_count") > commits


async def test_a_store_that_refuses_writes_is_up_and_counts_errors(
    api: "Api", path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.1)
    assert (await api.scrape())("store_errors_total") == 0
    with locked(path):
        assert (await api.post("/api/runs", json={"function": "count"})).status_code == 503
        scrape = await api.scrape()
    assert (scrape("store_errors_total", operation="write"), scrape("store_up")) == (1, 1)
    assert scrape("runs_rejected_total", reason="store_locked") == 1
    assert scrape("runs_submitted_total", function="count") == 0


async def test_a_store_that_can_not_be_read_is_told_with_the_rest(api: "Api", path: Path) -> None:
    await api.ended(await api.submit("count"))
    scrape = await api.scrape()
    assert (scrape("store_up"), scrape("workers"), scrape.has("queue_waiting")) == (1, 1, True)
    for name in ("runs.db", "runs.db-wal", "runs.db-shm"):
        path.with_name(name).rename(path.with_name(f"{name}.away"))
    scrape = await scraped(api, "store_up", 0)
    assert scrape("runs_ended_total", function="count", state="succeeded") == 1
    assert scrape("store_errors_total", operation="read") >= 1
    assert not any(map(scrape.has, ("queue_waiting", "queue_limit", "workers")))
    for name in ("runs.db", "runs.db-wal", "runs.db-shm"):
        path.with_name(f"{name}.away").replace(path.with_name(name))
    await scraped(api, "store_up", 1)


async def test_an_app_that_can_not_start_says_so(tmp_path: Path, connect: "type[Api]") -> None:
    path = tmp_path / "notes.db"
    path.write_bytes(b"notes, not a database. " * 200)
    app = penstock.App(store=f"sqlite:///{path}", token="secret")
    async with live_server(Starlette(routes=[Mount("/p", app)])) as url, connect(f"{url}/p") as api:
        assert (await api.get("/metrics")).status_code == 401
        api.headers["Authorization"] = "Bearer secret"
        scrape = await api.scrape()
    assert scrape("store_up") == 0
    assert scrape("store_errors_total", operation="write") >= 1
    assert scrape("build_info", version=penstock.__version__) == 1


async def test_a_scrape_does_not_wait_for_a_store_that_takes_long(api: "Api", app: penstock.App) -> None:
    store = (await app.start()).store
    assert isinstance(store, SqliteStore)
    free = threading.Event()
    reads = [asyncio.create_task(store._read(lambda _: free.wait(20))) for _ in range(READERS)]
    try:
        scrape = await api.scrape()
        assert (scrape("store_up"), scrape("processes")) == (0, 1)
        assert not free.is_set()
    finally:
        free.set()
        await asyncio.gather(*reads)
    await scraped(api, "store_up", 1)


async def test_a_scrape_does_not_wait_for_threads_that_functions_took(api: "Api") -> None:
    free = threading.Event()
    taken = [asyncio.create_task(asyncio.to_thread(free.wait, 20)) for _ in range(100)]
    await asyncio.sleep(0)  # they are begun
    try:
        assert (await api.scrape())("store_up") == 1
    finally:
        free.set()
        await asyncio.gather(*taken)
