"""Gradio's generators, run in turns with Gradio, so that what they yield meanwhile is merged.

Each looks to Gradio like the iterator that it stands for. Gradio runs, then the generator until a value is due,
and so on. Only where the generator is in the middle of something at that time does it run on while Gradio prepares
the value, up to its next yield; what is held was copied when it was yielded.
"""

import asyncio
import contextvars
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from typing import Any, Self

from .latest import Latest

__all__ = ["TaskTurns", "ThreadTurns", "Turns"]

CLOSE_S, CLOSE_AGAIN_S = 60.0, 0.05
"""How long, and how often, closing a generator is tried while its thread is still in it; Gradio's own numbers."""

LOOP_SLICE_S = 0.005
"""So long may an async generator go on without waiting for anything, until others have a turn at the event loop:
as long as a thread has Python by default."""

RunSync = Callable[[Callable[[], None]], Awaitable[None]]
"""Runs a function in one of Gradio's threads, under the app's own limit."""

_under_way: set["asyncio.Task[None]"] = set()
"""Tasks of generators, which the event loop itself does not keep."""


class Bell:
    """Wakes the one who waits for a generator."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """There is news: the generator has paused, or ended."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def wait(self, most_s: float) -> None:
        """Until there is news; no longer than so many seconds, if they are more than none."""
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        timer = loop.call_later(most_s, self.ring) if most_s > 0 else None
        try:
            await self._waiting
        finally:
            self._waiting = None
            if timer is not None:
                timer.cancel()


class Turns:
    """One generator under way. Gradio asks for the next value, one at a time, and closes it."""

    def __init__(self, latest: Latest) -> None:
        self._latest, self._bell = latest, Bell()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        self._latest.ask(time.monotonic())
        return await self._next()

    async def _next(self) -> Any:
        # One look at the clock for both: what fell due between two would ring no bell.
        while not self._latest.ready(now_s := time.monotonic()):
            if self._latest.runs_on:
                self._run()
            await self._bell.wait(self._latest.due_s - now_s)
        return self._latest.take(time.monotonic())

    def _run(self) -> None:
        """Let the generator run, if it does not yet."""
        raise NotImplementedError


class ThreadTurns(Turns):
    """A plain generator. While it runs it holds one of the app's threads, and none while it is paused."""

    def __init__(
        self,
        generator: Generator[Any, None, None],
        latest: Latest,
        run_sync: RunSync,
        spare: Callable[[], bool] = lambda: True,
    ) -> None:
        """`spare` says whether there is another thread to be had. Gradio needs one while this one is in use: where
        there is none, nothing is held, so that the two never have to wait for each other."""
        super().__init__(latest)
        self._generator, self._run_sync, self._spare = generator, run_sync, spare
        self._call: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def __anext__(self) -> Any:
        try:
            return await super().__anext__()
        except asyncio.CancelledError:
            self._let_go()
            raise

    def aclose(self) -> Awaitable[None]:
        """Stop it at its next yield and close it there. Older Gradio does not await this: it happens all the same.

        Raises:
            ValueError: when awaited: it was still executing after a minute.
        """
        self._let_go()
        self._closing = asyncio.get_running_loop().create_task(self._close())
        return self._closing

    def _run(self) -> None:
        if self._call is None:
            self._call = asyncio.get_running_loop().create_task(self._in_thread())
            self._call.add_done_callback(self._ran)

    async def _in_thread(self) -> None:
        await self._run_sync(partial(_go_on, self._generator, self._latest, self._spare))

    def _ran(self, call: "asyncio.Task[None]") -> None:
        self._call = None
        if not call.cancelled() and (error := call.exception()) is not None:
            self._latest.end(error)
        self._bell.ring()

    def _let_go(self) -> None:
        """Nobody waits for its thread any more: the app's limit has it back, as when Gradio's own is cancelled."""
        self._latest.stop()
        if self._call is not None:
            self._call.cancel()
        self._bell.ring()

    async def _close(self) -> None:
        given_up_s = time.monotonic() + CLOSE_S
        while True:
            try:
                self._generator.close()
            except ValueError as error:
                if "already executing" not in str(error) or time.monotonic() > given_up_s:
                    raise
                await asyncio.sleep(CLOSE_AGAIN_S)
            else:
                return


def _go_on(generator: Generator[Any, None, None], latest: Latest, spare: Callable[[], bool]) -> None:
    """In the thread: until one of its values is to be given, or it ends."""
    try:
        while latest.offer(next(generator), time.monotonic(), hold=spare()):
            pass
    except StopIteration:
        latest.end(StopAsyncIteration())
    except BaseException as error:  # noqa: BLE001 - raised where Gradio waits for it
        latest.end(error)


class TaskTurns(Turns):
    """An async generator, in a task of its own from its first step to its last: what it opens in one step, such as
    a time limit or a group of tasks, it can close in another, and they hit nobody else."""

    def __init__(self, generator: AsyncGenerator[Any, None], latest: Latest) -> None:
        super().__init__(latest)
        self._caller, self._context = contextvars.copy_context(), contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self._pump = _Pump(generator, latest, self._bell)

    async def __anext__(self) -> Any:
        self._follow_context()
        self._latest.ask(time.monotonic())
        while True:
            try:
                return await self._next()
            except asyncio.CancelledError:
                # Cancelling is the generator's to hear, and to answer: by its end, or even by another value.
                if not self._pump.cancel():
                    raise

    def aclose(self) -> Awaitable[None]:
        """Close it: where it is paused, or where it waits for something. Older Gradio does not await this.

        Raises:
            TimeoutError: when awaited: it was still executing after a minute.
        """
        return self._pump.close()

    def _run(self) -> None:
        self._pump.go_on(self._context)

    def _follow_context(self) -> None:
        """What Gradio has set since the last step is set in the generator's context too, which keeps its own."""
        before, self._caller = self._caller, contextvars.copy_context()
        news = [(name, said) for name, said in self._caller.items() if before.get(name) is not said]
        for name, said in news:
            self._context.run(name.set, said)

    def __del__(self) -> None:
        """Where Gradio drops an iterator, its generator is closed all the same."""
        if not (self._pump.over or self._loop.is_closed()):
            self._loop.call_soon_threadsafe(self._pump.close)


class _Pump:
    """The task of an async generator. It knows nothing of who asks, so that its iterator can be dropped."""

    def __init__(self, generator: AsyncGenerator[Any, None], latest: Latest, bell: Bell) -> None:
        self._generator, self._latest, self._bell = generator, latest, bell
        self._task: asyncio.Task[None] | None = None
        self._paused: asyncio.Future[None] | None = None
        self._closing: asyncio.Future[None] | None = None

    def go_on(self, context: contextvars.Context) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._pump(), context=context)
            _under_way.add(self._task)
            self._task.add_done_callback(_under_way.discard)
        self._resume()

    @property
    def over(self) -> bool:
        """Whether its generator is closed, or closing."""
        return self._closing is not None or (self._task is not None and self._task.done())

    def cancel(self) -> bool:
        """Cancel it where it waits for something; whether it does."""
        running = self._task is not None and not self._task.done() and self._paused is None
        return running and self._task is not None and self._task.cancel()

    def close(self) -> "asyncio.Future[None]":
        """Close the generator; what this gives is done when it is closed."""
        if self._closing is None:
            self._latest.stop()
            self.cancel()
            self._resume()
            self._bell.ring()
            self._closing = asyncio.ensure_future(self._closed())
        return self._closing

    def _resume(self) -> None:
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)

    async def _closed(self) -> None:
        if self._task is None:
            await self._generator.aclose()
            return
        done, _ = await asyncio.wait({self._task}, timeout=CLOSE_S)
        if not done:
            raise TimeoutError("The generator did not end when it was cancelled.")
        if not self._task.cancelled():
            self._task.result()

    async def _pump(self) -> None:
        try:
            await self._values()
        except StopAsyncIteration:
            self._latest.end(StopAsyncIteration())
        except BaseException as error:  # noqa: BLE001 - raised where Gradio waits for it
            self._latest.end(error)
        self._bell.ring()
        await self._generator.aclose()

    async def _values(self) -> None:
        """Until it ends, or nobody takes anything any more."""
        since_s = time.monotonic()
        while not self._latest.stopped:
            value, now_s = await anext(self._generator), time.monotonic()
            if not self._latest.offer(value, now_s):
                await self._pause()
                since_s = time.monotonic()
            elif now_s - since_s > LOOP_SLICE_S:
                await asyncio.sleep(0)
                since_s = time.monotonic()

    async def _pause(self) -> None:
        self._paused = asyncio.get_running_loop().create_future()
        self._bell.ring()
        try:
            await self._paused
        finally:
            self._paused = None
