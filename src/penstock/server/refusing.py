"""Refusing a request, or the handshake of a WebSocket, with the same answer."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["refuse"]

HANDSHAKE_ANSWER = "websocket.http.response"
"""ASGI extension: a handshake is answered as a request is. uvicorn and hypercorn have it."""


async def refuse(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the answer; where a server can't to a handshake, it sends its own 403."""
    if scope["type"] == "websocket" and HANDSHAKE_ANSWER not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
    else:
        await answer(scope, receive, send)
