"""The HTTP edge: what is answered on which route. `routes.py` is the whole of it on one screen."""

from .context import Context
from .delivery import Pulse
from .routes import make_closed_server, make_server

__all__ = ["Context", "Pulse", "make_closed_server", "make_server"]
