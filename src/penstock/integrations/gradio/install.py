"""Puts Penstock's middleware into each Gradio app that is made from now on, however it is served.

`launch()`, `mount_gradio_app()`, `gr.Server` and reload mode all make their application with `App.create_app`, and
look it up when they do, so that programs which hold an older reference to any of them are served as well. What is
passed there is documented: `app_kwargs`, with `middleware` and `lifespan`.
"""

import asyncio
import contextlib
import functools
import inspect
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from starlette.middleware import Middleware

from ...errors import ConfigError
from ...services import Host
from .merging.merge import merge
from .middleware import GradioMiddleware
from .options import Options
from .seams import surfaces
from .seams.inner import API, call
from .seams.launching import is_launched_aloud, is_mounted, late
from .seams.rendering import announce
from .service import Service

__all__ = ["OLDEST_VERSION", "close_all", "has_served", "install", "installed"]

OLDEST_VERSION = (5, 0)
"""Older ones speak another protocol, and no longer import with today's libraries."""

MARK = "__penstock__"
"""On `App.create_app`: what was installed. Gradio keeps it, so that it outlives a reload of this module."""

log = logging.getLogger("penstock")

_lock = threading.Lock()

_services: "weakref.WeakSet[Service]" = weakref.WeakSet()
"""All that were made in this process, for a server that leaves."""

_begun = threading.Event()
"""Set when a hardened app has begun to be served."""

MakeApp = Callable[[Options, bool], Host]


class Installed(NamedTuple):
    """What stands in `App.create_app`."""

    options: Options


def installed() -> Options | None:
    """The options with which Penstock is installed in this process."""
    found = _found()
    return None if found is None else found.options


def install(options: Options, make_app: MakeApp) -> None:
    """Harden each Gradio app that is launched or mounted from now on; nothing where that was done alike.

    make_app: makes the Penstock app that keeps the runs of one Gradio app; it is told whether that one is mounted.

    Raises:
        ConfigError: Gradio is missing or too old, something is served already, or it is installed otherwise.
    """
    App = _gradio_app()  # noqa: N806 - a class
    with _lock:
        before = _found()
        if before is not None and vars(before.options) != vars(options):
            raise _other(vars(before.options), vars(options))
        if before is None and _can_be_hardened(App):
            _require_time()
            hardened = _hardened(App.create_app, options, make_app)
            setattr(hardened, MARK, Installed(options))
            App.create_app = staticmethod(hardened)
            announce()


def _can_be_hardened(App: Any) -> bool:  # noqa: N803 - a class
    """An unknown version without the seam is left as it is: it must not be us who breaks the app."""
    create_app = getattr(App, "create_app", None)
    if create_app is not None and "app_kwargs" in inspect.signature(create_app).parameters:
        return True
    log.warning(
        "This Gradio makes its apps in a way that is not known; it is left as it is: %s.", surfaces.SUPPORTED
    )
    return False


def has_served() -> bool:
    """Whether any Gradio app was launched, or served otherwise, in this process."""
    return _begun.is_set()


def close_all() -> None:
    """This server leaves: have those who read find the next one."""
    for service in tuple(_services):
        service.close()


def _gradio_app() -> Any:
    try:
        import gradio
        from gradio.routes import App
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != "gradio":
            raise  # Gradio is there; what it needs is not
        raise ConfigError("Gradio is not installed.", hint="pip install 'penstock[gradio]'") from error
    if surfaces.numbers(gradio.__version__) < OLDEST_VERSION:
        hint = f"Gradio {surfaces.SUPPORTED} is supported."
        raise ConfigError(f"Penstock can't harden Gradio {gradio.__version__}.", hint=hint)
    return App


def _found() -> Installed | None:
    from gradio.routes import App

    found: Installed | None = getattr(getattr(App, "create_app", None), MARK, None)
    return found


def _require_time() -> None:
    if served := late():
        raise ConfigError(
            f"penstock.gradio.install() comes too late: {'; '.join(served)}.",
            hint="Call it before launch() or mount_gradio_app(); in a notebook, close() it and launch it again.",
        )


def _other(before: dict[str, Any], now: dict[str, Any]) -> ConfigError:
    named = [f"{name}={now[name]!r} (was {before[name]!r})" for name in now if now[name] != before[name]]
    shown = [name.partition("=")[0] if name.startswith("token=") else name for name in named]
    return ConfigError(
        f"penstock.gradio.install() was called with other options before: {', '.join(shown)}.",
        hint="Call it once, or alike; to change an option, start the program again.",
    )


# What is put in


def _hardened(create_app: Callable[..., Any], options: Options, make_app: MakeApp) -> Callable[..., Any]:
    signature = inspect.signature(create_app)

    @functools.wraps(create_app)
    def hardened(*args: Any, **kwargs: Any) -> Any:
        given = dict(signature.bind(*args, **kwargs).arguments)
        service = Service(options, make_app(options, is_mounted(given["blocks"])))
        _services.add(service)
        _add(service, given)
        made = create_app(**given)
        if surfaces.mend(made):
            merge(made.blocks, options.rate)
        return made

    return hardened


def _add(service: Service, given: dict[str, Any]) -> None:
    """The middleware and the lifespan, to the arguments of `create_app`."""
    own = Middleware(GradioMiddleware, service=service, aloud=is_launched_aloud())
    app_kwargs = dict(given.get("app_kwargs") or {})  # the caller may use his again
    app_kwargs["lifespan"] = _lifespan(service, app_kwargs.get("lifespan"))
    if given.get("app") is None:
        app_kwargs["middleware"] = [*(app_kwargs.get("middleware") or ()), own]
    else:
        _put_into(given["app"], own)
    given["app_kwargs"] = app_kwargs


def _put_into(app: Any, own: Middleware) -> None:
    # An application of the user's own (gr.Server), which may be served by Gradio again: one of ours is enough. The
    # innermost place, behind the user's own middleware, as with the others.
    app.user_middleware[:] = [one for one in app.user_middleware if one.cls is not GradioMiddleware]
    app.user_middleware.append(own)


def _lifespan(service: Service, users: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """The user's own, and ours within it: what it has opened is there until our runs have ended."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        _begun.set()
        async with contextlib.AsyncExitStack() as stack:
            state = None if users is None else await stack.enter_async_context(users(app))
            stack.push_async_callback(service.stop)
            stack.callback(asyncio.create_task(_wake(app)).cancel)
            yield state

    return lifespan


async def _wake(app: Any) -> None:
    """One request of our own, which starts the service: runs of before a restart need not wait for a visitor."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "method": "GET",
        "path": f"{API}/app_id",
        "raw_path": f"{API}/app_id".encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 80),
    }
    with contextlib.suppress(Exception):  # of another's middleware, to which this request is strange
        await call(app, scope)
