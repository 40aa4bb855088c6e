"""The synchronous client: a thin shell around the asynchronous one, which runs on a thread of its own.

Iterating fetches a batch at a time, and the next one only when that is used up: one hop between threads for
all that a read from the socket brought, and never more than that (64 KiB in httpx) waiting in between.
"""

import asyncio
import concurrent.futures
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import httpx

from ..errors import ClientError
from ..events import AnyEvent
from ..protocol.coalesce import Fold
from .async_client import AsyncClient
from .async_run import AsyncIteration, AsyncRemoteRun
from .stream import StatusCallback

__all__ = ["Client", "Iteration", "RemoteRun"]


T = TypeVar("T")


class _LoopThread:
    """An event loop on a thread of its own; `last` is awaited before it ends.

    It ends with `close`, when nobody holds this object, and when the program ends.
    """

    def __init__(self, last: Callable[[], Awaitable[None]]) -> None:
        started: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]
        started = concurrent.futures.Future()
        main = _main(started, last)
        # A daemon, because a program that forgets to close must end all the same.
        thread = threading.Thread(target=asyncio.run, args=(main,), name="penstock-client", daemon=True)
        thread.start()
        self._loop, stop = started.result()
        # Held only while something is handed to the loop, never while waiting: garbage may be collected, and
        # so iterators closed, on any thread and in the middle of anything.
        self._lock = threading.RLock()
        self._closed = False
        self._end = weakref.finalize(self, _end, thread, self._loop, stop)

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it on the thread and wait. Interrupted by Ctrl-C, it is cancelled. ClientError if closed."""
        future = self.begin(coroutine)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise ClientError("The client was closed meanwhile.") from None
        except BaseException:
            future.cancel()
            raise

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run it on the thread. Raises ClientError if closed."""
        with self._lock:
            if not self._closed and self._end.alive:  # it runs by itself when the program ends
                return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        coroutine.close()
        raise ClientError("The client is closed.")

    def close(self) -> None:
        """Cancel what is under way, end the loop and join the thread. Calling again does nothing."""
        with self._lock:
            self._closed = True
        self._end()


async def _main(
    started: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]],
    last: Callable[[], Awaitable[None]],
) -> None:
    stop = asyncio.Event()
    started.set_result((asyncio.get_running_loop(), stop))
    await stop.wait()
    await last()


def _end(thread: threading.Thread, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    loop.call_soon_threadsafe(stop.set)
    if threading.current_thread() is not thread:
        thread.join()


class Iteration(Generic[T]):
    """An iterator, and a context manager that closes its connection on the way out.

    Left by `break` without `with`, the connection closes as soon as the iterator is garbage.
    """

    def __init__(self, thread: _LoopThread, source: AsyncIteration[T]) -> None:
        self._thread = thread
        self._source = source
        self._batch: Iterator[T] = iter(())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        for item in self._batch:
            return item
        self._batch = iter(self._thread.wait(self._source.next_batch()))
        return next(self._batch)

    def close(self) -> None:
        """Close the connection. Iterating again ends at once."""
        self._batch = iter(())
        with suppress(ClientError):  # the client is closed, and so is the connection
            self._thread.wait(self._source.aclose())

    def __del__(self) -> None:
        with suppress(ClientError):
            self._thread.begin(self._source.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RemoteRun:
    """A run on a server. Made by `Client.submit` and `Client.run`; see `AsyncRemoteRun` for the promises."""

    def __init__(self, thread: _LoopThread, run: AsyncRemoteRun) -> None:
        self.id = run.id
        self._thread = thread
        self._run = run

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def events(self, after: str | None = None) -> Iteration[AnyEvent]:
        """The events, each once and in order, to the `end`. As `AsyncRemoteRun.events`."""
        return Iteration(self._thread, self._run.events(after))

    def pieces(self) -> Iteration[str]:
        """All text of the run, in pieces as it comes. As `AsyncRemoteRun.pieces`."""
        return Iteration(self._thread, self._run.pieces())

    def latest(self) -> Iteration[Any]:
        """The latest cumulative value, as often as news of it come. As `AsyncRemoteRun.latest`."""
        return Iteration(self._thread, self._run.latest())

    def value(self) -> Any:
        """The latest cumulative value, once the run has ended. Raises RunFailed unless it succeeded."""
        return self._thread.wait(self._run.value())

    def fold(self) -> Fold:
        """The state at the end, whatever the end is. As `AsyncRemoteRun.fold`."""
        return self._thread.wait(self._run.fold())

    def text(self) -> str:
        """All text, once the run has ended. Raises RunFailed unless it succeeded."""
        return self._thread.wait(self._run.text())

    def result(self) -> Any:
        """What the function returned, once the run has ended. Raises RunFailed unless it succeeded."""
        return self._thread.wait(self._run.result())

    def state(self) -> dict[str, Any]:
        """The run as the server describes it at `GET /api/runs/ID`."""
        return self._thread.wait(self._run.state())

    def cancel(self) -> dict[str, Any]:
        """Ask the run to stop. As `AsyncRemoteRun.cancel`."""
        return self._thread.wait(self._run.cancel())


class Client:
    """A Penstock server, for programs without an event loop: `with penstock.Client(url) as client`.

    Takes what `AsyncClient` takes and raises what it raises. May be used by several threads at once. An
    `on_status` is called on the client's own thread.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        retry_for_s: float | None = 60.0,
        silence_s: float = 45.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._async = AsyncClient(url, token=token, retry_for_s=retry_for_s, silence_s=silence_s, http=http)
        self._thread = _LoopThread(self._async.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and join the thread. Runs go on; what waits for them raises ClientError."""
        self._thread.close()

    def submit(
        self,
        function: str,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - the wire's word for it
        *,
        key: str | None = None,
        session: str | None = None,
        on_status: StatusCallback | None = None,
    ) -> RemoteRun:
        """Start a run of `function`. As `AsyncClient.submit`."""
        call = self._async.submit(function, input, key=key, session=session, on_status=on_status)
        return RemoteRun(self._thread, self._thread.wait(call))

    def run(self, run_id: str, *, on_status: StatusCallback | None = None) -> RemoteRun:
        """A run by its id, without asking the server. As `AsyncClient.run`."""
        return RemoteRun(self._thread, self._async.run(run_id, on_status=on_status))

    def runs(
        self,
        *,
        function: str | None = None,
        state: str | None = None,
        limit: int | None = None,
        before: str | None = None,
    ) -> dict[str, Any]:
        """A page of runs, newest first. As `AsyncClient.runs`."""
        return self._thread.wait(self._async.runs(function=function, state=state, limit=limit, before=before))

    def functions(self) -> list[dict[str, Any]]:
        """The server's functions. As `AsyncClient.functions`."""
        return self._thread.wait(self._async.functions())

    def queue(self) -> dict[str, Any]:
        """What runs and waits in each group. As `AsyncClient.queue`."""
        return self._thread.wait(self._async.queue())

    def health(self) -> bool:
        """Whether the server answers that it is well. As `AsyncClient.health`."""
        return self._thread.wait(self._async.health())
