"""`penstock serve` and `penstock demo`."""

import argparse
import logging
import sys
import threading
import traceback
import webbrowser
from collections.abc import Callable

from ..app import App
from ..errors import ConfigError, PenstockError
from ..settings import SETTINGS
from .show import note

__all__ = ["demo", "serve"]


def serve(given: argparse.Namespace) -> int:
    """Serve the app that TARGET names."""
    from ..serve import load_app

    try:
        app = load_app(given.target)
    except PenstockError:
        raise
    except Exception as error:
        traceback.print_exc()
        raise ConfigError(f"{given.target} can't be imported.", hint="What it raised is above.") from error
    app.configure(**_settings(given))
    return _serve(app, lambda address: note(f"Penstock is ready at {address}"))


def demo(given: argparse.Namespace) -> int:
    """Serve the demo."""
    from ..demo import make_app
    from ..serve import can_listen

    app = make_app(follow=given.follow, **_settings(given))
    if given.port is None and not can_listen(app.settings.host, app.settings.port):
        note(f"Port {app.settings.port} is taken; taking a free one.")
        app.configure(port=0)
    return _serve(app, lambda address: _greet(address, show=given.open))


def _greet(address: str, *, show: bool) -> None:
    note(f"Penstock is ready at {address}")
    note("Open it, ask something, reload the page or kill this process: nothing is lost. Ctrl-C ends it.")
    note(f'From a terminal: penstock run {address} answer question="What does functools.lru_cache do?"')
    if show:  # in a thread: a browser in the terminal is waited for, and itself waits for the page
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _settings(given: argparse.Namespace) -> dict[str, str | None]:
    return {setting.name: getattr(given, setting.name) for setting in SETTINGS}


def _serve(app: App, on_ready: Callable[[str], None]) -> int:
    from ..serve import serve as serve_app

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    serve_app(app, on_ready)
    return 0
