"""Several processes behind one socket: kept up, replaced and ended. All of them are real ones."""

import asyncio
import contextlib
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from penstock.process import supervisor
from penstock.process.supervisor import restart_delay_s, same_program
from penstock.testing import ServerProcess, until

if TYPE_CHECKING:
    from tests.conftest import Api

SOURCE = """
import asyncio, os, pathlib, time

GO = pathlib.Path("go")

@app.function
def pid() -> int:
    return os.getpid()

@app.function(concurrency_id="pair", concurrency_limit=2)
def enter(number: int) -> int:
    with open("intervals", "a") as log:
        begun = time.monotonic()
        time.sleep(0.05)
        log.write(f"{begun} {time.monotonic()} {os.getpid()}\\n")
    return number

@app.function(concurrency_limit=None)
async def wait():
    pathlib.Path("waits").write_text(str(os.getpid()))
    yield "before "
    while not GO.exists():
        await asyncio.sleep(0.01)
    yield "after"

@app.function(on_crash="retry", concurrency_limit=None)
async def again(run: penstock.Run):
    yield f"attempt {run.attempt} "
    while not GO.exists():
        await asyncio.sleep(0.01)

@app.function(concurrency_limit=None)
async def keep(name: str) -> int:
    child = await asyncio.create_subprocess_exec("sleep", "60")
    pathlib.Path(name).write_text(str(child.pid))
    return await child.wait()
"""

READY_S = 20.0


def options(workers: int, *more: str) -> list[str]:
    return ["app.py", "--workers", str(workers), "--grace-s", "2", *more]


def make_server(folder: Path, workers: int = 3, *more: str) -> ServerProcess:
    target, *rest = options(workers, *more)
    return ServerProcess(target, *rest, cwd=folder)


@pytest.fixture
def server(write_app: Callable[[str], Path], tmp_path: Path) -> ServerProcess:
    """Three processes and their supervisor; not started."""
    write_app(SOURCE)
    return make_server(tmp_path)


@asynccontextmanager
async def started(server: ServerProcess, connect: "type[Api]") -> "AsyncIterator[Api]":
    async with server, connect(server.url) as api:
        yield api


def ready_pids(output: str) -> list[int]:
    """Of all processes that have been ready, in their order."""
    return [int(pid) for pid in re.findall(r"Process (\d+) is ready", output)]


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


def are_gone(pids: list[int]) -> bool:
    return all(is_gone(pid) for pid in pids)


def told(output: str) -> list[int]:
    """Which processes were told to leave; each as often as it was."""
    return [int(pid) for pid in re.findall(r"\[(\d+)\] INFO Leaving: readers", output)]


def run_serve(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """`penstock serve` where it is expected to end by itself."""
    command = [sys.executable, "-m", "penstock", "serve", *argv]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)


# --- Serving ---


async def test_there_is_one_ready_line_when_all_are_ready(
    server: ServerProcess, connect: "type[Api]"
) -> None:
    async with started(server, connect) as api:
        assert len(ready_pids(server.output)) == 3
        assert server.output.count("Penstock is ready at") == 1
        assert server.output.rstrip().endswith(f"Penstock is ready at {server.url}")
        assert (await api.get("/healthz")).status_code == 200


async def test_limits_hold_over_all_processes(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    server = make_server(tmp_path, 3, "--max-threads", "1")  # so that one process alone can't reach the limit
    async with started(server, connect) as api:
        runs = [await api.submit("enter", number=number) for number in range(36)]
        for run_id in runs:
            assert (await api.ended(run_id))["state"] == "succeeded"
    rows = [line.split() for line in (tmp_path / "intervals").read_text().splitlines()]
    assert len(rows) == 36
    changes = sorted([(float(row[0]), 1) for row in rows] + [(float(row[1]), -1) for row in rows])
    running, most = 0, 0
    for _, change in changes:
        running += change
        most = max(most, running)
    assert most == 2
    assert len({row[2] for row in rows}) >= 2


async def test_a_function_of_one_process_is_read_and_stopped_through_another(
    server: ServerProcess, connect: "type[Api]"
) -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("wait")
        for _ in range(6):  # each on a connection of its own: one of them is another process's
            async with connect(server.url) as other:
                answer = await other.get(f"/api/runs/{run_id}/events", params={"poll": "5"})
                assert answer.json()["events"][0]["text"] == "before "
        async with connect(server.url) as other:
            await other.post(f"/api/runs/{run_id}/cancel")
        assert (await api.ended(run_id))["state"] == "cancelled"


# --- One that dies ---


async def test_one_that_is_killed_is_followed_by_another(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("again")
        victims = ready_pids(server.output)
        os.kill(victims[0], signal.SIGKILL)
        await until(lambda: len(ready_pids(server.output)) == 4, READY_S, "another is ready")
        assert f"Process {victims[0]} was killed by SIGKILL" in server.output
        os.kill(victims[1], signal.SIGKILL)
        os.kill(victims[2], signal.SIGKILL)
        await until(lambda: len(ready_pids(server.output)) == 6, READY_S, "two more are ready")
        (tmp_path / "go").touch()
        run = await api.ended(run_id)
        assert run["state"] == "succeeded"
        assert run["attempt"] in (2, 3), "the one that took it up may have been the next to die"
        assert server.output.count("Penstock is ready at") == 1


async def test_one_that_was_told_to_leave_by_somebody_else_is_followed_by_another(
    server: ServerProcess, connect: "type[Api]"
) -> None:
    async with started(server, connect):
        first = ready_pids(server.output)[0]
        os.kill(first, signal.SIGTERM)
        await until(lambda: len(ready_pids(server.output)) == 4, READY_S)
        assert f"Process {first} ended with 0" in server.output


async def test_what_the_functions_of_a_killed_process_had_started_is_ended(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        await api.submit("keep", name="sleeper")
        sleeper = tmp_path / "sleeper"
        await until(lambda: sleeper.exists() and sleeper.read_text())
        pid = int(sleeper.read_text())
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert parent in ready_pids(server.output)
        os.kill(parent, signal.SIGKILL)
        await until(lambda: is_gone(pid))


def test_waits_between_quick_deaths_grow_to_a_bound() -> None:
    delays = [restart_delay_s(deaths) for deaths in range(100)]
    assert delays[:2] == [0, 0], "an accident is followed at once"
    assert delays[2] == supervisor.RESTART_S[0]
    assert delays == sorted(delays)
    assert delays[-1] == supervisor.RESTART_S[1]


async def test_one_that_dies_at_once_again_and_again_is_waited_for(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path, write_app: Callable[[str], Path]
) -> None:
    async with started(server, connect) as api:
        write_app("import os\nwith open('tries', 'a') as tries:\n    tries.write('x')\nos._exit(9)")
        os.kill(ready_pids(server.output)[0], signal.SIGKILL)
        await until(lambda: "another starts in 0.5 s" in server.output, READY_S)
        await until(lambda: "another starts in 1 s" in server.output, READY_S)
        assert (tmp_path / "tries").read_text().startswith("xx")
        assert (await api.get("/healthz")).status_code == 200
        write_app(SOURCE)
        await until(lambda: len(ready_pids(server.output)) == 4, READY_S)
        assert await asyncio.to_thread(server.terminate) == 0


async def test_when_the_last_is_dead_and_none_can_start_it_is_over(
    server: ServerProcess, connect: "type[Api]", write_app: Callable[[str], Path]
) -> None:
    async with started(server, connect):
        write_app("raise ValueError('boom')")
        for pid in ready_pids(server.output):
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not server.running, READY_S)
        assert server.kill() == 2
        assert "app.py can't be imported" in server.output


# --- One after the other is replaced ---


class Load:
    """Clients of every habit that go on for as long as they are let, and write down what they are answered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers = 0
        self.refused: list[str] = []
        self.pids: set[int] = set()
        self.over = False

    async def new_connections(self) -> None:
        while not self.over:
            async with self._client() as client:
                await self._ask(client)

    async def one_connection(self, pause_s: float) -> None:
        async with self._client() as client:
            while not self.over:
                await self._ask(client)
                await asyncio.sleep(pause_s)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=15, trust_env=False)

    async def _ask(self, client: httpx.AsyncClient) -> None:
        try:
            answer = await client.post("/api/runs", json={"function": "pid", "input": {}})
            if answer.status_code == 202:
                answer = await client.get("/readyz")
        except httpx.TransportError as error:
            self.refused.append(repr(error))
            return
        self.answers += 1
        if answer.status_code >= 300:
            self.refused.append(answer.text)


async def test_a_restart_refuses_no_request(
    server: ServerProcess, connect: "type[Api]", write_app: Callable[[str], Path], tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        load = Load(server.url)
        async with asyncio.TaskGroup() as tasks:
            for pause_s in (0, 0.01, 0.05, 0.1, 0.2):
                tasks.create_task(load.one_connection(pause_s))
                tasks.create_task(load.new_connections())
            await until(lambda: load.answers > 20)
            old = ready_pids(server.output)
            write_app(SOURCE.replace("return os.getpid()", "return -1"))
            os.kill(server.pid, signal.SIGHUP)
            await until(lambda: "All processes are new" in server.output, READY_S)
            before = load.answers
            await until(lambda: load.answers > before + 20)
            load.over = True
        assert load.refused == []
        assert are_gone(old)
        assert sorted(told(server.output)) == sorted(old), "each was told once"
        assert (await api.ended(await api.submit("pid")))["result"] == -1, "the new code is served"
        (tmp_path / "go").touch()
        assert await asyncio.to_thread(server.terminate) == 0


async def test_a_restart_leaves_what_runs_its_grace_time(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("wait")
        async with api.stream("GET", f"/api/runs/{run_id}/events") as reading:
            pieces = reading.aiter_text()
            assert "retry" in await anext(pieces)
            rest = asyncio.create_task(_joined(pieces))
            executes = await until(lambda: (tmp_path / "waits").exists() and (tmp_path / "waits").read_text())
            os.kill(server.pid, signal.SIGHUP)
            # They leave one by one, and the reader's process may be another than the run's, before it or after.
            await until(lambda: int(executes) in told(server.output), READY_S)
            (tmp_path / "go").touch()
            text = await asyncio.wait_for(rest, READY_S)
        assert "event: draining" in text or '"succeeded"' in text
        run = await api.ended(run_id)
        assert (run["state"], run["attempt"]) == ("succeeded", 1)


async def _joined(pieces: AsyncIterator[str]) -> str:
    return "".join([piece async for piece in pieces])


async def test_a_restart_with_code_that_does_not_start_changes_nothing(
    server: ServerProcess, connect: "type[Api]", write_app: Callable[[str], Path]
) -> None:
    async with started(server, connect) as api:
        write_app("raise ValueError('boom')")
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: "the restart ends here" in server.output, READY_S)
        assert "ValueError: boom" in server.output
        assert not told(server.output)
        assert (await api.get("/healthz")).status_code == 200
        write_app(SOURCE)
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: "All processes are new" in server.output, READY_S)


# --- The end ---


async def test_sigterm_is_passed_on_once_and_all_leave_in_order(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("wait")
        await until(lambda: api.get(f"/api/runs/{run_id}"))
        leaving = asyncio.create_task(asyncio.to_thread(server.terminate))
        await until(lambda: len(told(server.output)) == 3)
        (tmp_path / "go").touch()
        assert await leaving == 0
        assert sorted(told(server.output)) == sorted(ready_pids(server.output))
        assert are_gone(ready_pids(server.output))
        assert "Traceback" not in server.output
        await asyncio.to_thread(server.restart)
        run = await api.ended(run_id)
        assert (run["state"], run["attempt"]) == ("succeeded", 1)


async def test_one_that_is_stuck_is_killed_after_its_time(
    write_app: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_app(SOURCE)
    async with make_server(tmp_path, 2, "--grace-s", "0") as server:
        stuck = ready_pids(server.output)[1]
        os.kill(stuck, signal.SIGSTOP)
        begun = time.monotonic()
        assert await asyncio.to_thread(server.terminate) == 0
        assert time.monotonic() - begun < supervisor.KILL_AFTER_S + 2
        assert f"Process {stuck} does not leave; it is killed." in server.output
        assert are_gone(ready_pids(server.output))


async def test_without_their_supervisor_all_leave_in_order(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("wait")
        await until(lambda: api.get(f"/api/runs/{run_id}"))
        pids = ready_pids(server.output)
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: len(told(server.output)) == 3, what="they notice")
        (tmp_path / "go").touch()
        await until(lambda: are_gone(pids), READY_S, "they leave")
        assert server.output.count("Stopped after") == 3
        await asyncio.to_thread(server.restart)
        assert (await api.ended(run_id))["state"] == "succeeded"


async def test_one_that_is_still_starting_notices_too(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, pathlib, time, penstock\napp = penstock.App()\n"
        "pathlib.Path('part').write_text(str(os.getpid()))\nos.rename('part', 'pid')\ntime.sleep(60)\n"
    )
    argv = [sys.executable, "-m", "penstock", "serve", "slow.py", "--port", "0", "--workers", "2"]
    with subprocess.Popen(argv, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        await until((tmp_path / "pid").exists, READY_S)
        process.kill()
    pid = int((tmp_path / "pid").read_text())
    await until(lambda: is_gone(pid), 5, "nobody is left behind")


IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
how = termios.tcgetattr(0)
how[3] |= termios.TOSTOP  # as `stty tostop`: a background group that writes is stopped
termios.tcsetattr(0, termios.TCSANOW, how)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A command in a terminal of its own, as a person has it."""

    def __init__(self, *argv: str, cwd: Path) -> None:
        self._master, slave = pty.openpty()
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", IN_TERMINAL, *argv],
            cwd=cwd, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        os.set_blocking(self._master, False)

    def read(self) -> str:
        with contextlib.suppress(OSError):
            self.output += os.read(self._master, 65536).decode()
        return self.output

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def close(self) -> None:
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    async def ended(self) -> int:
        async def look() -> bool:
            self.read()
            return self.process.poll() is not None

        await until(look, READY_S, "it ends")
        return self.process.wait()


@pytest.fixture
def terminal(write_app: Callable[[str], Path], tmp_path: Path) -> Iterator[Terminal]:
    """With a server of two processes that has just been started in it."""
    write_app(SOURCE)
    argv = [sys.executable, "-u", "-m", "penstock", "serve", *options(2, "--port", "0")]
    terminal = Terminal(*argv, cwd=tmp_path)
    yield terminal
    terminal.process.kill()
    terminal.process.wait()
    terminal.close()


async def ready(terminal: Terminal) -> str:
    """The address, once it is told."""
    await until(lambda: "Penstock is ready" in terminal.read() and terminal.output.endswith("\n"), READY_S)
    found = re.search(r"ready at (\S+)", terminal.output)
    assert found is not None
    return found[1]


async def test_ctrl_c_in_a_terminal_lets_them_leave_in_order(terminal: Terminal) -> None:
    await ready(terminal)
    terminal.press(b"\x03")
    assert await terminal.ended() == 0
    assert terminal.output.count("Stopped after") == 2, "each had one signal: a second would have ended it"
    assert "Traceback" not in terminal.output


async def test_a_second_ctrl_c_ends_all_at_once(terminal: Terminal, connect: "type[Api]") -> None:
    async with connect(await ready(terminal)) as api:
        run_id = await api.submit("wait")
        await until(lambda: api.get(f"/api/runs/{run_id}"))
        pids = ready_pids(terminal.output)
        terminal.press(b"\x03")
        await until(lambda: len(told(terminal.read())) == 2)
        begun = time.monotonic()
        terminal.press(b"\x03")
        assert await terminal.ended() == 130
        assert time.monotonic() - begun < 1
        assert "Stopped at once" in terminal.output
        await until(lambda: are_gone(pids), 2)


async def test_a_terminal_that_is_closed_ends_it(terminal: Terminal) -> None:
    await ready(terminal)
    pids = ready_pids(terminal.output)
    terminal.close()
    await until(lambda: terminal.process.poll() is not None, READY_S)
    assert terminal.process.wait() == 0
    await until(lambda: are_gone(pids), 2)


# --- Not starting ---


def complaints(output: str) -> list[str]:
    return re.findall(r"^penstock: (.*)$", output, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["nothing.py"], "There is no file nothing.py."),
        (["broken.py"], "broken.py can't be imported."),
        (["app.py", "--rate", "fast"], "The setting 'rate' can't be used: Expected `float`, got `str`."),
        (["app.py", "--store", "sqlite:///broken.py"], "broken.py: file is not a database."),
        (["app.py", "--host", "0.0.0.0"], "0.0.0.0 can be reached from other machines, and no token is set."),
        (
            ["app.py", "--store", "memory:"],
            "memory: belongs to one process, and --workers 3 makes several: none would see what the others keep.",
        ),
    ],
)
def test_what_can_not_start_ends_with_one_message(
    argv: list[str], complaint: str, server: ServerProcess, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(f"raise ValueError('boom')  # {'no store either' * 100}\n")
    done = run_serve(tmp_path, *argv, "--port", "0", "--workers", "3")
    assert done.returncode == 2
    assert complaints(done.stderr) == [complaint]
    assert done.stderr.count("Traceback") == (argv[0] == "broken.py")


def test_a_port_in_use_is_one_message(server: ServerProcess, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = run_serve(tmp_path, "app.py", "--port", port, "--workers", "3")
    assert done.returncode == 2
    (complaint,) = complaints(done.stderr)
    assert complaint.startswith(f"Can't listen on 127.0.0.1 port {port}: Address already in use")


def test_one_that_only_the_first_can_start_is_the_end(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import os, penstock\nos.mkdir('mine')\napp = penstock.App()\n")
    done = run_serve(tmp_path, "app.py", "--port", "0", "--workers", "2")
    assert done.returncode == 2
    assert complaints(done.stderr) == ["app.py can't be imported."]


def test_one_that_crashes_while_it_starts_is_the_end(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    done = run_serve(tmp_path, "app.py", "--port", "0", "--workers", "2")
    assert done.returncode == 128 + signal.SIGSEGV
    assert "was killed by SIGSEGV before it was ready" in done.stderr


@pytest.mark.parametrize("number", ["0", "-1", "two", "1000"])
def test_a_number_of_processes_that_can_not_be(number: str, tmp_path: Path) -> None:
    done = run_serve(tmp_path, "app.py", "--workers", number)
    assert done.returncode == 2
    assert f"{number!r} is no number from 1 to 256" in done.stderr


def test_the_line_to_a_supervisor_is_not_for_people(server: ServerProcess, tmp_path: Path) -> None:
    done = run_serve(tmp_path, "app.py", "--tether", "99")
    assert done.returncode == 2
    assert complaints(done.stderr) == ["--tether is for Penstock's own use."]


# --- Which program ---


def test_the_same_program_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-X", "dev", "bin/penstock", "serve", "app.py"])
    monkeypatch.setattr(sys, "argv", ["bin/penstock", "serve", "app.py"])
    assert same_program(called=False) == [sys.executable, "-X", "dev", "bin/penstock"]
    assert same_program(called=True) == [sys.executable, "-m", "penstock"]


def test_a_program_that_calls_the_command_is_not_started_again(
    write_app: Callable[[str], Path], tmp_path: Path
) -> None:
    write_app("")
    (tmp_path / "program.py").write_text(
        "import sys\nfrom penstock.cli import main\nprint('begun', flush=True)\n"
        "sys.exit(main(['serve', 'app.py', '--port', '0', '--workers', '2']))\n"
    )
    with ServerProcess(argv=[sys.executable, "program.py"], cwd=tmp_path) as server:
        assert server.output.count("begun") == 1
        assert server.terminate() == 0
