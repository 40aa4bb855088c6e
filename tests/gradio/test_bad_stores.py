"""A store that is locked or full: Gradio's clients are told, and go on once it can be used again."""

import asyncio
import contextlib
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client.exceptions import AppError

from penstock.gradio import Client
from penstock.testing import until

from .server import GradioServer
from .speaking import Session, texts
from .test_rough_clients import APP, COUNT, state


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another process's program holds the database."""
    store = sqlite3.connect(folder / "penstock.db", isolation_level=None, timeout=10)
    store.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        store.execute("ROLLBACK")
        store.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GradioServer]:
    options = {"grace_s": 1.5, "close_grace_s": 0.2}
    with GradioServer("newest", APP, options=options, cwd=tmp_path_factory.mktemp("app")) as made:
        yield made


@pytest.mark.parametrize("keyed", [False, True])
async def test_a_join_into_a_locked_store_is_refused_and_can_be_made_again(
    server: GradioServer, keyed: bool
) -> None:
    key = uuid.uuid4().hex if keyed else None
    async with Session(server.url) as session:
        with locked(server.folder):
            answer = await session.post(COUNT, 3, 0, key=key)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        await session.join(COUNT, 3, 0, key=key)
        assert texts(await session.read())[-1] == "0 1 2 "


async def test_what_runs_while_the_store_is_locked_is_told_whole_afterwards(server: GradioServer) -> None:
    async with Session(server.url) as session:
        event = await session.join(COUNT, 60, 0.02)
        async with contextlib.aclosing(session.messages(cursor="")) as messages:
            heard = [await anext(messages)]
            with locked(server.folder):
                await asyncio.sleep(2)
            heard += [one async for one in messages]
    assert texts([m for _, m in heard])[-1].endswith(" 59 ")
    assert state(server, event) == "succeeded"


async def test_a_session_that_ends_while_the_store_is_locked_is_stopped_all_the_same(
    server: GradioServer,
) -> None:
    async with Session(server.url) as session:
        event = await session.join(COUNT, 1000, 0.05)
        waits = [await session.join(2, 1000, 0.05), await session.join(2, 1000, 0.05)]
        await session.read_to(1)
        with locked(server.folder):
            await asyncio.sleep(4)
        await until(lambda: {state(server, one) for one in (event, *waits)} == {"cancelled"}, deadline_s=15)
        assert await session.join(2, 3, 0)
        assert texts(await session.read())[-1] == "0 1 2 "


async def test_a_page_is_there_though_the_store_was_never(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "penstock.db").execute("CREATE TABLE mine (x)").connection.commit()
    with locked(tmp_path):
        async with GradioServer("newest", APP, cwd=tmp_path) as server, Session(server.url) as session:
            assert "Penstock can't be started" in server.output, "nobody has asked for anything yet"
            page = await session.http.get("/")
            assert "gradio_config" in page.text
            answer = await session.post(COUNT, 3, 0)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert "locked" in answer.json()["detail"]
            assert server.output.count("Penstock can't be started") == 1


async def test_a_store_that_can_never_be_used_is_said_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"notes, not a database. " * 200)
    options = {"store": f"sqlite:///{tmp_path / 'notes.txt'}"}
    async with (
        GradioServer("newest", APP, options=options, cwd=tmp_path) as server,
        Session(server.url) as session,
    ):
        answer = await session.post(COUNT, 3, 0)
        said = answer.json()["detail"]
        assert answer.status_code == 500, "of a 503 Gradio's page says that it is busy"
        assert said.startswith("notes.txt: file is not a database.")
        assert "store=" in said
        assert "PENSTOCK_STORE" in said
        console = await session.http.get("/penstock/")
        assert console.status_code == 503
        assert str(tmp_path) not in said + console.text, "where it lies is for the log"
        assert f"{tmp_path / 'notes.txt'}: file is not a database" in server.output
        read = await session.http.get("/gradio_api/queue/data", params={"session_hash": "any"})
        assert read.status_code == 503, "who reads comes again"


async def test_a_store_that_is_removed_is_said_in_its_own_words(tmp_path: Path) -> None:
    async with GradioServer("newest", APP, cwd=tmp_path) as server, Session(server.url) as session:
        await session.join(COUNT, 1, 0)
        await session.read()
        client = await asyncio.to_thread(Client, server.url, verbose=False)
        for file in tmp_path.glob("penstock.db*"):
            file.unlink()
        for key in (None, uuid.uuid4().hex):
            answer = await session.post(COUNT, 3, 0, key=key)
            assert answer.status_code == 500
            assert "penstock.db is gone" in answer.json()["detail"]
        with pytest.raises(AppError, match="is gone"):
            await asyncio.to_thread(client.predict, 3, 0, api_name="/count")
