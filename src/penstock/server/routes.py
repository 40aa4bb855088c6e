"""The HTTP surface, whole. Names and answers are specified in docs/PROTOCOL.md."""

import logging
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from ..errors import MethodNotAllowed, NotFound, PenstockError, RequestError, StoreError
from . import health, page, runs, streams
from .auth import require_token
from .context import Context

__all__ = ["error_response", "make_server"]

log = logging.getLogger("penstock")

WEB = Path(__file__).parent.parent / "web"

RETRY_AFTER_S = 1
"""What a caller is told to wait when the store or the server can't answer: such states are short or watched."""


def make_server(context: Context) -> ASGIApp:
    """The server as an ASGI application without lifespan."""
    app = Starlette(
        routes=[
            Route("/", page.index),
            Route("/api/functions", runs.functions),
            Route("/api/runs", runs.submit, methods=["POST"]),
            Route("/api/runs", runs.page),
            Route("/api/runs/{run_id}", runs.describe),
            Route("/api/runs/{run_id}/events", streams.events),
            Route("/api/runs/{run_id}/cancel", runs.cancel, methods=["POST"]),
            Route("/healthz", health.healthz),
            Route("/readyz", health.readyz),
            Mount("/web", StaticFiles(directory=WEB)),
        ],
        exception_handlers={PenstockError: _penstock_error, HTTPException: _http_error, Exception: _bug},
    )
    app.state.context = context
    return require_token(app, context.settings.token) if context.settings.token else app


def error_response(error: PenstockError) -> Response:
    """An error as its JSON answer."""
    headers = {"Retry-After": str(RETRY_AFTER_S)} if error.status == 503 else None
    body = msgspec.json.encode({"error": error.as_dict()})
    return Response(body, error.status, headers, media_type="application/json")


def _penstock_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PenstockError)
    if isinstance(error, StoreError):
        log.error("%s %s: %s %s", request.method, request.url.path, error.message, error.hint)
    return error_response(error)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 405:
        answer: RequestError = MethodNotAllowed(
            f"{path} does not take {request.method}.", hint="See docs/PROTOCOL.md."
        )
    else:
        answer = NotFound(f"There is nothing at {path}.", hint="See docs/PROTOCOL.md for the routes.")
    response = error_response(answer)
    response.headers.update(error.headers or {})
    return response


def _bug(request: Request, error: Exception) -> Response:
    log.error("%s %s failed.", request.method, request.url.path, exc_info=error)
    return error_response(PenstockError("The server failed to answer.", hint="Its log says why."))
