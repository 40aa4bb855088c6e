"""What callers see while the store can't work, and that it goes on by itself afterwards. The faults are real."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import penstock
from penstock.events import Text, decode
from penstock.protocol.sse import Decoder, Message
from penstock.storage.sqlite import connection
from penstock.testing import live_server, until

from .faults import locked

if TYPE_CHECKING:
    from tests.conftest import Api


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.2)


def make_app(path: Path) -> penstock.App:
    app = penstock.App(store=f"sqlite:///{path}", grace_s=0)

    @app.function
    def add(a: int) -> int:
        return a + 1

    @app.function(concurrency_limit=None)
    async def count() -> AsyncIterator[str]:
        for number in range(200):
            yield f"{number} "
            await asyncio.sleep(0.005)

    return app


def fill(path: Path) -> None:
    """Take all the space that is left."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


async def test_a_locked_store_is_503_and_recovers(tmp_path: Path, connect: "type[Api]") -> None:
    path = tmp_path / "runs.db"
    async with live_server(make_app(path)) as url, connect(url) as api:
        done = await api.submit("add", a=1)
        await api.ended(done)
        with locked(path):
            answer = await api.post("/api/runs", json={"function": "add", "input": {"a": 1}})
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_locked")
            assert int(answer.headers["retry-after"]) >= 1
            assert "lock" in answer.json()["error"]["hint"]
            # Reading goes on: what is stored can be had.
            assert (await api.get(f"/api/runs/{done}")).json()["result"] == 2
            assert (await api.messages(done))[-1].event == "message"
        assert (await api.ended(await api.submit("add", a=2)))["result"] == 3


async def test_a_run_waits_for_a_locked_store_and_loses_nothing(tmp_path: Path, connect: "type[Api]") -> None:
    path = tmp_path / "runs.db"
    async with live_server(make_app(path)) as url, connect(url) as api:
        run_id = await api.submit("count")
        async with api.stream("GET", f"/api/runs/{run_id}/events") as response:
            decoder, pieces = Decoder(), response.aiter_raw()
            messages: list[Message] = []
            while not any(message.event == "message" for message in messages):
                messages += decoder.feed(await anext(pieces))
            with locked(path):
                await asyncio.sleep(0.5)  # two refused appends
            async for piece in pieces:
                messages += decoder.feed(piece)
        events = [decode(message.data) for message in messages if message.event == "message"]
        text = "".join([event.text for event in events if isinstance(event, Text)])
        assert text == "".join([f"{number} " for number in range(200)])
        assert (await api.ended(run_id))["state"] == "succeeded"


async def test_a_full_disk_is_503_and_recovers(
    tmp_path: Path, connect: "type[Api]", needs: Callable[[str], str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = [needs("mount"), "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a file system of our own needs the right to mount one")
    try:
        async with live_server(make_app(disk / "runs.db")) as url, connect(url) as api:
            await api.ended(await api.submit("add", a=1))
            ballast = disk / "ballast"
            fill(ballast)
            body = {"function": "add", "input": {"a": 10**15}, "session": "s" * 200}

            async def refused() -> dict[str, str]:
                answer = await api.post("/api/runs", json=body)
                error: dict[str, str] = answer.json().get("error", {})
                return error

            assert (await until(refused))["code"] == "store_full"
            ballast.unlink()
            assert (await api.ended(await api.submit("add", a=2)))["result"] == 3
    finally:
        subprocess.run(["umount", str(disk)], check=True)


async def test_locked_at_the_start_and_mounted(tmp_path: Path, connect: "type[Api]") -> None:
    """Many who come meanwhile are all answered after one try, not each after one of its own."""
    path = tmp_path / "runs.db"
    app = make_app(path)
    async with app.lifespan():  # makes the file
        pass
    async with live_server(Starlette(routes=[Mount("/p", app)])) as url, connect(f"{url}/p") as api:
        with locked(path):
            started = time.monotonic()
            answers = await asyncio.gather(*[api.get("/api/functions") for _ in range(20)])
            assert time.monotonic() - started < 2
            assert {(one.status_code, one.json()["error"]["code"]) for one in answers} == {
                (503, "store_locked")
            }
            assert {one.headers["retry-after"] for one in answers} == {"1"}
        assert (await api.get("/api/functions")).status_code == 200
    await app.stop()


async def test_not_a_store_says_so_to_every_caller(tmp_path: Path, connect: "type[Api]") -> None:
    path = tmp_path / "runs.db"
    path.write_bytes(b"notes, not a database. " * 200)
    app = make_app(path)
    async with live_server(Starlette(routes=[Mount("/p", app)])) as url, connect(f"{url}/p") as api:
        answer = await api.get("/api/functions")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_a_store")
    with pytest.raises(RuntimeError, match="did not start"):
        async with live_server(make_app(path)):
            pass
    assert path.read_bytes().startswith(b"notes")


async def test_why_a_store_can_not_open_is_for_those_with_the_token(
    tmp_path: Path, connect: "type[Api]"
) -> None:
    path = tmp_path / "runs.db"
    path.write_bytes(b"notes, not a database. " * 200)
    app = make_app(path)
    app.configure(token="secret")
    async with live_server(Starlette(routes=[Mount("/p", app)])) as url, connect(f"{url}/p") as api:
        for route in ("/", "/api/functions", "/readyz", "/api/runs/x/events"):
            answer = await api.get(route)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
            assert path.name not in answer.text
            answer = await api.get(route, headers={"Authorization": "Bearer secret"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_a_store")
        alive = await api.get("/healthz")
        assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
