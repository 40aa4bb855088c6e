"""One scrape tells of all processes of a service, whichever is asked, and of those that are gone. Real ones."""

import asyncio
import os
import re
import signal
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from penstock.meters import Flow, Gauges, Meters, Snapshot, added
from penstock.process.shelf import SETTLED_MOST, Place, Shelf
from penstock.testing import ServerProcess, until

if TYPE_CHECKING:
    from tests.conftest import Api, Scrape

SOURCE = """
import asyncio

@app.function(concurrency_limit=None)
async def count(to: int = 3):
    for number in range(to):
        yield f"{number} "

@app.function(concurrency_limit=None)
async def hang():
    yield "on"
    await asyncio.Event().wait()
"""

READY_S = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the processes find room for files of theirs."""
    folder = tmp_path / "room"
    folder.mkdir()
    return folder


@pytest.fixture
async def server(
    write_app: Callable[[str], Path], tmp_path: Path, folder: Path
) -> AsyncIterator[ServerProcess]:
    write_app(SOURCE)
    env = os.environ | {"TMPDIR": str(folder)}
    options = ("--workers", "2", "--grace-s", "1")
    async with ServerProcess("app.py", *options, cwd=tmp_path, env=env) as server:
        yield server
        await asyncio.to_thread(server.terminate)


def pids(server: ServerProcess) -> list[int]:
    """Of all processes that have been ready, in their order."""
    return [int(pid) for pid in re.findall(r"Process (\d+) is ready", server.output)]


def has_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T"


def is_free(file: Path) -> bool:
    """Whether nobody holds the store's lock."""
    try:
        with closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True


@asynccontextmanager
async def stopped(server: ServerProcess, pid: int) -> AsyncIterator[None]:
    """Meanwhile the other process answers."""

    async def stop() -> bool:
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: has_stopped(pid))
        if is_free(Path(server.cwd or "", "penstock.db")):
            return True
        os.kill(pid, signal.SIGCONT)  # not in the midst of a commit, for which the other would wait
        return False

    await until(stop)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def asking(server: ServerProcess, other: int, connect: "type[Api]") -> "AsyncIterator[Api]":
    """A client of the process that is not `other`."""
    async with stopped(server, other), connect(server.url) as api:
        yield api


async def finish(api: "Api", runs: int) -> None:
    for _ in range(runs):
        await api.messages(await api.submit("count"), rate=0)


async def ask(server: ServerProcess, connect: "type[Api]", **expected: float) -> "Scrape":
    """A scrape in which these metrics have these values: what the other process did is told within a second."""

    async def look() -> "Scrape | None":
        async with connect(server.url) as api:
            scrape = await api.scrape()
        return scrape if all(scrape(name) == value for name, value in expected.items()) else None

    found = await until(look, 15, f"{expected}")
    assert found is not None
    return found


async def test_whichever_process_is_asked_tells_of_all(server: ServerProcess, connect: "type[Api]") -> None:
    first, second = pids(server)
    async with asking(server, first, connect) as api:
        await finish(api, 3)
        scrape = await api.scrape()
        assert (scrape("runs_ended_total"), scrape("events_delivered_total")) == (3, 12)
        assert (scrape("processes"), scrape("workers"), scrape("store_up")) == (2, 2, 1)
    async with asking(server, second, connect) as api:
        await finish(api, 2)
        scrape = await api.scrape()
        assert (scrape("runs_ended_total"), scrape("events_delivered_total")) == (5, 20)
        assert scrape("run_duration_seconds_count", function="count") == 5
        assert scrape("run_duration_seconds_bucket", function="count", le="+Inf") == 5
    async with asking(server, first, connect) as api:  # at once: what was told once is never taken back
        scrape = await api.scrape()
        assert (scrape("runs_ended_total"), scrape("events_delivered_total")) == (5, 20)


async def test_readers_of_another_process_are_told_within_seconds(
    server: ServerProcess, connect: "type[Api]"
) -> None:
    first, second = pids(server)
    async with connect(server.url) as reader, connect(server.url) as other:
        async with stopped(server, first):
            run_id = await reader.submit("hang")
        async with stopped(server, second):
            assert (await other.scrape())("readers") == 0  # and keeps its connection to the first
        async with reader.stream("GET", f"/api/runs/{run_id}/events") as response:
            pieces = response.aiter_raw()  # held: without it the connection is closed
            assert b"retry" in await anext(pieces)

            async def told() -> bool:
                return (await other.scrape())("readers", transport="sse") == 1

            await until(told)
        scrape = await other.scrape()
        assert scrape("queue_running", group="hang") == 1, "the store's figures are not summed"
        assert scrape("resident_memory_bytes") > 50e6, "two interpreters"


async def test_what_killed_processes_counted_stays(server: ServerProcess, connect: "type[Api]") -> None:
    for deaths in range(1, 3):
        async with connect(server.url) as api:
            run_id = await api.submit("hang")
            async with api.stream("GET", f"/api/runs/{run_id}/events") as response:
                pieces = response.aiter_raw()
                await anext(pieces)
                await finish(api, 2)
                # The killed runs of the round before are among them.
                before = await ask(server, connect, runs_ended_total=2 * deaths + deaths - 1)
                ready = len(pids(server))
                for pid in pids(server)[-2:]:
                    os.kill(pid, signal.SIGKILL)
                await until(lambda: len(pids(server)) == ready + 2, READY_S)  # noqa: B023 - awaited here
        after = await ask(server, connect, processes=2, readers=0)
        assert after("runs_ended_total", state="succeeded") == 2 * deaths
        for name in (
            "events_delivered_total",
            "appends_total",
            "commit_duration_seconds_count",
            "reads_total",
        ):
            assert after(name) >= before(name), name
        await ask(server, connect, attempts_lost_total=deaths)


async def test_a_restart_takes_nothing_back(server: ServerProcess, connect: "type[Api]") -> None:
    async with connect(server.url) as api:
        await finish(api, 4)
    os.kill(server.pid, signal.SIGHUP)
    await until(lambda: "All processes are new" in server.output, READY_S)
    scrape = await ask(server, connect, processes=2)
    assert (scrape("runs_ended_total"), scrape("events_delivered_total")) == (4, 16)


async def test_the_folder_is_this_users_alone_and_goes_with_the_service(
    server: ServerProcess, folder: Path
) -> None:
    (shelf,) = folder.glob("penstock-*")
    assert shelf.stat().st_mode & 0o777 == 0o700
    await until(lambda: len(list(shelf.glob("*.json"))) == 2)
    assert await asyncio.to_thread(server.terminate) == 0
    assert not list(folder.iterdir())
    await asyncio.to_thread(server.start)


async def test_the_folder_of_a_killed_supervisor_goes_too(server: ServerProcess, folder: Path) -> None:
    assert list(folder.iterdir())
    await asyncio.to_thread(server.kill)
    await until(lambda: not list(folder.iterdir()), READY_S)
    await asyncio.to_thread(server.start)


# --- The shelf ---


@pytest.fixture
def shelf(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return Shelf()


def snapshot(events: int) -> bytes:
    return msgspec.json.encode(Snapshot(Gauges(), Meters(flow=Flow(events=events))))


def lay_out(shelf: Shelf, pid: int, events: int) -> None:
    Path(shelf.folder, f"{pid}-0.json").write_bytes(snapshot(events))


def whole(place: Place) -> int:
    """Events of all others, whether they live or not."""
    others, gone = place.others()
    for other in others:
        gone = added(gone, msgspec.json.decode(other)["counted"])
    return msgspec.convert(gone, Meters).flow.events


def test_what_is_told_late_does_not_replace_what_is_newer(shelf: Shelf) -> None:
    one, other = Place(Path(shelf.folder)), Place(Path(shelf.folder))
    one.tell(2, snapshot(20))
    one.tell(1, snapshot(10))
    assert (whole(other), whole(one)) == (20, 0), "a process is not among its others"


def test_nothing_is_missed_or_taken_twice_while_processes_go(shelf: Shelf) -> None:
    count = SETTLED_MOST - 10
    for pid in range(1, count + 1):
        lay_out(shelf, pid, pid)

    def settle_all() -> None:
        for pid in range(1, count + 1):
            shelf.settle(pid)

    settling = threading.Thread(target=settle_all)
    place, sums = Place(Path(shelf.folder)), []
    settling.start()
    while settling.is_alive():
        sums.append(whole(place))
    settling.join()
    sums.append(whole(place))
    assert set(sums) == {count * (count + 1) // 2}
    assert not place.others()[0]


def test_the_names_that_are_kept_are_bounded(shelf: Shelf) -> None:
    for pid in range(1, SETTLED_MOST + 20):
        lay_out(shelf, pid, 1)
        shelf.settle(pid)
    (path,) = Path(shelf.folder).iterdir()
    assert len(msgspec.json.decode(path.read_bytes())["settled"]) == SETTLED_MOST
    assert whole(Place(Path(shelf.folder))) == SETTLED_MOST + 19


def test_a_process_that_died_while_it_wrote_leaves_what_it_had_told(shelf: Shelf) -> None:
    lay_out(shelf, 7, 3)
    Path(shelf.folder, "7-0.json.new").write_bytes(b'{"now": {}, "coun')
    lay_out(shelf, 77, 4)
    shelf.settle(7)
    shelf.settle(7)
    shelf.settle(8)  # one that had told nothing
    place = Place(Path(shelf.folder))
    assert (whole(place), len(place.others()[0])) == (7, 1)
    assert sorted(path.name for path in Path(shelf.folder).iterdir()) == ["77-0.json", "gone.json"]


def test_what_can_not_be_read_costs_nobody_else(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    lay_out(shelf, 1, 5)
    Path(shelf.folder, "2-0.json").write_bytes(b"rubbish")
    shelf.settle(2)
    assert "process 2" in caplog.text
    shelf.settle(1)
    assert msgspec.json.decode(Path(shelf.folder, "gone.json").read_bytes())["settled"] == ["1-0.json"]


def test_without_room_each_tells_of_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "missing"))
    shelf = Shelf()
    assert shelf.folder == ""
    shelf.settle(os.getpid())
    shelf.remove()


def test_a_folder_that_is_gone_is_no_error(shelf: Shelf) -> None:
    place = Place(Path(shelf.folder))
    shelf.remove()
    place.tell(1, snapshot(1))
    shelf.settle(os.getpid())
    assert place.others() == ([], {})
