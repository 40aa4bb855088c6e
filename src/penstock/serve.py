"""Owns the process: the socket, the signals, and the order in which everything ends.

On SIGTERM or Ctrl-C: readers are told (`event: draining`) and their streams ended, so that no open stream
holds the server up; then connections are closed; then the runs get what is left of `grace_s`; then the store
is closed. A second Ctrl-C ends the process at once, which loses nothing that anybody has seen.
"""

import asyncio
import gc
import importlib
import importlib.util
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType, ModuleType

import uvicorn

from .app import App
from .errors import ConfigError
from .server.auth import is_loopback, require_known_host
from .server.transport import BoundedHead

__all__ = ["can_listen", "load_app", "serve"]

log = logging.getLogger("penstock")

CONNECTIONS_CLOSE_S = 2.0
"""How long a connection may take to end after its stream was ended: a reader that takes nothing is cut then."""

BACKLOG = 2048
"""Connections that may wait to be accepted: after a restart all readers come back within seconds."""

EXIT_BROKEN = 70
"""Exit code of a server that broke down and then could not even end: EX_SOFTWARE of sysexits.h."""

SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the others from the interpreter. Python's 5 ms let the store's threads, which need
it for microseconds, wait for a busy event loop: p99 of 1,000 runs was three times as long (benchmarks)."""

LEFTOVERS_S = 1.0
"""How long, once all is closed, the process waits for threads that functions left behind in pools, which Python
would join for ever; then it ends without them."""

GC_THRESHOLDS = (20_000, 50, 50)
"""Allocations between collections, and collections between those of the next generation. Python's defaults stop
a process with 1,000 readers for 100 ms every second, to find nothing: our objects die by reference counts."""

EXIT_AT_ONCE = 130
"""Exit code of a process that was interrupted, by the shells' convention."""


def load_app(target: str) -> App:
    """The App that `module:app` or `file.py[:app]` names; without a name, `app` or the only App there.

    Raises:
        ConfigError: There is no such file, module or App. What the module itself raises is not caught.
    """
    place, _, name = target.partition(":")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
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


def serve(app: App, on_ready: Callable[[str], None]) -> None:
    """Serve until a signal says otherwise; the process ends with it. `on_ready` gets the address once requests
    are answered.

    Raises:
        ConfigError: The address can't be bound, or must not be without a token.
        StoreError: The store can't be used. One that is full or locked is waited for, with 503 for an answer.
    """
    settings = app.settings
    _check_exposure(settings.host, settings.token)
    listener = _listen(settings.host, settings.port)
    allowed = frozenset(filter(None, map(str.strip, settings.allowed_hosts.lower().split(","))))
    config = uvicorn.Config(
        app if settings.token else require_known_host(app, allowed),
        http=BoundedHead,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="critical",  # that the app could not start is raised below
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(min(CONNECTIONS_CLOSE_S, settings.grace_s))),
    )
    server = _Server(config, app, lambda: on_ready(_address(settings.host, listener)))
    _tune_interpreter()
    with listener:
        try:
            _run(server.serve(sockets=[listener]), config)
        except SystemExit as error:
            raise (app.start_error or ConfigError("The server could not start.")) from error


def _run(main: Coroutine[None, None, None], config: uvicorn.Config) -> None:
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        loop = runner.get_loop()
        serving = loop.create_task(main)
        try:
            while not serving.done():
                _run_on(loop, serving)
        finally:
            _exit_in(LEFTOVERS_S, code=EXIT_BROKEN)  # a task that swallows its end must not keep the process


def _run_on(loop: asyncio.AbstractEventLoop, serving: asyncio.Task[None]) -> None:
    try:
        loop.run_until_complete(serving)
    except (SystemExit, KeyboardInterrupt):
        if serving.done():
            raise
        # asyncio lets these two through from any task, past whoever awaits it.
        log.exception("A task of a function asked for the end of the process; only the task has ended.")


def _tune_interpreter() -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()  # what is loaded by now stays; no need to look at it again
    gc.set_threshold(*GC_THRESHOLDS)


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


def _exit_in(wait_s: float, code: int = 0) -> None:
    end = threading.Timer(wait_s, os._exit, [code])
    end.daemon = True
    end.start()


class _Server(uvicorn.Server):
    """uvicorn, with our order of shutdown and our signals."""

    def __init__(self, config: uvicorn.Config, app: App, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn waits for open streams to end; ours end only when told. Its lifespan then stops the app.
        log.info("Leaving: readers are told, runs get up to %g s.", self._app.settings.grace_s)
        started = time.monotonic()
        await self._app.drain()
        await asyncio.sleep(0)
        await super().shutdown(sockets)
        log.info("Stopped after %.1f s.", time.monotonic() - started)
        _exit_in(LEFTOVERS_S)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """The first signal begins the shutdown; Ctrl-C after that ends the process."""
        # Not handed on to uvicorn, which would raise the signal again when all is done: we end with 0.
        if self.should_exit and sig == signal.SIGINT:
            os.write(2, b"\nStopped at once; unfinished runs are settled at the next start.\n")
            os._exit(EXIT_AT_ONCE)
        if not self.should_exit:
            # Here, not in `shutdown`: a function that blocks the event loop keeps us from getting there. Nothing
            # that is stored can be lost by it.
            _exit_in(max(self._app.settings.grace_s, LEFTOVERS_S))
        self.should_exit = True
