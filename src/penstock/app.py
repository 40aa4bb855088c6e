"""App: the object users make, and an ASGI application that any server runs or any framework mounts."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, TypeVar, Unpack, overload

from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ConfigError, PenstockError, StoreError, StoreFull, StoreLocked
from .hub import Hub
from .janitor import Janitor, worker_name
from .queue import Queue
from .server import Context, make_closed_server, make_server
from .settings import Settings, load
from .storage import make_store
from .worker import Function, FunctionOptions, Worker

__all__ = ["App"]

F = TypeVar("F", bound=Callable[..., Any])
log = logging.getLogger("penstock")

CLOSING_S = 1.0
"""What is kept of the grace time for closing the store, once the runs have had theirs."""

START_RETRY_S = 1.0
"""How soon an app whose store was full or locked at the start looks at it again."""


class App:
    """Functions, and everything that runs, stores and streams them.

    Args:
        **settings: Any of `penstock.settings.Settings`, by name; they beat the environment.

    Raises:
        ConfigError: A setting can't be used.

    Serve it with `penstock serve`, with any ASGI server, or mount it in another application. Mounted, it starts
    with the first request; pass `app.lifespan` to the outer application to start and stop with it.
    """

    def __init__(self, **settings: Any) -> None:
        self._given = settings
        self.settings: Settings = load(settings)
        self.functions: dict[str, Function] = {}
        self._services: _Services | None = None
        self._starting: asyncio.Task[_Services] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave_by: float | None = None
        self.start_error: PenstockError | None = None
        """Why the app could not start under a server, which itself only says that it could not."""

    def configure(self, **settings: Any) -> None:
        """Set more settings, over those given before; those that are None stay. Before the app starts.

        Raises:
            ConfigError: A setting can't be used; the others are as they were.
        """
        given = self._given | {name: value for name, value in settings.items() if value is not None}
        self.settings, self._given = load(given), given

    @overload
    def function(self, call: F, /) -> F: ...

    @overload
    def function(self, **options: Unpack[FunctionOptions]) -> Callable[[F], F]: ...

    def function(self, call: Any = None, /, **options: Any) -> Any:  # type: ignore[misc]  # mypy: no Unpack here
        """Register a function: `def` or `async def`, returning a value or yielding. A decorator.

        Args:
            name: What it is called on the wire; its own name by default.
            concurrency_limit: Runs of its group at once; "default" for the app's setting, None for no limit.
            concurrency_id: Name of a group of functions that share one limit, the lowest given.
            rate: Appends a second at most, by default the app's; 0 merges and delays nothing.
            cumulative: Each value replaces those before it.
            on_crash: What becomes of a run whose process died: it ends as interrupted ("fail"), or it goes
                back to the queue ("retry", three times at most); its readers see a `reset`.

        Raises:
            ConfigError: The name is taken, or the signature or an option can't work.
        """
        if call is None:
            return partial(self.function, **options)
        function = Function(call, **options)
        if function.name in self.functions:
            hint = "Pass name= to one of them."
            raise ConfigError(f"There are two functions named {function.name!r}.", hint=hint)
        self.functions[function.name] = function
        return call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            try:
                server = (await self.start()).server
            except StoreError as error:
                server = make_closed_server(error, self.settings)
            await server(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000, "reason": "no WebSocket here"})

    async def start(self) -> "_Services":
        """Open the store and begin to work; nothing if that has been done. Raises StoreError."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # the first start, or one after the loop of the last was closed
            self._loop, self._starting, self._services = loop, None, None
        if self._services is not None:
            return self._services
        if self._starting is None:  # one try for all who wait: a locked store keeps it for seconds
            self._starting = asyncio.create_task(_Services.start(self))
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    def _started(self, starting: "asyncio.Task[_Services]") -> None:
        self._starting = None
        if not starting.cancelled() and starting.exception() is None:
            self._services = starting.result()

    async def drain(self) -> None:
        """Take no more runs and send the readers away politely; what runs goes on, and its grace time begins."""
        if self._services is not None and not self._services.queue.closing:
            self._services.queue.closing = True
            self._services.worker.hold()
            self._services.hub.drain()
            grace_s = self.settings.grace_s
            self._leave_by = time.monotonic() + grace_s - min(CLOSING_S, grace_s / 4)

    async def stop(self) -> None:
        """Drain, give the runs what is left of the grace time, close the store."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        await self.drain()
        services, self._services = self._services, None
        if services is not None and self._leave_by is not None:
            await services.stop(max(0.0, self._leave_by - time.monotonic()))

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """The app's life as a context, for `FastAPI(lifespan=app.lifespan)` and the like."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        waiting: asyncio.Task[None] | None = None
        try:
            await self.start()
        except (StoreFull, StoreLocked) as error:  # it will pass; until then requests are answered 503
            log.error("The store can't be used yet: %s %s", error.message, error.hint)  # noqa: TRY400
            waiting = asyncio.create_task(self._start_later())
        except PenstockError as error:
            self.start_error = error
            await send({"type": "lifespan.startup.failed", "message": f"{error.message} {error.hint}"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if waiting is not None:
            waiting.cancel()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start_later(self) -> None:
        while self._services is None:
            await asyncio.sleep(START_RETRY_S)
            with contextlib.suppress(StoreError):
                await self.start()


class _Services:
    """What a started app consists of."""

    def __init__(self, app: App) -> None:
        settings = app.settings
        self.store = make_store(settings.store, synchronous=settings.synchronous)
        self.worker = Worker(worker_name(), self.store, app.functions, settings)
        self.janitor = Janitor(
            self.store, self.worker.name, settings.lease_s, self.worker.wake, self.worker.may_judge
        )
        self.queue = Queue(self.store, app.functions, self.worker)
        self.hub = Hub(self.store)
        self.server: ASGIApp = make_server(Context(settings, self.store, app.functions, self.queue, self.hub))
        self._sweeping: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, app: App) -> "_Services":
        services = cls(app)
        try:
            await services.store.open()
            await services.worker.sign_in()
            await services.janitor.sweep()
        except BaseException:
            await services.stop(0)
            raise
        services.worker.start(services.janitor.settle)
        services._sweeping = asyncio.create_task(services.janitor.run())
        return services

    async def stop(self, grace_s: float) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self.worker.drain(grace_s)
        await self.worker.stop()
        self.hub.close()
        await self.store.close()
