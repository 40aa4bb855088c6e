"""Runs that wait for nobody: those of before a restart are joined again under their old ids, and those that came
through Penstock's own API or its console are joined for the first time."""

import asyncio
import contextlib
import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.types import Scope

from ....errors import StoreError
from ....models import RunRecord, RunState
from ..access.owners import may_read
from ..seams.inner import API, Answer
from ..service import Service
from .events import Event
from .joins import inner_join, is_join
from .kept import BY_NAME, Kept, Request, kept_in
from .sessions import Session

__all__ = ["watch"]

log = logging.getLogger("penstock")

LOOK_S = 1.0
"""How often the line is looked at unasked: whoever has to log in first may be back."""

AGAIN_S = 1.0
"""How soon it is tried again to join a run whose person is not back, or for which Gradio's line has no room.
Whatever is written to the store wakes us, up to ten times a second."""

LOGIN_S = 600.0
"""How long somebody may take to log in again after a restart, which has forgotten who he was."""

MOST_AT_ONCE = 100
"""Runs taken up in one look, the oldest: Gradio's own line is told of each one by one."""


@dataclass
class Held:
    """When a run was taken into our care, and when it was last tried to join it, in monotonic seconds."""

    since_s: float
    tried_s: float = -math.inf


async def watch(service: Service) -> None:
    """Take up waiting runs that nobody has joined, until the service stops."""
    held: dict[str, Held] = {}  # nothing but ids: their inputs may be large, and are in the store
    while True:
        try:
            for run_id in await _found(service):
                held[run_id] = Held(time.monotonic())
            await _try(service, held)
        except StoreError as error:
            log.warning("Runs that wait for Gradio can't be looked for: %s", error.message)
        except Exception:  # there will be others
            log.exception("Runs that wait for Gradio could not be looked for.")
        service.wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await service.wake.wait()


async def _found(service: Service) -> list[str]:
    return [run.id for run in await service.runs.waiting(MOST_AT_ONCE)]


async def _try(service: Service, held: dict[str, Held]) -> None:
    """Join those that were not tried lately."""
    for run_id, one in tuple(held.items()):
        if time.monotonic() >= one.tried_s + AGAIN_S:
            one.tried_s = time.monotonic()
            if await _settled(service, run_id, one.since_s):
                del held[run_id]


async def _settled(service: Service, run_id: str, since_s: float) -> bool:
    """Whether nothing is left to do for it."""
    run = await service.runs.run(run_id)
    if run is None or run.state is not RunState.QUEUED:
        return True
    try:
        settled = await _taken_up(service, run)
    except StoreError:
        raise
    except Exception as error:  # Gradio's, of this one: the others are taken up all the same
        log.exception("Run %s can't be joined.", run.id)
        await service.runs.fail(run.id, {"code": "refused", "message": f"Gradio: {error!r}", "hint": ""})
        return True
    if not settled and _is_gone(service, run, since_s):
        await service.runs.cancel(run.id, "abandoned")
    return settled


async def _taken_up(service: Service, run: RunRecord) -> bool:
    kept = kept_in(run)
    request = kept.gradio or _of_api(service, run)
    if _is_strange(service, run, request):
        return True
    known = service.runs.index_of(run.function) is not None and is_join(request.route)
    if not (request.again and known) or _taken_over(service, request):
        await service.runs.fail(run.id, LOST)
        return True
    await service.settled(request.session_hash)
    session = service.sessions.find(request.session_hash)
    with contextlib.nullcontext() if session is None else session.held():
        answer, inner_id = await _join(service, request, kept)
    if inner_id is None and answer.status in WAIT:
        return False
    if inner_id is None:
        said = answer.body[:2000].decode(errors="replace")
        message = f"Gradio refused the event: {said}"
        await service.runs.fail(run.id, {"code": "refused", "message": message, "hint": ""})
    else:
        await _go_on(service, run, request, inner_id)
    return True


def _is_gone(service: Service, run: RunRecord, since_s: float) -> bool:
    """Whether its page has not come back. What came through Penstock's API has none."""
    request = kept_in(run).gradio
    late = time.monotonic() > since_s + max(LOGIN_S, service.options.grace_s)
    return request is not None and late and service.sessions.find(request.session_hash) is None


def _is_strange(service: Service, run: RunRecord, request: Request) -> bool:
    """Another program's, that shares the store and has a function of that name: its own is to begin it."""
    here = service.runs.home_of(run.function)
    strange = bool(request.home and here) and request.home != here
    if strange:
        text = "Run %s waits for %r of %s, not of %s: give each program a store of its own."
        log.warning(text, run.id, run.function, request.home, here)
    return strange


def _taken_over(service: Service, request: Request) -> bool:
    """Somebody else has a session of that hash by now."""
    return service.sessions.find(request.session_hash) is not None and _his(service, request) is None


def _his(service: Service, request: Request) -> Session | None:
    """The session, where its person is back: its latest request is one that Gradio lets in."""
    session = service.sessions.find(request.session_hash)
    return session if session is not None and may_read(request.owner, session.owner) else None


async def _join(service: Service, request: Request, kept: Kept) -> tuple[Answer, str | None]:
    await service.states.restore(request.session_hash, request.owner)
    scope = _scope_of(service, request)
    if _his(service, request) is not None:
        return await inner_join(service, scope, request.route, _body(kept, request))
    with service.surfaces.login_as(service.gradio, request.username) as cookies:
        if cookies is None:  # its person has to come back first
            return Answer(401, [], b""), None
        scope["headers"] = [*scope["headers"], *cookies]
        return await inner_join(service, scope, request.route, _body(kept, request))


WAIT = frozenset({401, 429, 503})
"""Answers after which a run is left in the line: its person has to log in first, or Gradio's queue is full."""

LOST: dict[str, Any] = {
    "code": "worker_lost",
    "message": "A restart interrupted the run before it began, and what it takes to begin it is lost.",
    "hint": "Submit it again.",
}


def _of_api(service: Service, run: RunRecord) -> Request:
    index = service.runs.index_of(run.function)
    return Request(run.session or run.id, f"{API}/queue/join", fn_index=index, again=index is not None)


def _body(kept: Kept, request: Request) -> bytes:
    if request.route.startswith(BY_NAME):
        return msgspec.json.encode(request.body)
    body = {"fn_index": request.fn_index} | request.body
    return msgspec.json.encode(body | {"data": kept.data, "session_hash": request.session_hash})


def _scope_of(service: Service, request: Request) -> Scope:
    """A request like the one that began the run; one of its person's own, if he is back."""
    session = _his(service, request)
    if session is not None:
        return dict(session.scope)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()]
    path = request.root_path + request.route
    return {
        "type": "http",
        "http_version": "1.1",
        "scheme": request.scheme,
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 0),
        "method": "POST",
        "path": path,
        "root_path": request.root_path,
        "app": service.gradio,
        "headers": headers or [(b"host", b"localhost")],
    }


async def _go_on(service: Service, run: RunRecord, request: Request, inner_id: str) -> None:
    scope = _scope_of(service, request)
    # What is called by name can't name a session: Gradio calls its own after the event.
    name = inner_id if request.route.startswith(BY_NAME) else request.session_hash
    fresh = service.sessions.find(name) is None
    session = service.sessions.begin(name, request.owner, scope)
    if fresh:
        login = service.surfaces.login_as(service.gradio, request.username)
        scope["headers"] = [*scope["headers"], *(session.closing.enter_context(login) or ())]
        if kept_in(run).gradio is not None:  # what came through Penstock's API has no page
            session.expect()
    simple = "/call/" in request.route
    event = Event(run.id, session.hash, request.fn_index, service, simple=simple)
    event.inner_id = inner_id
    event.stored()
    await service.take_up(session, event, scope)
