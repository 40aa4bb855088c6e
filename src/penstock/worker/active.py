"""A run under way in this process: its function's task, its limits in time, and why it was stopped if it was."""

import asyncio
from typing import Any, Protocol

from ..models import Claimed, RunState
from .ending import Reason
from .execute import STOP_GRACE_S
from .options import Options
from .outcome import Outcome
from .recorder import Recorder

__all__ = ["Active", "Executing"]

LEAVE_S = 0.2
"""What a stopped run's task gets beyond the wait for its thread, to come to its end."""


class Executing(Protocol):
    """What carries out a run: in the loop or a thread, in a process of its own, or in a batch with others."""

    stop_grace_s: float
    """How long a stopped run waits for what executes it."""

    @property
    def thread_done(self) -> "asyncio.Future[Any] | None":
        """Settled when what executes the run outside of its task has come back."""
        ...

    @property
    def held_up(self) -> bool:
        """Whether the function waits for the store, or for memory: then its silence is not its fault."""
        ...

    async def outcome(self) -> Outcome:
        """Run the function to its end, or until this task is cancelled."""
        ...

    def stopped(self) -> None:
        """A stop was asked for; called before the task is cancelled, which may not even have begun."""
        ...


class Active:
    """A run under way here."""

    def __init__(self, claimed: Claimed, recorder: Recorder, options: Options) -> None:
        self.claimed = claimed
        self.recorder = recorder
        self.reason: str | None = (claimed.run.cancel_reason or "cancelled") if claimed.run.cancel else None
        self.execution: Executing | None = None
        self.task: asyncio.Task[Outcome] | None = None
        self._options = options
        self._stopped = asyncio.Event()
        self._grace_s = STOP_GRACE_S if options.stop_grace_s is None else options.stop_grace_s
        self._timers: dict[Reason, asyncio.TimerHandle] = {}
        recorder.done.add_done_callback(self._settled)

    def stop(self, reason: str, within_s: float | None = None) -> None:
        """Once: the first reason stands, and none does if the function has ended by itself."""
        if self.reason is not None or (self.task is not None and self.task.done()):
            return
        self.reason = reason
        self._grace_s = self._grace_s if within_s is None else min(within_s, self._grace_s)
        self.recorder.stop()
        if self.execution is not None:
            self.execution.stop_grace_s = self._grace_s
            self.execution.stopped()
        if self.task is not None:
            self.task.cancel()
        self._stopped.set()

    def _settled(self, stored: asyncio.Future[bool]) -> None:
        if stored.cancelled():
            return
        # No more can be written: the lease is lost, or the run was ended because it emitted what can't be encoded.
        if not stored.result() or (self.task is not None and not self.task.done()):
            self.stop("fenced")

    async def outcome(self, execution: Executing) -> Outcome:
        """Run the function, unless a stop came first."""
        self.execution = execution
        execution.stop_grace_s = self._grace_s
        if self.reason is not None:
            execution.stopped()
            return Outcome(RunState.CANCELLED)
        self.task = task = asyncio.create_task(execution.outcome())
        task.add_done_callback(lambda _: self._stopped.set())
        self._set_timers()
        await self._stopped.wait()
        for timer in self._timers.values():
            timer.cancel()
        if not task.done():  # a function may swallow its cancellation: its run ends without it
            await asyncio.wait([task], timeout=self._grace_s + min(LEAVE_S, self._grace_s))
        return task.result() if task.done() and not task.cancelled() else Outcome(RunState.CANCELLED)

    def _set_timers(self) -> None:
        loop = asyncio.get_running_loop()
        if self._options.time_limit_s is not None:
            self._timers["time_limit"] = loop.call_later(self._options.time_limit_s, self.stop, "time_limit")
        if self._options.stall_timeout_s is not None:
            self._look_for_life(self._options.stall_timeout_s)

    def _look_for_life(self, timeout_s: float) -> None:
        held_up = self.execution is not None and self.execution.held_up
        silent_s = 0.0 if held_up else self.recorder.silent_s
        if silent_s >= timeout_s:
            self.stop("stalled")
        else:
            again_s = timeout_s - silent_s
            self._timers["stalled"] = asyncio.get_running_loop().call_later(
                again_s, self._look_for_life, timeout_s
            )

    @property
    def left_behind(self) -> asyncio.Future[Any] | None:
        """What still executes the function, though the run has ended: its thread, or its task."""
        thread = None if self.execution is None else self.execution.thread_done
        return next((one for one in (thread, self.task) if one is not None and not one.done()), None)
