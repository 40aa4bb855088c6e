"""A run that something else executes, as whoever watches that writes it down."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ..events import Log, Progress
from ..models import Claimed, RunRecord, RunState
from .active import Active
from .emission import Emission, optional_json, plain_number, plain_text, size_of, text_size
from .frames import Frames
from .options import Options
from .outcome import Outcome
from .recorder import Recorder

__all__ = ["ActiveRecording", "OnStop", "Recording"]

log = logging.getLogger("penstock")

OnStop = Callable[[str], None]
"""Told, on the event loop and once, that the run is to stop, and why; it must not block."""


class ActiveRecording(Active):
    """A run under way elsewhere: it has no task here, and ends when its `Recording` says so."""

    def __init__(self, claimed: Claimed, recorder: Recorder, options: Options, on_stop: OnStop) -> None:
        super().__init__(claimed, recorder, options)
        self._on_stop = on_stop
        self._outcome: Outcome | None = None
        self._over = asyncio.Event()

    def end(self, outcome: Outcome) -> None:
        """It is over: the first time counts, and nothing does once the run has ended."""
        if self._outcome is not None:
            return
        self._outcome = outcome
        if self.reason is None:
            # At once, not when its task comes round to it: what was said last goes with the `end`, in one commit.
            self.recorder.end(outcome)
        self._stopped.set()
        self._over.set()

    def stop(self, reason: str, within_s: float | None = None) -> None:
        """As of any run, and whatever executes it is told."""
        if self.reason is not None or self._outcome is not None:
            return
        super().stop(reason, within_s)
        try:
            self._on_stop(reason)
        except Exception:  # whatever it makes of it, the run ends
            log.exception("The stop of run %s could not be passed on.", self.claimed.run.id)

    async def seen_through(self) -> Outcome:
        """How it ended; of one that is stopped, within the grace that it has."""
        await self._stopped.wait()
        if self.reason not in (None, "fenced"):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._grace_s):
                    await self._over.wait()
        return self._outcome or Outcome(RunState.CANCELLED)


class Recording:
    """A run under way elsewhere, and its log here. Given by `Worker.record`; used on its event loop.

    What is emitted is numbered and handed to the store at once: nothing is merged or held back on the way in. Once
    the run is over, by `end` or by a stop, what is emitted is dropped without a word.

    run: as it was when it started.
    """

    def __init__(self, active: ActiveRecording) -> None:
        self.run: RunRecord = active.claimed.run
        self._active = active
        self._recorder = active.recorder
        self._emission = Emission(cumulative=False, frame=Frames().of, lengths={})

    def emit(self, value: object) -> None:
        """Take a value as if a function had yielded it: `penstock.Replace(x)`, say, whose deltas are made here.

        Raises:
            BadYield, EventTooLarge: It can't be stored; nothing was taken.
            BufferFull: 16 MiB are waiting for the store. `await room()` between calls keeps far below that.
        """
        for event, size in self._emission.events(value, None):
            self._recorder.emit(event, size, closing=True)

    def progress(self, done: float, total: float | None = None, unit: str = "", **more: Any) -> None:
        """How far the work is; `more`, with a JSON form, goes along as `fields`. Raises as `emit` does."""
        fields = optional_json(more or None)
        total = None if total is None else plain_number("total", total)
        event = Progress(plain_number("done", done), total, plain_text(unit), fields)
        self._recorder.emit(event, text_size(event.unit) + size_of(fields), closing=True)

    def log(self, message: object, level: str = "info", **fields: Any) -> None:
        """A line of the log; `fields` have a JSON form. Raises as `emit` does."""
        text, more = plain_text(str(message)), optional_json(fields or None)
        event = Log(text, plain_text(level), more)
        self._recorder.emit(event, text_size(text) + text_size(event.level) + size_of(more), closing=True)

    async def room(self) -> None:
        """Wait until the store keeps up; mostly not at all, and then without giving way to other tasks."""
        await self._recorder.room()

    @property
    def over(self) -> bool:
        """Whether the run has ended, here or by a stop, and takes nothing any more."""
        return self._recorder.closed

    async def end(
        self, state: RunState, *, result: object = None, error: Mapping[str, Any] | None = None
    ) -> bool:
        """End the run, and return once that is stored; calling it again only waits for that.

        A run that was asked to stop ends as what that makes of it, whatever is said here. Cancelling this call
        takes nothing back.

        Args:
            state: An ended one.
            result: What it returned; with a JSON form.
            error: `{code, message, hint}` of one that did not succeed.

        Returns False where the run was not this worker's any more: what was emitted last may not be stored.

        Raises:
            ValueError: It is no ended state.
            BadYield, EventTooLarge: The result can't be stored; the run goes on.
        """
        if not state.ended:
            raise ValueError(f"a run can't end as {state.value}")
        self._active.end(Outcome(state, optional_json(result), None if error is None else _plain(error)))
        return await asyncio.shield(self._recorder.done)


def _plain(error: Mapping[str, Any]) -> dict[str, Any]:
    told = {"code": "exception", "message": "", "hint": ""} | dict(error)
    return {name: plain_text(value) if isinstance(value, str) else value for name, value in told.items()}
