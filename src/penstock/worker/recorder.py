"""Collects what one run emits, and hands it over as chunks, paced and bounded."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from ..errors import BufferFull
from ..events import AnyEvent, End, Reset
from ..models import Chunk, Claimed, Lease, RunState
from ..protocol.coalesce import coalesce
from ..protocol.pacing import Pacer
from ..protocol.sse import encode_chunk
from .emission import check_size

__all__ = ["FLUSH_BYTES", "MAX_BACKLOG_BYTES", "Outcome", "Recorder", "RunStopped"]

log = logging.getLogger("penstock")

FLUSH_BYTES = 64 * 1024
"""Waiting bytes after which a chunk goes early and the function waits: with the chunk under way, a run then
holds about twice this."""

MAX_BACKLOG_BYTES = 16 * 1024 * 1024
"""Waiting bytes after which calls that can't wait (`run.log` in the event loop) are refused."""

EVENT_OVERHEAD_BYTES = 80
"""What an event weighs beside its payload, in memory and as JSON."""


class RunStopped(BaseException):
    """Raised inside a function that must stop: its run was cancelled, or is no longer this worker's.

    Not an Exception, like asyncio.CancelledError: code that survives every error must not survive this.
    """


class Outcome(msgspec.Struct, frozen=True):
    """How a run ended."""

    state: RunState
    result: Any = None
    error: dict[str, Any] | None = None


class Recorder:
    """One attempt's events, from the function (any thread) to the journal (the event loop).

    schedule: called with the recorder and the time (monotonic seconds) from which it has a chunk to give.
    """

    def __init__(self, claimed: Claimed, rate: float, schedule: Callable[["Recorder", float], None]) -> None:
        self.lease: Lease = claimed.lease
        self.stopping = False
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """True once the end is stored; False when the lease was lost, and nothing more can be."""
        self.outcome: Outcome | None = None
        self._epoch = claimed.stream.epoch
        self._seq = claimed.stream.tail
        self._merges = rate > 0
        self._pacer = Pacer(rate)
        self._schedule = schedule
        self._lock = threading.Lock()
        self._loop_thread = threading.get_ident()
        self._pending: list[AnyEvent] = []
        self._pending_bytes = 0
        self._scheduled = float("inf")
        self._closed = False
        self._told = False
        self._room = asyncio.Event()
        self._thread_room = threading.Event()
        self._room.set()
        self._thread_room.set()

    # The function's side

    def emit(self, event: AnyEvent, size: int = 0, *, urgent: bool = False, closing: bool = False) -> None:
        """Take one event of about `size` payload bytes.

        In a thread it waits while `FLUSH_BYTES` are waiting already.

        Raises:
            RunStopped: The run was cancelled (once, and only in threads: tasks are cancelled) or is over. An
                event of clean-up (`closing`) is dropped instead.
            EventTooLarge: `size` is over what one event may have.
            BufferFull: In the event loop, when `MAX_BACKLOG_BYTES` are waiting.
        """
        check_size(size)
        if threading.get_ident() != self._loop_thread:
            self._pause_thread(closing=closing)
        with self._lock:
            if self._closed:
                if closing:
                    return
                raise RunStopped
            self._check_backlog()
            self._push(event, size)
            due = self._due(urgent=urgent)
        if due is not None:
            self._schedule(self, due)

    def _push(self, event: AnyEvent, size: int) -> None:
        self._seq += 1
        event.seq = self._seq
        event.at_ms = time.time_ns() // 1_000_000
        self._pending.append(event)
        self._pending_bytes += size + EVENT_OVERHEAD_BYTES
        if self._pending_bytes >= FLUSH_BYTES:
            self._room.clear()
            self._thread_room.clear()

    def _due(self, *, urgent: bool) -> float | None:
        now = time.monotonic()
        due = now if urgent or self._pending_bytes >= FLUSH_BYTES else self._pacer.due(now)
        if due >= self._scheduled:
            return None
        self._scheduled = due
        return due

    def _check_backlog(self) -> None:
        if self._pending_bytes >= MAX_BACKLOG_BYTES:
            raise BufferFull(
                f"{self._pending_bytes} bytes of events are waiting for the store.",
                hint="Yield, or await between calls, so that the store can keep up.",
            )

    def _pause_thread(self, *, closing: bool) -> None:
        if self.stopping and not self._told and not closing:
            self._told = True
            raise RunStopped
        self._thread_room.wait()

    @property
    def full(self) -> bool:
        """Whether the function should wait in `room` before it goes on."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Wait until the journal has taken what was waiting."""
        await self._room.wait()

    def stop(self) -> None:
        """A stop was asked for: `Run.should_stop` says so, and threads are told at their next call."""
        self.stopping = True
        self._let_go()

    def withdraw(self, to: int, reason: str) -> None:
        """Begin an attempt by withdrawing what an earlier one wrote after event `to`."""
        self.emit(Reset(to, reason))

    def end(self, outcome: Outcome) -> None:
        """The run is over: its `end` is the last event, and later calls raise. `done` says once it is stored."""
        with self._lock:
            if self._closed:
                return
            self.outcome = outcome
            end = End(outcome.state.value, outcome.result, outcome.error)  # type: ignore[arg-type]
            self._push(end, 0)
            self._closed = True
        self._let_go()
        self._schedule(self, time.monotonic())

    def abandon(self) -> None:
        """Write no more: the run is another worker's now, or goes back to the queue."""
        with self._lock:
            self._closed = True
            self._pending = []
        self._let_go()
        self.settle(stored=False)

    def _let_go(self) -> None:
        self._room.set()
        self._thread_room.set()

    # The journal's side

    def take(self) -> Chunk | None:
        """Everything waiting, as one chunk; None if there is nothing. Called when it is due."""
        with self._lock:
            pending, self._pending = self._pending, []
            self._pending_bytes = 0
            self._scheduled = float("inf")
            self._let_go()
            if not pending:
                return None
            self._pacer.flushed(time.monotonic())
        try:
            return encode_chunk(coalesce(pending) if self._merges else pending, self._epoch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this run's alone
            return self._spoiled(pending[0], error)

    def _spoiled(self, first: AnyEvent, error: Exception) -> Chunk:
        # What can't be encoded is refused where it is emitted; if something came through all the same, its run
        # ends here, and no other run's chunks are held up.
        log.error("Run %s emitted what can't be encoded.", self.lease.run_id, exc_info=error)
        failed = {"code": "bad_yield", "message": f"An event can't be encoded: {error}.", "hint": ""}
        with self._lock:
            self._closed = True
            self._pending = []
            self._seq = first.seq
            self.outcome = Outcome(RunState.FAILED, None, failed)
        return encode_chunk([End("failed", None, failed, seq=first.seq, at_ms=first.at_ms)], self._epoch)

    def settle(self, *, stored: bool) -> None:
        """Nothing more will be written."""
        if not self.done.done():
            self.done.set_result(stored)
