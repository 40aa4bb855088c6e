"""For load balancers and orchestrators: is it alive, and should it be sent work."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..errors import ServerClosing
from .context import context_of

__all__ = ["healthz", "readyz"]


async def healthz(_request: Request) -> Response:
    """GET /healthz: the process answers."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """GET /readyz: it takes work: the store can be read, and the server is not leaving; else 503.

    While memory is tight it says so, and is ready all the same: it serves readers, and takes stops, which free
    memory; a balancer that sent nobody here any more would keep both away. New runs get their own 503.
    """
    context = context_of(request)
    if context.hub.draining:
        raise ServerClosing("The server is shutting down.", hint="Send work elsewhere.")
    await context.queue.page(limit=1)
    return JSONResponse({"status": "ready"} | ({"memory": "tight"} if context.memory.tight else {}))
