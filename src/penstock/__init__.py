"""Penstock: durable, resumable streaming for Python generators."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import App
    from .client import AsyncClient, Client
    from .errors import PenstockError
    from .events import Replace
    from .files import File
    from .worker import Run, Span

__all__ = ["App", "AsyncClient", "Client", "File", "PenstockError", "Replace", "Run", "Span", "__version__"]

__version__ = "0.1.0"

_HOMES = {
    "App": ".app",
    "AsyncClient": ".client",
    "Client": ".client",
    "File": ".files",
    "PenstockError": ".errors",
    "Replace": ".events",
    "Run": ".worker",
    "Span": ".worker",
}


def __getattr__(name: str) -> Any:
    # Loaded when first used: a script that only needs the client does not wait for the server, nor the
    # other way round (benchmarks/import_time.py).
    if name not in _HOMES:
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value
