"""`penstock serve`, `penstock worker` and `penstock demo`."""

import argparse
import logging
import sys
import threading
import traceback
import webbrowser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from ..errors import ConfigError, PenstockError
from ..settings import SETTINGS
from .show import note

if TYPE_CHECKING:
    from types import ModuleType

    from ..app import App
    from ..hosting import Host, Launch
    from ..process.tether import Tether

__all__ = ["demo", "serve", "worker"]

READY = "Penstock is ready at {}"


def serve(given: argparse.Namespace) -> int:
    """Serve the app that TARGET names, in this process or in several."""
    if _is_supervisor(given):
        return _supervise(given)
    from ..app import App
    from ..process.shelf import Place
    from ..serve import listen
    from ..serve import serve as serve_app

    tether, app = _tether(given), _load(given, others=True)
    if not isinstance(app, App):
        return _serve_gradio(app)
    if tether is None:
        serve_app(app, lambda address: note(READY.format(address)))
        return 0
    app.peers = Place(Path(tether.folder)) if tether.folder else None
    listener = tether.listener or listen(app.settings)
    tell = partial(tether.ready, grace_s=app.settings.grace_s, listener=listener)
    serve_app(app, lambda address: tell(READY.format(address)), listener, shared=True)
    return 0


def _serve_gradio(host: "Host") -> int:
    from ..serve import serve as serve_app

    ready: list[str] = []
    host.begin(lambda: note(READY.format(ready[0])))

    def listens(address: str) -> None:
        ready.append(address)
        host.listens_at(address)

    serve_app(host, listens, guarded=False)
    return 0


def worker(given: argparse.Namespace) -> int:
    """Execute the functions of the app that TARGET names, in this process or in several."""
    if _is_supervisor(given):
        return _supervise(given)
    from ..work import work

    tether, app = _tether(given), _load(given)
    tell = note if tether is None else partial(tether.ready, grace_s=app.settings.grace_s)
    work(
        app,
        lambda: tell(f"Penstock is ready to execute {', '.join(app.functions) or 'nothing'}"),
        supervised=tether is not None,
    )
    return 0


def demo(given: argparse.Namespace) -> int:
    """Serve the demo."""
    from ..demo import make_app
    from ..serve import can_listen
    from ..serve import serve as serve_app

    app = make_app(follow=given.follow, **_settings(given))
    if given.port is None and not can_listen(app.settings.host, app.settings.port):
        note(f"Port {app.settings.port} is taken; taking a free one.")
        app.configure(port=0)
    _log_to_stderr()
    serve_app(app, lambda address: _greet(address, show=given.open))
    return 0


def _greet(address: str, *, show: bool) -> None:
    note(READY.format(address))
    note("Open it, ask something, reload the page or kill this process: nothing is lost. Ctrl-C ends it.")
    note(f'From a terminal: penstock run {address} answer question="What does functools.lru_cache do?"')
    if show:  # in a thread: a browser in the terminal is waited for, and itself waits for the page
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


# Several processes


def _is_supervisor(given: argparse.Namespace) -> bool:
    return given.workers > 1 and given.tether is None


def _supervise(given: argparse.Namespace) -> int:
    # Nothing else is loaded in this process: it starts others, and waits.
    from ..process.supervisor import same_program, supervise

    _log_to_stderr(several=True)
    arguments = sys.argv[1:] if given.argv is None else given.argv
    name, *rest = arguments
    program = same_program(called=given.argv is not None)
    return supervise(lambda tether: [*program, name, "--tether", tether, *rest], given.workers, note)


def _tether(given: argparse.Namespace) -> "Tether | None":
    if given.tether is None:
        return None
    from ..memory.processes import count_with_parent
    from ..process.tether import Tether

    count_with_parent()
    return Tether(given.tether)


# The app


@overload
def _load(given: argparse.Namespace) -> "App": ...
@overload
def _load(given: argparse.Namespace, *, others: Literal[True]) -> "App | Host": ...
def _load(given: argparse.Namespace, *, others: bool = False) -> "App | Host":
    from ..hosting import catch_launches
    from ..serve import find_app, load_target

    try:
        with catch_launches() as launches:
            loaded = load_target(given.target)
    except PenstockError:
        raise
    except Exception as error:
        traceback.print_exc()
        raise ConfigError(f"{given.target} can't be imported.", hint="What it raised is above.") from error
    if others and (host := _host(given, loaded, launches)) is not None:
        return host
    app = find_app(*loaded)
    app.configure(**_settings(given))
    _log_to_stderr(several=given.tether is not None)  # now, as the app may have its own idea of it
    if given.workers > 1 and app.settings.store == "memory:":
        raise ConfigError(
            f"memory: belongs to one process, and --workers {given.workers} makes several: none would see what "
            "the others keep.",
            hint="Use --store sqlite:///PATH, or --workers 1.",
        )
    return app


def _host(
    given: argparse.Namespace, loaded: "tuple[ModuleType, str, str]", launches: "list[Launch]"
) -> "Host | None":
    from ..app import App
    from ..hosting import Host, find_blocks

    module, place, name = loaded
    if not name and any(isinstance(value, App) for value in vars(module).values()):
        return None
    launch = find_blocks(*loaded, launches)
    if launch is None:
        if "gradio" in sys.modules and not isinstance(getattr(module, name, None), App):
            raise _no_gradio(place, name)
        return None
    if given.workers > 1:
        raise ConfigError(
            f"Gradio keeps its sessions in one process, and --workers {given.workers} makes several.",
            hint="Use --workers 1.",
        )
    _log_to_stderr()
    logging.getLogger("httpx").setLevel(logging.WARNING)  # with which Gradio asks its own server how it is
    return Host(launch, _settings(given))


def _no_gradio(place: str, name: str) -> ConfigError:
    """A file that imports Gradio means one of its apps, most likely."""
    found = f"no Gradio app named {name!r}" if name else "neither an App nor a Gradio app"
    return ConfigError(
        f"{place} has {found}.",
        hint="It is found as `demo`, or as the only one, where it stands in the file and not in a function only;"
        f" any other is named: {place}:NAME.",
    )


def _settings(given: argparse.Namespace) -> dict[str, str | None]:
    return {setting.name: getattr(given, setting.name) for setting in SETTINGS}


def _log_to_stderr(*, several: bool = False) -> None:
    handler = logging.StreamHandler(sys.stderr)
    process = "[%(process)d] " if several else ""
    handler.setFormatter(logging.Formatter(f"%(asctime)s {process}%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
