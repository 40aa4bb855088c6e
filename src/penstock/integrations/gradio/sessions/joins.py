"""Joining Gradio's queue: what Gradio accepts is a run in the store before its client is told."""

import asyncio
import uuid
from typing import Any, NamedTuple

import msgspec
from starlette.types import Scope

from ....errors import PenstockError
from ....models import RunRecord
from ..access.owners import username_of
from ..seams.direct import JOIN
from ..seams.inner import API, JSON, Answer, call, json_in, refusal, request_scope, route_of
from ..service import Service
from .events import Event
from .kept import BY_NAME, Request, input_of
from .sessions import Session
from .unusable import refused_begin

__all__ = ["inner_join", "is_join", "join"]

RECORDED = (b"x-penstock", b"1")
"""Says on the answer to a join that the event can be read from the log."""

SIMPLE = f"{API}/call/"


class Join(NamedTuple):
    """What somebody asks for.

    body: the request's object; `exact` where it is JSON, and not only what Gradio reads. key: given by a client
    that may send it again. simple: it came through `/call`.
    """

    route: str
    body: dict[str, Any]
    raw: bytes
    key: str | None
    owner: str | None
    simple: bool
    exact: bool

    @property
    def about(self) -> dict[str, Any]:
        """What it says beside the arguments."""
        return {} if self.route.startswith(BY_NAME) else self.body

    @property
    def session_hash(self) -> str | None:
        """Its session, where it names one."""
        return self.about.get("session_hash")

    @property
    def fn_index(self) -> int | None:
        """Its function's number, where it names one."""
        return self.about.get("fn_index")

    @property
    def api_name(self) -> str | None:
        """Its function, where the address names one."""
        return self.route.rstrip("/").rsplit("/", 1)[-1] if self.simple else None


async def join(service: Service, scope: Scope, raw: bytes, owner: str | None) -> Answer:
    """Have Gradio take an event in, and record it. The answer is Gradio's, whatever it is.

    Nothing has been begun where the answer is none of Gradio's: 404 for somebody else's session, 503 while the
    store is locked or full, 500 where it can't be used.
    """
    asked = _asked(scope, raw, owner)
    if asked is None:
        return await call(service.inner, request_scope(scope, "POST", route_of(scope), headers=JSON), raw)
    # Whoever asks may leave: what Gradio has taken in is recorded all the same.
    return await asyncio.shield(service.hold(_join(service, scope, asked)))


async def _join(service: Service, scope: Scope, asked: Join) -> Answer:
    name = asked.session_hash
    how = _by_key if asked.key else _by_gradio
    try:
        await service.settled(name)
        if not service.may_use(name, asked.owner):
            return refusal(404, "Session not found.")
        if name is None:
            return await how(service, scope, asked)
        await service.states.restore(name, asked.owner)
        session = service.session(name, asked.owner, scope)
        with session.held():
            await service.whose_sessions.keep(session)
            return await how(service, scope, asked)
    except PenstockError as error:
        return refused_begin(service, error, "The event can't be kept: ")


def _asked(scope: Scope, raw: bytes, owner: str | None) -> Join | None:
    """None for what Gradio will refuse in its own words."""
    (body, exact), route = json_in(raw), route_of(scope)
    if not isinstance(body, dict):
        return None
    key = next(
        (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-penstock-key"), None
    )
    asked = Join(route, body, raw, key, owner, route.startswith(SIMPLE), exact)
    if not isinstance(asked.about.get("session_hash"), str | None):
        return None
    if not asked.simple and (not isinstance(body.get("data"), list) or asked.session_hash is None):
        return None
    return asked


def is_join(route: str) -> bool:
    """Whether events are begun there. Nothing else is asked for what a run's input says."""
    return route.rstrip("/") == JOIN or route.startswith(SIMPLE)


async def inner_join(service: Service, scope: Scope, route: str, raw: bytes) -> tuple[Answer, str | None]:
    """Gradio's answer to a join, and its id of the event where it has taken it."""
    inner, answer = request_scope(scope, "POST", route, headers=JSON), None
    if service.short is not None and service.short.is_open and route.rstrip("/") == JOIN:
        answer = await service.short.join(inner, raw)
    if answer is None:
        answer = await call(service.inner, inner, raw)
    if answer.status != 200:
        return answer, None
    return answer, msgspec.json.decode(answer.body)["event_id"]


async def _by_gradio(service: Service, scope: Scope, asked: Join) -> Answer:
    """Gradio first: what it refuses leaves no trace."""
    answer, event_id = await inner_join(service, scope, asked.route, asked.raw)
    if event_id is None:
        return answer
    event, session = _begin(service, scope, asked, event_id)
    await service.take_up(session, event, session.scope)
    try:
        await _store(service, scope, asked, event)
    except BaseException:
        event.stored(kept=False)
        service.keep(service.cancel_inner(event))
        raise
    event.stored()
    return _with_id(answer, event.id)


async def _store(service: Service, scope: Scope, asked: Join, event: Event) -> RunRecord:
    index = asked.fn_index
    function = service.runs.function(event.session_hash, index, asked.api_name)
    home, username = service.runs.home_of(function), username_of(asked.owner)
    request = Request(event.session_hash, asked.route, asked.owner, username, index, home=home)
    passwords = service.runs.passwords_of(function)
    given = input_of(scope, request, asked.body, exact=asked.exact, passwords=passwords)
    return await service.runs.take_in(event.id, function, given, event.session_hash, asked.owner, asked.key)


async def _by_key(service: Service, scope: Scope, asked: Join) -> Answer:
    """The store first: a client that did not hear the answer asks again with the same key, and gets the same."""
    event, session = _begin(service, scope, asked, uuid.uuid4().hex)
    taken = await _store(service, scope, asked, event)
    if taken.id != event.id:
        mine = taken.session == event.session_hash
        return _with_id(None, taken.id) if mine else refusal(409, "The key was used in another session.")
    event.stored()
    try:
        answer, inner_id = await inner_join(service, scope, asked.route, asked.raw)
    except Exception as error:  # Gradio answers 500, and so do we
        service.keep(service.runs.fail(event.id, _refused(repr(error))))
        raise
    if inner_id is None:
        service.keep(service.runs.fail(event.id, _refused(answer.body.decode(errors="replace"))))
        return answer
    event.inner_id = inner_id
    await service.take_up(session, event, session.scope)
    return _with_id(answer, event.id)


def _begin(service: Service, scope: Scope, asked: Join, event_id: str) -> tuple[Event, Session]:
    session = service.session(asked.session_hash or event_id, asked.owner, scope)
    index = asked.fn_index
    if index is None:
        index = service.surfaces.dependency(service.gradio, session.hash, None, asked.api_name).index
    return Event(event_id, session.hash, index, service, simple=asked.simple), session


def _with_id(answer: Answer | None, event_id: str) -> Answer:
    headers = JSON if answer is None else [one for one in answer.headers if one[0] != b"content-length"]
    return Answer(200, [*headers, RECORDED], msgspec.json.encode({"event_id": event_id}))


def _refused(said: str) -> dict[str, Any]:
    return {"code": "refused", "message": f"Gradio refused the event: {said[:2000]}", "hint": ""}
