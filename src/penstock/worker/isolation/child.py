"""What happens in the process of an isolated function: its run as everywhere, with a pipe for a recorder."""

import asyncio
import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO, NoReturn

import msgspec

from ...errors import BufferFull, PenstockError
from ...events import AnyEvent, Text
from ...memory import Hold, Pressure
from ...models import RunRecord, RunState
from ...storage.uploads import Uploads
from ..emission import check_size
from ..execute import Execution
from ..function import Function
from ..outcome import Outcome, RunStopped
from ..recorder import MAX_BACKLOG_BYTES
from ..run import Run
from .descendants import Process, kill_below
from .pipe import GO_ON, HOLD, STOP, Ended, Saved, decode_job, encode

__all__ = ["execute_run"]

FOR_EVER_S = 10**6
"""How long a stopped run waits for its thread here: the worker has the clock, and ends the process."""


def execute_run(pipe: socket.socket, functions: Mapping[str, Function]) -> None:
    """Take a job from the pipe and do it. Raises SystemExit if the function does."""
    asyncio.run(_execute(pipe, functions))


async def _execute(pipe: socket.socket, functions: Mapping[str, Function]) -> None:
    lines = pipe.makefile("rb")
    if not (line := lines.readline()):
        _die()
    job = decode_job(line)
    name = job.run.function
    function = functions[name] if job.recipe is None else job.recipe.function(name)
    sink = PipeSink(pipe)
    pressure = Pressure()
    uploads = Uploads(Path(job.uploads), durable=False)  # nothing is written here
    task = asyncio.create_task(_outcome(function, job.run, sink, Hold(pressure), uploads))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        sink.stop()  # first, and here: a function that blocks the event loop may look at `should_stop`
        with contextlib.suppress(RuntimeError):  # the loop is closed: the function has ended
            loop.call_soon_threadsafe(task.cancel)

    heard = {STOP: stop, HOLD: partial(pressure.turn, tight=True), GO_ON: partial(pressure.turn, tight=False)}
    threading.Thread(target=_listen, args=(lines, heard), name="penstock-pipe", daemon=True).start()
    try:
        outcome = await task
    except asyncio.CancelledError:
        if not sink.stopping:  # sys.exit(), which asyncio lets through from any task, ends this one too
            raise
        outcome = Outcome(RunState.CANCELLED)
    sink.end(outcome)


async def _outcome(
    function: Function, record: RunRecord, sink: "PipeSink", hold: Hold, uploads: Uploads
) -> Outcome:
    try:
        arguments = function.arguments(record.input, uploads.find)
    except PenstockError as error:
        return Outcome(RunState.FAILED, None, error.as_dict())
    execution = Execution(function, Run(record, sink), sink, arguments, hold)
    execution.owns_process = True
    execution.stop_grace_s = FOR_EVER_S
    return await execution.outcome()


def _listen(lines: BinaryIO, heard: Mapping[bytes, Callable[[], None]]) -> None:
    with contextlib.suppress(OSError):
        for line in lines:
            heard[line]()
    _die()


def _die() -> NoReturn:
    """The worker is gone, or has given up on this process: end, and with it whatever the function started."""
    kill_below([Process.named(os.getpid())])  # the fork server does it too, but may be killed itself
    os.killpg(0, signal.SIGKILL)
    os._exit(1)


class PipeSink:
    """Where a run's events go here: a `run.Sink`. Made in the event loop.

    Each event is in the pipe when `emit` returns, so that it outlives whatever the function does next to its
    process. When the worker reads no more, because the store is behind, threads wait in `emit`; the event loop
    goes on, and what it emits waits in memory.
    """

    def __init__(self, pipe: socket.socket) -> None:
        self.stopping = False
        self._pipe = pipe
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._room = asyncio.Event()
        self._room.set()
        self._told = False
        self._closed = False

    def emit(self, event: AnyEvent, size: int = 0, *, urgent: bool = False, closing: bool = False) -> None:  # noqa: ARG002
        """Send one event; raises as `Recorder.emit` does."""
        check_size(size)
        event.at_ms = time.time_ns() // 1_000_000
        self._put(encode(event), closing=closing)

    def say(self, position: int, text: str, span: str | None, size: int) -> None:
        """Send a piece of text; as `emit` of its event."""
        self.emit(Text(position, text, span=span), size)

    def checkpoint(self, saved: bytes) -> None:
        """Send the run's state; raises as `Recorder.checkpoint` does."""
        check_size(len(saved))
        self._put(encode(Saved(msgspec.Raw(saved))))

    def end(self, outcome: Outcome) -> None:
        """Send how the function ended, and wait until all is sent. Later calls raise."""
        item = encode(Ended(outcome.state, outcome.result, outcome.error))
        with self._lock:
            self._closed = True
            self._waiting += item
        self._flush_now()

    def stop(self) -> None:
        """A stop was asked for: `Run.should_stop` says so, and threads are told at their next call."""
        self.stopping = True

    def stop_seen(self) -> None:
        """The function has been told."""
        self._told = True

    @property
    def full(self) -> bool:
        """Whether the function should wait in `room` before it goes on."""
        return bool(self._waiting)

    async def room(self) -> None:
        """Wait until the worker has taken what was waiting."""
        await self._room.wait()

    def _put(self, item: bytes, *, closing: bool = False) -> None:
        in_loop = threading.get_ident() == self._loop_thread
        if not in_loop:
            self._pause_thread(closing=closing)
        with self._lock:
            if self._closed:
                if closing:
                    return
                raise RunStopped
            self._check_backlog()
            self._waiting += item
            self._flush()
        if self._waiting:
            (self._flush_later if in_loop else self._flush_now)()

    def _pause_thread(self, *, closing: bool) -> None:
        if self.stopping and not self._told and not closing:
            self._told = True
            raise RunStopped
        if self._waiting:
            self._flush_now()

    def _check_backlog(self) -> None:
        if len(self._waiting) >= MAX_BACKLOG_BYTES:
            raise BufferFull(
                f"{len(self._waiting)} bytes of events are waiting for the store.",
                hint="Yield, or await between calls, so that the store can keep up.",
            )

    def _flush(self) -> None:
        while self._waiting:
            try:
                sent = self._pipe.send(self._waiting, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                _die()
            del self._waiting[:sent]

    def _flush_now(self) -> None:
        poll = select.poll()
        poll.register(self._pipe, select.POLLOUT)
        while self._waiting:
            poll.poll()
            with self._lock:
                self._flush()

    def _flush_later(self) -> None:
        if self._room.is_set():
            self._room.clear()
            self._loop.add_writer(self._pipe, self._go_on)

    def _go_on(self) -> None:
        with self._lock:
            self._flush()
        if not self._waiting:
            self._loop.remove_writer(self._pipe)
            self._room.set()
