"""Runs of recorded functions while they wait: who keeps their line, and what that one must be told.

A recorded function's line is kept elsewhere, in one process. The store knows which (`RunRecord.worker`), so no two
processes have the same run executed, and what a lost one kept is found by the others.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from ..errors import InvalidInput, StoreError, YieldError
from ..events import MAX_EVENT_BYTES
from ..models import Chunk, RunRecord
from ..storage.base import Store
from ..worker import check_syntax, json_of

__all__ = ["RecordedLine", "recorded_input"]

log = logging.getLogger("penstock")

TELL_S = 1.0
"""Who keeps a line is woken this often unasked: a wake-up may be lost, and a retry's time may have come."""

GATHER_S = 0.1
"""Others' writes are told of at most this often: a busy process commits a thousand times a second."""

Left = Callable[[str, str], None]
"""Told of a run that waits no more, though who keeps its line has not recorded it, and why: "cancelled", say."""


class _Keeper(NamedTuple):
    left: Left
    waiting: Callable[[], None]


class RecordedLine:
    """What waits in this process's care. `run` is its task."""

    def __init__(self, store: Store, worker: str) -> None:
        self._store = store
        self._worker = worker
        self._kept: set[str] = set()
        self._keepers: list[_Keeper] = []
        self._soon: asyncio.TimerHandle | None = None
        self._looks: set[asyncio.Task[None]] = set()
        self._unlisten = store.listen(self._heard)

    def listen(self, left: Left, waiting: Callable[[], None]) -> Callable[[], None]:
        """Have them called on the event loop; returns what ends that. They must not block.

        left: a run in this process's care was ended, by whoever, or started by another process.
        waiting: there may be runs in nobody's care: look with `Queue.waiting_recorded`. Once a second in any case.
        """
        keeper = _Keeper(left, waiting)
        self._keepers.append(keeper)
        return lambda: self._keepers.remove(keeper)

    def keep(self, run_id: str) -> bool:
        """It is in this process's care; False where it was already."""
        new = run_id not in self._kept
        self._kept.add(run_id)
        return new

    def forget(self, run_id: str) -> None:
        """It is not."""
        self._kept.discard(run_id)

    async def adopt(self, functions: Collection[str], now_ms: int, limit: int) -> list[RunRecord]:
        """See `RunStore.adopt`."""
        found = await self._store.adopt(self._worker, functions, now_ms, limit)
        self._kept.update(run.id for run in found)
        return found

    def wake(self) -> None:
        """There may be something in nobody's care."""
        for keeper in tuple(self._keepers):
            _call(keeper.waiting)

    def left(self, run_id: str, reason: str) -> None:
        """It waits no more."""
        if run_id in self._kept:
            self._kept.discard(run_id)
            for keeper in tuple(self._keepers):
                _call(keeper.left, run_id, reason)

    async def run(self) -> None:
        """Wake who keeps a line now and then, until cancelled."""
        while True:
            await asyncio.sleep(TELL_S)
            self.wake()

    def close(self) -> None:
        """Listen no more."""
        self._unlisten()
        for one in (self._soon, *self._looks):
            if one is not None:
                one.cancel()

    def _heard(self, stream: str | None, chunk: Chunk | None) -> None:
        if stream is None:
            if self._keepers and self._soon is None:
                self._soon = asyncio.get_running_loop().call_later(GATHER_S, self._ring)
        elif chunk is None and stream in self._kept:
            self._look_at(stream)

    def _ring(self) -> None:
        self._soon = None
        self.wake()

    def _look_at(self, run_id: str) -> None:
        look = asyncio.create_task(self._look(run_id))
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)

    async def _look(self, run_id: str) -> None:
        """Another process has written to a run that waits here."""
        try:
            run = await self._store.run(run_id)
        except StoreError as error:  # it is found out at the latest when it is to be recorded
            log.warning("What became of %s can't be said: %s", run_id, error.message)
            return
        if run is None or run.state.ended:
            self.left(run_id, (run.cancel_reason if run else None) or "cancelled")
        elif run.worker != self._worker:
            self.left(run_id, "fenced")


def _call(listener: Callable[..., None], *given: str) -> None:
    try:
        listener(*given)
    except Exception:  # of one that keeps a line: the others are told all the same
        log.exception("Who keeps a line could not be told.")


def recorded_input(given: bytes | msgspec.Raw | Mapping[str, Any]) -> msgspec.Raw:
    """The input of a recorded run as it is stored. Raises InvalidInput for no JSON, or over `MAX_EVENT_BYTES`."""
    try:
        if isinstance(given, Mapping):
            return json_of(given)
        data = bytes(given)
        check_syntax(data)
    except (YieldError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"The input can't be stored: {error}.", field="input") from error
    if len(data) > MAX_EVENT_BYTES:
        hint = "Upload files, and send where they are."
        raise InvalidInput(f"The input has over {MAX_EVENT_BYTES} bytes.", hint=hint, field="input")
    return msgspec.Raw(data)
