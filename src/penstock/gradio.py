"""Gradio apps that lose nothing: `penstock.gradio.install()` hardens any existing app, in one line.

Before or after the app is made, but before it is launched or mounted.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .app import App
from .integrations.gradio.install import install as _install
from .integrations.gradio.merging.merge import unmerged
from .integrations.gradio.options import Options, make_options
from .integrations.gradio.seams.functions import idempotent
from .settings import environment

if TYPE_CHECKING:
    from .integrations.gradio.client.client import Client

__all__ = ["Client", "idempotent", "install", "unmerged"]


def __getattr__(name: str) -> Any:
    # gradio_client is imported for those only who want a client.
    if name != "Client":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .integrations.gradio.client.client import Client

    return Client


def install(
    *,
    store: str | None = None,
    grace_s: float = 60,
    close_grace_s: float = 5,
    rate: float = 20,
    console: bool = True,
    operators: str | Iterable[str] | None = None,
    token: str | None = None,
) -> None:
    """Harden each Gradio app that this process launches or mounts from now on, also those that exist already.

    Works with `demo.launch()`, `gr.ChatInterface`, `gr.Interface`, `gr.mount_gradio_app`, `gradio app.py` and its
    reload mode. Again with the same options it does nothing.

    Args:
        store: Where runs and events are kept: `sqlite:///PATH` or `memory:`; by default PENSTOCK_STORE, else
            `sqlite:///penstock.db` in the working folder.
        grace_s: Seconds for which a page that was cut off keeps its session and its work.
        close_grace_s: Seconds after which the work of a page that was closed is stopped.
        rate: Updates a second of one event at most; faster yields are merged, the last is exact. 0 merges nothing.
        console: Whether the console is served, at `/penstock` of each app.
        operators: Names of logins of the app that see everybody's runs there; by default each login sees its own.
        token: Lets programs in that present it, whoever is logged in; by default PENSTOCK_TOKEN.

    Raises:
        ConfigError: An option can't be used, Gradio is missing, an app is launched or mounted already, or it was
            called with other options before.
    """
    given = {
        "store": store, "grace_s": grace_s, "close_grace_s": close_grace_s, "rate": rate, "console": console,
        "operators": operators, "token": token or "",
    }  # fmt: skip
    _install(make_options(given), _make_app)


server_settings: dict[str, Any] = {}
"""What `penstock serve` was told, which beats the program's own; set before the app is made."""


def _make_app(options: Options, mounted: bool) -> App:
    # The token is asked for by the guard that stands in front of it, which also knows the app's own login.
    # Gradio's own server leaves at once; one that it is mounted in gives runs their time, as with any App.
    given = {"store": options.store, "rate": options.rate}
    if not mounted and not environment("PENSTOCK_GRACE_S"):
        given["grace_s"] = 0
    return App(**given | server_settings | {"token": ""})
