"""A run under way in this process: its function's task, and why it was stopped if it was."""

import asyncio
from typing import Any, Literal

from ..models import Claimed, RunState
from .execute import STOP_GRACE_S, Execution
from .recorder import Outcome, Recorder

__all__ = ["Active", "Reason"]

LEAVE_S = 0.2
"""What a stopped run's task gets beyond the wait for its thread, to come to its end."""

Reason = Literal["cancelled", "shutdown", "fenced"]


class Active:
    """A run under way here."""

    def __init__(self, claimed: Claimed, recorder: Recorder) -> None:
        self.claimed = claimed
        self.recorder = recorder
        self.reason: Reason | None = "cancelled" if claimed.run.cancel else None
        self.execution: Execution | None = None
        self.task: asyncio.Task[Outcome] | None = None
        self._stopped = asyncio.Event()
        self._within_s = STOP_GRACE_S
        recorder.done.add_done_callback(self._settled)

    def stop(self, reason: Reason, within_s: float = STOP_GRACE_S) -> None:
        """Once: the first reason stands, and none does if the function has ended by itself."""
        if self.reason is not None or (self.task is not None and self.task.done()):
            return
        self.reason = reason
        self._within_s = within_s
        self.recorder.stop()
        if self.execution is not None:
            self.execution.stop_grace_s = within_s
        if self.task is not None:
            self.task.cancel()
        self._stopped.set()

    def _settled(self, stored: asyncio.Future[bool]) -> None:
        if stored.cancelled():
            return
        # No more can be written: the lease is lost, or the run was ended because it emitted what can't be encoded.
        if not stored.result() or (self.task is not None and not self.task.done()):
            self.stop("fenced")

    async def outcome(self, execution: Execution) -> Outcome:
        """Run the function, unless a stop came first."""
        if self.reason is not None:
            return Outcome(RunState.CANCELLED)
        self.execution = execution
        self.task = task = asyncio.create_task(execution.outcome())
        task.add_done_callback(lambda _: self._stopped.set())
        await self._stopped.wait()
        if not task.done():  # a function may swallow its cancellation: its run ends without it
            await asyncio.wait([task], timeout=self._within_s + min(LEAVE_S, self._within_s))
        return task.result() if task.done() and not task.cancelled() else Outcome(RunState.CANCELLED)

    @property
    def left_behind(self) -> asyncio.Future[Any] | None:
        """What still executes the function, though the run has ended: its thread, or its task."""
        thread = None if self.execution is None else self.execution.thread_done
        return next((one for one in (thread, self.task) if one is not None and not one.done()), None)
