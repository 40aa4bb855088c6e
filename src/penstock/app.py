"""App: the object users make, and an ASGI application that any server runs or any framework mounts."""

import asyncio
import contextlib
import logging
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from typing import Any, Literal, TypeVar, Unpack, overload

from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ConfigError, PenstockError, StoreError, StoreFull, StoreLocked
from .hub import Folds, Hub, News, follow
from .janitor import Janitor, worker_name
from .memory import MemoryGuard
from .meters import Meters
from .models import Cursor
from .presence import Presence
from .queue import Queue, Standings
from .server import Context, Metrics, Peers, Pulse, Sources, make_closed_server, make_server
from .settings import Settings, load
from .storage import make_store
from .storage.uploads import make_uploads
from .worker import Function, FunctionOptions, RecordedFunction, Worker

__all__ = ["STARTED", "App"]

F = TypeVar("F", bound=Callable[..., Any])
log = logging.getLogger("penstock")

CLOSING_S = 1.0
"""What is kept of the grace time for closing the store, once the runs have had theirs."""

START_RETRY_S = 1.0
"""How soon an app whose store was full or locked at the start looks at it again."""

STARTED: "weakref.WeakSet[App]" = weakref.WeakSet()
"""The apps that have started in this process, for a server that stops and knows only what they are mounted in."""


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
        self.serves = True
        """Whether readers come here; a process that only executes can't know that nobody watches a run."""
        self.start_error: PenstockError | None = None
        """Why the app could not start under a server, which itself only says that it could not."""
        self.meters = Meters()
        """What this process has counted, over all starts of the app."""
        self.peers: Peers | None = None
        """The other processes of the service, whose figures `/metrics` has as well."""

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
            concurrency_limit: Calls of its group at once; "default" for the app's setting, None for no limit.
            concurrency_id: Name of a group of functions that share one limit, the lowest given.
            concurrency_key: "session", a parameter's name, or a function of the input: runs of one key share
                `concurrency_key_limit` (1), and keys take turns.
            queue: False runs at once, outside the line; the run is stored and streamed all the same.
            max_size: Runs of its group that may wait; more are refused with 503.
            priority: Minutes of waiting that a run is given for free, or a function of the input.
            rate_limit: Starts, of one key where there are keys: "10/min"; s, min, h, day.
            batch: One call serves up to `max_batch_size` (4) runs: each parameter, `run` too, is a list with a
                value of each run, and so is what it yields or returns. A batch that is not full waits
                `max_wait_ms` (0) for more.
            on_repeat: What becomes of a run whose session has one that has not ended: "enqueue", "reject",
                "replace" those that wait, "interrupt" the running one too.
            time_limit_s: An attempt's longest duration. queue_timeout_s: the longest wait for the first one.
            stall_timeout_s: The longest time without an event. Each ends the run as failed, with its own code.
            on_abandon: "cancel" stops a run that nobody has read for `abandon_grace_s` (60).
            retries: Attempts that may follow one that raised, each from the last checkpoint.
            isolation: "process" runs it in a child process, which is killed if it does not stop.
            stop_grace_s: How long a stopped run is waited for, 2 s by default.
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

    def recorded(
        self,
        name: str,
        *,
        concurrency_limit: int | None = 1,
        concurrency_id: str | None = None,
        on_crash: Literal["fail", "retry"] = "fail",
        description: str = "",
    ) -> None:
        """Register a function whose runs something else lines up and executes; here they are kept, shown and read.

        They are taken in with `Queue.take_in` and written with `Worker.record`; see `services.Services`.
        At any time, and again under the same name, for other options.

        Args:
            name: What it is called on the wire.
            concurrency_limit: Of its group, as whoever executes it keeps it: what positions are reckoned from.
            concurrency_id: Name of the group, where several functions share the limit.
            on_crash: As of `function`: with "retry" its runs wait again for whoever executes them.
            description: For `GET /api/functions`.

        Raises:
            ConfigError: The name is an executed function's, or an option can't work.
        """
        known = self.functions.get(name)
        if known is not None and not isinstance(known, RecordedFunction):
            raise ConfigError(f"There is a function named {name!r}, which is executed here.")
        # Whoever speaks for it may say so with each run: nothing is made anew then.
        if known is not None and known.is_as(concurrency_limit, concurrency_id, on_crash, description):
            return
        self.functions[name] = RecordedFunction(
            name,
            concurrency_limit=concurrency_limit,
            concurrency_id=concurrency_id,
            on_crash=on_crash,
            description=description,
        )
        if self._services is not None:
            self._services.worker.groups.refresh()
            self.meters.runs.expect([name])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            try:
                server = (await self.start()).server
            except StoreError as error:
                server = make_closed_server(error, self.settings, Metrics(self.meters, peers=self.peers))
            await server(scope, receive, send)

    async def start(self) -> "_Services":
        """Open the store and begin to work; nothing if that has been done. Raises StoreError.

        What it returns is a `services.Services`: what a program may use that the app is a part of.
        """
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
            self._services, self._leave_by = starting.result(), None
            STARTED.add(self)

    def hold(self) -> None:
        """Begin no more runs, though requests are answered as ever; the grace time of what runs begins."""
        if self._services is not None and self._leave_by is None:
            self._services.worker.hold()
            grace_s = self.settings.grace_s
            self._leave_by = time.monotonic() + grace_s - min(CLOSING_S, grace_s / 4)

    async def drain(self) -> None:
        """Take no more runs and send the readers away politely; what runs goes on, and its grace time begins."""
        if self._services is not None and not self._services.queue.closing:
            self.hold()
            self._services.queue.closing = True
            self._services.hub.drain()

    async def stop(self) -> None:
        """Drain, give the runs what is left of the grace time, close the store."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        await self.drain()
        services, self._services = self._services, None
        leave_by, self._leave_by = self._leave_by, None
        if services is not None and leave_by is not None:
            await services.stop(max(0.0, leave_by - time.monotonic()))

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
            await _ended(waiting)
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start_later(self) -> None:
        while self._services is None:
            await asyncio.sleep(START_RETRY_S)
            with contextlib.suppress(StoreError):
                await self.start()


class _Services:
    """What a started app consists of; `services.Services` says what of it is for others."""

    def __init__(self, app: App) -> None:
        settings, meters = app.settings, app.meters
        self.store = make_store(settings.store, synchronous=settings.synchronous, meter=meters.store)
        self.store.listen(meters.appends.heard)
        meters.runs.expect(app.functions)
        self.memory = MemoryGuard(settings.memory_limit_mb)
        self.uploads = make_uploads(settings.store, synchronous=settings.synchronous)
        given = app.functions, settings, self.memory
        self.worker = Worker(worker_name(), self.store, *given, meters=meters, uploads=self.uploads)
        watches = app.serves and any(f.options.on_abandon == "cancel" for f in app.functions.values())
        self.hub = Hub(self.store)
        self.janitor = Janitor(
            *(self.store, self.worker.name, settings.lease_s),
            self._settled,
            self.worker.may_judge,
            read=(lambda: self.hub.read) if watches else None,
            meter=meters.runs,
        )
        standing = self.worker.groups, self.worker, self.hub, settings.max_threads
        self.standings = Standings(self.store, *standing)
        beside = self.worker, self.standings, self.hub, self.memory, self.uploads
        self.queue = Queue(self.store, app.functions, *beside)
        self.worker.on_recorded = self._recorded
        self.presence = Presence(self.store, self.worker.name, self.hub) if watches else None
        self.pulse = Pulse(settings.heartbeat_s, settings.stall_timeout_s, settings.max_age_s, meters.flow)
        self.folds = Folds(self.store)
        self.server = self._server(app)
        self.keep_s = settings.upload_keep_s
        self._beside: list[asyncio.Task[None]] = []

    def _settled(self) -> None:
        self.worker.wake()
        self.queue.recorded.wake()

    def _recorded(self, run_id: str) -> None:
        self.queue.recorded.forget(run_id)
        self.standings.tell_running(run_id)

    def follow(
        self, run_id: str, after: int | Cursor = 0, *, fold: bool = False, merge: bool = False
    ) -> AsyncGenerator[News, None]:
        """Read a run as events; see `hub.follow`."""
        folds = self.folds if fold else None
        first = self.standings.for_reader
        return follow(self.hub, self.store, run_id, after, folds=folds, first=first, merge=merge)

    def _server(self, app: App) -> ASGIApp:
        sources = Sources(self.hub, self.store, self.worker.groups, self.memory)
        self.metrics = Metrics(app.meters, sources, app.peers)
        reading = self.hub, self.folds, self.pulse
        services = self.queue, self.standings, *reading, self.memory, self.metrics, self.uploads
        return make_server(Context(app.settings, self.store, app.functions, *services))

    @classmethod
    async def start(cls, app: App) -> "_Services":
        services = cls(app)
        try:
            await services.store.open()
            await services.worker.sign_in()
            await services.janitor.sweep()
            services.worker.start(services.janitor.settle)
        except BaseException:
            await services.stop(0)
            raise
        for conflict in services.worker.groups.conflicts():
            log.warning("%s", conflict)
        services._begin()
        return services

    def _begin(self) -> None:
        beside = [self.janitor.run(), self.janitor.enforce(self.queue.stop_for), self.standings.run()]
        beside += [self.queue.recorded.run()]
        beside += [self.metrics.tell_peers(), self.janitor.expire(self.uploads, self.keep_s)]
        if self.presence is not None:
            beside.append(self.presence.run())
        self._beside = [asyncio.create_task(one) for one in beside]
        self.memory.start()

    async def stop(self, grace_s: float) -> None:
        await _ended(*self._beside)
        await self.worker.drain(grace_s)
        await self.worker.stop()
        self.queue.recorded.close()
        self.metrics.close()
        self.memory.stop()
        self.hub.close()
        await self.store.close()
        await asyncio.to_thread(self.uploads.close)


async def _ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
