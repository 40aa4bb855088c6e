"""`penstock worker`: a process that executes and does not serve, beside others that do or while none does."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Self

import pytest

from penstock.storage import make_store
from penstock.testing import ServerProcess, until

if TYPE_CHECKING:
    from tests.conftest import Api

SOURCE = """
import asyncio, os, pathlib, threading, time

GO = pathlib.Path("go")

@app.function(concurrency_limit=None)
def where() -> int:
    time.sleep(0.1)
    return os.getpid()

@app.function(concurrency_limit=3)
def enter() -> int:
    with open("intervals", "a") as log:
        begun = time.monotonic()
        time.sleep(0.05)
        log.write(f"{begun} {time.monotonic()} {os.getpid()}\\n")
    return os.getpid()

@app.function(on_crash="retry", concurrency_limit=None)
async def again(run: penstock.Run) -> int:
    yield f"attempt {run.attempt} "
    while not GO.exists():
        await asyncio.sleep(0.01)
    yield str(os.getpid())

@app.function(concurrency_limit=None)
def deaf():
    print("deaf is on", flush=True)
    threading.Event().wait()
"""

READY_S = 20.0
COMMAND = (sys.executable, "-u", "-m", "penstock", "worker", "app.py")


class WorkerProcess:
    """`penstock worker` in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.argv = [*COMMAND, "--grace-s", "2", *options]
        self.folder = folder
        self.output = ""

    async def __aenter__(self) -> Self:
        self.process = subprocess.Popen(
            self.argv, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._pump = Thread(target=self._keep_output, daemon=True)
        self._pump.start()
        await until(lambda: "Penstock is ready to execute" in self.output or self.ended, READY_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        await asyncio.to_thread(self._pump.join, 10)

    def _keep_output(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.output += line

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    async def leaves(self, number: int) -> int:
        """Send it a signal; its exit code."""
        self.process.send_signal(number)
        await until(lambda: self.ended, READY_S, "it leaves")
        return self.process.wait()


@pytest.fixture
def folder(write_app: Callable[[str], Path], tmp_path: Path) -> Path:
    """Where the app is."""
    write_app(SOURCE)
    return tmp_path


@asynccontextmanager
async def serving(folder: Path, connect: "type[Api]", *options: str) -> "AsyncIterator[Api]":
    """`penstock serve`, which has one thread for functions, so that most is left to others."""
    argv = ("app.py", "--grace-s", "0.5", "--max-threads", "1", *options)
    async with ServerProcess(*argv, cwd=folder) as server, connect(server.url) as api:
        yield api
        await asyncio.to_thread(server.terminate)


async def results(api: "Api", runs: list[str]) -> set[Any]:
    ended = [await api.ended(run_id) for run_id in runs]
    assert {run["state"] for run in ended} == {"succeeded"}
    return {run["result"] for run in ended}


async def test_it_executes_what_another_process_was_given(folder: Path, connect: "type[Api]") -> None:
    async with serving(folder, connect) as api, WorkerProcess(folder) as worker:
        runs = [await api.submit("where") for _ in range(12)]
        assert worker.process.pid in await results(api, runs)
        assert re.search(
            r"^Penstock is ready to execute where, enter, again, deaf$", worker.output, re.MULTILINE
        )


async def test_limits_hold_over_it_and_the_server(folder: Path, connect: "type[Api]") -> None:
    async with serving(folder, connect) as api, WorkerProcess(folder, "--workers", "2", "--max-threads", "1"):
        runs = [await api.submit("enter") for _ in range(30)]
        assert len(await results(api, runs)) == 3, "each process can execute one"
    rows = [line.split() for line in (folder / "intervals").read_text().splitlines()]
    changes = sorted([(float(row[0]), 1) for row in rows] + [(float(row[1]), -1) for row in rows])
    running, most = 0, 0
    for _, change in changes:
        running += change
        most = max(most, running)
    assert most == 3
    assert len(rows) == 30


async def test_it_works_while_nobody_serves(folder: Path, connect: "type[Api]") -> None:
    async with serving(folder, connect) as api:
        runs = [await api.submit("again") for _ in range(3)]
    (folder / "go").touch()
    async with WorkerProcess(folder) as worker:
        for run_id in runs:
            await becomes(folder, run_id, "succeeded")
        pid = worker.process.pid
        assert await worker.leaves(signal.SIGTERM) == 0
    async with serving(folder, connect) as api:
        for run_id in runs:
            messages = await api.messages(run_id)
            assert any(str(pid) in message.data for message in messages)


async def test_it_has_no_port(folder: Path) -> None:
    async with WorkerProcess(folder) as worker:
        sockets = set()
        for file in Path(f"/proc/{worker.process.pid}/fd").iterdir():
            sockets.add(str(file.readlink()))
        for kind in ("tcp", "tcp6"):
            for line in Path(f"/proc/{worker.process.pid}/net/{kind}").read_text().splitlines()[1:]:
                assert f"socket:[{line.split()[9]}]" not in sockets


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_lets_runs_finish(folder: Path, connect: "type[Api]", number: int) -> None:
    async with serving(folder, connect) as api:
        run_id = await api.submit("again")
    async with WorkerProcess(folder) as worker:
        await becomes(folder, run_id, "running")
        leaving = asyncio.create_task(worker.leaves(number))
        await until(lambda: "Leaving" in worker.output)
        (folder / "go").touch()
        assert await leaving == 0
        assert "Stopped after" in worker.output
        assert "Traceback" not in worker.output
    await becomes(folder, run_id, "succeeded")


async def test_nohup_is_heeded(folder: Path, connect: "type[Api]") -> None:
    async with serving(folder, connect) as api:
        run_id = await api.submit("again")
    worker = WorkerProcess(folder)
    worker.argv = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *worker.argv]
    async with worker:
        worker.process.send_signal(signal.SIGHUP)
        (folder / "go").touch()
        await becomes(folder, run_id, "succeeded")
        assert not worker.ended
        assert await worker.leaves(signal.SIGTERM) == 0


async def test_a_supervised_one_takes_a_hang_up_for_an_end_at_once(folder: Path) -> None:
    """It is not for it: the supervisor, which it is for, starts another."""
    async with WorkerProcess(folder, "--workers", "2") as worker:
        pid = int(re.findall(r"Process (\d+) is ready", worker.output)[0])
        os.kill(pid, signal.SIGHUP)
        await until(lambda: worker.output.count("is ready.") == 3, READY_S)
        assert f"Process {pid} was killed by SIGHUP" in worker.output
        assert await worker.leaves(signal.SIGTERM) == 0


async def test_what_is_not_finished_goes_back(folder: Path, connect: "type[Api]") -> None:
    async with serving(folder, connect) as api:
        run_id = await api.submit("again")
    async with WorkerProcess(folder, "--grace-s", "0.5") as worker:
        await becomes(folder, run_id, "running")
        assert await worker.leaves(signal.SIGTERM) == 0
    await becomes(folder, run_id, "queued")


async def test_a_function_that_can_not_be_stopped_does_not_hold_it(
    folder: Path, connect: "type[Api]"
) -> None:
    async with WorkerProcess(folder, "--grace-s", "0.5") as worker:
        async with serving(folder, connect, "--max-threads", "1") as api:
            for _ in range(2):
                await api.submit("deaf")
            await until(lambda: "deaf is on" in worker.output)
        begun = time.monotonic()
        assert await worker.leaves(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 10


async def test_a_second_ctrl_c_ends_it_at_once(folder: Path, connect: "type[Api]") -> None:
    async with serving(folder, connect) as api:
        run_id = await api.submit("again")
    async with WorkerProcess(folder, "--grace-s", "60") as worker:
        await becomes(folder, run_id, "running")
        worker.process.send_signal(signal.SIGINT)
        await until(lambda: "Leaving" in worker.output)
        begun = time.monotonic()
        assert await worker.leaves(signal.SIGINT) == 130
        assert time.monotonic() - begun < 10, "its runs have a minute"


async def test_several_are_kept_up_and_leave_together(folder: Path, connect: "type[Api]") -> None:
    async with WorkerProcess(folder, "--workers", "2") as worker:
        pids = [int(pid) for pid in re.findall(r"Process (\d+) is ready", worker.output)]
        assert len(pids) == 2
        os.kill(pids[0], signal.SIGKILL)
        await until(lambda: worker.output.count("is ready.") == 3, READY_S)
        worker.process.send_signal(signal.SIGHUP)
        await until(lambda: "All processes are new" in worker.output, READY_S)
        assert await worker.leaves(signal.SIGTERM) == 0
        assert worker.output.count("Penstock is ready to execute") == 1


async def test_a_store_that_is_locked_is_waited_for(folder: Path, connect: "type[Api]") -> None:
    (folder / "app.py").write_text(
        (folder / "app.py").read_text()
        + "\nfrom penstock.storage.sqlite import connection\nconnection.BUSY_TIMEOUT_S = 0.3\n"
    )
    async with serving(folder, connect) as api:
        run_id = await api.submit("again")
    (folder / "go").touch()
    with closing(sqlite3.connect(folder / "penstock.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with WorkerProcess(folder) as worker:
            assert "can't be used yet" in worker.output
            other.execute("ROLLBACK")
            await becomes(folder, run_id, "succeeded")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["nothing.py"], "There is no file nothing.py."),
        (["app.py", "--store", "memory:"], "memory: is this process's own, and nobody could give it a run."),
        (["app.py", "--store", "sqlite:///app.py"], "app.py: file is not a database."),
    ],
)
def test_what_can_not_work_is_2(options: list[str], complaint: str, folder: Path) -> None:
    (folder / "app.py").write_text("import penstock\napp = penstock.App()\n" + "# no database\n" * 100)
    done = subprocess.run([*COMMAND[:-1], *options], cwd=folder, capture_output=True, text=True, timeout=90)
    assert done.returncode == 2
    assert f"penstock: {complaint}" in done.stderr
    assert "Traceback" not in done.stderr


async def becomes(folder: Path, run_id: str, state: str) -> None:
    """Wait until the file has the run in this state."""
    store = make_store(f"sqlite:///{folder}/penstock.db")
    await store.open()

    async def is_so() -> bool:
        run = await store.run(run_id)
        return run is not None and run.state == state

    try:
        await until(is_so, READY_S, f"{run_id} is {state}")
    finally:
        await store.close()
