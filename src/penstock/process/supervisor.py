"""Several processes of one app: starts them, keeps up their number, replaces them, and ends them.

Each is a fresh interpreter that runs the same command, never a fork: the supervisor so needs neither the app nor
a server, a restart finds the app's new code, and no lock is inherited from a thread that is not there. They are
in process groups of their own, as a terminal's Ctrl-C goes to a whole group, and a second one ends a process at
once; so each is told by the supervisor, and once.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from .own import EXIT_BROKEN, exit_at_once
from .shelf import Shelf
from .tether import Line, Ready

__all__ = ["restart_delay_s", "same_program", "supervise"]

log = logging.getLogger("penstock")

STEADY_S = 5.0
"""A process that lived this long had started well: its death is an accident, and another follows at once."""

RESTART_S = (0.5, 10.0)
"""Wait before the second start after a quick death, doubled up to the second number: a process that dies at once
costs a second of a core to start, and whoever mends the cause should not wait long."""

KILL_AFTER_S = 3.0
"""How much longer than its grace time a process may take to leave: by then its own timer has ended it, if it is
not stopped or stuck."""

TERMINAL = "/dev/tty"


def restart_delay_s(quick_deaths: int) -> float:
    """How long to wait before a process is started again that has died early `quick_deaths` times in a row."""
    first, most = RESTART_S
    return 0.0 if quick_deaths < 2 else min(most, first * 2.0 ** min(quick_deaths - 2, 16))


def supervise(command: Callable[[str], Sequence[str]], count: int, on_ready: Callable[[str], None]) -> int:
    """Run `count` processes until a signal says otherwise; returns the exit code.

    SIGTERM and Ctrl-C: all are told to leave, and waited for. A second Ctrl-C: all are killed, and this process
    ends. SIGHUP: one after the other is replaced. If this process is killed, the others leave by themselves.

    Args:
        command: The command line of one process, given what it needs to make its `Tether`.
        count: How many there are to be.
        on_ready: Called once, when all are ready, with the first one's line.

    One that can't start ends all with its own exit code, having said why, unless others serve.
    """
    return asyncio.run(_Supervisor(command, count, on_ready).run())


class _Process:
    """One of them. `told` is whether it was asked to leave."""

    def __init__(
        self, command: Callable[[str], Sequence[str]], listener: socket.socket | None, shelf: Shelf
    ) -> None:
        self._shelf = shelf
        with Line(listener, shelf.folder) as line:
            self._process = subprocess.Popen(  # noqa: S603 - our own command again
                command(line.spec), stdin=subprocess.DEVNULL, pass_fds=line.files, process_group=0
            )
        loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[int] = loop.create_future()
        self.message: Ready | None = None
        self.listener: socket.socket | None = None
        self.told = False
        self._line = line
        self._heard: asyncio.Future[int] = loop.create_future()
        self._started_at = time.monotonic()
        loop.add_reader(line.ours, self._read)

    def _read(self) -> None:
        try:
            message, listener = self._line.read()
        except EOFError:
            asyncio.get_running_loop().remove_reader(self._line.ours)
            return
        self.listener = listener or self.listener
        if message is not None:
            self.message = message
            self._heard.set_result(self.pid)
            log.info("Process %d is ready.", self.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def serves(self) -> bool:
        """It is ready, and has not been asked to leave."""
        return self.message is not None and not self.told and not self.gone.done()

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._started_at

    async def up(self) -> bool:
        """Whether it became ready, once that is known."""
        await asyncio.wait([self._heard, self.gone], return_when=asyncio.FIRST_COMPLETED)
        return self.message is not None

    def leave(self) -> None:
        """Ask it to leave. It is asked once: what a second signal means is another thing."""
        if not self.told and not self.gone.done():
            self.told = True
            self._process.terminate()

    async def left(self) -> None:
        """Return when it is gone; one that takes too long is killed."""
        grace_s = self.message.grace_s if self.message is not None else 0.0
        await asyncio.wait([self.gone], timeout=grace_s + KILL_AFTER_S)
        if not self.gone.done():
            log.error("Process %d does not leave; it is killed.", self.pid)
            self.kill()
            await asyncio.wait([self.gone])

    def kill(self) -> None:
        """End it at once, and with it what its functions have started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> bool:
        """Whether it is gone."""
        if not self.gone.done():
            code = self._process.poll()
            if code is None:
                return False
            if code:  # it did not end in order, so what its functions have started goes on; the group's id
                self.kill()  # is theirs as long as there are any
            self._shelf.settle(self.pid)
            self.gone.set_result(code)
            asyncio.get_running_loop().remove_reader(self._line.ours)
            self._line.close()
        return True

    @property
    def fate(self) -> str:
        """How it ended, in words."""
        code = self.gone.result()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


class _Supervisor:
    """See `supervise`."""

    def __init__(
        self, command: Callable[[str], Sequence[str]], count: int, on_ready: Callable[[str], None]
    ) -> None:
        self._command = command
        self._count = count
        self._on_ready = on_ready
        self._listener: socket.socket | None = None
        self._shelf = Shelf()
        self._alive: set[_Process] = set()
        self._places: list[_Process] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._restart = asyncio.Event()
        self._has_terminal = _has_terminal()
        self._ignores_hang_up = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        self._end: asyncio.Future[int] = loop.create_future()
        for number, handler in (
            (signal.SIGCHLD, self._reap),
            (signal.SIGTERM, self._leave),
            (signal.SIGINT, self._interrupt),
            (signal.SIGHUP, self._hang_up),
        ):
            loop.add_signal_handler(number, handler)
        try:
            self._go(self._begin())
            code = await self._end
        finally:
            await self._end_all()
            self._shelf.remove()
        return code

    # Signals

    def _leave(self) -> None:
        if not self._leaving:
            self._leaving = True
            log.info("Leaving: %d processes are told.", len(self._alive))
        self._finish(0)

    def _interrupt(self) -> None:
        if self._leaving:
            for process in self._alive:
                process.kill()
            self._shelf.remove()
            exit_at_once()
        self._leave()

    def _hang_up(self) -> None:
        # The same signal asks for a restart and says that the terminal is gone; `nohup` is for the latter.
        if self._has_terminal and not self._ignores_hang_up and not _has_terminal():
            self._leave()
        else:
            self._restart.set()

    def _reap(self) -> None:
        self._alive = {process for process in self._alive if not process.reap()}

    # Life

    def _finish(self, code: int) -> None:
        if not self._end.done():
            self._end.set_result(code)

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._gone_wrong)

    def _gone_wrong(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("The supervisor can't go on.", exc_info=error)
            self._finish(EXIT_BROKEN)

    def _start(self) -> _Process:
        """Raises OSError where the machine has no room for another."""
        try:
            process = _Process(self._command, self._listener, self._shelf)
        except OSError as error:
            log.critical("No process can be started: %s.", error.strerror)
            raise
        self._alive.add(process)
        return process

    async def _begin(self) -> None:
        # One alone first: it makes the store's file and the socket, and says once what is wrong with them.
        first = self._start()
        self._places = [first]
        if not await first.up():
            self._give_up(first)
            return
        self._listener = first.listener
        self._places += [self._start() for _ in range(self._count - 1)]
        for process in self._places:
            if not await process.up():
                self._give_up(process)
                return
        for place in range(self._count):
            self._go(self._keep(place))
        self._go(self._restart_when_asked())
        assert first.message is not None
        self._on_ready(first.message.line)

    def _give_up(self, process: _Process) -> None:
        code = process.gone.result()
        if code < 0:
            log.critical("Process %d %s before it was ready.", process.pid, process.fate)
        self._finish(code if code >= 0 else 128 - code)

    async def _keep(self, place: int) -> None:
        """Have a process in this place, whatever happens to it."""
        quick_deaths = 0
        while True:
            process = self._places[place]
            await asyncio.wait([process.gone])
            if self._places[place] is not process:  # it was replaced
                continue
            if self._is_hopeless(process):
                self._give_up(process)
                return
            quick_deaths = quick_deaths + 1 if process.age_s < STEADY_S else 0
            delay_s = restart_delay_s(quick_deaths)
            log.error("Process %d %s; another starts in %g s.", process.pid, process.fate, delay_s)
            await self._fill(place, process, delay_s)

    async def _fill(self, place: int, dead: _Process, delay_s: float) -> None:
        while self._places[place] is dead:
            await asyncio.sleep(delay_s)
            delay_s = RESTART_S[1]
            if self._places[place] is dead:
                with contextlib.suppress(OSError):
                    self._places[place] = self._start()

    def _is_hopeless(self, process: _Process) -> bool:
        could_not_start = process.message is None and process.gone.result() > 0
        return could_not_start and not any(other.serves for other in self._alive)

    async def _restart_when_asked(self) -> None:
        while True:
            await self._restart.wait()
            self._restart.clear()
            log.info("Restarting: one process after the other is replaced.")
            for place in range(self._count):
                if not await self._replace(place):
                    break
            else:
                log.info("All processes are new.")

    async def _replace(self, place: int) -> bool:
        try:
            new = self._start()
        except OSError:
            return False
        if not await new.up() or new.gone.done():
            log.error("Process %d %s before it was ready; the restart ends here.", new.pid, new.fate)
            return False
        old, self._places[place] = self._places[place], new
        old.leave()
        await old.left()
        return True

    # End

    async def _end_all(self) -> None:
        for task in self._tasks:
            task.cancel()
        for process in self._alive:
            process.leave()
        await asyncio.gather(*[process.left() for process in self._alive])
        log.info("All processes have left.")


def _has_terminal() -> bool:
    try:
        os.close(os.open(TERMINAL, os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def same_program(*, called: bool) -> list[str]:
    """The program that is running, without its arguments: the same interpreter, options and script.

    called: it was another program that called us; then it is `penstock`, as the other might do anything.
    """
    if called:
        return [sys.executable, "-m", "penstock"]
    return [sys.executable, *sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]]
