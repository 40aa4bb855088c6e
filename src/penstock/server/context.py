"""What the routes work with."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from ..hub import Folds, Hub
from ..memory import MemoryGuard
from ..queue import Queue, Standings
from ..settings import Settings
from ..storage.base import Store
from ..storage.uploads import Uploads
from ..worker import Function
from .delivery import Pulse
from .metrics import Metrics

__all__ = ["Context", "context_of"]


@dataclass(frozen=True, slots=True)
class Context:
    """The services behind one server."""

    settings: Settings
    store: Store
    functions: Mapping[str, Function]
    queue: Queue
    standings: Standings
    hub: Hub
    folds: Folds
    pulse: Pulse
    memory: MemoryGuard
    metrics: Metrics
    uploads: Uploads


def context_of(request: HTTPConnection) -> Context:
    """The context that `make_server` was given; it stands where Starlette keeps its application."""
    context: Context = request.app
    return context
