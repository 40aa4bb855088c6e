"""Running a function in a process of its own, which can be killed; its events come through a pipe."""

import asyncio
import contextlib
import logging
import signal
import socket
from typing import Any

from ...errors import BufferFull, PenstockError
from ...events import MAX_EVENT_BYTES, SpanEnd
from ...memory import Pressure
from ...models import RunRecord, RunState
from ..emission import message_of, plain_text
from ..execute import STOP_GRACE_S
from ..outcome import Outcome, RunStopped
from ..recorder import Recorder
from .children import Child, Children
from .pipe import GO_ON, HOLD, STOP, Ended, Item, Saved, decode_items, encode

__all__ = ["IsolatedExecution"]

log = logging.getLogger("penstock")

READ_BYTES = 64 * 1024
"""Read from a pipe at once: with the pipe, which the system bounds, this is what a run has on its way to its
recorder. One event may be larger."""

LEAVE_S = 0.1
"""How long the run's own end waits for its process's, which is a matter of milliseconds: a place that is free by
then need not be given back on its own."""

EXIT_S = 2.0
"""How long a process whose function has ended may take to end itself, before it is killed."""

TAKE_S = 0.01
"""How soon an event that the recorder refused is offered again."""


class IsolatedExecution:
    """One attempt of a run in a process of its own. Made in the event loop; used like `Execution`.

    stop_grace_s: how long a stopped run's process is waited for before it is killed.
    thread_done: settled when the process is dead, with all that it started; None before it was asked for.
    """

    def __init__(self, run: RunRecord, recorder: Recorder, children: Children, pressure: Pressure) -> None:
        self._run = run
        self._recorder = recorder
        self._children = children
        self._pressure = pressure
        self._ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._child: Child | None = None
        self._pipe: socket.socket | None = None
        """Once the process has its run."""
        self._news = asyncio.Event()
        self._rest: list[bytes] = []  # of an unfinished line
        self.stop_grace_s = STOP_GRACE_S
        self.thread_done: asyncio.Future[Any] | None = None

    @property
    def held_up(self) -> bool:
        """Whether its events wait for the store, or it may wait for memory."""
        return self._recorder.full or self._pressure.tight

    def stopped(self) -> None:
        """Nothing: cancelling the task that is in `outcome` says all."""

    async def outcome(self) -> Outcome:
        """Run the function to its end, or until this task is cancelled.

        Then the function is told to stop; if it has not ended `stop_grace_s` later, its process is killed.
        """
        self.thread_done = life = asyncio.create_task(self._live(), name=f"penstock-process-{self._run.id}")
        try:
            outcome = await asyncio.shield(self._ended)
        except asyncio.CancelledError:
            outcome = Outcome(RunState.CANCELLED)
            self._recorder.stop()
            if self._pipe is None:
                life.cancel()
            else:
                await self._wind_down(self._pipe)
        await asyncio.wait([life], timeout=LEAVE_S)
        if self._recorder.stopping and self._child is not None:
            self._child.kill()  # the function may have ended, and left a thread behind
        return outcome

    async def _wind_down(self, pipe: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it has died
            pipe.send(STOP)
        await asyncio.wait([self._ended], timeout=self.stop_grace_s)
        if not self._ended.done() and self._child is not None:
            self._child.kill()

    # The process

    async def _live(self) -> None:
        """From the fork to the grave, whatever happens."""
        outcome = Outcome(RunState.CANCELLED)
        try:
            ours, theirs = socket.socketpair()
            with ours:
                with theirs:
                    self._child = child = await self._children.fork(theirs)
                outcome = await self._converse(ours, child)
        except asyncio.CancelledError:  # stopped before it had begun
            pass
        except PenstockError as error:
            outcome = _failure(error.message, error.hint)
        except Exception as error:
            log.exception("Run %s of %s could not be executed.", self._run.id, self._run.function)
            outcome = _failure(message_of(error), "")
        finally:
            await self._bury()
            if not self._ended.done():
                self._ended.set_result(outcome)

    async def _bury(self) -> None:
        if self._child is not None:
            self._child.kill()
            await asyncio.wait([self._child.gone])

    async def _converse(self, pipe: socket.socket, child: Child) -> Outcome:
        """Give it the run, take what it says. The outcome of one that dies without a last word."""
        loop = asyncio.get_running_loop()
        child.gone.add_done_callback(lambda _: self._news.set())
        pipe.setblocking(False)
        with contextlib.suppress(OSError):  # it has died, and how will be known
            await loop.sock_sendall(pipe, encode(self._children.job(self._run, child)))
        self._pipe = pipe
        unlisten = self._pressure.listen_in_loop(lambda: self._tell_pressure(pipe))
        try:
            self._tell_pressure(pipe)
            while not self._ended.done() and (data := await self._read(pipe, child)):
                await self._feed(data)
        finally:
            unlisten()
        await asyncio.wait([child.gone], timeout=EXIT_S)
        await self._bury()
        outcome = _death(child)
        if not (self._ended.done() or self._recorder.stopping):
            log.error("Run %s of %s: %s", self._run.id, self._run.function, (outcome.error or {})["message"])
        return outcome

    def _tell_pressure(self, pipe: socket.socket) -> None:
        # Where its yields are, not here: until the pipe is full it would go on, and take more with each.
        with contextlib.suppress(OSError):  # it has died
            pipe.send(HOLD if self._pressure.tight else GO_ON)
        self._recorder.touch()

    async def _read(self, pipe: socket.socket, child: Child) -> bytes:
        """What it has said; empty when it says no more."""
        # Not until the end of the pipe: a process that it started may hold it open.
        loop = asyncio.get_running_loop()
        while True:
            try:
                return pipe.recv(READ_BYTES)
            except BlockingIOError:
                if child.gone.done():
                    return b""
            except OSError:
                return b""
            self._news.clear()
            loop.add_reader(pipe, self._news.set)
            try:
                await self._news.wait()
            finally:
                loop.remove_reader(pipe)

    # What it says

    async def _feed(self, data: bytes) -> None:
        end = data.rfind(b"\n") + 1
        if end == 0:
            self._rest.append(data)
            return
        lines = b"".join([*self._rest, data[:end]])
        self._rest = [data[end:]]
        items = decode_items(lines)
        size = min(len(lines) // len(items), MAX_EVENT_BYTES)
        for item in items:
            if self._recorder.full:  # it is read no further meanwhile, so that the function waits
                await self._recorder.room()
            await self._take(item, size)

    async def _take(self, item: Item, size: int) -> None:
        if isinstance(item, Ended):
            self._ended.set_result(item.outcome())
            return
        with contextlib.suppress(RunStopped):  # the run has ended without it
            while not self._record(item, size):  # noqa: ASYNC110 - its room is open while it is stopping
                await asyncio.sleep(TAKE_S)

    def _record(self, item: Any, size: int) -> bool:
        try:
            if isinstance(item, Saved):
                self._recorder.checkpoint(bytes(item.saved))
            else:
                self._recorder.emit(item, size, urgent=isinstance(item, SpanEnd))
        except BufferFull:
            return False
        return True


def _death(child: Child) -> Outcome:
    if child.problem:
        return _failure(f"No process could be started for the function: {child.problem}.", "")
    if child.gone.done() and (code := child.gone.result()) is not None:
        how = f"exited with code {code}" if code >= 0 else f"was killed by {_name(-code)}"
        hint = MEMORY if code == -signal.SIGKILL else "Its standard error, in the server's, may say more."
        return _failure(f"The function's process {how} before the function had ended.", hint)
    return _failure("The function's process was lost, with the one that it was forked from.", MEMORY)


MEMORY = "If nobody did that, memory ran out: the kernel's log would tell."


def _name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} ({signal.strsignal(number)})"
    except ValueError:
        return f"signal {number}"


def _failure(message: str, hint: str) -> Outcome:
    error = {"code": "process_died", "message": plain_text(message), "hint": plain_text(hint)}
    return Outcome(RunState.FAILED, None, error)
