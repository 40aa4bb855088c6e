"""A run on a server, as the asynchronous client holds it."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote
from weakref import WeakSet

from ..errors import ClientError, ProtocolError, RunFailed
from ..events import AnyEvent, End, Replace, Reset, Text
from ..protocol.coalesce import Fold
from .answers import member
from .stream import Reader, StatusCallback
from .wire import Wire

__all__ = ["AsyncIteration", "AsyncRemoteRun", "Readings"]

T = TypeVar("T")


class AsyncIteration(Generic[T]):
    """An async iterator, and a context manager that closes its connection on the way out.

    Left by `break` without `async with`, the connection closes as soon as the iterator is garbage. One task
    iterates at a time.
    """

    def __init__(self, batches: AsyncGenerator[list[T], None]) -> None:
        self._batches = batches
        self._batch: Iterator[T] = iter(())
        self._busy = (
            asyncio.Lock()
        )  # a generator can't be closed while a fetch, even a cancelled one, is in it
        self._forsaken = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        for item in self._batch:
            return item
        self._batch = iter(await self.next_batch())
        for item in self._batch:
            return item
        raise StopAsyncIteration

    async def next_batch(self) -> list[T]:
        """What has come and was not iterated over, after a wait for some; empty at the end."""
        if left := list(self._batch):
            return left
        if self._forsaken:
            raise ClientError("The client was closed before the run ended.")
        async with self._busy:
            return await anext(self._batches, [])

    async def aclose(self) -> None:
        """Close the connection. Iterating again ends at once. Waits for a fetch under way in another task."""
        self._batch = iter(())
        async with self._busy:
            await self._batches.aclose()

    async def forsake(self) -> None:
        """The client is closed. Iterating again raises ClientError, so that it is not taken for the end."""
        if self._busy.locked():
            return  # the fetch under way finds out by itself
        self._forsaken = True
        await self.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


Readings = WeakSet[AsyncIteration[Any]]
"""A client's open iterations, which its closing ends: they hold connections while no task is in them."""


class AsyncRemoteRun:
    """A run on a server. Made by `AsyncClient.submit` and `AsyncClient.run`.

    It may be read any number of times, also at once: each reading is a connection of its own. Neither ending
    a reading nor closing the client stops the run; `cancel` does.
    """

    def __init__(self, wire: Wire, readings: Readings, run_id: str, on_status: StatusCallback | None) -> None:
        self.id = run_id
        self._wire = wire
        self._readings = readings
        self._on_status = on_status
        self._path = "/api/runs/" + quote(run_id, safe="")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def events(self, after: str | None = None) -> AsyncIteration[AnyEvent]:
        """The events, each once and in order, to the `end`, through any number of connections.

        after: a cursor, to read what follows it. Where the server can't go on from a cursor, a `Reset` with
        seq 0 says so: forget everything after its `to`; what follows is sent again. A `Replace` has its value
        or a delta, as it was sent; `latest` and `fold` give values.

        Raises, while iterating: BadCursor, ConnectionLost, ProtocolError, the server's own errors.
        """
        return self._iterate(self._batches(after))

    def pieces(self) -> AsyncIteration[str]:
        """All text of the run, spans included, in pieces as it comes.

        Raises, while iterating: RunFailed after the last piece, unless the run succeeded. ClientError where
        text that was handed out is withdrawn (the run was retried): `events` goes on through that, and `text`
        waits for the end. Else as `events`.
        """
        return self._iterate(self._pieces())

    def latest(self) -> AsyncIteration[Any]:
        """The latest cumulative value (`replace`), of whatever span, as often as news of it come.

        Values that came together are passed over for the last of them. Where the run is retried and values are
        withdrawn, the one before them comes again, None if there is none.

        Raises, while iterating: RunFailed after the last value, unless the run succeeded. Else as `events`.
        """
        return self._iterate(self._latest())

    async def value(self) -> Any:
        """The latest cumulative value, once the run has ended; None if there is none.

        Raises RunFailed unless it succeeded.
        """
        fold = await self.fold()
        self._check(fold.end)
        return fold.value

    async def fold(self) -> Fold:
        """The state at the end, whatever the end is. Its size is that of what the run has written, merged."""
        fold = Fold()
        async with aclosing(self._batches(None, folded=True)) as batches:
            async for batch in batches:
                for event in batch:
                    fold.apply(event)
        return fold

    async def text(self) -> str:
        """All text of the run, spans included, once it has ended. Raises RunFailed unless it succeeded."""
        fold = await self.fold()
        self._check(fold.end)
        return fold.text

    async def result(self) -> Any:
        """What the function returned, once the run has ended; None if it only yielded.

        Raises RunFailed, with the run's state and error, unless it succeeded.
        """
        last: AnyEvent | None = None
        async with aclosing(self._batches(None, folded=True)) as batches:
            async for batch in batches:
                last = batch[-1]
        return self._check(last).result

    async def state(self) -> dict[str, Any]:
        """The run as the server describes it at `GET /api/runs/ID`."""
        answer: dict[str, Any] = await self._wire.call("GET", self._path)
        member(answer, "run_id", str)
        return answer

    async def cancel(self) -> dict[str, Any]:
        """Ask the run to stop. Returns the receipt `{run_id, state, cancel}`; repeating it is harmless.

        `cancel` is "requested", "acknowledged" or "stopped"; the `end` event tells when it has happened.
        """
        receipt: dict[str, Any] = await self._wire.call("POST", self._path + "/cancel")
        member(receipt, "run_id", str)
        return receipt

    def _iterate(self, batches: AsyncGenerator[list[T], None]) -> AsyncIteration[T]:
        iteration = AsyncIteration(batches)
        self._readings.add(iteration)
        return iteration

    def _batches(self, after: str | None, *, folded: bool = False) -> AsyncGenerator[list[AnyEvent], None]:
        return Reader(self._wire, self._path + "/events", after, self._on_status, folded=folded).batches()

    async def _pieces(self) -> AsyncGenerator[list[str], None]:
        pieces = _Pieces()
        last: AnyEvent | None = None
        async with aclosing(self._batches(None)) as batches:
            async for batch in batches:
                last = batch[-1]
                if texts := pieces.take(batch):
                    yield texts
                pieces.check()
        self._check(last)

    async def _latest(self) -> AsyncGenerator[list[Any], None]:
        fold = Fold()
        async with aclosing(self._batches(None, folded=True)) as batches:
            async for batch in batches:
                for event in batch:
                    fold.apply(event)
                if any(isinstance(event, Replace | Reset) for event in batch):
                    yield [fold.value]
        self._check(fold.end)

    def _check(self, end: AnyEvent | None) -> End:
        if not isinstance(end, End):
            raise ProtocolError(f"The server says that run {self.id} is finished, but has sent no end of it.")
        if end.state != "succeeded":
            error = end.error or {}
            reason = f": {error['message']}" if error.get("message") else "."
            message = f"Run {self.id} ended as {end.state}{reason}"
            raise RunFailed(message, state=end.state, error=error, hint=str(error.get("hint", "")))
        return end


class _Pieces:
    """Events to the pieces of text that are new, until one is withdrawn."""

    def __init__(self) -> None:
        self._lengths: dict[str | None, int] = {}  # code points handed out of each span
        self._seq = 0  # of the last text handed out
        self._withdrawn: Reset | None = None

    def take(self, batch: list[AnyEvent]) -> list[str]:
        texts = []
        for event in batch:
            if isinstance(event, Reset) and event.to < self._seq:
                self._withdrawn = event
                break
            if isinstance(event, Text) and (text := self._fresh(event)):
                texts.append(text)
        return texts

    def check(self) -> None:
        if self._withdrawn is not None:
            reason = self._withdrawn.reason or "the run begins again"
            raise ClientError(
                f"Text that was handed out is withdrawn: {reason}.",
                hint="Iterate over events() to follow a run through resets, or wait for text().",
            )

    def _fresh(self, event: Text) -> str:
        have = self._lengths.get(event.span, 0)
        if event.pos > have:
            raise ProtocolError(f"Text begins at {event.pos}, but only {have} code points have come.")
        text = event.text[have - event.pos :]  # a merge made since may begin in what is here already
        self._lengths[event.span] = have + len(text)
        self._seq = event.seq
        return text
