"""How a process leaves whose listening socket others share: it refuses nobody on its way out.

It stops accepting, and stays for the clients that hold a connection: their next requests are answered as ever,
each answer with `Connection: close`, so that they connect anew and reach somebody else.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Door", "hand_over", "linger"]

LINGER_S = 0.5
"""How long an idle connection is kept for one more request: a client that sends one just then would find it
closed, and may not dare to send it again."""

POSTS_S = 2.0
"""How long a request that writes may take to arrive; no longer than a connection is given to end."""

LOOK_S = 0.02
"""Between two looks at the connections: short beside the wait, and nothing beside a process's start."""


class Door:
    """An ASGI application around another: counts what writes, and once it is `leaving` ends connections."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.leaving = False
        self.posts = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the application's life."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        posts = scope["method"] == "POST"
        self.posts += posts
        try:
            # Streams must not pay for this: who was there before is told by uvicorn's own shutdown.
            await self._app(scope, receive, _closing(send) if self.leaving else send)
        finally:
            self.posts -= posts


def _closing(send: Send) -> Send:
    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
        await send(message)

    return closing


async def hand_over(server: uvicorn.Server, door: Door, most_s: float) -> None:
    """Stop accepting, and return when no client is left that might send a request, or was given its time.

    most_s: seconds after which it returns in any case.
    """
    door.leaving = True
    for listener in server.servers:
        listener.close()
    for connection in server.server_state.connections:
        if _is_unanswered(connection):
            connection.shutdown()  # which makes its answer say that the connection ends with it
    # Once in any case: what has just been accepted is not among the connections yet.
    await asyncio.sleep(LOOK_S)
    await _wait_while(lambda waited_s: waited_s < most_s and _is_expected(server, door, waited_s))


async def linger(server: uvicorn.Server) -> None:
    """Wait a moment for the next requests of those whose streams were ended just now.

    Their answers began before anybody knew that the connection would end with them: who asks for more on it would
    find it closed, and may not dare to ask again.
    """
    await _wait_while(lambda waited_s: waited_s < LINGER_S and bool(server.server_state.connections))


async def _wait_while(goes_on: Callable[[float], bool]) -> None:
    """`goes_on` is asked with the seconds waited so far."""
    begun = time.monotonic()
    while goes_on(time.monotonic() - begun):  # noqa: ASYNC110 - uvicorn tells nobody when a connection becomes idle
        await asyncio.sleep(LOOK_S)


def _is_expected(server: uvicorn.Server, door: Door, waited_s: float) -> bool:
    if door.posts and waited_s < POSTS_S:
        return True
    return waited_s < LINGER_S and any(_is_idle(connection) for connection in server.server_state.connections)


# A `cycle` is a request with its answer; a WebSocket has none.


def _is_busy(connection: Any) -> bool:
    cycle = getattr(connection, "cycle", None)
    answering = getattr(connection, "is_answering", False)  # a response may be taken over from its cycle
    return answering or (cycle is not None and not cycle.response_complete)


def _is_unanswered(connection: Any) -> bool:
    return _is_busy(connection) and not connection.cycle.response_started


def _is_idle(connection: Any) -> bool:
    return hasattr(connection, "cycle") and not _is_busy(connection)
