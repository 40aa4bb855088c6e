"""Sees this process's runs through: from the claim to the stored end, or back into the queue."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from ..errors import Fenced, InvalidInput, StoreError
from ..memory import Hold, Pressure
from ..meters import Runs
from ..models import Claimed, RunRecord, RunState
from ..protocol.runs import retry_delay_s
from ..settings import Settings
from ..storage.base import Store
from ..storage.uploads import Uploads
from .active import Active, Executing
from .batch import Batch
from .checkpoint import begin_attempt
from .emission import plain_text
from .ending import outcome_of
from .execute import Execution
from .function import Function
from .isolation import Children, IsolatedExecution
from .journal import Journal
from .outcome import GiveBack, Outcome
from .recorder import Recorder
from .recording import ActiveRecording, OnStop, Recording
from .run import Run

__all__ = ["Executor", "retry_at_ms"]

log = logging.getLogger("penstock")

RETURN_AGAIN_S = 1.0
"""How soon a place that became free is told to the store again, if it could not take it."""

GIVE_BACK_AGAIN_S = 0.2
"""The same of a run that was claimed and not begun: a shutdown waits for it, but has little time."""

CLOSE_S = 1.0
"""How long closing waits for what it has cancelled: milliseconds, unless the store holds it up."""


RECORDED_RATE = 0.0
"""Nothing is merged or held up on the way in: whoever speaks for a recorded run has a pace of its own."""


class _Call:
    """The runs that one call of a function serves; most calls serve one."""

    def __init__(self, function: Function, size: int, pressure: Pressure) -> None:
        self.function = function
        self.batch = Batch(function, pressure) if function.options.batch else None
        self.open = size
        self.goes_on = False


class Executor:
    """Made on the event loop. `on_free` is called whenever there may be room for more."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        functions: Mapping[str, Function],
        settings: Settings,
        on_free: Callable[[], None],
        pressure: Pressure,
        meter: Runs,
        uploads: Uploads,
    ) -> None:
        self._meter = meter
        self._store = store
        self._journal = journal
        self._functions = functions
        self._settings = settings
        self._on_free = on_free
        self._pressure = pressure
        self._uploads = uploads
        self.children = Children(functions, uploads.folder)
        # What goes on, with its run; held here because asyncio itself holds tasks weakly.
        self._left: dict[asyncio.Future[Any], str] = {}
        self.active: dict[str, Active] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.given_up: set[str] = set()
        """Runs begun here whose fate this worker could not write; they may stand in its name all the same."""
        self.threads = 0
        self._closed = False
        self.left_for_others = False
        """Runs stand in this worker's name that somebody else is to settle, once the process is gone."""

    @property
    def left_behind(self) -> set[str]:
        """Runs that are over here, as far as this worker is concerned, while their functions go on."""
        return set(self._left.values())

    def begin(self, claimed: Iterable[Claimed]) -> None:
        """Execute the runs of one call."""
        runs = list(claimed)
        function = self._functions[runs[0].run.function]
        self.threads += function.threaded
        call = _Call(function, len(runs), self._pressure)
        prepared = [(active, self._prepare(active, call)) for active in map(self._activate, runs)]
        for active, execution in prepared:
            coming = execution if isinstance(execution, Outcome) else active.outcome(execution)
            self._keep(asyncio.create_task(self._see_through(active, call, coming)))
        if call.batch is not None:
            call.batch.begin()

    def record(self, claimed: Claimed, on_stop: OnStop) -> Recording:
        """See a run through that something else executes."""
        function = self._functions[claimed.run.function]
        self.threads += function.threaded
        recorder = self._journal.record(claimed, RECORDED_RATE)
        active = ActiveRecording(claimed, recorder, function.options, on_stop)
        self.active[claimed.run.id] = active
        begin_attempt(claimed, recorder)
        call = _Call(function, 1, self._pressure)
        self._keep(asyncio.create_task(self._see_through(active, call, active.seen_through())))
        return Recording(active)

    def abandon_recordings(self) -> None:
        """Nothing more is written here: whoever waits for an end elsewhere is to hear that it was not stored."""
        for active in list(self.active.values()):
            if isinstance(active, ActiveRecording):
                active.recorder.abandon()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _activate(self, claimed: Claimed) -> Active:
        options = self._functions[claimed.run.function].options
        rate = self._settings.rate if options.rate is None else options.rate
        active = Active(claimed, self._journal.record(claimed, rate), options)
        self.active[claimed.run.id] = active
        return active

    def _prepare(self, active: Active, call: _Call) -> Executing | Outcome:
        """What executes the run, or how it ends without being executed."""
        if active.reason is not None:
            return Outcome(RunState.CANCELLED)
        try:
            begin_attempt(active.claimed, active.recorder)
            return self._execution(active.claimed.run, active.recorder, call)
        except InvalidInput as error:  # the function's signature has changed since the run was submitted
            return Outcome(RunState.FAILED, None, error.as_dict())
        except Exception as error:  # noqa: BLE001 - a checkpoint that can't be read, say
            return self._fault(active, error)

    def _execution(self, run: RunRecord, recorder: Recorder, call: _Call) -> Executing:
        # Of an upload a few hundred bytes are read here, which were looked at when the run was submitted.
        arguments = call.function.arguments(run.input, self._uploads.find)
        if call.batch is not None:
            return call.batch.join(run, recorder, arguments)
        if call.function.isolated:
            return IsolatedExecution(run, recorder, self.children, self._pressure)
        hold = Hold(self._pressure, recorder.touch)
        return Execution(call.function, Run(run, recorder), recorder, arguments, hold)

    def _fault(self, active: Active, error: Exception) -> Outcome:
        log.error("Run %s could not be executed.", active.claimed.run.id, exc_info=error)
        failed = {"code": "exception", "message": plain_text(repr(error)), "hint": ""}
        return Outcome(RunState.FAILED, None, failed)

    async def _see_through(self, active: Active, call: _Call, coming: Awaitable[Outcome] | Outcome) -> None:
        try:
            outcome = coming if isinstance(coming, Outcome) else await coming
        except Exception as error:  # noqa: BLE001 - a fault of ours ends the run, not the worker
            outcome = self._fault(active, error)
        # As of now: if it returns while the end is being stored, its place has still to be given free afterwards.
        left_behind = active.left_behind
        try:
            await self._conclude(active, call.function, outcome, lingers=left_behind is not None)
        finally:
            del self.active[active.claimed.run.id]
            if not active.recorder.settled:
                self.given_up.add(active.claimed.run.id)
            self._free(active, call, left_behind)

    async def _conclude(self, active: Active, function: Function, outcome: Outcome, *, lingers: bool) -> None:
        ended = _explained(active.reason, outcome)
        back = self._another_attempt(active, function, ended)
        if back is not None and lingers:
            # Not while its function goes on here: once this process is gone, whoever sweeps gives it back.
            await self._spare(active)
            active.recorder.abandon()
            self.left_for_others = True
        elif back is not None:
            active.recorder.give_back(back)
        else:
            active.recorder.end(ended, lingers=lingers)
        await active.recorder.done
        self._count(active, ended)

    def _count(self, active: Active, ended: Outcome) -> None:
        run, stored = active.claimed.run, active.recorder.outcome
        if ended.error is not None and ended.error["code"] == "process_died":
            self._meter.lost_one(run.function)
        if stored is not None and active.recorder.settled:
            self._meter.ended(run.function, stored.state)
            if run.started_at_ms is not None:
                self._meter.lasted(run.function, (_now_ms() - run.started_at_ms) / 1000)

    async def _spare(self, active: Active) -> None:
        try:
            await self._store.spare(active.recorder.lease)
        except (StoreError, Fenced) as error:
            log.warning("Run %s will count as lost: %s", active.claimed.run.id, error.message)

    def _another_attempt(self, active: Active, function: Function, outcome: Outcome) -> GiveBack | None:
        """Back into the queue, where the run's function may be tried again."""
        run, options = active.claimed.run, function.options
        if active.reason == "shutdown":
            return GiveBack() if options.crash_retries or options.retries else None
        if active.reason is not None or outcome.error is None:
            return None
        code = outcome.error["code"]
        if code == "process_died" and run.losses < options.crash_retries:
            return GiveBack(retry_at_ms(run.losses + 1), lost=True)
        if code in ("exception", "process_died") and run.failures < options.retries:
            # Not at once, as after a crash: what the function met is likely still there.
            return GiveBack(retry_at_ms(run.failures + 2), outcome.error)
        return None

    def _free(self, active: Active, call: _Call, left_behind: asyncio.Future[Any] | None) -> None:
        call.open -= 1
        if left_behind is not None:  # it goes on: the run has ended, its place is taken
            call.goes_on = True
            self._left[left_behind] = active.claimed.run.id
            left_behind.add_done_callback(lambda one: self._returned(active, call, one))
        if not (call.open or call.goes_on):
            self.threads -= call.function.threaded
        self._on_free()

    def _returned(self, active: Active, call: _Call, left_behind: asyncio.Future[Any]) -> None:
        self._left.pop(left_behind, None)
        call.goes_on = False
        if not call.open:
            self.threads -= call.function.threaded
        if not self._closed:  # else its place is free once the worker is signed out, or its lease is over
            self._keep(asyncio.create_task(self._tell_returned(active.claimed.run.id)))

    async def _tell_returned(self, run_id: str) -> None:
        while True:
            try:
                await self._store.returned(run_id)
            except StoreError as error:
                log.warning("The place of %s is free, but the store can't be told: %s", run_id, error.message)
            else:
                self._on_free()
                return
            await asyncio.sleep(RETURN_AGAIN_S)

    async def close(self) -> None:
        """Follow nothing any more. What the store does not know by now is settled by whoever sweeps next."""
        self._closed = True
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=CLOSE_S)

    async def give_back(self, claimed: Iterable[Claimed]) -> None:
        """Back into the queue at once: they were not begun. Tries again until the store takes it."""
        for one in claimed:
            await self._give_back(one)

    async def _give_back(self, one: Claimed) -> None:
        while True:
            try:
                await self._store.requeue(one.lease, 0)
            except Fenced:  # by an earlier try, perhaps, whose answer was lost
                log.info("Run %s is not this worker's any more.", one.run.id)
                return
            except StoreError as error:
                log.warning("Run %s can't be given back: %s %s", one.run.id, error.message, error.hint)
            else:
                return
            await asyncio.sleep(GIVE_BACK_AGAIN_S)


def retry_at_ms(attempt: int) -> int:
    """When the attempt after this one may begin, in Unix milliseconds; see `protocol.runs.retry_delay_s`."""
    delay_s = retry_delay_s(attempt, random.random())  # noqa: S311 - jitter, not a secret
    return _now_ms() + round(delay_s * 1000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _explained(reason: str | None, outcome: Outcome) -> Outcome:
    # Whatever a function makes of its cancellation, an error or a result: it was stopped.
    if reason is not None:
        return outcome_of(reason)
    if outcome.state is RunState.CANCELLED:  # the function cancelled itself
        message = "CancelledError: the function was cancelled from within."
        return Outcome(RunState.FAILED, None, {"code": "exception", "message": message, "hint": ""})
    return outcome
