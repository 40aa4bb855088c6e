"""The HTTP edge: what is answered on which route. `routes.py` is the whole of it on one screen."""

from .context import Context
from .delivery import Pulse
from .metrics import Metrics, Peers, Sources
from .routes import make_closed_server, make_server

__all__ = ["Context", "Metrics", "Peers", "Pulse", "Sources", "make_closed_server", "make_server"]
