"""What stands between Gradio's clients and Gradio: every request that touches a stream, a session or the page."""

import contextlib
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...errors import StoreError
from ...server.refusing import refuse
from ...trouble import Trouble
from .access.forms import form_in, pass_form
from .options import Options
from .page import with_script
from .seams.inner import (
    API,
    JSON,
    Answer,
    call,
    object_in,
    prefix_of,
    read_body,
    refusal,
    request_scope,
    respond,
    route_of,
)
from .seams.rendering import EARLY, with_cookie
from .service import Service
from .sessions import heartbeat, restart
from .sessions.data import read_messages, read_simple
from .sessions.joins import join
from .sessions.unusable import refused_begin, refused_read

__all__ = ["GradioMiddleware"]

log = logging.getLogger("penstock")

PENSTOCK = f"{API}/penstock"
"""Where Penstock answers itself: behind a server that renders pages only Gradio's API is passed on."""

OWN = re.compile(rf"({API})?/penstock(?!/session/)(/.*)?")

MEDIA = f"{API}/stream/"

LINE_END = "\n"
"""In an address it has no meaning, and other ones for us and for Starlette, whose routes may end before it."""

POLICY_VIOLATION = 1008
"""The code with which a WebSocket is closed to whom it is not for."""

_POST, _GET, _SOCKET = frozenset({"POST"}), frozenset({"GET"}), frozenset({"WEBSOCKET"})
_READ = _GET | {"HEAD"}
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
        (_SOCKET, rf"{API}/stream/[^/]+/?", "_socket"),
        (_READ, rf"{API}/stream/[^/]+/.+", "_media"),
        (_GET, rf"{API}/deep_link/?", "_link"),
        (frozenset[str](), rf"{PENSTOCK}/session/.+", "_session"),
        (frozenset[str](), OWN.pattern, "_session"),
    )
)
"""What is answered here, or looked at before Gradio answers: any other request is its own."""

Handler = Callable[[Scope, Receive, Send, str | None], Awaitable[None]]


class GradioMiddleware:
    """ASGI middleware inside of a Gradio app, through the documented `app_kwargs={"middleware": […]}`.

    aloud: whether the terminal is told once that it is there, among Gradio's own lines; else the log is.
    """

    def __init__(self, app: ASGIApp, service: Service, *, aloud: bool = False) -> None:
        self._app = app
        self._service = service
        self._tell: Callable[[str], None] | None = _print if aloud else log.info
        # Each request finds it so, also the one by which launch() looks whether it is up.
        self._starting = Trouble(log, "Penstock can't be started", logging.ERROR)
        self._answering = Trouble(log, "Gradio's sessions can't be looked up")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._service.is_elsewhere:
            await self._app(scope, receive, send)
            return
        service, route = self._service, route_of(scope)
        try:
            await service.ready(scope["app"], self._app, restart.watch)
        except Exception as error:  # noqa: BLE001 - whatever it is, the app is not to be broken by it
            self._starting.met(error)
            await self._closed(error, scope, receive, send)
            return
        self._starting.over()
        if service.surfaces.mode == "aside":
            await self._app(scope, receive, send)
            return
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(_on(service.options))
        handler = self._handler(scope, route)
        if handler is None:
            await self._page(scope, receive, send)
        elif OWN.fullmatch(route):
            told = send
            if route == EARLY:  # of a page that Node has rendered, which nothing here has seen
                service.seen(await service.owners.of(scope))
                told = with_cookie(service.owners, scope, send)
            await service.guard(_below(scope), receive, told)  # it lets in whom it may, and files to anybody
        else:
            await self._handle(handler, scope, receive, send)

    async def _closed(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        """The store can't be used: streams are refused, everything else is as it would be without us."""
        handler = self._handler(scope, route_of(scope))
        if scope["type"] != "http" or handler is None:
            await self._app(scope, receive, send)
            return
        refused = refused_begin if handler in (self._join, self._direct) else refused_read
        await respond(refused(self._service, error), send)

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
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await handler(scope, receive, answer, await service.owners.of(scope))
            self._answering.over()
        except StoreError as error:
            self._answering.met(error)
            if begun:
                raise
            await self._closed(error, scope, receive, send)

    # Who answers what

    def _handler(self, scope: Scope, route: str) -> Handler | None:
        method = scope.get("method", "WEBSOCKET")
        if LINE_END in route and route.startswith(f"{API}/"):
            return self._nowhere
        for methods, pattern, name in ROUTES:
            if pattern.fullmatch(route) and (not methods or method in methods):
                handler: Handler = getattr(self, name)
                return handler
        return None

    async def _nowhere(self, scope: Scope, receive: Receive, send: Send, _asking: str | None) -> None:
        await refuse(Response(status_code=404), scope, receive, send)

    async def _join(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        body = await read_body(receive)
        if body is not None:
            await respond(await join(self._service, scope, body, asking), send)

    async def _direct(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        """A call past the queue: it uses the state of the session that it names, or goes on with its event."""
        if (kind := form_in(scope)) is not None:

            async def admits(name: str) -> bool:
                await self._service.settled(name)
                return self._service.may_use(name, asking)

            if not await pass_form(self._app, kind, (scope, receive, send), admits):
                await respond(refusal(404, "Session not found."), send)
            return
        body = await read_body(receive)
        if body is None:
            return
        given = object_in(body)
        name = given and given.get("session_hash")
        if isinstance(name, str):
            await self._service.settled(name)
        if not self._may_act(given, asking):
            await respond(refusal(404, "Session not found."), send)
        elif given is not None and isinstance(name, str):
            await self._in_session(name, given.get("fn_index"), (scope, _again(body, receive), send), asking)
        else:
            await self._app(scope, _again(body, receive), send)

    async def _in_session(
        self, name: str, fn_index: Any, request: tuple[Scope, Receive, Send], asking: str | None
    ) -> None:
        """A direct call of a session, whose state is kept before its client hears of the end.

        Whoever begins a session so has it, too.
        """
        (scope, receive, send), service, answered = request, self._service, False

        async def answer(message: Message) -> None:
            nonlocal answered
            if not answered:
                answered = True
                owner = service.sessions.owner_of(name, asking)
                await service.states.save(name, owner, fn_index if isinstance(fn_index, int) else None)
            await send(message)

        with service.session(name, asking, scope).held():
            await service.states.restore(name, asking)
            await self._app(scope, receive, answer)

    async def _data(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        await read_messages(self._service, scope, receive, send, asking)

    async def _simple(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        await read_simple(self._service, scope, receive, send, asking)

    async def _heartbeat(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        service, name = self._service, route_of(scope).rstrip("/").rsplit("/", 1)[-1]
        await service.settled(name)
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
        given = object_in(body) or {}
        if not self._may_act(given, asking):
            await respond(refusal(404, "Session not found."), send)
            return
        event = service.sessions.event(str(given.get("event_id")))
        if event is not None:
            body = msgspec.json.encode(given | {"event_id": event.inner_id})
        inner = request_scope(scope, "POST", f"{API}/cancel", headers=JSON)
        session = service.sessions.find(str(given.get("session_hash")))
        beside = [] if session is None else service.beside(session, given.get("fn_index"), event)
        await respond(await call(service.inner, inner, body), send)
        for other in beside:  # Gradio has stopped these, too, and tells nobody
            service.keep(service.cancel_inner(other))

    async def _feed(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        """POST /stream/{event_id}, and its close: chunks for a streaming input."""
        service, (event_id, *rest) = self._service, route_of(scope).rstrip("/").removeprefix(MEDIA).split("/")
        event = service.sessions.event(event_id)
        if event is None or not service.may_use(event.session_hash, asking):
            await respond(Answer(404, [], b""), send)
            return
        path = "/".join([f"{API}/stream/{event.inner_id}", *rest])
        body = await read_body(receive)
        if body is None:
            return
        if not self._may_act(object_in(body), asking):
            await respond(refusal(404, "Session not found."), send)
            return
        inner = request_scope(scope, "POST", path, headers=JSON)
        await respond(await call(service.inner, inner, body), send)

    def _may_act(self, given: dict[str, Any] | None, asking: str | None) -> bool:
        """Whether the session and the event that a request names are the asker's.

        Gradio takes any event that it is told, whichever session it is of.
        """
        given, service = given or {}, self._service
        event = service.sessions.event(str(given.get("event_id")))
        named = [given.get("session_hash"), None if event is None else event.session_hash]
        return all(name is None or service.may_use(str(name), asking) for name in named)

    async def _socket(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        """WebSocket /stream/{event_id}: chunks, too, in Gradio 5."""
        service, event_id = self._service, route_of(scope).rstrip("/").removeprefix(MEDIA)
        event = service.sessions.event(event_id)
        if event is None or not service.may_use(event.session_hash, asking):
            await refuse(Response(status_code=404), scope, receive, send)
            return
        path = prefix_of(scope) + MEDIA + event.inner_id
        checked = self._checked(receive, asking)
        await self._app({**scope, "path": path, "raw_path": path.encode()}, checked, send)

    def _checked(self, receive: Receive, asking: str | None) -> Receive:
        """What comes over a WebSocket, up to a message that names somebody else's session."""

        async def receiving() -> Message:
            message = await receive()
            said = message.get("bytes") or (message.get("text") or "").encode(errors="replace")
            if message["type"] == "websocket.receive" and not self._may_act(object_in(said), asking):
                return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}
            return message

        return receiving

    async def _media(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        """GET /stream/{session_hash}/…: sound and pictures that an event streams."""
        name = route_of(scope).removeprefix(MEDIA).split("/", 1)[0]
        if self._service.may_use(name, asking):
            await self._app(scope, receive, send)
        else:
            await respond(Answer(404, [], b""), send)

    async def _link(self, scope: Scope, receive: Receive, send: Send, asking: str | None) -> None:
        """GET /deep_link: a page with all that a session shows, for whoever is given its address."""
        names = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [])
        if all(self._service.may_use(name, asking) for name in names):
            await self._app(scope, receive, send)
        else:
            await respond(Answer(200, list(JSON), b'""'), send)  # what Gradio says where there is none

    # Penstock's own

    async def _session(self, scope: Scope, _receive: Receive, send: Send, asking: str | None) -> None:
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


def _on(options: Options) -> str:
    """What is said once it has begun."""
    place = (options.store or "").removeprefix("sqlite:///")
    kept = "in memory until the server ends" if place == "memory:" else f"in {place}"
    console = ", its console is at /penstock" if options.console else ""
    return f"Penstock is on: runs are kept {kept}{console}"


def _print(said: str) -> None:
    print(f"* {said}", flush=True)


def _below(scope: Scope) -> Scope:
    """A request as Penstock's own server, mounted here, sees it."""
    found = OWN.fullmatch(route_of(scope))
    assert found is not None
    # As a browser sees it: a proxy may have taken the root path off.
    mount = scope.get("root_path", "").rstrip("/") + (found[1] or "") + "/penstock"
    return {**scope, "root_path": mount, "path": mount + (found[2] or ""), "app": None}


def _listed(events: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"event_id": event.id, "fn_index": event.fn_index, "over": event.over} for event in events.values()
    ]


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that begins with a body which has been read."""
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return parts.pop() if parts else await receive()

    return receiving


def _may_be_page(route: str) -> bool:
    return not route.startswith((API + "/", "/assets/", "/static/", "/svelte/", "/theme.css", "/config"))
