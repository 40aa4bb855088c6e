"""The HTTP edge: what is answered on which route. `routes.py` is the whole of it on one screen."""

from .context import Context
from .routes import error_response, make_server

__all__ = ["Context", "error_response", "make_server"]
