"""Isolated functions of an app as it is started: from a file, as a program; and after its server was killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock import AsyncClient
from penstock.events import SpanEnd
from penstock.testing import ServerProcess, until

STUBBORN = """
import os, re, subprocess, sys, time

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"

def others():
    deaf = [subprocess.Popen([sys.executable, "-c", DEAF], start_new_session=away).pid for away in (False, True)]
    return [os.getpid(), os.getppid(), *deaf]

@app.function(isolation="process")
def holds_the_interpreter(run: penstock.Run):
    with run.span("processes") as span:
        span.output = others()
    re.match(r"(a+)+$", "a" * 64 + "b")

@app.function()
async def forks():
    if process := os.fork():
        return process
    for standard in range(3):
        os.close(standard)
    time.sleep(30)
    os._exit(0)

@app.function(isolation="process")
async def swallows(run: penstock.Run):
    import asyncio
    with run.span("processes") as span:
        span.output = others()
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue
"""

PROGRAM = """
import asyncio, os, sys

import msgspec

import penstock

app = penstock.App(store="memory:")
print("imported as", __name__, flush=True)

@app.function(isolation="process")
def answer(question: str):
    return [question, os.getpid()]

class Greeter:
    def __call__(self, name: str):
        yield f"Hello {name}"

app.function(isolation="process", name="greet")(Greeter())

async def main():
    services = await app.start()
    for name, given in (("answer", {"question": "Who?"}), ("greet", {"name": "you"})):
        run, _ = await services.queue.submit(name, msgspec.json.encode(given))
        while not (await services.queue.get(run.id)).state.ended:
            await asyncio.sleep(0.01)
        for chunk in await services.store.read(run.id, 0, 10**6):
            print(chunk.data.decode(), flush=True)
    await app.stop()

if __name__ == "__main__":
    asyncio.run(main())
"""


def dead(process: int) -> bool:
    """Whether it has ended, even if process 1 of this container buries nobody."""
    try:
        return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def processes_of(client: AsyncClient, function: str) -> list[int]:
    """What a run of it says that it consists of."""
    run = await client.submit(function)
    async with run.events() as events:
        async for event in events:
            if isinstance(event, SpanEnd):
                return list(event.output)
    raise AssertionError("the run has ended")


async def test_a_servers_death_is_that_of_all_its_functions_have_started(
    write_app: Callable[[str], Path], tmp_path: Path
) -> None:
    app = write_app(STUBBORN)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with ServerProcess(str(app), cwd=elsewhere) as server, AsyncClient(server.url) as client:
        processes = [
            process
            for function in ("holds_the_interpreter", "swallows")
            for process in await processes_of(client, function)
        ]
        assert not any(dead(process) for process in processes)
        assert server.pid not in processes
        assert await asyncio.to_thread(server.kill) == -9
        await until(lambda: all(dead(process) for process in processes))


async def test_a_servers_death_is_noticed_though_something_else_holds_its_files_open(
    write_app: Callable[[str], Path], tmp_path: Path
) -> None:
    async with (
        ServerProcess(str(write_app(STUBBORN)), cwd=tmp_path) as server,
        AsyncClient(server.url) as client,
    ):
        processes = await processes_of(client, "swallows")
        holder = await (await client.submit("forks")).result()
        try:
            assert await asyncio.to_thread(server.kill) == -9
            await until(lambda: all(dead(process) for process in processes))
            assert not dead(holder)
        finally:
            os.kill(holder, signal.SIGKILL)


async def test_if_the_fork_server_dies_with_the_server_their_functions_end_what_they_have_started(
    write_app: Callable[[str], Path], tmp_path: Path
) -> None:
    async with (
        ServerProcess(str(write_app(STUBBORN)), cwd=tmp_path) as server,
        AsyncClient(server.url) as client,
    ):
        processes = await processes_of(client, "swallows")
        os.kill(server.pid, signal.SIGSTOP)  # so that it does not see to it
        os.kill(processes[1], signal.SIGKILL)
        assert await asyncio.to_thread(server.kill) == -9
        await until(lambda: all(dead(process) for process in processes))


async def test_a_server_that_leaves_takes_all_its_functions_have_started_along(
    write_app: Callable[[str], Path], tmp_path: Path
) -> None:
    async with (
        ServerProcess(str(write_app(STUBBORN)), "--grace-s", "1", cwd=tmp_path) as server,
        AsyncClient(server.url) as client,
    ):
        processes = await processes_of(client, "swallows")
        assert await asyncio.to_thread(server.terminate) == 0
        assert all(dead(process) for process in processes)
        assert "Traceback" not in server.output


@pytest.mark.parametrize("how", [["program.py"], ["-m", "program"], ["-m", "package.program"]])
def test_functions_of_the_program_itself_can_be_isolated(how: list[str], tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package/beside.py").write_text("NAME = 'beside'")
    (tmp_path / "package/program.py").write_text(f"from .beside import NAME\n{PROGRAM}")
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, *how], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert done.stdout.count("imported as __main__") == 1
    assert done.stdout.count("imported as __mp_main__") == 1
    assert '"result":["Who?",' in done.stdout
    assert "Hello you" in done.stdout
