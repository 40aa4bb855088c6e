"""Puts Penstock's middleware into each Gradio app that is made from now on, however it is served.

`launch()`, `mount_gradio_app()`, `gr.Server` and reload mode all make their application with `App.create_app`, and
look it up when they do, so that programs which hold an older reference to any of them are served as well. What is
passed there is documented: `app_kwargs`, with `middleware` and `lifespan`.
"""

import asyncio
import contextlib
import functools
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from starlette.middleware import Middleware

from ...errors import ConfigError
from . import surfaces
from .inner import API, call
from .launching import is_mounted, late
from .merging import merge
from .middleware import GradioMiddleware
from .options import Options
from .rendering import announce
from .runs import RecordingApp
from .service import Service

__all__ = ["OLDEST_VERSION", "install", "installed"]

OLDEST_VERSION = (5, 0)
"""Older ones speak another protocol, and no longer import with today's libraries."""

MARK = "__penstock__"
"""On `App.create_app`: what was installed. Gradio keeps it, so that it outlives a reload of this module."""

_lock = threading.Lock()

MakeApp = Callable[[Options, bool], RecordingApp]


class Installed(NamedTuple):
    """What stands in `App.create_app`."""

    options: Options
    create_app: Callable[..., Any]


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
        if before is None:
            _require_time()
            create_app = App.create_app
            hardened = _hardened(create_app, options, make_app)
            setattr(hardened, MARK, Installed(options, create_app))
            App.create_app = staticmethod(hardened)
            announce()
        elif vars(before.options) != vars(options):
            raise _other(vars(before.options), vars(options))


def _gradio_app() -> Any:
    try:
        import gradio
        from gradio.routes import App
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != "gradio":
            raise  # Gradio is there; what it needs is not
        raise ConfigError("Gradio is not installed.", hint="pip install 'penstock[gradio]'") from error
    if surfaces.numbers(gradio.__version__) < OLDEST_VERSION or not hasattr(App, "create_app"):
        hint = f"Gradio {surfaces.SUPPORTED} is supported."
        raise ConfigError(f"Penstock can't harden Gradio {gradio.__version__}.", hint=hint)
    return App


def _found() -> Installed | None:
    from gradio.routes import App

    found: Installed | None = getattr(App.create_app, MARK, None)
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
    @functools.wraps(create_app)
    def hardened(blocks: Any, *args: Any, app_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        service = Service(options, make_app(options, is_mounted(blocks)))
        given = dict(app_kwargs or {})  # the caller may use his again
        given["lifespan"] = _lifespan(service, given.get("lifespan"))
        own = Middleware(GradioMiddleware, service=service)
        if (app := kwargs.get("app")) is None:
            given["middleware"] = [*(given.get("middleware") or ()), own]
        else:
            _put_into(app, own)
        made = create_app(blocks, *args, app_kwargs=given, **kwargs)
        if surfaces.mend(made):
            merge(blocks, options.rate)
        return made

    return hardened


def _put_into(app: Any, own: Middleware) -> None:
    # An application of the user's own (gr.Server), which may be served by Gradio again: one of ours is enough. The
    # innermost place, behind the user's own middleware, as with the others.
    app.user_middleware[:] = [one for one in app.user_middleware if one.cls is not GradioMiddleware]
    app.user_middleware.append(own)


def _lifespan(service: Service, users: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """The user's own, and ours within it: what it has opened is there until our runs have ended."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with contextlib.AsyncExitStack() as stack:
            state = None if users is None else await stack.enter_async_context(users(app))
            stack.push_async_callback(service.stop)
            waking = asyncio.create_task(_wake(app))
            yield state
            waking.cancel()

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
    await call(app, scope)
