"""Serves a Gradio app under our own server: with its signals, its drain and its order of shutdown.

Gradio's own `launch()` is what is called, so that each of its arguments means what it always means; only where it
would start its server it is given ours.
"""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import logging
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from starlette.types import Receive, Scope, Send

from . import gradio as door
from .app import STARTED
from .errors import ConfigError, PenstockError
from .integrations.gradio.install import close_all, installed
from .integrations.gradio.seams.launching import in_place_of_its_server, never_block
from .settings import Settings, load

__all__ = ["Host", "Launch", "catch_launches", "find_blocks"]

log = logging.getLogger("penstock")

BLOCKS = "gradio.blocks"

OURS = {"inbrowser": False, "inline": False, "prevent_thread_lock": True, "quiet": True, "share": False}
"""Arguments of `launch()` that have no meaning under a server of ours."""

IGNORED = {"share": "No public link is made.", "ssr_mode": "Pages are rendered in the browser."}

REFUSED = ("ssl_keyfile", "ssl_certfile")

STARTS_S = 60.0
"""How long our server may take until it listens, which is milliseconds; Gradio is then told that it failed."""


class Launch(NamedTuple):
    """An app, and the arguments of the `launch()` that its file called."""

    blocks: Any
    arguments: dict[str, Any]


# Finding it


@contextlib.contextmanager
def catch_launches() -> Iterator[list[Launch]]:
    """While it lasts, `launch()` neither serves nor blocks: it only says what it was asked for.

    Gradio is not imported for this: an app that doesn't use it need not wait for it.
    """
    caught: list[Launch] = []
    undo: list[Callable[[], None]] = []
    if BLOCKS in sys.modules:
        undo.append(_catch(sys.modules[BLOCKS], caught))
    finder = _Watch(lambda module: undo.append(_catch(module, caught)))
    sys.meta_path.insert(0, finder)
    try:
        yield caught
    finally:
        sys.meta_path.remove(finder)
        for one in undo:
            one()


def _catch(module: ModuleType, caught: list[Launch]) -> Callable[[], None]:
    Blocks = module.Blocks  # noqa: N806 - a class
    launch = Blocks.launch
    signature = inspect.signature(launch)

    def noted(self: Any, *args: Any, **kwargs: Any) -> tuple[Any, str, None]:
        caught.append(Launch(self, dict(list(signature.bind(self, *args, **kwargs).arguments.items())[1:])))
        return getattr(self, "app", None), "", None

    Blocks.launch = noted
    return lambda: setattr(Blocks, "launch", launch)


class _Watch(importlib.abc.MetaPathFinder):
    """Tells when Gradio's class is there, the moment it is imported."""

    def __init__(self, then: Callable[[ModuleType], None]) -> None:
        self._then = then

    def find_spec(
        self, name: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Only for that one module, and only to hear of it."""
        if name != BLOCKS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            setattr(spec.loader, "exec_module", self._telling(spec.loader.exec_module))  # noqa: B010 - mypy
        return spec

    def _telling(self, execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
        def telling(module: ModuleType) -> None:
            execute(module)
            self._then(module)

        return telling


def find_blocks(module: ModuleType, place: str, name: str, caught: list[Launch]) -> Launch | None:
    """The Gradio app that is meant: the named one, the one that the file launches, `demo`, or the only one.

    None where the file has none.

    Raises:
        ConfigError: There are several.
    """
    if BLOCKS not in sys.modules:
        return None
    Blocks = sys.modules[BLOCKS].Blocks  # noqa: N806 - a class
    found = {key: value for key, value in vars(module).items() if isinstance(value, Blocks)}
    if name:
        return _launch_of(found[name], caught) if name in found else None
    launched = {id(one.blocks): one for one in caught}
    if len(launched) == 1:
        return caught[-1]
    if "demo" in found:
        return _launch_of(found["demo"], caught)
    if len({id(blocks) for blocks in found.values()}) > 1:
        raise ConfigError(
            f"{place} has several Gradio apps: {', '.join(found)}.", hint=f"Name one: {place}:NAME."
        )
    return _launch_of(next(iter(found.values())), caught) if found else None


def _launch_of(blocks: Any, caught: list[Launch]) -> Launch:
    return next((one for one in caught if one.blocks is blocks), Launch(blocks, {}))


# Serving it


class _Server:
    """What Gradio takes for its server."""

    def __init__(self, app: Any) -> None:
        self.running_app = app
        self.should_exit = False

    def close(self) -> None:
        """Nothing: ours is closed by signals."""


class Host:
    """A Gradio app as our server takes it: `launch()` goes on in a thread of its own, while the server runs here.

    Raises:
        ConfigError: Its `launch()` asks for what can't be had here.
    """

    def __init__(self, launch: Launch, given: dict[str, Any]) -> None:
        _require_plain(launch.arguments)
        self.settings = _settings(launch.arguments, given)
        self.start_error: PenstockError | None = None
        self._blocks, self._arguments = launch.blocks, launch.arguments
        self._app: Any = None
        self._address = ""
        self._handed: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._listens = threading.Event()
        told = {name: value for name, value in given.items() if value is not None}
        door.server_settings.update(told | {"grace_s": self.settings.grace_s})
        if installed() is None:
            settings = self.settings
            door.install(store=settings.store, rate=settings.rate, token=settings.token)

    def begin(self, then: Callable[[], None]) -> None:
        """Call the app's `launch()`, until it asks for a server. `then` is called once it has all that it wants.

        Raises whatever `launch()` raises before that.
        """
        threading.Thread(target=self._launch, args=(then,), name="gradio-launch", daemon=True).start()
        handed = self._handed.get()
        if isinstance(handed, BaseException):
            raise handed
        self._app = handed

    def listens_at(self, address: str) -> None:
        """The server is there: `launch()` may go on."""
        self._address = address
        self._listens.set()

    def _launch(self, then: Callable[[], None]) -> None:
        known = inspect.signature(self._blocks.launch).parameters
        # `debug` would block for ever; what it shows is shown here anyway.
        never_block(self._blocks)
        asked = {**self._arguments, **OURS, "ssr_mode": False, "debug": False}
        try:
            with in_place_of_its_server(self._start_server):
                self._blocks.launch(**{name: value for name, value in asked.items() if name in known})
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            self._failed(error)
        else:
            then()

    def _failed(self, error: BaseException) -> None:
        if self._app is None:
            self._handed.put(error)
        else:
            log.error("Gradio's launch() failed; the app is served all the same.", exc_info=error)

    def _start_server(self, app: Any, *_where: Any, **_how: Any) -> tuple[str, int, str, _Server]:
        self._handed.put(app)
        if not self._listens.wait(STARTS_S):
            raise OSError("Penstock's server did not start.")
        host, _, port = self._address.removeprefix("http://").rpartition(":")
        return host, int(port), f"{self._address}/", _Server(app)

    # What our server asks of an app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Gradio's application."""
        await self._app(scope, receive, send)

    def hold(self) -> None:
        """Begin no more runs."""
        for app in list(STARTED):
            app.hold()

    async def drain(self) -> None:
        """Take no more runs, and send the readers away; what runs goes on."""
        close_all()
        for app in list(STARTED):
            await app.drain()


def _require_plain(arguments: dict[str, Any]) -> None:
    for name in REFUSED:
        if arguments.get(name):
            raise ConfigError(
                f"launch() asks for {name}, and penstock serve speaks no TLS.",
                hint="Let a proxy in front do it.",
            )
    for name, instead in IGNORED.items():
        if arguments.get(name):
            log.warning("launch(%s=True) is not for penstock serve. %s", name, instead)


def _settings(arguments: dict[str, Any], given: dict[str, Any]) -> Settings:
    """Ours beat those of `launch()`, and those beat our defaults."""
    asked: dict[str, Any] = {"host": arguments.get("server_name"), "port": arguments.get("server_port")}
    chosen = {name: value for name, value in given.items() if value is not None}
    plain = load({})
    default = load({}, {})
    for name, value in asked.items():
        if value is not None and name not in chosen and getattr(plain, name) == getattr(default, name):
            chosen[name] = value
    return load(chosen)
