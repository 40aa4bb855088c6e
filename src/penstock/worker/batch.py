"""One call that serves several runs: each with its own input, stream, end and stop."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from typing import Any

from ..errors import BadYield
from ..events import AnyEvent, Text
from ..memory import Hold, Pressure
from ..models import RunRecord, RunState
from .emission import Emission, optional_json
from .execute import STOP_GRACE_S, Execution, failure_of
from .function import Function
from .outcome import Outcome, RunStopped
from .recorder import Recorder
from .run import Run, Sink, current_span

__all__ = ["Batch", "Share"]


class Batch:
    """Runs of one function that were started together; `begin` calls it once for all of them."""

    def __init__(self, function: Function, pressure: Pressure) -> None:
        self.function = function
        self._pressure = pressure
        self.shares: list[Share] = []
        self.execution: _BatchExecution | None = None
        self.last: Share | None = None
        """The run with which the call was stopped: where it goes on all the same, it does in that one's name."""
        self._task: asyncio.Task[None] | None = None

    def join(self, record: RunRecord, recorder: Recorder, arguments: dict[str, Any]) -> "Share":
        """Another run of it. All join before it begins."""
        share = Share(self, record, recorder, arguments)
        self.shares.append(share)
        return share

    def begin(self) -> None:
        """Call the function, unless nobody has joined."""
        if self.shares:
            hold = Hold(self._pressure, self.touch)
            self.execution = _BatchExecution(self.function, self.shares, hold)
            self._task = asyncio.create_task(self._run(self.execution))

    async def _run(self, execution: "_BatchExecution") -> None:
        outcome = await execution.outcome()
        for share in self.shares:
            share.settle(outcome)

    @property
    def wanted(self) -> bool:
        """Whether a run of it still needs the call."""
        return not all(share.left for share in self.shares)

    @property
    def held_up(self) -> bool:
        """Whether the call waits for the store, on behalf of any of its runs, or for memory."""
        held = self.execution is not None and self.execution.hold.waiting
        return held or any(share.sink.full for share in self.shares)

    def touch(self) -> None:
        """What held the call up has ended: the silence of its runs counts from here."""
        for share in self.shares:
            share.recorder.touch()

    def forsake(self, last: "Share") -> None:
        """A run has been stopped. With the last one the call is, as a single run's would be."""
        if self._task is None or self.wanted or self.last is not None:
            return
        self.last = last
        if self.execution is not None:
            self.execution.stop_grace_s = last.stop_grace_s
        self._task.cancel()

    async def gone(self) -> None:
        """Wait until the call has been stopped, or left behind."""
        if self._task is not None:
            await asyncio.wait([self._task])

    @property
    def going_on(self) -> "asyncio.Future[Any] | None":
        """What still executes the function."""
        thread = None if self.execution is None else self.execution.thread_done
        return next((one for one in (thread, self._task) if one is not None and not one.done()), None)


class Share:
    """One run's part of a batch; used like an `Execution`."""

    def __init__(
        self, batch: Batch, record: RunRecord, recorder: Recorder, arguments: dict[str, Any]
    ) -> None:
        self.recorder = recorder
        self.sink: Sink = _ShareSink(self, recorder)
        self.run = Run(record, self.sink)
        self.arguments = arguments
        self.emission = Emission(
            cumulative=batch.function.options.cumulative, frame=self.run.frames.of, lengths=self.run.lengths
        )
        self.stop_grace_s = STOP_GRACE_S
        self.left = False
        """The call is nothing to the run any more: it was stopped, or can't be stored."""
        self.batch = batch
        self._failure: Outcome | None = None
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def outcome(self) -> Outcome:
        """Wait for the call's end, or until this task is cancelled; then the others go on without this run."""
        try:
            return await asyncio.shield(self._outcome)
        except asyncio.CancelledError:
            if self.batch.last is self:
                await self.batch.gone()
            raise

    def stopped(self) -> None:
        """The run is to stop, whether or not it has begun to wait: the others go on without it."""
        self.left = True
        self.batch.forsake(self)

    def fail(self, error: Exception) -> None:
        """What the call gave this run can't be stored: the others go on without it. From any thread.

        The last one's end waits for that of the call, as a single run's would.
        """
        self._failure = failure_of(self.run, error)
        self.left = True
        if self.batch.wanted:
            self._outcome.get_loop().call_soon_threadsafe(self.settle, self._failure)

    def settle(self, outcome: Outcome) -> None:
        """The call has ended; an outcome that was set before stands, and so does the run's own failure."""
        if not self._outcome.done():
            self._outcome.set_result(self._failure or outcome)

    def settle_with(self, result: Any) -> None:
        """The call has ended, with this item for the run."""
        if self.left:
            return
        try:
            self.settle(Outcome(RunState.SUCCEEDED, optional_json(result)))
        except BaseException as error:  # noqa: BLE001 - the item's own methods may raise anything
            self.settle(failure_of(self.run, error))

    def events_of(self, item: Any) -> Iterator[tuple[AnyEvent, int]]:
        """The events of what was yielded for the run. Raises as `Emission.events` does."""
        return self.emission.events(item, current_span(self.run))

    @property
    def thread_done(self) -> "asyncio.Future[Any] | None":
        """For the last run to be stopped, what still executes the function; None for the others."""
        return self.batch.going_on if self.batch.last is self else None

    @property
    def held_up(self) -> bool:
        """Whether the call waits for the store, or for memory."""
        return self.batch.held_up


class _ShareSink:
    """A run's recorder, which no longer stops the function when only this run is to stop: others need it."""

    def __init__(self, share: Share, recorder: Recorder) -> None:
        self._share = share
        self._recorder = recorder

    @property
    def stopping(self) -> bool:
        return self._share.left or self._recorder.stopping

    @property
    def full(self) -> bool:
        return not self.stopping and self._recorder.full

    async def room(self) -> None:
        await self._recorder.room()

    def emit(self, event: AnyEvent, size: int = 0, *, urgent: bool = False, closing: bool = False) -> None:
        waits = self.full
        try:
            self._recorder.emit(event, size, urgent=urgent, closing=closing)
        except RunStopped:
            self._pass_on()
        if waits:
            self._share.batch.touch()

    def say(self, position: int, text: str, span: str | None, size: int) -> None:
        self.emit(Text(position, text, span=span), size)

    def checkpoint(self, saved: bytes) -> None:
        try:
            self._recorder.checkpoint(saved)
        except RunStopped:
            self._pass_on()

    def _pass_on(self) -> None:
        if not self._share.batch.wanted:
            raise RunStopped

    def stop(self) -> None:
        self._recorder.stop()

    def stop_seen(self) -> None:
        self._recorder.stop_seen()


class _BatchExecution(Execution):
    """The one call. Its arguments are lists with a value of each run, and so is what it yields and returns."""

    def __init__(self, function: Function, shares: Sequence[Share], hold: Hold) -> None:
        names = shares[0].arguments
        arguments = {name: [share.arguments[name] for share in shares] for name in names}
        runs = [share.run for share in shares]
        super().__init__(function, runs[0], _AllSinks(shares), arguments, hold)
        self._shares = shares
        self._handle = runs

    def _succeeded(self, result: Any) -> Outcome:
        items = [None] * len(self._shares) if result is None else self._items(result, "returned")
        for share, item in zip(self._shares, items, strict=True):
            share.settle_with(item)
        return Outcome(RunState.SUCCEEDED)

    def _items(self, value: Any, did: str) -> Sequence[Any]:
        if not isinstance(value, list | tuple) or len(value) != len(self._shares):
            what = f"{len(value)} values" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
            raise BadYield(
                f"{self._function.name} {did} {what} for {len(self._shares)} runs.",
                hint="A batch gives a list with one value of each run; None for a run with nothing new.",
            )
        return value

    def _given(self, value: Any) -> Iterator[tuple[Share, Any]]:
        for share, item in zip(self._shares, self._items(value, "yielded"), strict=True):
            if item is not None and not share.sink.stopping:
                yield share, item

    async def _iterate(self, generator: AsyncGenerator[Any, None]) -> None:
        try:
            async for value in generator:
                for share, item in self._given(value):
                    await self._emit(share, item)
                if self.hold.due:
                    await self.hold.wait()
                if self._recorder.stopping:
                    raise RunStopped
        finally:
            await generator.aclose()

    async def _emit(self, share: Share, item: Any) -> None:
        try:
            for event, size in share.events_of(item):
                share.sink.emit(event, size)
                if share.sink.full:
                    await share.sink.room()
                    share.batch.touch()
        except Exception as error:  # noqa: BLE001 - the item's own methods may raise anything
            share.fail(error)

    def _emit_in_thread(self, share: Share, item: Any) -> None:
        try:
            for event, size in share.events_of(item):
                share.sink.emit(event, size)
        except Exception as error:  # noqa: BLE001 - as in `_emit`
            share.fail(error)

    def _exhaust(self, generator: Generator[Any, None, Any]) -> Any:
        try:
            while True:
                for share, item in self._given(next(generator)):
                    self._emit_in_thread(share, item)
                self.hold.wait_in_thread()
                if self._recorder.stopping:
                    self._recorder.stop_seen()
                    raise RunStopped
        except StopIteration as end:
            return end.value
        finally:
            generator.close()


class _AllSinks:
    """What the call as a whole is told: it is to stop when all its runs are."""

    full = False

    def __init__(self, shares: Sequence[Share]) -> None:
        self._shares = shares

    @property
    def stopping(self) -> bool:
        return all(share.left for share in self._shares)

    async def room(self) -> None:
        return

    def emit(self, event: AnyEvent, size: int = 0, *, urgent: bool = False, closing: bool = False) -> None:
        raise NotImplementedError("each run's events go into its own stream")

    def say(self, position: int, text: str, span: str | None, size: int) -> None:
        raise NotImplementedError("each run's events go into its own stream")

    def checkpoint(self, saved: bytes) -> None:
        raise NotImplementedError("each run has checkpoints of its own")

    def stop(self) -> None:
        for share in self._shares:
            share.sink.stop()

    def stop_seen(self) -> None:
        for share in self._shares:
            share.sink.stop_seen()
