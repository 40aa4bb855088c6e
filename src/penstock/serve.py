"""Owns the process: the socket, the signals, and the order in which everything ends.

On SIGTERM, Ctrl-C or, without a supervisor, SIGHUP: readers are told (`event: draining`) and their streams ended,
so that no open stream holds the server up; then connections are closed; then the runs get what is left of
`grace_s`; then the store is closed. A second Ctrl-C ends the process at once, which loses nothing that anybody has
seen.
"""

import asyncio
import contextlib
import importlib
import importlib.util
import logging
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Protocol, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from .app import App
from .errors import ConfigError, PenstockError
from .process.handover import Door, hand_over, linger
from .process.own import Farewell, end_when_left, run_process, tune_interpreter
from .server.auth import hosts_in, is_loopback, require_known_host
from .server.connection import Connection, socket_connection
from .server.websocket import MAX_MESSAGE_BYTES
from .settings import Settings

__all__ = ["CONNECTIONS_CLOSE_S", "can_listen", "find_app", "listen", "load_app", "load_target", "serve"]

log = logging.getLogger("penstock")

CONNECTIONS_CLOSE_S = 2.0
"""How long a connection may take to end after its stream was ended: a reader that takes nothing is cut then."""

BACKLOG = 2048
"""Connections that may wait to be accepted: after a restart all readers come back within seconds."""


def load_target(target: str) -> tuple[ModuleType, str, str]:
    """The module that `module:app` or `file.py[:app]` means, where it is, and the name, which may be empty.

    Raises:
        ConfigError: There is no such file or module. What the module itself raises is not caught.
    """
    place, _, name = target.partition(":")
    return (_load_file(Path(place)) if place.endswith(".py") else _load_module(place)), place, name


def load_app(target: str) -> App:
    """The App that `module:app` or `file.py[:app]` names; without a name, `app` or the only App there.

    Raises:
        ConfigError: There is no such file, module or App. What the module itself raises is not caught.
    """
    return find_app(*load_target(target))


def find_app(module: ModuleType, place: str, name: str) -> App:
    """The App of that name in it; without a name, `app` or the only one. Raises ConfigError."""
    if name:
        found = getattr(module, name, None)
        if isinstance(found, App):
            return found
        raise ConfigError(f"{place} has no App named {name!r}.", hint="Write app = penstock.App() there.")
    return _only_app(module, place)


def _only_app(module: ModuleType, place: str) -> App:
    apps = {name: value for name, value in vars(module).items() if isinstance(value, App)}
    if isinstance(apps.get("app"), App):
        return apps["app"]
    if len(set(map(id, apps.values()))) == 1:
        return next(iter(apps.values()))
    found = f"has several ({', '.join(apps)})" if apps else "has none"
    raise ConfigError(f"No App was named, and {place} {found}.", hint=f"Name one: {place}:NAME.")


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"There is no file {path}.", hint="TARGET is module:app or file.py[:app].")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _load_module(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise  # the module is there; what it imports is not
        hint = "TARGET is module:app or file.py[:app]; modules are looked for in this folder too."
        raise ConfigError(f"There is no module {name!r}.", hint=hint) from error


class Served(Protocol):
    """What is served: an App, or another's application that behaves like one."""

    settings: Settings
    start_error: PenstockError | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...
    def hold(self) -> None: ...
    async def drain(self) -> None: ...


def serve(
    app: Served,
    on_ready: Callable[[str], None],
    listener: socket.socket | None = None,
    *,
    shared: bool = False,
    guarded: bool = True,
) -> None:
    """Serve until a signal says otherwise; the process ends with it. `on_ready` gets the address once requests
    are answered.

    Args:
        app: What is served.
        on_ready: See above.
        listener: The socket to accept from, which is closed at the end; by default one is made.
        shared: Whether other processes accept from it too: then a request that comes while this one leaves is
            answered as ever.
        guarded: Whether we say who may come in: this machine only, unless there is a token. False for an app that
            has rules of its own, and is told its client's address and scheme by a proxy on this machine.

    Raises:
        ConfigError: The address can't be bound, or must not be without a token.
        StoreError: The store can't be used. One that is full or locked is waited for, with 503 for an answer.
    """
    if guarded:
        _check_exposure(
            app.settings.host if listener is None else listener.getsockname()[0], app.settings.token
        )
    listener = listener or _listen(app.settings.host, app.settings.port)
    entry = _guarded(app) if guarded else app
    door = Door(entry) if shared else None
    config = _config(door or entry, app.settings, behind_proxy=not guarded)
    address = _address(app.settings.host, listener)
    server = _Server(config, app, lambda: on_ready(address), door)
    tune_interpreter()
    with listener:
        try:
            run_process(server.serve(sockets=[listener]), config.get_loop_factory())
        except SystemExit as error:
            raise (app.start_error or ConfigError("The server could not start.")) from error


def _guarded(app: Served) -> ASGIApp:
    return app if app.settings.token else require_known_host(app, hosts_in(app.settings.allowed_hosts))


def _config(served: ASGIApp, settings: Settings, *, behind_proxy: bool) -> uvicorn.Config:
    return uvicorn.Config(
        served,
        http=Connection,
        ws=cast("type[asyncio.Protocol]", socket_connection),  # any callable that gives one will do
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=settings.heartbeat_s,
        ws_ping_timeout=settings.stall_timeout_s,
        ws_per_message_deflate=False,  # what goes straight to connections is not compressed
        lifespan="on",
        log_config=None,
        log_level="critical",  # that the app could not start is raised by `serve`
        access_log=False,
        proxy_headers=behind_proxy,  # nothing of ours asks for the client's address or scheme
        server_header=False,
        timeout_graceful_shutdown=max(1, round(min(CONNECTIONS_CLOSE_S, settings.grace_s))),
    )


def listen(settings: Settings) -> socket.socket:
    """A socket that listens where the settings say.

    Raises:
        ConfigError: The address can't be bound, or must not be without a token.
    """
    _check_exposure(settings.host, settings.token)
    return _listen(settings.host, settings.port)


def _check_exposure(host: str, token: str) -> None:
    if not token and not is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from other machines, and no token is set.",
            hint="Set one with --token SECRET or PENSTOCK_TOKEN=SECRET, or listen on 127.0.0.1.",
        )


def _listen(host: str, port: int) -> socket.socket:
    name = host.strip("[]")
    try:
        family = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((name, port), family=family, backlog=BACKLOG)
    except OSError as error:
        hint = "Choose another with --port, or 0 for a free one."
        raise ConfigError(f"Can't listen on {host} port {port}: {error.strerror}.", hint=hint) from error


def can_listen(host: str, port: int) -> bool:
    """Whether the port is free at this moment."""
    try:
        _listen(host, port).close()
    except ConfigError:
        return False
    return True


def _address(host: str, listener: socket.socket) -> str:
    name = f"[{host.strip('[]')}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"


class _Server(uvicorn.Server):
    """uvicorn, with our order of shutdown and our signals. `door` is given where others accept too."""

    def __init__(
        self, config: uvicorn.Config, app: Served, on_ready: Callable[[], None], door: Door | None
    ) -> None:
        super().__init__(config)
        self._app = app
        self._on_ready = on_ready
        self._door = door
        self._farewell = Farewell(app.settings.grace_s, supervised=door is not None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn waits for open streams to end; ours end only when told. Its lifespan then stops the app.
        log.info("Leaving: readers are told, runs get up to %g s.", self._app.settings.grace_s)
        started = time.monotonic()
        if self._door is not None:
            self._app.hold()
            await hand_over(self, self._door, self._app.settings.grace_s / 4)
        await self._app.drain()
        await asyncio.sleep(0)
        if self._door is not None:
            await linger(self)
        await super().shutdown(sockets)
        log.info("Stopped after %.1f s.", time.monotonic() - started)
        end_when_left()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen to signals; called by uvicorn, which knows SIGTERM and Ctrl-C."""
        with super().capture_signals():
            self._farewell.listen_for_hang_up(self.handle_exit)
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """The first signal begins the shutdown; Ctrl-C after that ends the process."""
        # Not handed on to uvicorn, which would raise the signal again when all is done: we end with 0.
        self._farewell.hear(sig)
        self.should_exit = True
