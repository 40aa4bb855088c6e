"""Gradio's own functions behind two of its routes, called without the way through HTTP.

A join and a stream of messages for each event cost Gradio more on that way (routing, dependencies, a response of
their own) than in the functions. So where nothing stands on it that could have a say, they are called themselves:
no login, no other middleware within, no dependencies of the app's. They answer what they would answer there.
"""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Scope

from .inner import API, JSON, Answer

__all__ = ["JOIN", "Direct", "direct"]

JOIN, DATA = f"{API}/queue/join", f"{API}/queue/data"

PARAMETERS = {JOIN: {"body", "request", "username"}, DATA: {"request", "session_hash"}}
"""What the functions ask for, in all versions that are supported."""

Take = Callable[[bytes], Awaitable[None]]


def direct(gradio: Any, inner: ASGIApp) -> "Direct | None":
    """The short way into this app; None where there is none, or something stands on the long one.

    gradio: Gradio's App object. inner: the application that the middleware stands in front of.
    """
    found = {path: _only(gradio, path) for path in PARAMETERS}
    models = _models()
    join, data = found[JOIN], found[DATA]
    if join is None or data is None or models is None or type(inner) is not ExceptionMiddleware:
        return None
    return Direct(gradio, join, data, models)


def _models() -> Any:
    try:
        from gradio.data_classes import PredictBody
    except ImportError:
        return None
    return PredictBody if hasattr(PredictBody, "model_validate") else None


def _only(gradio: Any, path: str) -> Any:
    """The function behind a path, if there is one, and nothing before it but Gradio's own login check."""
    routes = list(_routes(gradio.router))
    found = [route for route in routes if getattr(route, "path", "") == path]
    if None in routes or len(found) != 1:
        return None
    before = [getattr(one.dependency, "__name__", "") for one in getattr(found[0], "dependencies", ())]
    function = found[0].endpoint
    known = before == ["login_check"] and set(inspect.signature(function).parameters) == PARAMETERS[path]
    return function if known else None


def _routes(router: Any) -> Iterator[Any]:
    """All routes below a router; None for what stands before some of them."""
    if getattr(router, "dependencies", None):
        yield None
    for route in router.routes:
        within = getattr(route, "original_router", None)
        if within is None:
            yield route
        else:
            if getattr(getattr(route, "include_context", None), "dependencies", None):
                yield None
            yield from _routes(within)


class Direct:
    """The short way into one Gradio app, whenever it is open."""

    def __init__(self, gradio: Any, join: Any, data: Any, body: Any) -> None:
        self._gradio, self._join, self._data, self._body = gradio, join, data, body

    @property
    def is_open(self) -> bool:
        """Whether nobody has to log in, and nothing was put in the place of what the functions depend on."""
        app = self._gradio
        return app.auth is None and app.auth_dependency is None and not app.dependency_overrides

    async def join(self, scope: Scope, raw: bytes) -> Answer | None:
        """Gradio's answer to a join; None for what is to be refused in FastAPI's words."""
        try:
            body = self._body.model_validate(msgspec.json.decode(raw))
        except ValueError:
            return None
        request = _Asking(_as_routed(scope, self._join), _nothing_more)
        try:
            said = await self._join(body=body, request=request, username=None)
        except HTTPException as refused:
            said = {"detail": refused.detail}
            return Answer(refused.status_code, list(JSON), msgspec.json.encode(said))
        return Answer(200, list(JSON), msgspec.json.encode(said))

    async def stream(self, scope: Scope, session_hash: str, take: Take, leave: asyncio.Event) -> int:
        """As `inner.stream`, of the session's messages."""
        request = _Asking(_as_routed(scope, self._data), _nothing_more, leave)
        answer = await self._data(request=request, session_hash=session_hash)
        reading = _Reading(answer.body_iterator, take, leave)
        watching = asyncio.create_task(reading.watch())
        try:
            await reading.run()
        finally:
            watching.cancel()
        return int(answer.status_code)


class _Asking(Request):
    """The request that Gradio's functions see. Its client is there until `leave` is set."""

    def __init__(
        self, scope: Scope, receive: Callable[[], Awaitable[Message]], leave: asyncio.Event | None = None
    ) -> None:
        super().__init__(scope, receive)
        self._leave = leave

    async def is_disconnected(self) -> bool:
        return self._leave is not None and self._leave.is_set()


async def _nothing_more() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def _as_routed(scope: Scope, endpoint: Any) -> Scope:
    return {**scope, "path_params": {}, "endpoint": endpoint}


class _Reading:
    """Reads Gradio's stream in the task that runs it. Who leaves cancels it there, as a response is cancelled."""

    def __init__(self, messages: AsyncIterator[Any], take: Take, leave: asyncio.Event) -> None:
        self._messages, self._take, self._leave = messages, take, leave
        self._task = asyncio.current_task()
        self._waits = False

    async def watch(self) -> None:
        await self._leave.wait()
        if self._waits and self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        with contextlib.suppress(StopAsyncIteration):
            while True:
                await self._take(await self._next())
                if self._leave.is_set():
                    await self._left()
                    return

    async def _next(self) -> bytes:
        self._waits = True
        try:
            said = await anext(self._messages)
        except asyncio.CancelledError:
            if not self._leave.is_set():
                raise
            raise StopAsyncIteration from None
        finally:
            self._waits = False
        return said if isinstance(said, bytes) else str(said).encode()

    async def _left(self) -> None:
        """It was not waiting for Gradio when its reader left: Gradio hears of it where it is."""
        throw = getattr(self._messages, "athrow", None)
        while throw is not None:
            try:
                await throw(asyncio.CancelledError())
            except (asyncio.CancelledError, StopAsyncIteration):
                return
