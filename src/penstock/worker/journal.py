"""Appends the chunks of all of a worker's runs: one batch under way, the next gathering meanwhile.

So the store sees one append for any number of runs, its commits grow with its slowness, and each run's chunks
go in order without a lock of their own.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar, TypeVarTuple, Unpack

from ..errors import Fenced, StoreError
from ..meters import Moments
from ..models import Append, Chunk, Claimed, Ending
from ..storage.base import Store
from ..trouble import Trouble
from .outcome import GiveBack
from .recorder import Recorder

__all__ = ["Journal"]

T = TypeVar("T")
Given = TypeVarTuple("Given")
log = logging.getLogger("penstock")

TICK_S = 0.01
"""Chunks that fall due within one tick go together: one timer, one commit and one wake-up for all."""

MANY = 64
"""Chunks in one tick from which many runs speak at once: about 200 that say 30 tokens a second."""

STILL_MANY = 32
"""And in one of the longer ticks that are kept then. 1,000 runs have 250 in each."""

CALM_S = 0.2
"""Ticks are short again when there were not so many for as long: a few old ones with few chunks say nothing."""

LONG_TICK_S = 0.025
LINGER_S = 0.055
"""How long what a run has to say waits for more of it while many speak, a long tick more at most: 30 tokens a
second then go by threes, every 100 ms, and none waits for more than 80; 1,000 runs cost a quarter less
(benchmarks). What is said after a pause still goes at once."""

LINGER_RATE = 20
"""Updates a second, the default. A run that is to have more is not held up so, nor by long ticks."""

RETRY_S = (0.05, 2.0)
"""First and longest wait before an append is tried again while the store can't take it."""


class Journal:
    """Runs on the event loop in which it was made. `run` is its task.

    stored: how long events wait until they are stored.
    """

    def __init__(self, store: Store, stored: Moments) -> None:
        self._store = store
        self._stored = stored
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._wake = asyncio.Event()
        self._ready: dict[Recorder, None] = {}
        self._trouble = Trouble(log, "The store can't be written, runs wait", logging.ERROR)
        self._ticks: dict[float, list[Recorder]] = {}
        self._many_until = 0.0

    def record(self, claimed: Claimed, rate: float) -> Recorder:
        """A recorder for one attempt of a run."""
        return Recorder(claimed, rate, self._schedule)

    def _schedule(self, recorder: Recorder, due: float) -> None:
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._plan, recorder, due)
        else:
            self._plan(recorder, due)

    def _plan(self, recorder: Recorder, due: float) -> None:
        now = time.monotonic()
        if due <= now:
            self._ready[recorder] = None
            self._wake.set()
            return
        tick_s = TICK_S
        if now < self._many_until and recorder.rate <= LINGER_RATE:
            due, tick_s = max(due, now + LINGER_S), LONG_TICK_S
        tick = math.ceil(due / tick_s) * tick_s
        if tick not in self._ticks:
            self._ticks[tick] = []
            self._loop.call_later(tick - now, self._ring, tick)
        self._ticks[tick].append(recorder)

    def _ring(self, tick: float) -> None:
        recorders = self._ticks.pop(tick)
        now = time.monotonic()
        if len(recorders) >= (STILL_MANY if now < self._many_until else MANY):
            self._many_until = now + CALM_S
        self._ready.update(dict.fromkeys(recorders))
        self._wake.set()

    async def run(self) -> None:
        """Append until cancelled. What is waiting then is lost to the log, as in a crash."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            ready, self._ready = self._ready, {}
            await _guard(ready, self._write, ready)

    async def _write(self, ready: dict[Recorder, None]) -> None:
        going: list[tuple[Recorder, Append]] = []
        ending: list[tuple[Recorder, Chunk]] = []
        leaving: list[Awaitable[None]] = []
        for recorder in ready:
            items = recorder.take()
            if items and items[-1].chunk.final:
                ending.append((recorder, items[-1].chunk))
            elif items:
                going += [(recorder, item) for item in items]
            elif recorder.back is not None:  # else it was taken earlier, by an urgent event
                leaving.append(_guard([recorder], self._give_back, recorder, recorder.back))
        # All at once, so that the store can commit the ends with the appends.
        await asyncio.gather(
            _guard([recorder for recorder, _ in going], self._append, going),
            _guard([recorder for recorder, _ in ending], self._finish, ending),
            *leaving,
        )

    async def _append(self, going: list[tuple[Recorder, Append]]) -> None:
        if not going:
            return
        taken = await self._persist(lambda: self._store.append([item for _, item in going]))
        self._note([recorder for recorder, item in going if not item.chunk.empty])
        for (recorder, item), ok in zip(going, taken, strict=True):
            given_up = recorder.done.done()  # with a chunk before this one
            if not (ok or given_up or await self._is_stored(recorder, item.chunk)):
                log.warning("Run %s: the lease is lost; its function is stopped here.", recorder.lease.run_id)
                recorder.abandon()

    async def _finish(self, ending: list[tuple[Recorder, Chunk]]) -> None:
        if not ending:
            return
        now_ms = time.time_ns() // 1_000_000
        ends = [_ending(recorder, chunk, now_ms) for recorder, chunk in ending]
        done = await self._persist(lambda: self._store.finish_all(ends))
        self._note(recorder for recorder, _ in ending)
        for (recorder, chunk), ok in zip(ending, done, strict=True):
            recorder.settle(stored=ok or await self._is_stored(recorder, chunk))

    def _note(self, recorders: Iterable[Recorder]) -> None:
        now = time.monotonic()
        for recorder in recorders:
            self._stored.add(now - recorder.oldest_at)

    async def _give_back(self, recorder: Recorder, back: GiveBack) -> None:
        if recorder.done.done():
            return
        try:
            await self._persist(
                lambda: self._store.requeue(
                    recorder.lease,
                    back.not_before_ms,
                    lost=back.lost,
                    error=None if back.lost else back.error,
                )
            )
        except Fenced as error:
            log.warning("Run %s was not given back: %s", recorder.lease.run_id, error.message)
        recorder.settle(stored=True)

    async def _persist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write, and while the store can't take it, try again: the runs wait, nothing is lost."""
        wait_s, most_s = RETRY_S
        while True:
            try:
                written = await write()
            except StoreError as error:
                self._trouble.met(error)
            else:
                self._trouble.over()
                return written
            await asyncio.sleep(wait_s)
            wait_s = min(most_s, wait_s * 2)

    async def _is_stored(self, recorder: Recorder, chunk: Chunk) -> bool:
        # A write that failed may have been carried out all the same (an I/O error after the commit), and its
        # repetition is then refused as a repeat. What was refused for good is not at the tail.
        lease = recorder.lease
        found = await self._persist(lambda: self._store.read(lease.run_id, chunk.last_seq - 1, 1))
        return bool(found) and found[0].data == chunk.data


async def _guard(
    recorders: Iterable[Recorder], write: Callable[[Unpack[Given]], Awaitable[None]], *given: *Given
) -> None:
    """A fault of ours costs the runs that it concerns, and no others."""
    try:
        await write(*given)
    except Exception:
        log.exception("Chunks could not be written; their runs are given up, the others go on.")
        for recorder in recorders:
            recorder.abandon()


def _ending(recorder: Recorder, last: Chunk, now_ms: int) -> Ending:
    outcome = recorder.outcome
    assert outcome is not None
    return Ending(recorder.lease, outcome.state, outcome.error, last, now_ms, recorder.lingers)
