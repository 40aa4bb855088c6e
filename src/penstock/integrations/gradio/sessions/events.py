"""One Gradio event, from its join to its end, as Penstock records it."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Protocol

from ....errors import BufferFull, PenstockError
from ....models import RunState
from ....worker import Recording
from ..messages.recorded import Kept, Recorded
from .patience import patiently

__all__ = ["Event", "Records"]

log = logging.getLogger("penstock")

SPENT = Recorded()
"""Of all events that are over. It has nothing, and is given nothing."""


class Records(Protocol):
    """What an event needs of the rest."""

    async def record(self, run_id: str, on_stop: Callable[[str], None]) -> Recording | None: ...
    async def fail(self, run_id: str, error: dict[str, Any], state: RunState) -> None: ...
    def tell(self, run_id: str, status: dict[str, Any]) -> None: ...
    async def cancel_inner(self, event: "Event") -> None: ...
    async def ending(self, event: "Event") -> None: ...


class Event:
    """One event.

    id: Gradio's id of it when it was joined: what its client and the store call it.
    inner_id: what Gradio calls it now: another one, once it was joined again after a restart.
    simple: it was begun through `/call`, whose updates are whole values.
    """

    def __init__(
        self,
        event_id: str,
        session_hash: str,
        fn_index: int | None,
        records: Records,
        *,
        simple: bool = False,
    ) -> None:
        self.id = self.inner_id = event_id
        self.session_hash = session_hash
        self.fn_index = fn_index
        self.simple = simple
        self.ordinal = 0
        self.over = False
        self.delivered = False
        """A reader without a cursor had all of it: the next one does not get it again."""
        self.eta_s: float | None = None
        self._records = records
        self._recorded = Recorded(simple=simple)
        self._recording: Recording | None = None
        self._stored = asyncio.get_running_loop().create_future()
        self._stopping: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._outcome: tuple[RunState, dict[str, Any] | None] = RunState.CANCELLED, None
        self._over: list[Callable[[], None]] = []

    @property
    def begun(self) -> bool:
        """Whether it is running, as far as is known here."""
        return self._recording is not None and not self.over

    async def is_kept(self) -> bool:
        """Whether the store has it; waits for a join that is under way."""
        return await asyncio.shield(self._stored)

    def stored(self, *, kept: bool = True) -> None:
        """The store has taken it in as a run; or could not."""
        if not self._stored.done():
            self._stored.set_result(kept)
        if not kept:
            self._finish()

    def on_over(self, call: Callable[[], None]) -> None:
        """Call this when nothing more will be recorded of it."""
        self._over.append(call)

    async def hear(self, message: dict[str, Any]) -> None:
        """Record what Gradio says of it. In the order in which it is said; waits while the store is behind."""
        if message["msg"] == "process_starts":
            self.eta_s = message.get("eta")
        if message["msg"] == "estimation":
            self._records.tell(self.id, _status(message))
        elif not self.over and await self._begun():
            await self._record(message)

    async def _begun(self) -> bool:
        if self._recording is None:
            if not await self._stored:
                return False
            recording = await self._begin()
            if self.over:
                await self._ended_before(recording)
                return False
            self._recording = recording
            if recording is None:  # stopped while it waited, from the console perhaps
                self._finish()
                self._cancel_inner()
        return self._recording is not None

    async def _ended_before(self, recording: Recording | None) -> None:
        """It was ended while its run was being started: whoever did so had nothing to end."""
        if recording is not None:
            state, error = self._outcome
            await recording.end(state, error=error)

    async def _begin(self) -> Recording | None:
        record = self._records.record
        return await patiently(
            lambda: record(self.id, self._asked_to_stop), f"Event {self.id}", lambda: self.over
        )

    async def _record(self, message: dict[str, Any]) -> None:
        recording, recorded = self._recording, self._recorded
        assert recording is not None
        if message["msg"] == "process_completed":
            await self._records.ending(self)
        for kept in recorded.take(message):
            await _put(kept, recording)
            await recording.room()  # a large value comes in many
        outcome = recorded.outcome
        if outcome is not None:
            self.end(RunState(outcome.state), outcome.error)

    def give_up(self, error: Exception) -> None:
        """It can't be recorded any more: Gradio need not go on with it, and its readers are told why."""
        if not self.over:
            log.error("Event %s can't be recorded: %s", self.id, error, exc_info=error)
            self._cancel_inner()
            self.end(RunState.FAILED, _told(error))

    def _cancel_inner(self) -> None:
        self._stopping = asyncio.create_task(self._cancelled())

    async def _cancelled(self) -> None:
        with contextlib.suppress(Exception):
            await self._records.cancel_inner(self)

    def end(self, state: RunState, error: dict[str, Any] | None = None) -> None:
        """Nothing more comes: its run ends. Nothing if it has."""
        if not self.over:
            self._outcome = state, error
            self._ending = asyncio.create_task(self._end(state, error))
            self._finish()

    async def _end(self, state: RunState, error: dict[str, Any] | None) -> None:
        try:
            if self._recording is not None:
                await self._recording.end(state, error=error)
            elif await self._stored and error is not None:  # it waits, and nobody has it in a line
                await self._records.fail(self.id, error, state)
        finally:
            self._recording = self._ending = None  # sessions remember events for long: the last value goes

    def leave(self) -> bool:
        """It was ended in the store while it waited. Whether that is news here."""
        news = not self.over and self._recording is None
        if news:
            self._finish()
        return news

    def _asked_to_stop(self, reason: str) -> None:
        self._stopping = asyncio.create_task(self._stop(reason))

    async def _stop(self, reason: str) -> None:
        await self._cancelled()
        if reason != "shutdown":  # what is interrupted leaves no traces: it may begin again
            await self._records.ending(self)
        self.end(RunState.INTERRUPTED if reason == "shutdown" else RunState.CANCELLED)

    def _finish(self) -> None:
        if not self.over:
            self.over = True
            self._recorded = SPENT  # the old one holds the last value
            for call in self._over:
                call()
            self._over.clear()


async def _put(kept: Kept, recording: Recording) -> None:
    try:
        kept.record(recording)
    except BufferFull:  # large values, and a store that is slow
        await recording.room()
        kept.record(recording)


def _told(error: Exception) -> dict[str, Any]:
    if isinstance(error, PenstockError):
        return {"code": error.code, "message": error.message, "hint": error.hint}
    return {"code": "lost", "message": f"What Gradio said can't be recorded: {error!r}", "hint": ""}


def _status(message: dict[str, Any]) -> dict[str, Any]:
    rank = message.get("rank")
    return {
        "state": "queued",
        "position": None if rank is None else rank + 1,
        "eta_s": message.get("rank_eta"),
        "queue_size": message.get("queue_size"),
    }
