"""The processes of isolated functions, as a worker sees them: forked, watched, killed."""

import asyncio
import itertools
import logging
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec

from ...errors import ConfigError
from ...models import RunRecord
from ..emission import message_of
from ..execute import run_in_thread
from ..function import Function
from .descendants import Process, kill_stray
from .forkserver import FORK, KILL, REQUEST, Report, Setup
from .importable import recipe_of, setup_for
from .pipe import Job

__all__ = ["Child", "Children"]

log = logging.getLogger("penstock")

BOOT = (
    "import sys; line, *sys.path = sys.argv[1:]\n"
    "from penstock.worker.isolation.forkserver import main; main(int(line))"
)
"""What the fork server's interpreter is told: where modules are found is what it has to know first."""

BUSY_S = 0.01
"""How soon the fork server is asked again when it has hundreds of requests before it."""

REPORTS_BYTES = 64 * 1024
"""Reports read at once: a thousand."""

SLOW_S = 15.0
"""After how long an import is worth a word: large models take as long, a module that begins to serve for ever."""

CLOSE_S = 2.0
"""What the fork server gets to kill its children and leave: milliseconds, unless the machine is busy."""


class Child:
    """One process, from the moment it was asked for.

    gone: settled once it is dead and reaped: its exit code, minus the signal if one killed it; None if unknown.
    process: None before it was born.
    problem: why it could not be born.
    knows: the functions that it has been given by the fork server.
    """

    def __init__(self, server: "_ForkServer", number: int) -> None:
        self.gone: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self.process: Process | None = None
        self.problem = ""
        self.knows = server.knows
        self._server = server
        self._number = number

    def kill(self) -> None:
        """Kill it and all that it has started; `gone` says when that is done."""
        if not self.gone.done():
            self._server.kill(self._number)


class Children:
    """A worker's. Their fork server is started by `begin`, or with the first; if it dies, again with the next.

    functions: by name; those that are isolated by the start are imported once for all their runs.
    uploads: the folder of uploaded files.
    """

    def __init__(self, functions: Mapping[str, Function], uploads: Path) -> None:
        self._functions = functions
        self._uploads = str(uploads)
        self._server: _ForkServer | None = None
        self._closed = False

    def begin(self) -> None:
        """Have the functions' modules imported, so that no run has to wait for it; if none is isolated, nothing.

        Raises:
            ConfigError: A process of its own would not find one of them.
        """
        if any(function.isolated for function in self._functions.values()):
            self._server = _ForkServer(setup_for(self._functions.values()))

    async def fork(self, pipe: socket.socket) -> Child:
        """A new process that takes its run from `pipe`. The caller closes its own copy.

        Raises:
            ConfigError: The functions' modules can't be imported.
        """
        return await (await self._started()).fork(pipe)

    def job(self, run: RunRecord, child: Child) -> Job:
        """What the process is to do; with the function, where that was registered too late to be known there."""
        known = run.function in child.knows
        recipe = None if known else recipe_of(self._functions[run.function])
        return Job(run, self._uploads, recipe)

    async def close(self) -> None:
        """Kill all that are left, and the fork server. When this returns they are gone."""
        self._closed = True
        if self._server is not None:
            await self._server.close()

    async def _started(self) -> "_ForkServer":
        if self._closed:
            raise ConfigError("The worker has stopped; it begins no process.")
        if self._server is None or self._server.lost:
            self._server = _ForkServer(setup_for(self._functions.values()))
        server = self._server
        await asyncio.shield(server.ready)
        return server


class _ForkServer:
    """The process that forks, from its start to its end."""

    def __init__(self, setup: Setup) -> None:
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.lost = False
        self._strays: list[Process] = []
        """What it has forked and can't kill any more."""
        self._patience_s = CLOSE_S
        self.knows = setup.functions.keys()
        self._children: dict[int, Child] = {}
        self._numbers = itertools.count(1)
        self._heard = b""
        self._line, theirs = socket.socketpair()
        self._line.setblocking(False)
        self._spawned = run_in_thread(partial(_spawn, theirs), "penstock-fork-server")
        self._starting = asyncio.create_task(self._start(setup))
        self._loop.call_later(SLOW_S, self._complain)

    async def _start(self, setup: Setup) -> None:
        try:
            await asyncio.shield(self._spawned)
            self._loop.add_reader(self._line, self._hear)
            await self._loop.sock_sendall(self._line, msgspec.json.encode(setup) + b"\n")
        except OSError as error:
            if not self.lost:
                self._lose(message_of(error))

    def _complain(self) -> None:
        if not self.ready.done():
            log.warning("Modules of isolated functions are being imported for %g s now; runs wait.", SLOW_S)

    async def fork(self, pipe: socket.socket) -> Child:
        number = next(self._numbers)
        while not self._send(FORK, number, pipe.fileno()):  # noqa: ASYNC110 - no event tells of room in there
            await asyncio.sleep(BUSY_S)
        child = Child(self, number)
        if self.lost:
            child.gone.set_result(None)
        else:
            self._children[number] = child
        return child

    def kill(self, number: int) -> None:
        if not self._send(KILL, number):
            self._loop.call_later(BUSY_S, self.kill, number)

    def _send(self, wanted: bytes, number: int, *files: int) -> bool:
        """Whether that has been seen to."""
        if self.lost:
            return True
        try:
            socket.send_fds(self._line, [REQUEST.pack(wanted, number)], files)
        except BlockingIOError:
            return False
        except OSError as error:
            self._lose(message_of(error))
        return True

    def _hear(self) -> None:
        try:
            data = self._line.recv(REPORTS_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose("it ended by itself")
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            if not self.lost:
                self._take(msgspec.json.decode(line, type=Report))

    def _take(self, report: Report) -> None:
        if report.what == "ready":
            self.ready.set_result(None)
        elif report.what == "broken":
            self._lose(report.text)
        elif report.what == "born":
            self._children[report.child].process = Process(report.number, report.started)
        else:
            child = self._children.pop(report.child)
            child.problem = report.text
            child.gone.set_result(None if report.text else report.number)

    def _lose(self, problem: str) -> None:
        """It has ended, or is of no use, though nobody has closed it."""
        log.error("The process that isolated functions are forked from was lost: %s", problem)
        self._strays = [child.process for child in self._children.values() if child.process is not None]
        self._hang_up(problem)

    def _hang_up(self, problem: str) -> None:
        self.lost = True
        self._starting.cancel()
        self._loop.remove_reader(self._line)
        if not self.ready.done():
            self.ready.set_exception(_broken(problem))
            self.ready.exception()  # noted: perhaps nobody waits any more
        self._burying = asyncio.create_task(self._bury())

    async def _bury(self) -> None:
        await asyncio.wait([self._starting])
        self._line.close()
        if self._strays:
            await run_in_thread(partial(_kill_strays, self._strays), "penstock-strays")
        try:
            process = await self._spawned
        except OSError:  # it was never alive
            return
        dead = run_in_thread(process.wait, "penstock-fork-server")
        await asyncio.wait([dead], timeout=self._patience_s)
        if not dead.done():
            process.kill()
            await dead
        for child in self._children.values():
            child.gone.set_result(None)
        self._children.clear()

    async def close(self) -> None:
        """It kills its children when it sees that nobody needs it, and is waited for."""
        if not self.lost:
            if not self.ready.done():  # it is importing, and looks at nothing else
                self._patience_s = 0.0
            self._hang_up("the worker has stopped")
        await asyncio.shield(self._burying)


def _spawn(line: socket.socket) -> "subprocess.Popen[bytes]":
    with line:
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", BOOT, str(line.fileno()), *map(str, sys.path)],
            stdin=subprocess.DEVNULL,
            pass_fds=[line.fileno()],
            start_new_session=True,  # Ctrl-C in a terminal is for the worker
        )


def _kill_strays(processes: list[Process]) -> None:
    for process in processes:
        kill_stray(process)


def _broken(problem: str) -> ConfigError:
    return ConfigError(
        f"A process for isolated functions can't be started: {problem}.",
        hint="It imports their modules; what only the server is to do belongs under "
        '`if __name__ == "__main__":`.',
    )
