"""Everything behind one hardened Gradio app: its sessions, their pumps, and the runs that are kept of them."""

import asyncio
import contextlib
import gc
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.types import ASGIApp, Scope

from ...models import RunState
from ...services import Host
from ...worker import Recording
from .access.guard import Guard
from .access.owners import Owners, may_read, owner_after
from .options import Options
from .seams.direct import Direct, direct
from .seams.inner import API, JSON, call, request_scope
from .seams.surfaces import Surfaces, detect
from .sessions.events import Event
from .sessions.heartbeat import Heart
from .sessions.pump import Pump
from .sessions.runs import Runs
from .sessions.sessions import Session, Sessions
from .sessions.whose import Whose
from .states.states import States

__all__ = ["Service"]

T = TypeVar("T")

log = logging.getLogger("penstock")

EARLY_S = 5.0
"""How long a message waits for its event, whose join is on its way. Then it is of one that was begun past us."""

MOST_STRANGERS = 1024
"""Events that were begun past us, or are over, and of which more is not waited for, the latest."""

CANCEL_S = 10.0
"""How long Gradio may take to cancel an event: it waits for the function's next step there."""

ABANDON_S = 2.0
"""How long the store may take to note that runs were abandoned, before Gradio is told; it goes on being asked."""

START_AGAIN_S = 5.0
"""How soon a store that could not be opened is tried again. Meanwhile nobody waits for it."""

NO_FUNCTION = -1
"""No function has this number: what is cancelled under it is the event alone."""

ABANDONED = {"code": "abandoned", "message": "Nobody came back for it.", "hint": ""}


class Service:
    """Behind one Gradio app. Made before it runs; `ready` starts it, at the first request at the latest."""

    gradio: Any
    inner: ASGIApp
    surfaces: Surfaces
    runs: Runs
    states: States
    whose_sessions: Whose
    owners: Owners
    short: Direct | None
    guard: ASGIApp

    def __init__(self, options: Options, app: Host) -> None:
        self.options = options
        self.sessions = Sessions(options.grace_s, options.close_grace_s, self._session_over)
        self.life = secrets.token_hex(4)
        """Tells this start of the service from every other, in cursors."""
        self.closing = False
        self.wake = asyncio.Event()
        """Set when a run may be there that is to be joined."""
        self._app = app
        self._starting: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pumps: dict[str, Pump] = {}
        self._hearts: dict[str, Heart] = {}
        self._inner_ids: dict[str, Event] = {}
        self._strangers: OrderedDict[str, None] = OrderedDict()
        self._endings: dict[str, asyncio.Task[None]] = {}
        self._failed_at = -START_AGAIN_S
        self._taken_up = asyncio.Condition()
        self._tasks: set[asyncio.Task[Any]] = set()

    # Its life

    async def ready(self, gradio: Any, inner: ASGIApp, begin: Callable[["Service"], Awaitable[None]]) -> None:
        """Start, unless that was done. Raises StoreError; the next call tries again.

        gradio: Gradio's app object. begin: what goes on beside everything else until the service stops.
        """
        if self._starting is None or (self._failed(self._starting) and self._may_try_again()):
            self._loop = asyncio.get_running_loop()
            self._starting = asyncio.create_task(self._start(gradio, inner, begin))
        if not self._starting.done() or self._failed(self._starting):
            await asyncio.shield(self._starting)

    @property
    def is_elsewhere(self) -> bool:
        """Whether it runs in another event loop than this request, as those of a test client have their own."""
        return self._loop is not None and self._loop is not asyncio.get_running_loop()

    @staticmethod
    def _failed(task: asyncio.Task[None]) -> bool:
        return task.done() and (task.cancelled() or task.exception() is not None)

    def _may_try_again(self) -> bool:
        return time.monotonic() >= self._failed_at + START_AGAIN_S

    async def _start(
        self, gradio: Any, inner: ASGIApp, begin: Callable[["Service"], Awaitable[None]]
    ) -> None:
        self.gradio, self.inner, self.surfaces = gradio, inner, detect(gradio)
        self.runs = Runs(self._app, self.surfaces, gradio)
        try:
            await self.runs.start(self._left, self.wake.set)
        except BaseException:
            self._failed_at = time.monotonic()
            raise
        self.states = States(gradio, self.runs.values, self.surfaces.label)
        self.whose_sessions = Whose(self.sessions, self.runs.values, self.surfaces.label)
        self.owners = Owners(gradio, inner)
        self.short = direct(gradio, inner)
        given = self.options
        self.guard = Guard(
            self.owners,
            self.whose,
            self.runs.server,
            console=given.console,
            operators=given.operators,
            token=given.token,
        )
        self.keep(begin(self))
        _spare_the_collector()

    async def stop(self) -> None:
        """Gradio's server ends: what waits stays in the store, what runs is interrupted."""
        self.close()
        await self._app.stop()  # first: what runs may end within the grace, and the tasks bring what it says
        for session in self.sessions:
            self.sessions.end(session)
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for kept in (self._pumps, self._hearts, self._inner_ids, self._endings):
            kept.clear()
        self._starting, self._loop, self.closing = None, None, False

    def close(self) -> None:
        """Gradio takes no more: readers come back to the next server."""
        self.closing = True
        for session in self.sessions:
            session.news()

    def hold(self, work: Awaitable[T]) -> asyncio.Future[T]:
        """Do it, whether or not who asked waits for it, until the service stops at the latest."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def keep(self, work: Awaitable[Any]) -> None:
        """Do it beside everything else, until the service stops at the latest."""
        self.hold(work).add_done_callback(self._done)

    @staticmethod
    def _done(task: asyncio.Future[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("A part of the Gradio integration failed.", exc_info=error)

    # Events

    async def take_up(self, session: Session, event: Event, scope: Scope) -> None:
        """An event that Gradio has accepted: hear what it says of it. scope: a request that Gradio lets in."""
        self._inner_ids[event.inner_id] = event
        event.on_over(lambda: self._forget(event))
        self.sessions.add(session, event)
        self._pump(session).ensure(scope)
        async with self._taken_up:
            self._taken_up.notify_all()

    def _left(self, run_id: str, reason: str) -> None:
        """A run was ended while it waited: nothing is to begin for it."""
        event = self.sessions.event(run_id)
        if event is not None and event.leave():
            log.info("Event %s was taken out of the line: %s", run_id, reason)
            self.keep(self.cancel_inner(event))

    def _forget(self, event: Event) -> None:
        self._inner_ids.pop(event.inner_id, None)
        self._is_stranger(event.inner_id)

    def _pump(self, session: Session) -> Pump:
        pump = self._pumps.get(session.hash)
        if pump is None:
            ways = self._hear, self._lost(session), self.keep
            pump = Pump(self.inner, session.hash, lambda: bool(session.pending), *ways, self.short)
            self._pumps[session.hash] = pump
        return pump

    async def _hear(self, message: dict[str, Any]) -> None:
        event_id = message.get("event_id")
        event = await self._event(event_id) if event_id else None
        if event is None:
            return
        try:
            await event.hear(message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the session's other events are heard
            event.give_up(error)

    async def _event(self, inner_id: str) -> Event | None:
        if inner_id not in self._inner_ids and inner_id not in self._strangers:
            await self._wait_for(inner_id)
        return self._inner_ids.get(inner_id)

    async def _wait_for(self, inner_id: str) -> None:
        try:
            async with asyncio.timeout(EARLY_S), self._taken_up:
                await self._taken_up.wait_for(lambda: inner_id in self._inner_ids)
        except TimeoutError:
            self._is_stranger(inner_id)

    def _is_stranger(self, inner_id: str) -> None:
        self._strangers[inner_id] = None
        if len(self._strangers) > MOST_STRANGERS:
            self._strangers.popitem(last=False)

    def _lost(self, session: Session) -> Callable[[str], None]:
        def lost(why: str) -> None:
            if self.surfaces.stopped(self.gradio):
                self.close()
                return
            for event in session.pending:
                message = f"Gradio has lost the event: {why}"
                log.error("%s (%s)", message, event.id)
                event.end(RunState.FAILED, {"code": "lost", "message": message, "hint": ""})

        return lost

    async def record(self, run_id: str, on_stop: Callable[[str], None]) -> Recording | None:
        """As `Runs.record`."""
        return await self.runs.record(run_id, on_stop)

    async def fail(self, run_id: str, error: dict[str, Any], state: RunState) -> None:
        """As `Runs.fail`."""
        await self.runs.fail(run_id, error, state)

    def tell(self, run_id: str, status: dict[str, Any]) -> None:
        """As `Runs.tell`."""
        self.runs.tell(run_id, status)

    async def ending(self, event: Event) -> None:
        """Nothing more comes of an event: keep what it has done to its session's state, before that is told."""
        session = self.sessions.find(event.session_hash)
        if session is not None and session.hash != event.id:  # else it has a session for itself alone
            await self.states.save(session.hash, session.owner, event.fn_index)

    async def cancel_inner(self, event: Event) -> None:
        """Have Gradio cancel an event, and no other."""
        session = self.sessions.find(event.session_hash)
        if session is not None:
            # Gradio cancels all that runs of a function in a session.
            index = NO_FUNCTION if self.beside(session, event.fn_index, event) else event.fn_index
            given = {"session_hash": session.hash, "fn_index": index or 0, "event_id": event.inner_id}
            scope = request_scope(session.scope, "POST", f"{API}/cancel", headers=JSON)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CANCEL_S):
                    await call(self.inner, scope, msgspec.json.encode(given))

    @staticmethod
    def beside(session: Session, fn_index: object, event: Event | None) -> list[Event]:
        """What else runs of a function in a session."""
        return [one for one in session.pending if one.begun and one.fn_index == fn_index and one is not event]

    # Sessions

    def may_use(self, session_hash: str | None, asking: str | None) -> bool:
        """Whether the session of that hash is the asker's, or nobody's yet."""
        return session_hash is None or may_read(asking, self.sessions.owner_of(session_hash, asking))

    def session(self, session_hash: str, owner: str | None, scope: Scope) -> Session:
        """The session of that hash; made for its owner where there is none."""
        session = self.sessions.begin(session_hash, owner, scope)
        session.owner, session.scope = owner_after(owner, session.owner), scope
        session.touched()
        return session

    def seen(self, asking: str | None) -> None:
        """Somebody has fetched a page: his sessions that said they were closed may have been reloaded."""
        if asking is not None:
            for session in self.sessions:
                if session.owner is not None and may_read(asking, session.owner):
                    session.touched()

    def attend(self, session: Session, scope: Scope) -> Heart:
        """A page is there: Gradio sees one heartbeat of its, from now until the session is over."""
        heart = self._hearts.get(session.hash)
        if heart is None or heart.over.is_set():
            heart = self._hearts[session.hash] = Heart(self.inner, session.hash, scope, self.keep)
        self.wake.set()  # it may be back after a restart
        return heart

    def _session_over(self, session: Session) -> None:
        """Nobody came back: what runs for it is stopped as when a client leaves plain Gradio."""
        name = session.hash
        self.sessions.end(session)
        pump, heart = self._pumps.pop(name, None), self._hearts.pop(name, None)
        if heart is not None:
            self.keep(heart.leave())
        ending = self._endings[name] = asyncio.create_task(self._end(session, pump))
        self.keep(ending)
        ending.add_done_callback(lambda _: self._ended(name, ending))

    def _ended(self, name: str, ending: asyncio.Task[None]) -> None:
        if self._endings.get(name) is ending:  # else a later session of that name is ending
            del self._endings[name]

    async def _end(self, session: Session, pump: Pump | None) -> None:
        pending = session.pending
        await self.states.over(session.hash, session.owner)
        stops = [self.hold(self.runs.cancel(event.id, "abandoned")) for event in pending]
        if stops:
            await asyncio.wait(stops, timeout=ABANDON_S)
        for event in pending:
            event.end(RunState.CANCELLED, ABANDONED)
        if pump is not None:
            await pump.leave()
        self.surfaces.forget_session(self.gradio, session.hash)
        await self.whose_sessions.forget(session)

    async def settled(self, session_hash: str | None) -> None:
        """Wait while an earlier session of that hash ends: Gradio clears away what it finds under it.

        Then it is known whose it was, before a restart, too. Raises StoreError where that can't be told.
        """
        while (ending := self._endings.get(session_hash or "")) is not None:
            await asyncio.wait([ending])
        if session_hash:
            await self.whose_sessions.learn(session_hash)

    # Whose

    async def whose(self, run_id: str) -> tuple[bool, str | None]:
        """Whether there is such a run that may still be read, and whose it is.

        What was begun without a cookie is not kept beyond its end and the grace; what a restart interrupts ends
        with it.
        """
        known, owner = await self.runs.owner_of(run_id)
        if known and owner is None and self.sessions.holder(run_id) is None:
            known = await self.runs.ended_within(run_id, self.options.grace_s)
        return known, owner

    async def may_read(self, run_id: str, asking: str | None) -> bool:
        """Whether somebody may read a run."""
        known, owner = await self.whose(run_id)
        return known and may_read(asking, owner)


def _spare_the_collector() -> None:
    """What is loaded by now stays: the garbage collector need not look at it again.

    Gradio and what it brings are 230,000 objects. To look through them took a quarter of a busy server's time, a
    tenth of a second each time.
    """
    gc.collect()
    gc.freeze()
