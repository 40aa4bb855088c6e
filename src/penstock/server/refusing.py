"""Refusing a request, or the handshake of a WebSocket, with the same answer."""

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import MemoryLimit, PenstockError, QueueFull

__all__ = ["error_response", "refuse"]

RETRY_AFTER_S = 1
"""What a caller is told to wait when the store or the server can't answer: such states are short or watched."""

HANDSHAKE_ANSWER = "websocket.http.response"
"""ASGI extension: a handshake is answered as a request is. uvicorn and hypercorn have it."""


def error_response(error: PenstockError) -> Response:
    """An error as its JSON answer."""
    wait_s = error.retry_after_s if isinstance(error, QueueFull | MemoryLimit) else RETRY_AFTER_S
    headers = {"Retry-After": str(wait_s)} if error.status == 503 else None
    body = msgspec.json.encode({"error": error.as_dict()})
    return Response(body, error.status, headers, media_type="application/json")


async def refuse(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the answer; where a server can't to a handshake, it sends its own 403."""
    if scope["type"] == "websocket" and HANDSHAKE_ANSWER not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
    else:
        await answer(scope, receive, send)
