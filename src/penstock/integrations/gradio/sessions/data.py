"""What clients without our script read: Gradio's messages, made from the log.

Who does not take them costs nothing but a place in it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.types import Receive, Scope, Send

from ....errors import BadCursor
from ..messages.recorded import Speaker
from ..seams.inner import refusal, respond, route_of
from ..service import Service
from .events import Event
from .heartbeat import HEADERS, gone
from .places import Place, Places, parse_places
from .sessions import Session

__all__ = ["read_messages", "read_simple"]

log = logging.getLogger("penstock")

Form = Callable[[dict[str, Any]], bytes]
"""One message as it is sent; empty for one that this client is not told."""

HEARTBEAT = {"msg": "heartbeat"}
CLOSE = {"msg": "close_stream", "event_id": None}

STOPPED = {"msg": "unexpected_error", "message": "Server stopped unexpectedly."} | {
    "session_not_found": False,
    "success": False,
}

NOWHERE = Place("00000000", 0, based=False)
"""Of an event of which nothing was told yet."""


class _Wishes:
    """What a request to read asks for.

    places: the cursor; None for a client that sends none, and is sent none.
    awaited: events that it knows of.
    """

    def __init__(self, scope: Scope) -> None:
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        header = next(
            (value.decode("latin-1") for name, value in scope["headers"] if name == b"last-event-id"), None
        )
        given = header or next((query[name][0] for name in ("cursor", "after") if name in query), None)
        self.session_hash = query.get("session_hash", [""])[0]
        self.places = None if given is None else parse_places(given)
        self.awaited = query.get("event", [])

    @property
    def named(self) -> list[str]:
        """Events that it asks for."""
        return [*self.awaited, *(self.places.events if self.places is not None else ())]

    def forget(self, event_id: str) -> None:
        """It can't have that one."""
        self.awaited = [one for one in self.awaited if one != event_id]
        if self.places is not None:
            self.places.events.pop(event_id, None)


async def read_messages(
    service: Service, scope: Scope, receive: Receive, send: Send, asking: str | None
) -> None:
    """GET /queue/data"""
    try:
        wishes = _Wishes(scope)
    except BadCursor as error:
        await respond(refusal(400, f"{error.message} {error.hint}"), send)
        return
    name = wishes.session_hash
    await service.settled(name)
    if not service.may_use(name, asking) or not await _may_begin(service, wishes, asking):
        await _unknown(send)
        return
    session = service.session(name, asking, scope)
    await Reading(service, session, send, wishes.places, _plain).run(receive, wishes.awaited)


async def _may_begin(service: Service, wishes: _Wishes, asking: str | None) -> bool:
    """Whether there is anything to read: a session, or events of one that the asker may read."""
    is_there = service.sessions.find(wishes.session_hash) is not None
    for event_id in wishes.named:
        run = await service.runs.run(event_id) if await service.may_read(event_id, asking) else None
        if run is None or run.session != wishes.session_hash:
            if not is_there:
                return False
            wishes.forget(event_id)  # of before, and no longer kept: what is there can be read all the same
    return bool(wishes.named) or is_there


async def read_simple(
    service: Service, scope: Scope, receive: Receive, send: Send, asking: str | None
) -> None:
    """GET /call/{api_name}/{event_id}"""
    event_id = route_of(scope).rstrip("/").rsplit("/", 1)[-1]
    run = await service.runs.run(event_id) if await service.may_read(event_id, asking) else None
    if run is None:
        await _unknown(send, b'event: error\ndata: "404: Not Found"\n\n')
        return
    holder = service.sessions.holder(event_id)  # after a restart its session may have another name
    session = service.session(holder.hash if holder else run.session or run.id, asking, scope)
    await Reading(service, session, send, None, _named, only=event_id).run(receive, [event_id])


async def _unknown(send: Send, said: bytes | None = None) -> None:
    """As Gradio answers for a session that it does not know; it tells nobody whether there is one."""
    message = {
        "msg": "unexpected_error",
        "message": "404: Not Found",
        "session_not_found": True,
        "success": False,
    }
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": said or _plain(message)})


def _plain(message: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(message) + b"\n\n"


def _named(message: dict[str, Any]) -> bytes:
    """A message in the form of `/call`."""
    name = _NAMES.get(message["msg"])
    if name is None:
        return b""
    output, success = message.get("output"), message.get("success", True)
    data = output if not success else (output or {}).get("data")
    name = name if success else "error"
    return f"event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


_NAMES = {
    "process_completed": "complete",
    "process_generating": "generating",
    "process_streaming": "generating",
    "heartbeat": "heartbeat",
}


class Reading:
    """One response: every event of a session that its client does not have, each from where it stands.

    only: of this event, and to its end.
    """

    def __init__(
        self,
        service: Service,
        session: Session,
        send: Send,
        places: Places | None,
        form: Form,
        *,
        only: str | None = None,
    ) -> None:
        self._service = service
        self._session = session
        self._send = send
        self._form = form
        self._only = only
        self._given = places
        self._standing: dict[str, Place] = {}
        self._relays: dict[str, asyncio.Task[None]] = {}
        self._writing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._leaving = False

    async def run(self, receive: Receive, awaited: list[str]) -> None:
        """Until nothing is pending, as Gradio does, or its client has left."""
        with self._session.present(), self._session.watched(self._look):
            await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            leaving = asyncio.create_task(gone(receive))
            leaving.add_done_callback(lambda _: self._changed.set())
            try:
                for event_id in self._to_begin_with(awaited):
                    self._begin(event_id)
                self._look()
                await self._until_done(leaving)
            finally:
                leaving.cancel()
                for relay in self._relays.values():
                    relay.cancel()
            if not leaving.done():
                await self._send({"type": "http.response.body", "body": b""})

    def _to_begin_with(self, awaited: list[str]) -> Iterator[str]:
        if self._given is not None:
            yield from self._given.events
        yield from (name for name in awaited if self._given is None or name not in self._given.events)

    def _look(self) -> None:
        """Begin with the session's events that its client has not been told of."""
        self._changed.set()
        for event in self._session.events.values():
            if event.id not in self._relays and self._wants(event):
                self._begin(event.id)

    def _wants(self, event: Event) -> bool:
        if self._only is not None:
            return event.id == self._only
        if self._given is None:
            return not event.delivered
        told = self._given.joined if self._given.life == self._service.life else 0
        return event.ordinal > told and event.id not in self._given.events

    def _begin(self, event_id: str) -> None:
        if event_id not in self._relays:
            place = None if self._given is None else self._given.events.get(event_id)
            self._standing[event_id] = place or NOWHERE
            self._relays[event_id] = task = asyncio.create_task(self._relay(event_id))
            task.add_done_callback(lambda _: self._changed.set())
            self._changed.set()

    async def _until_done(self, leaving: asyncio.Task[None]) -> None:
        heartbeat_s = self._service.surfaces.heartbeat_s
        while not leaving.done():
            self._changed.clear()
            if self._leaving or self._service.closing or self._is_broken():
                await self._say_leaving()
                return
            if self._relays and all(relay.done() for relay in self._relays.values()):
                await self._write(CLOSE)
                return
            try:
                async with asyncio.timeout(heartbeat_s):
                    await self._changed.wait()
            except TimeoutError:
                await self._write(HEARTBEAT)

    def _is_broken(self) -> bool:
        """Whether an event can't be read to its end in this response."""
        ended = [relay for relay in self._relays.values() if relay.done() and not relay.cancelled()]
        errors = [error for relay in ended if (error := relay.exception()) is not None]
        for error in errors:
            log.error("An event can't be read.", exc_info=error)
        return bool(errors)

    async def _say_leaving(self) -> None:
        """Who has a cursor comes back with it; who has none is told what Gradio says when it stops."""
        if self._given is None:
            await self._write(STOPPED)

    # One event

    async def _relay(self, event_id: str) -> None:
        event = self._session.events.get(event_id)
        if event is None or await event.is_kept():  # it may be on its way into the store
            await self._tell(event_id)
        self._standing.pop(event_id, None)
        if event is not None and self._given is None and not self._leaving:
            event.delivered = True

    async def _tell(self, event_id: str) -> None:
        place = None if self._given is None else self._given.events.get(event_id)
        speaker = Speaker(event_id, heard=place.seq, has_base=place.based) if place else Speaker(event_id)
        async with contextlib.aclosing(self._service.runs.read(event_id)) as reading:
            async for told in reading:
                if told.leaving:
                    self._leaving = True
                    return
                if told.status is not None:
                    for message in self._stands(speaker, event_id, told.status):
                        await self._write(message)
                if told.event is None:
                    continue
                messages = speaker.say(told.event)
                await self._say(messages, event_id, Place(told.epoch, speaker.heard, speaker.has_base))

    def _stands(self, speaker: Speaker, event_id: str, status: dict[str, Any]) -> list[dict[str, Any]]:
        """Its place in line; and that it has begun, though nothing may come of it for long."""
        if status.get("state") == "running":
            event = self._session.events.get(event_id)
            return speaker.starts(event.eta_s if event is not None else None)
        if status.get("state") != "queued":
            return []
        return speaker.waits(status.get("position"), status.get("eta_s"), status.get("queue_size"))

    async def _say(self, messages: list[dict[str, Any]], event_id: str, place: Place) -> None:
        for message in messages[:-1]:
            await self._write(message)
        for message in messages[-1:]:
            await self._write(message, (event_id, place))

    async def _write(self, message: dict[str, Any], reached: tuple[str, Place] | None = None) -> None:
        """Send one message; with it its client has reached a place."""
        body = self._form(message)
        if not body:
            return
        async with self._writing:
            if reached is not None:
                self._standing[reached[0]] = reached[1]
            if reached is not None and self._given is not None:
                body = f"id: {self._places()}\n".encode() + body
            await self._send({"type": "http.response.body", "body": body, "more_body": True})

    def _places(self) -> Places:
        return Places(self._service.life, self._session.joined, self._standing)
