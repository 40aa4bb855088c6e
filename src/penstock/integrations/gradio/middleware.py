"""What stands between Gradio's clients and Gradio: every request that touches a stream, a session or the page."""

import contextlib
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...errors import PenstockError, StoreError
from ...server.refusing import refuse
from . import heartbeat, restart
from .data import read_messages, read_simple
from .inner import API, JSON, Answer, call, prefix_of, read_body, refusal, request_scope, respond, route_of
from .joins import join
from .page import with_script
from .service import Service

__all__ = ["GradioMiddleware"]

log = logging.getLogger("penstock")

PENSTOCK = f"{API}/penstock"
"""Where Penstock answers itself: behind a server that renders pages only Gradio's API is passed on."""

OWN = re.compile(rf"({API})?/penstock(?!/session/)(/.*)?")

MEDIA = f"{API}/stream/"

_POST, _GET = frozenset({"POST"}), frozenset({"GET", "HEAD"})
ROUTES = tuple(
    (methods, re.compile(pattern), name)
    for methods, pattern, name in (
        (_POST, rf"{API}/queue/join/?", "_join"),
        (_POST, rf"{API}/call/.+", "_join"),
        (_POST, rf"{API}/(run|api)/.+|{API}/component_server/?", "_direct"),
        (_POST, rf"{API}/cancel/?", "_cancel"),
        (_POST, rf"{API}/stream/[^/]+(/close)?/?", "_feed"),
        (_GET, rf"{API}/queue/data/?", "_data"),
        (_GET, rf"{API}/call/.+/[^/]+", "_simple"),
        (_GET, rf"{API}/heartbeat/[^/]+/?", "_heartbeat"),
        (_GET, rf"{API}/stream/[^/]+/?", "_socket"),
        (_GET, rf"{API}/stream/[^/]+/.+", "_media"),
        (frozenset[str](), rf"{PENSTOCK}/session/.+", "_session"),
        (frozenset[str](), OWN.pattern, "_session"),
    )
)
"""What is answered here, or looked at before Gradio answers: any other request is its own."""

Handler = Callable[[Scope, Receive, Send, str | None], Awaitable[None]]


class GradioMiddleware:
    """ASGI middleware inside of a Gradio app, through the documented `app_kwargs={"middleware": […]}`."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        service, route = self._service, route_of(scope)
        try:
            await service.ready(scope["app"], self._app, restart.watch)
        except PenstockError as error:
            await self._closed(error, scope, receive, send)
            return
        if service.surfaces.mode == "aside":
            await self._app(scope, receive, send)
            return
        handler = self._handler(scope, route)
        if handler is None:
            await self._page(scope, receive, send)
        elif OWN.fullmatch(route):
            await service.guard(_below(scope), receive, send)  # it lets in whom it may, and files to anybody
        else:
            await self._handle(handler, scope, receive, send)

    async def _closed(self, error: PenstockError, scope: Scope, receive: Receive, send: Send) -> None:
        """The store can't be used: streams are refused, everything else is as it would be without us."""
        if scope["type"] == "http" and self._handler(scope, route_of(scope)) is not None:
            log.error("The store can't be used: %s %s", error.message, error.hint)
            await respond(refusal(503, f"{error.message} {error.hint}".strip()), send)
        else:
            await self._app(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        if scope["type"] == "websocket" or scope["method"] != "GET" or not _may_be_page(route_of(scope)):
            await self._app(scope, receive, send)
            return
        service.seen(await service.owners.of(scope))
        cookies = service.owners.page_headers(scope)
        await with_script(self._app, scope, receive, send, service.surfaces.mode, cookies)

    async def _handle(self, handler: Handler, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        if not await service.owners.admits(scope):
            await service.owners.refuse(scope, receive, send)
            return
        await handler(scope, receive, send, await service.owners.of(scope))

    # Who answers what

    def _handler(self, scope: Scope, route: str) -> Handler | None:
        method = scope.get("method", "WEBSOCKET")
        for methods, pattern, name in ROUTES:
            if pattern.fullmatch(route) and (not methods or method in methods):
                handler: Handler = getattr(self, name)
                return handler
        return None

    async def _join(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        body = await read_body(receive)
        if body is not None:
            await respond(await join(self._service, scope, body, asking), send)

    async def _direct(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        """A call past the queue, which uses the state of the session that it names."""
        if not _is_json(scope):
            await self._app(scope, receive, send)
            return
        body = await read_body(receive)
        if body is None:
            return
        given = _object(body)
        name = given.get("session_hash")
        if name is not None and not self._service.may_use(str(name), asking):
            await respond(refusal(404, "Session not found."), send)
        elif isinstance(name, str):
            await self._in_session(name, given.get("fn_index"), (scope, _again(body, receive), send), asking)
        else:
            await self._app(scope, _again(body, receive), send)

    async def _in_session(
        self, name: str, fn_index: Any, request: tuple[Scope, Receive, Send], asking: str | None
    ) -> None:
        """A direct call of a session, whose state is kept before its client hears of the end."""
        (scope, receive, send), service, answered = request, self._service, False

        async def answer(message: Message) -> None:
            nonlocal answered
            if not answered:
                answered = True
                owner = service.sessions.owner_of(name, asking)
                await service.states.save(name, owner, fn_index if isinstance(fn_index, int) else None)
            await send(message)

        try:
            await service.states.restore(name, asking)
        except PenstockError as error:
            await self._closed(error, scope, receive, send)
        else:
            await self._app(scope, receive, answer)

    async def _data(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        await read_messages(self._service, scope, receive, send, asking)

    async def _simple(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        await read_simple(self._service, scope, receive, send, asking)

    async def _heartbeat(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        service, name = self._service, route_of(scope).rstrip("/").rsplit("/", 1)[-1]
        if not service.may_use(name, asking):
            await respond(refusal(404, "Session not found."), send)
            return
        with contextlib.suppress(StoreError):  # whatever the session does first asks again
            await service.states.restore(name, asking)  # for what it does when it is over
        session = service.session(name, asking, scope)
        heart = service.attend(session, scope)
        await heartbeat.stay(session, heart, receive, send, service.surfaces.heartbeat_s)

    async def _cancel(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        """Gradio cancels by its own id, which is another one after a restart."""
        service, body = self._service, await read_body(receive)
        if body is None:
            return
        given = _object(body)
        event = service.sessions.event(str(given.get("event_id")))
        # Gradio takes any event out of its line, whichever session it is told.
        named = [given.get("session_hash"), None if event is None else event.session_hash]
        if not all(name is None or service.may_use(str(name), asking) for name in named):
            await respond(refusal(404, "Session not found."), send)
            return
        if event is not None:
            body = msgspec.json.encode(given | {"event_id": event.inner_id})
        inner = request_scope(scope, "POST", f"{API}/cancel", headers=JSON)
        await respond(await call(service.inner, inner, body), send)

    async def _feed(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        """POST /stream/{event_id}, and its close: chunks for a streaming input."""
        service, (event_id, *rest) = self._service, route_of(scope).rstrip("/").removeprefix(MEDIA).split("/")
        event = service.sessions.event(event_id)
        if event is None or not service.may_use(event.session_hash, asking):
            await respond(Answer(404, [], b""), send)
            return
        path = "/".join([f"{API}/stream/{event.inner_id}", *rest])
        body = await read_body(receive)
        if body is not None:
            await respond(
                await call(service.inner, request_scope(scope, "POST", path, headers=JSON), body), send
            )

    async def _socket(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        """WebSocket /stream/{event_id}: chunks, too, in Gradio 5."""
        service, event_id = self._service, route_of(scope).rstrip("/").removeprefix(MEDIA)
        event = service.sessions.event(event_id)
        if event is None or not service.may_use(event.session_hash, asking):
            await refuse(Response(status_code=404), scope, receive, send)
            return
        path = prefix_of(scope) + MEDIA + event.inner_id
        await self._app({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    async def _media(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        """GET /stream/{session_hash}/…: sound and pictures that an event streams."""
        name = route_of(scope).removeprefix(MEDIA).split("/", 1)[0]
        if self._service.may_use(name, asking):
            await self._app(scope, receive, send)
        else:
            await respond(Answer(404, [], b""), send)

    # Penstock's own

    async def _session(self, scope: Scope, _: Receive, send: Send, asking: str | None) -> None:
        """What the page asks of its session, and says."""
        name, _slash, act = route_of(scope).removeprefix(f"{PENSTOCK}/session/").partition("/")
        session = self._service.sessions.find(name)
        if session is None or not self._service.may_use(name, asking):
            await respond(refusal(404, "Session not found."), send)
        elif act == "left" and scope["method"] == "POST":
            session.left()
            await respond(Answer(204, [], b""), send)
        elif act == "" and scope["method"] == "GET":
            session.touched()
            await respond(
                Answer(200, list(JSON), msgspec.json.encode({"events": _listed(session.events)})), send
            )
        else:
            await respond(refusal(405, "Method Not Allowed"), send)


def _below(scope: Scope) -> Scope:
    """A request as Penstock's own server, mounted here, sees it."""
    found = OWN.fullmatch(route_of(scope))
    assert found is not None
    mount = prefix_of(scope) + (found[1] or "") + "/penstock"
    return {**scope, "root_path": mount, "path": mount + (found[2] or ""), "app": None}


def _listed(events: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"event_id": event.id, "fn_index": event.fn_index, "over": event.over} for event in events.values()
    ]


def _is_json(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return not headers.get(b"content-type", b"").startswith(b"multipart/")


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that begins with a body which has been read."""
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return parts.pop() if parts else await receive()

    return receiving


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}


def _may_be_page(route: str) -> bool:
    return not route.startswith((API + "/", "/assets/", "/static/", "/svelte/", "/theme.css", "/config"))
