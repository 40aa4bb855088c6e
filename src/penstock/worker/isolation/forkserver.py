"""The process from which the processes of isolated functions are forked.

It imports the functions' modules once, has one thread, and outlives the runs, so that each of them begins within
milliseconds and none is forked from a process with threads. The standard library's fork server imports nothing
beforehand that is not in the working folder (3.11), dies of the SIGTERM that a service manager sends to all of a
service, imports the program that was started again, and lets what a function has started live on.

One byte says what the worker wants (`FORK`, with the run's pipe, or `KILL`), a number which child. Back come
`Report`s. The worker's death is the end of the line; then all children are killed.

A child is killed with all that it has started, in whatever session. Each adopts its orphans, so that they stay
below it while it lives: it is stopped, what is below it is killed until nothing is left, and then it is. What one
that died by itself had started becomes ours, as that of none which lives can.
"""

import contextlib
import faulthandler
import gc
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import traceback
import types
from collections.abc import Collection, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Literal, NoReturn

import msgspec

from ...memory.processes import children_of
from ..emission import message_of
from ..function import Function
from .child import execute_run
from .descendants import (
    PATIENCE_S,
    Process,
    adopt_orphans,
    environment_of,
    kill_below,
    kill_group,
)
from .pipe import Recipe

__all__ = ["FORK", "KILL", "REQUEST", "Program", "Report", "Setup", "main"]

REQUEST = struct.Struct("!cI")
FORK, KILL = b"F", b"K"

PROGRAM = "__mp_main__"
"""The name under which the program's own module is imported here: what is under `if __name__ == "__main__"` is
not executed. The standard library's, which others know too."""

ORPHANED_S = 1.0
"""How often it is looked whether the worker lives: its end of the line may be held open by a process that it
forked."""

MARK = "PENSTOCK_FORKED_BY"
"""A variable in the environment of what the children start: tells it from what a module has started here."""

OOM_SCORE = "500"
"""Added to a child's badness, of 1,000: when memory runs out, the kernel is to take the run, not the server."""


class Program(msgspec.Struct, frozen=True):
    """The module that was started, `__main__`: its file, and its package where it was started with `-m`."""

    file: str
    package: str | None


class Setup(msgspec.Struct, frozen=True):
    """What the worker says first. `program`: where a function is in it."""

    argv: list[str]
    program: Program | None
    functions: dict[str, Recipe]


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """ready; broken (`text` says why); born with the process id `number`; gone with the exit code `number`.

    started: of one that is born, see `Process`.
    """

    what: Literal["ready", "broken", "born", "gone"]
    child: int = 0
    number: int = 0
    started: int = 0
    text: str = ""


def main(line: int) -> None:
    """The process's life. `line`: the file number of its socket to the worker."""
    code = 1
    try:
        _expect_the_worst()
        adopt_orphans()  # else process 1's, which in a container often waits for nobody's children
        server = _ForkServer(socket.socket(fileno=line))
        functions = server.prepare()
        execute_run(server.serve(), functions)  # from here on, in a child
        code = 0
    except SystemExit as exit_:
        code = _exit_code(exit_)
    except BaseException:  # noqa: BLE001 - whose process this is, is not known any more
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)  # what the modules hold, and wanted done at the exit, is shared with the next child


def _expect_the_worst() -> None:
    # A terminal's Ctrl-C and a service manager's SIGTERM are for the worker, which stops its runs in its own time.
    # Handlers, as what the functions start would inherit an "ignore"; that of `nohup` they are to inherit.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _ignore)
    with contextlib.suppress(Exception):  # standard output and error may be anything
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # what is printed outlives a kill
        faulthandler.enable()  # a crash says where


def _ignore(_number: int, _frame: types.FrameType | None) -> None:
    """Nothing."""


def _exit_code(exit_: SystemExit) -> int:
    if exit_.code is None or isinstance(exit_.code, int):
        return (exit_.code or 0) & 0xFF
    print(exit_.code, file=sys.stderr)
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


class _ForkServer:
    """The process's part in it. Its children leave it by returning from `serve`."""

    def __init__(self, line: socket.socket) -> None:
        line.set_inheritable(False)
        self._line = line
        self._worker = os.getppid()
        self._children: dict[int, Process] = {}  # by the worker's number
        self._self = Process.named(os.getpid())
        self._mark = f"{self._self.id}-{self._self.started}"
        self._is_clean = True
        """Whether nothing is left of those that have ended."""
        self._bell, self._clapper = socket.socketpair()
        self._selector = selectors.DefaultSelector()

    def prepare(self) -> dict[str, Function]:
        """Import what the worker asks for."""
        with self._line.makefile("rb") as lines:
            setup = msgspec.json.decode(lines.readline(), type=Setup)
        try:
            functions = _load(setup)
        except BaseException as error:
            self._report(Report("broken", text=message_of(error)))
            raise
        gc.collect()
        gc.freeze()  # a collection in a child would touch, and so copy, all that it shares with the others
        self._report(Report("ready"))
        return functions

    def serve(self) -> socket.socket:
        """Fork on demand until the worker is gone. Returns in each child, with its pipe."""
        # Else not all that we did not fork comes from a child of ours that has died.
        self._is_alone = threading.active_count() == 1 and not children_of(self._self.id)
        for end in (self._bell, self._clapper):
            end.setblocking(False)
        signal.set_wakeup_fd(self._clapper.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._selector.register(self._line, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in self._selector.select(ORPHANED_S)]
            if os.getppid() != self._worker:
                self._end()
            if self._bell in ready:
                self._bell.recv(4096)
            if self._line in ready and (pipe := self._heed()) is not None:
                return pipe
            self._reap()

    def _heed(self) -> socket.socket | None:
        """One request of the worker's; a pipe in the child that it has led to."""
        # One at a time: what is read together may have come with several files.
        request, files, _, _ = socket.recv_fds(self._line, REQUEST.size, 1)
        if not request:
            self._end()
        wanted, child = REQUEST.unpack(request)
        if wanted == FORK:
            return self._fork(child, files[0])
        if child in self._children:
            _kill([self._children[child]])
        return None

    def _fork(self, child: int, file: int) -> socket.socket | None:
        pipe = socket.socket(fileno=file)
        pipe.set_inheritable(False)
        _flush()  # or each child would write it once more
        try:
            process = os.fork()
        except OSError as error:
            self._report(Report("gone", child, text=message_of(error)))
            process = -1
        if process == 0:
            self._leave()
            return pipe
        pipe.close()
        if process > 0:
            self._children[child] = born = Process.named(process)
            self._report(Report("born", child, born.id, born.started))
        return None

    def _leave(self) -> None:
        """Be a child: with nothing of the fork server's, and the first of a group that is killed as a whole."""
        os.setsid()
        # What it leaves orphaned is so known to be its own, whatever that has done to its session and environment.
        # The price: of those, the dead are buried when the run ends; nobody can tell them from its own children.
        adopt_orphans()
        os.putenv(MARK, self._mark)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for end in (self._line, self._bell, self._clapper):
            end.close()
        with contextlib.suppress(OSError):  # only Linux has it
            Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
        if (numpy_random := sys.modules.get("numpy.random")) is not None:
            numpy_random.seed()  # else it is the same in every child; Python's own sees to itself

    def _reap(self) -> None:
        numbers = {process.id: child for child, process in self._children.items()}
        gone: list[Report] = []
        for process, code in _dead():
            if (child := numbers.get(process)) is not None:
                del self._children[child]
                kill_group(process)  # what it has started and left behind
                gone.append(Report("gone", child, code))
        if gone or not self._is_clean:
            # What hangs in the kernel must not hold up each fork.
            patience_s = PATIENCE_S if self._is_clean else 0.0
            self._is_clean = kill_below([self._self], self._is_left_behind, patience_s)
        for report in gone:
            self._report(report)

    def _is_left_behind(self, process: int) -> bool:
        """Whether this child of ours was started by one that has died."""
        if process in {child.id for child in self._children.values()}:
            return False
        return self._is_alone or f"{MARK}={self._mark}".encode() in environment_of(process)

    def _report(self, report: Report) -> None:
        with contextlib.suppress(OSError):  # nobody is there: `serve` is told as well
            self._line.sendall(msgspec.json.encode(report) + b"\n")

    def _end(self) -> NoReturn:
        _kill(self._children.values())
        for process in self._children.values():
            os.waitpid(process.id, 0)
        self._children.clear()
        kill_below([self._self], self._is_left_behind)
        os._exit(0)


def _kill(children: Collection[Process]) -> None:
    """Kill them, and all that they have started. They were not waited for, so that their ids are theirs."""
    for process in children:
        os.kill(process.id, signal.SIGSTOP)  # so that it starts no more
    kill_below(children)
    for process in children:  # by both names: one that was just forked leads no group yet
        kill_group(process.id)
        os.kill(process.id, signal.SIGKILL)


def _dead() -> Iterator[tuple[int, int]]:
    """The children that have died, with their exit codes, and what those had started."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found[0], os.waitstatus_to_exitcode(found[1])


def _load(setup: Setup) -> dict[str, Function]:
    sys.argv = setup.argv
    if setup.program is not None:
        _load_program(setup.program)
    return {name: recipe.function(name) for name, recipe in setup.functions.items()}


def _load_program(program: Program) -> None:
    module = types.ModuleType(PROGRAM)
    module.__file__, module.__package__ = program.file, program.package
    # Where pickled functions of it are looked for, and where its classes say that they come from.
    sys.modules["__main__"] = sys.modules[PROGRAM] = module
    SourceFileLoader(PROGRAM, program.file).exec_module(module)
