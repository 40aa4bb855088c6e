"""What a process does for itself, whether it serves or only executes: its interpreter, its loop and its end."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import NoReturn

__all__ = ["EXIT_BROKEN", "Farewell", "end_when_left", "exit_at_once", "run_process", "tune_interpreter"]

log = logging.getLogger("penstock")

EXIT_BROKEN = 70
"""Exit code of a process that broke down and then could not even end: EX_SOFTWARE of sysexits.h."""

EXIT_AT_ONCE = 130
"""Exit code of a process that was interrupted, by the shells' convention."""

SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the others from the interpreter. Python's 5 ms let the store's threads, which need
it for microseconds, wait for a busy event loop: p99 of 1,000 runs was three times as long (benchmarks)."""

LEFTOVERS_S = 1.0
"""How long, once all is closed, the process waits for threads that functions left behind in pools, which Python
would join for ever; then it ends without them."""

GC_THRESHOLDS = (20_000, 50, 50)
"""Allocations between collections, and collections between those of the next generation. Python's defaults stop
a process with 1,000 readers for 100 ms every second, to find nothing: our objects die by reference counts."""

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def tune_interpreter() -> None:
    """Once all is loaded, before the work begins."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()  # what is loaded by now stays; no need to look at it again
    gc.set_threshold(*GC_THRESHOLDS)


def run_process(main: Coroutine[None, None, None], loop_factory: LoopFactory | None) -> None:
    """Run `main` to its end, whatever the tasks of functions do meanwhile; the process ends soon after it."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        loop = runner.get_loop()
        working = loop.create_task(main)
        try:
            while not working.done():
                _run_on(loop, working)
        finally:
            _exit_in(LEFTOVERS_S, code=EXIT_BROKEN)  # a task that swallows its end must not keep the process


def _run_on(loop: asyncio.AbstractEventLoop, working: asyncio.Task[None]) -> None:
    try:
        loop.run_until_complete(working)
    except (SystemExit, KeyboardInterrupt):
        if working.done():
            raise
        # asyncio lets these two through from any task, past whoever awaits it.
        log.exception("A task of a function asked for the end of the process; only the task has ended.")


def end_when_left() -> None:
    """All is closed: end the process, with whatever is left behind in it."""
    _exit_in(LEFTOVERS_S)


def exit_at_once() -> NoReturn:
    """End the process, as somebody who presses Ctrl-C twice wants it."""
    os.write(2, b"\nStopped at once; unfinished runs are settled at the next start.\n")
    os._exit(EXIT_AT_ONCE)


class Farewell:
    """What signals mean: the first begins the shutdown, for which there are `grace_s`; Ctrl-C after that ends the
    process.

    supervised: whether a supervisor has started this process. SIGHUP is then for that one; else it means SIGTERM:
        the terminal was closed, or a service manager, knowing no better, wants a reload.
    """

    def __init__(self, grace_s: float, *, supervised: bool) -> None:
        self._grace_s = grace_s
        self._supervised = supervised
        self._begun = False

    def listen(self, then: Callable[[], object]) -> None:
        """From now on, hear what ends the process, and call `then` for each. For a process without a server."""

        def handle(number: int, _frame: FrameType | None) -> None:
            self.hear(number)
            then()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handle)
        self.listen_for_hang_up(handle)

    def listen_for_hang_up(self, handle: Callable[[int, FrameType | None], None]) -> None:
        """Have SIGHUP handled too, where it is for this process, and was not ignored when it began (`nohup`)."""
        hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
        if hang_up is not None and not self._supervised and signal.getsignal(hang_up) is not signal.SIG_IGN:
            signal.signal(hang_up, handle)

    def hear(self, number: int) -> None:
        """A signal has come; called by its handler. Does not return from a second Ctrl-C."""
        if self._begun and number == signal.SIGINT:
            exit_at_once()
        if not self._begun:
            # Here, not where the shutdown is done: a function that blocks the event loop keeps us from getting
            # there. Nothing that is stored can be lost by it.
            _exit_in(max(self._grace_s, LEFTOVERS_S))
        self._begun = True


def _exit_in(wait_s: float, code: int = 0) -> None:
    end = threading.Timer(wait_s, os._exit, [code])
    end.daemon = True
    end.start()
