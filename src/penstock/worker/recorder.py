"""Collects what one run emits, and hands it over as chunks, paced and bounded."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable

import msgspec

from ..errors import BufferFull
from ..events import AnyEvent, End, Reset, Text
from ..models import Append, Chunk, Claimed, Lease, RunState
from ..protocol.coalesce import coalesce
from ..protocol.pacing import Pacer
from ..protocol.sse import encode_chunk, encode_chunks
from .emission import check_size
from .firsts import Firsts
from .outcome import GiveBack, Outcome, RunStopped
from .said import SAID_BYTES, SAID_OVERHEAD_BYTES, Said

__all__ = ["FLUSH_BYTES", "MAX_BACKLOG_BYTES", "Recorder"]

log = logging.getLogger("penstock")

FLUSH_BYTES = 64 * 1024
"""Waiting bytes after which a chunk goes early and the function waits: with the chunk under way, a run then
holds about twice this."""

MAX_BACKLOG_BYTES = 16 * 1024 * 1024
"""Waiting bytes after which calls that can't wait (`run.log` in the event loop) are refused."""

EVENT_OVERHEAD_BYTES = 80
"""What an event weighs beside its payload, in memory and as JSON."""

NEVER, AT_ONCE = float("inf"), float("-inf")


class _Mark(msgspec.Struct, frozen=True):
    """The latest checkpoint that is not stored: it stands after `place` pending events of `size` bytes."""

    place: int
    size: int
    saved: bytes


class Recorder:
    """One attempt's events, from the function (any thread) to the journal (the event loop).

    schedule: called with the recorder and the time (monotonic seconds) from which it has a chunk to give.
    full: whether the function should wait in `room` before it goes on.
    oldest_at: when the first event of the chunk that was last taken was yielded, in monotonic seconds.
    """

    def __init__(self, claimed: Claimed, rate: float, schedule: Callable[["Recorder", float], None]) -> None:
        self.lease: Lease = claimed.lease
        self.rate = rate
        self.stopping = False
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """True once the end is stored; False when the lease was lost, and nothing more can be."""
        self.outcome: Outcome | None = None
        self.lingers = False
        self.back: GiveBack | None = None
        self.full = False
        self.oldest_at = 0.0
        self._first_at = 0.0  # the same of what is waiting
        self._alive_at = time.monotonic()
        self._epoch = claimed.stream.epoch
        self._seq = self._taken = claimed.stream.tail
        self._mark: _Mark | None = None
        self._end: Chunk | None = None  # that waits until the chunks before it are stored
        self._edge = claimed.run.checkpoint_seq > 0
        self._pacer = Pacer(rate)
        self._schedule = schedule
        self._lock = threading.Lock()
        self._loop_thread = threading.get_ident()
        self._pending: list[AnyEvent] = []  # what is said comes after these
        self._said = Said(Firsts(claimed.run.started_at_ms or claimed.run.created_at_ms))
        self._pending_bytes = 0
        self._scheduled = NEVER
        self._closed = False
        self._told = False
        self._room = asyncio.Event()
        self._thread_room: threading.Event | None = None  # made by the first thread: most runs have none

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

    def say(self, position: int, text: str, span: str | None, size: int) -> None:
        """As `emit` of a `Text`: the path of every token, which must be short."""
        if threading.get_ident() != self._loop_thread:
            self._pause_thread(closing=False)
        said = self._said
        weight = size + SAID_OVERHEAD_BYTES
        with self._lock:
            if said.pieces and span == said.span and said.size + weight <= SAID_BYTES:
                said.pieces.append(text)
                said.size += weight
                said.at = time.monotonic()
                return
            due = None
            if begins := self._may_begin_to_say(weight):
                said.begin(position, text, span, weight)
                said.at = now = time.monotonic()
                if said.firsts.awaited:
                    said.firsts.spoke(span, time.time_ns() // 1_000_000)
                if not self._pending:
                    self._first_at = now
                if self._scheduled == NEVER:
                    due = self._scheduled = self._pacer.due(now)
        if not begins:
            self.emit(Text(position, text, span=span), size)
        elif due is not None:
            self._schedule(self, due)

    def _may_begin_to_say(self, weight: int) -> bool:
        if self._said.pieces or self._closed or not self.rate:
            return False
        return weight <= SAID_BYTES and self._pending_bytes < FLUSH_BYTES - SAID_BYTES

    def _settle_said(self) -> None:
        if not self._said.pieces:
            return
        self._seq += len(self._said.pieces)
        self._alive_at = max(self._alive_at, self._said.at)
        self._pending_bytes += self._said.size + EVENT_OVERHEAD_BYTES
        self._pending.append(self._said.event(self._seq, edge=self._edge))
        self._edge = False

    def checkpoint(self, saved: bytes) -> None:
        """Keep `saved` for the attempt that follows this one, once everything emitted before is stored.

        Waits and raises as `emit` does. The latest counts; one that is not stored yet gives way to it.
        """
        check_size(len(saved))
        if threading.get_ident() != self._loop_thread:
            self._pause_thread(closing=False)
        with self._lock:
            if self._closed:
                raise RunStopped
            self._check_backlog()
            self._settle_said()
            self._mark = _Mark(len(self._pending), self._pending_bytes, saved)
            self._edge = True
            self._alive_at = time.monotonic()
            due = self._due(urgent=False)
        if due is not None:
            self._schedule(self, due)

    def _push(self, event: AnyEvent, size: int) -> None:
        self._settle_said()
        self._alive_at = time.monotonic()
        self._seq += 1
        event.seq = self._seq
        if self._edge:
            event.edge, self._edge = True, False
        if not event.at_ms:  # one from a process of its own has its time
            event.at_ms = time.time_ns() // 1_000_000
        self._said.firsts.see(event)
        if not self._pending:
            self._first_at = self._alive_at
        self._pending.append(event)
        self._pending_bytes += size + EVENT_OVERHEAD_BYTES
        if self._pending_bytes >= FLUSH_BYTES:
            self.full = True
            self._room.clear()
            if self._thread_room is not None:
                self._thread_room.clear()

    def _due(self, *, urgent: bool) -> float | None:
        at_once = urgent or self._pending_bytes >= FLUSH_BYTES
        if at_once:
            asked, self._scheduled = self._scheduled, AT_ONCE
            return None if asked == AT_ONCE else self._alive_at
        if self._scheduled != NEVER:
            return None
        self._scheduled = self._pacer.due(self._alive_at)
        return self._scheduled

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
        (self._thread_room or self._make_thread_room()).wait()

    def _make_thread_room(self) -> threading.Event:
        with self._lock:
            if self._thread_room is None:
                self._thread_room = threading.Event()
                if not self.full or self.stopping or self._closed:
                    self._thread_room.set()
            return self._thread_room

    @property
    def silent_s(self) -> float:
        """How long nothing was emitted."""
        return time.monotonic() - max(self._alive_at, self._said.at)

    async def room(self) -> None:
        """Wait until the journal has taken what was waiting."""
        if self.full:
            await self._room.wait()

    def stop(self) -> None:
        """A stop was asked for: `Run.should_stop` says so, and threads are told at their next call."""
        self.stopping = True
        self._let_go()

    def stop_seen(self) -> None:
        """The function has been told of the stop: what it emits in its clean-up is taken as ever."""
        self._told = True

    def touch(self) -> None:
        """The function was held up by the store until now: its silence counts from here."""
        self._alive_at = time.monotonic()

    def withdraw(self, to: int, reason: str) -> None:
        """Begin an attempt by withdrawing what an earlier one wrote after event `to`."""
        self.emit(Reset(to, reason))

    def end(self, outcome: Outcome, *, lingers: bool = False) -> None:
        """The run is over: its `end` is the last event, and later calls raise. `done` says once it is stored.

        lingers: its function goes on all the same.
        """
        with self._lock:
            if self._closed:
                return
            self.outcome = outcome
            self.lingers = lingers
            end = End(outcome.state.value, outcome.result, outcome.error, self._said.firsts.run_ms)  # type: ignore[arg-type]
            self._push(end, 0)
            self._closed = True
        self._let_go()
        self._schedule(self, time.monotonic())

    def give_back(self, back: GiveBack) -> None:
        """The attempt is over: what it wrote is stored, then the run goes back to the queue. `done` says when."""
        with self._lock:
            if self._closed:
                return
            self._settle_said()
            self.back = back
            self._closed = True
        self._let_go()
        self._schedule(self, time.monotonic())

    def abandon(self) -> None:
        """Write no more: the run is another worker's now."""
        with self._lock:
            self._drop()
        self._let_go()
        self.settle(stored=False)

    def _drop(self) -> None:
        self._closed = True
        self._pending, self._said.pieces = [], []
        self._mark = self._end = None

    def _let_go(self) -> None:
        self.full = False
        self._room.set()
        if self._thread_room is not None:
            self._thread_room.set()

    # The journal's side

    def take(self) -> list[Append]:
        """What is waiting, mostly as one chunk, as several where it is much; nothing if there is none.

        Called when it is due. With a checkpoint among it: what stands before it. Of several chunks the one with
        the `end` comes alone. The rest is due at once.
        """
        now = time.monotonic()
        with self._lock:
            self._settle_said()
            pending, mark = self._cut()
            self._scheduled = AT_ONCE if self._pending else NEVER
            if self.full:
                self.touch()
                self._let_go()
            if pending or mark is not None:
                self._pacer.flushed(now)
            more = bool(self._pending) or self.back is not None
        chunks = self._chunks(pending)
        if len(chunks) != 1 or self._end is not None:
            chunks = self._without_end(chunks, mark)
        if not chunks:
            return []
        if more or self._end is not None:
            self._schedule(self, now)
        self._taken = chunks[-1].last_seq
        appends = [Append(self.lease.run_id, self.lease.fence, chunk) for chunk in chunks]
        if mark is not None:
            appends[-1] = msgspec.structs.replace(appends[-1], checkpoint=mark.saved)
        return appends

    def _without_end(self, chunks: list[Chunk], mark: _Mark | None) -> list[Chunk]:
        # A run ends in a commit that has its last chunk; those before it must be stored then.
        if self._end is not None:
            chunks, self._end = [self._end], None
        elif chunks and chunks[-1].final:
            self._end = chunks.pop()
        elif not chunks and mark is not None:
            chunks = [Chunk(self._taken + 1, self._taken, b"")]
        return chunks

    def _cut(self) -> tuple[list[AnyEvent], _Mark | None]:
        mark, self._mark = self._mark, None
        self.oldest_at = self._first_at
        if mark is None or self.outcome is not None:  # nothing is restored into a run that has ended
            pending, self._pending, self._pending_bytes = self._pending, [], 0
            return pending, None
        pending, self._pending = self._pending[: mark.place], self._pending[mark.place :]
        self._pending_bytes -= mark.size
        self._first_at = time.monotonic()  # about: what is left goes at once
        return pending, mark

    def _chunks(self, pending: list[AnyEvent]) -> list[Chunk]:
        if not pending:
            return []
        last_seq = pending[-1].seq
        try:
            merged = coalesce(pending) if self.rate and len(pending) > 1 else pending
            chunks = encode_chunks(merged, self._epoch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this run's alone
            return [self._spoiled(pending[0], error)]
        if moved := chunks[-1].last_seq - last_seq:
            self._move(moved)
        return chunks

    def _move(self, by: int) -> None:
        # Events that went in pieces have taken more places than they were given.
        with self._lock:
            self._seq += by
            for event in self._pending:
                event.seq += by

    def _spoiled(self, first: AnyEvent, error: Exception) -> Chunk:
        # What can't be encoded is refused where it is emitted; if something came through all the same, its run
        # ends here, and no other run's chunks are held up.
        log.error("Run %s emitted what can't be encoded.", self.lease.run_id, exc_info=error)
        failed = {"code": "bad_yield", "message": f"An event can't be encoded: {error}.", "hint": ""}
        seq = first.seq - first.n + 1
        with self._lock:
            self._drop()
            self._seq = seq
            self.outcome = Outcome(RunState.FAILED, None, failed)
        return encode_chunk([End("failed", None, failed, seq=seq, at_ms=first.at_ms)], self._epoch)

    @property
    def closed(self) -> bool:
        """Whether it takes nothing any more."""
        return self._closed

    @property
    def settled(self) -> bool:
        """Whether the store knows how this attempt went out."""
        return self.done.done() and not self.done.cancelled() and self.done.result()

    def settle(self, *, stored: bool) -> None:
        """Nothing more will be written."""
        if not self.done.done():
            self.done.set_result(stored)
