"""Running a function to its end, whichever of the four kinds it is."""

import asyncio
import contextlib
import contextvars
import inspect
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from typing import Any, cast

from ..errors import PenstockError
from ..events import AnyEvent
from ..memory import Hold
from ..models import RunState
from .emission import Emission, message_of, optional_json, plain_text
from .function import Function
from .outcome import Outcome, RunStopped
from .run import Run, Sink, current_span

__all__ = ["STOP_GRACE_S", "Execution", "failure_of", "run_in_thread"]

log = logging.getLogger("penstock")

STOP_GRACE_S = 2.0
"""How long a cancelled run waits for its thread before it ends without it: long enough for a generator's
clean-up, short enough for the person who pressed Stop."""


class Execution:
    """One attempt of a run.

    stop_grace_s: how long a stopped run waits for its thread.
    thread_done: settled when the function's thread has returned; None where it has none.
    owns_process: the process is this run's alone, and ends if the function calls sys.exit().
    hold: where the function waits at its yields while memory is tight.
    """

    def __init__(
        self, function: Function, run: Run, recorder: Sink, arguments: dict[str, Any], hold: Hold
    ) -> None:
        self._function = function
        self._run = run
        self._recorder = recorder
        self._arguments = arguments
        self.hold = hold
        self._handle: Run | list[Run] = run
        self._cumulative = function.options.cumulative
        self._emission = Emission(cumulative=self._cumulative, frame=run.frames.of, lengths=run.lengths)
        self.stop_grace_s = STOP_GRACE_S
        self.thread_done: asyncio.Future[Any] | None = None
        self.owns_process = False

    @property
    def held_up(self) -> bool:
        """Whether the function waits for the store, or for memory."""
        return self._recorder.full or self.hold.waiting

    def stopped(self) -> None:
        """Hold the function no more. The rest is said by cancelling the task that is in `outcome`."""
        self.hold.end()

    async def outcome(self) -> Outcome:
        """Run the function to its end, or until this task is cancelled; then the generator has been closed.

        A plain function that blocks its thread is left behind after `stop_grace_s`: `thread_done` is then
        still open.
        """
        try:
            body = self._threaded if self._function.threaded else self._in_loop
            result = await body()
            return self._succeeded(result)
        except (asyncio.CancelledError, RunStopped):
            return Outcome(RunState.CANCELLED)
        except BaseException as error:  # sys.exit() in a function ends its run, not the server
            if self.owns_process and isinstance(error, SystemExit):
                raise
            return failure_of(self._run, error)
        finally:
            self.hold.end()

    def _succeeded(self, result: Any) -> Outcome:
        return Outcome(RunState.SUCCEEDED, optional_json(result))

    def _events(self, value: Any) -> Iterable[tuple[AnyEvent, int]]:
        span = current_span(self._run)
        if self._cumulative:
            return (self._run.frames.of(value, span),)
        if type(value) is dict:  # what is yielded most, after text
            return (self._emission.json(value, span),)
        return self._emission.events(value, span)

    # async def

    def _in_loop(self) -> Awaitable[Any]:
        # No coroutine of its own: each token's way through it would cost as much as a call.
        started = self._function.start(self._arguments, self._handle)
        if not inspect.isasyncgen(started):
            return cast("Awaitable[Any]", started)
        return self._iterate(cast("AsyncGenerator[Any, None]", started))

    async def _iterate(self, generator: AsyncGenerator[Any, None]) -> None:
        recorder, emission, run, pressure = self._recorder, self._emission, self._run, self.hold.pressure
        say = recorder.say
        try:
            async for value in generator:
                if recorder.stopping:  # a generator that swallowed its cancellation
                    raise RunStopped
                if type(value) is str and not self._cumulative:  # tokens: the path that must be short
                    emission.say(value, current_span(run), say)
                    if recorder.full:
                        await recorder.room()
                else:
                    for event, size in self._events(value):
                        recorder.emit(event, size)
                        if recorder.full:
                            await recorder.room()
                if pressure.tight and self.hold.due:
                    await self.hold.wait()
        finally:
            await generator.aclose()

    # def

    async def _threaded(self) -> Any:
        self.thread_done = done = run_in_thread(self._call, f"penstock-{self._run.id}")
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            self._recorder.stop()
            self.hold.end()
            await asyncio.wait([done], timeout=self.stop_grace_s)
            raise

    def _call(self) -> Any:
        started = self._function.start(self._arguments, self._handle)
        if inspect.isgenerator(started):
            return self._exhaust(cast("Generator[Any, None, Any]", started))
        return started

    def _exhaust(self, generator: Generator[Any, None, Any]) -> Any:
        try:
            while True:
                value = next(generator)
                if type(value) is str and not self._cumulative:
                    self._emission.say(value, current_span(self._run), self._recorder.say)
                else:
                    for event, size in self._events(value):
                        self._recorder.emit(event, size)
                self.hold.wait_in_thread()
                if self._recorder.stopping:
                    self._recorder.stop_seen()
                    raise RunStopped
        except StopIteration as end:
            return end.value
        finally:
            generator.close()


def failure_of(run: Run, error: BaseException) -> Outcome:
    """How a run ends that met this error: one of ours says what it is, any other is the function's, and logged."""
    if isinstance(error, PenstockError):
        failed = {
            "code": error.code, "message": plain_text(error.message), "hint": plain_text(error.hint),
        }  # fmt: skip
    else:
        log.error("Run %s of %s failed.", run.id, run.function, exc_info=error)
        failed = {"code": "exception", "message": message_of(error), "hint": ""}
    return Outcome(RunState.FAILED, None, failed)


def run_in_thread(call: Callable[[], Any], name: str) -> asyncio.Future[Any]:
    """The outcome of `call` in a thread of its own, with the caller's context.

    Not a pool: a pool's threads are joined when the process ends, and one that blocks would hold it for ever.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
            future.exception()  # noted: a run that ended before its thread has nobody to raise it to

    def body() -> None:
        result: Any = None
        failed: BaseException | None = None
        try:
            result = context.run(call)
        except StopIteration as error:  # a future can't carry it
            failed = RuntimeError(f"the function raised {error!r}")
        except BaseException as error:  # noqa: BLE001 - RunStopped and SystemExit end the run, not the thread
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=body, name=name, daemon=True).start()
    return future
