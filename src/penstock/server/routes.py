"""The HTTP surface, whole. Names and answers are specified in docs/PROTOCOL.md."""

import logging
import re

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import (
    MethodNotAllowed,
    NotFound,
    PenstockError,
    RequestError,
    StoreError,
    UpgradeRequired,
)
from ..settings import Settings
from . import health, page, runs, streams, websocket
from .auth import hosts_in, path_of, require_known_origin, require_token
from .context import Context
from .metrics import Metrics
from .refusing import error_response, refuse
from .uploads import UploadRoutes

__all__ = ["make_closed_server", "make_server"]

log = logging.getLogger("penstock")


def make_server(context: Context) -> ASGIApp:
    """The server as an ASGI application without lifespan."""
    router = Router(_routes(context))

    # Not Starlette's application class: its layers stand between each event and the connection.
    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = context
        try:
            await (_socket(scope) or _often_asked(scope) or router)(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - everything becomes an answer
            await refuse(_answer(HTTPConnection(scope), error), scope, receive, send)

    return _guarded(server, context.settings)


def _routes(context: Context) -> list[BaseRoute]:
    uploads = UploadRoutes()
    return [
        Route("/", page.index),
        Route("/api/functions", runs.functions),
        Route("/api/runs", runs.submit_or_list, methods=["GET", "POST"]),
        Route("/api/runs/{run_id}", runs.describe),
        Route("/api/runs/{run_id}/events", _EVENTS, methods=["GET"]),
        Route("/api/runs/{run_id}/ws", _upgrade),
        Route("/api/events", streams.EventsOfSeveral(), methods=["GET"]),
        Route("/api/runs/{run_id}/cancel", runs.cancel, methods=["POST"]),
        Route("/api/runs/{run_id}/priority", runs.prioritize, methods=["POST"]),
        Route("/api/queue", runs.overview),
        Route("/api/uploads", uploads),
        Route("/api/uploads/{upload_id}", uploads),
        Route("/healthz", health.healthz),
        Route("/readyz", health.readyz),
        Route("/metrics", context.metrics.scrape),
        Mount("/web", page.Modules()),
    ]


def _guarded(server: ASGIApp, settings: Settings) -> ASGIApp:
    known = require_known_origin(server, hosts_in(settings.allowed_hosts))
    return require_token(known, settings.token) if settings.token else known


async def _submit(scope: Scope, receive: Receive, send: Send) -> None:
    response = await runs.submit_or_list(Request(scope, receive))
    await response(scope, receive, send)


async def _upgrade(_: Request) -> Response:
    hint = "If the client did ask for one, a proxy has to pass on its Upgrade and Connection headers."
    response = error_response(UpgradeRequired("This is the path of a WebSocket.", hint=hint))
    response.headers.update({"Upgrade": "websocket", "Connection": "Upgrade"})
    return response


_EVENTS = streams.Events()
_EVENT_SOCKETS = websocket.WebSocketEvents()
_ONE_RUN = re.compile(r"/api/runs/([^/]+)/events")
_ONE_SOCKET = re.compile(r"/api/runs/([^/]+)/ws")


def _socket(scope: Scope) -> ASGIApp | None:
    if scope["type"] != "websocket":
        return None
    found = _ONE_SOCKET.fullmatch(path_of(scope))
    if found is None:
        raise HTTPException(404)
    scope["path_params"] = {"run_id": found[1]}
    return _EVENT_SOCKETS


def _often_asked(scope: Scope) -> ASGIApp | None:
    # Every run is submitted and read; the router would try each route with a regular expression of its own.
    path = path_of(scope)
    if path == "/api/runs" and scope["method"] == "POST":
        return _submit
    found = _ONE_RUN.fullmatch(path) if scope["method"] == "GET" else None
    if found is None:
        return None
    scope["path_params"] = {"run_id": found[1]}
    return _EVENTS


def make_closed_server(error: StoreError, settings: Settings, metrics: Metrics) -> ASGIApp:
    """What answers while the app can't start: the error to whoever may know it, a sign of life to all."""

    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        answers = {"/healthz": health.healthz, "/metrics": metrics.scrape} if scope["type"] == "http" else {}
        answer = answers.get(path_of(scope))
        response = error_response(error) if answer is None else await answer(Request(scope))
        await refuse(response, scope, receive, send)

    return _guarded(server, settings)


def _answer(request: HTTPConnection, error: Exception) -> Response:
    method, path = request.scope.get("method", "WS"), request.url.path
    if isinstance(error, HTTPException):
        return _http_error(method, path, error)
    if isinstance(error, StoreError):
        log.error("%s %s: %s %s", method, path, error.message, error.hint)
    if isinstance(error, PenstockError):
        return error_response(error)
    log.error("%s %s failed.", method, path, exc_info=error)
    return error_response(PenstockError("The server failed to answer.", hint="Its log says why."))


def _http_error(method: str, path: str, error: HTTPException) -> Response:
    if error.status_code == 405:
        answer: RequestError = MethodNotAllowed(
            f"{path} does not take {method}.", hint="See docs/PROTOCOL.md."
        )
    else:
        answer = NotFound(f"There is nothing at {path}.", hint="See docs/PROTOCOL.md for the routes.")
    response = error_response(answer)
    response.headers.update(error.headers or {})
    return response
