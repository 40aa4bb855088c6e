"""Sessions: one for each tab or client, with what runs for it, and how long it is kept when nobody is there."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import count, islice

from starlette.types import Scope

from .events import Event

__all__ = ["Session", "Sessions"]

KEPT_OWNERS = 10_000
"""Sessions that are over and whose owners are remembered, the latest: as many as Gradio keeps states for. Nobody
else may go on under their hash, and so come by the state."""

MOST_IDLE = 10_000
"""Sessions for which nothing runs and to which nobody is connected, while they are waited for: as many as Gradio
keeps states for. Of more, the oldest are over at once, so that a flood of names does not fill the memory."""

LOOKS = 16
"""Sessions looked at, the oldest, when there are too many: those in use go to the back."""

KEPT_EVENTS = 256
"""Ended events that a session remembers, the latest: more than a page shows at once. The store has all of them."""


class Session:
    """What one session hash stands for.

    owner: whoever began it, see `owners`; None where nobody can be told from another.
    scope: its latest request that was let in, as what calls to the inner app are made from.
    joined: the number of its latest event. told: what the store knows of its owner, see `Whose`.
    on_over: called once when nobody has been there for its grace.
    """

    def __init__(
        self,
        name: str,
        owner: str | None,
        scope: Scope,
        graces_s: tuple[float, float],
        on_over: Callable[["Session"], None],
    ) -> None:
        self.hash = name
        self.owner = owner
        self.scope = scope
        self.events: dict[str, Event] = {}
        self._open: dict[str, Event] = {}
        self.joined = 0
        self.told: tuple[str | None, int] | None = None
        self.closing = contextlib.ExitStack()
        """What ends with it."""
        self._grace_s, self._close_grace_s = graces_s
        self._on_over = on_over
        self._present = 0
        self._attended = False  # somebody was connected, or is expected back
        self._left = False
        self._timer: asyncio.TimerHandle | None = None
        self._news: set[Callable[[], None]] = set()

    @property
    def pending(self) -> list[Event]:
        """Events that have not ended."""
        return list(self._open.values())

    @property
    def deserted(self) -> bool:
        """Nobody is there, and whoever was is waited for."""
        return self._timer is not None

    @property
    def idle(self) -> bool:
        """Nobody is there, and nothing runs."""
        return self.deserted and not self.pending

    def add(self, event: Event, number: int) -> list[Event]:
        """One more event. Returns those that it forgets for that, the oldest that have ended."""
        self.joined = event.ordinal = number
        self.events[event.id] = event
        if not event.over:
            self._open[event.id] = event
            event.on_over(lambda: self._closed(event))
        ended = (one for one in self.events.values() if one.over)
        forgotten = list(islice(ended, max(0, len(self.events) - KEPT_EVENTS)))
        for old in forgotten:
            del self.events[old.id]
        self.news()
        return forgotten

    def news(self) -> None:
        """Have its readers look."""
        for news in tuple(self._news):
            news()

    def _closed(self, event: Event) -> None:
        self._open.pop(event.id, None)
        self._rested()

    def _rested(self) -> None:
        """Of a client that never connected nothing else would say that it is gone."""
        if not self.pending and self._timer is None:
            self.wait()

    @contextlib.contextmanager
    def watched(self, news: Callable[[], None]) -> Iterator[None]:
        """Have `news` called for each event that is added."""
        self._news.add(news)
        try:
            yield
        finally:
            self._news.discard(news)

    # Who is there

    @contextlib.contextmanager
    def present(self) -> Iterator[None]:
        """Somebody is connected: once he has left, what runs for him is waited for no longer than him."""
        self._attended = True
        with self.held():
            yield

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """It does not end meanwhile: somebody is connected, or something is being joined."""
        self._present += 1
        self.touched()
        try:
            yield
        finally:
            self._present -= 1
            self.wait()

    def touched(self) -> None:
        """Somebody asked for something: a page that had left has come back, or is about to."""
        self._left = False
        if self._timer is not None:
            self.wait()

    def left(self) -> None:
        """Its page says that it is closed. A reload says so too, and comes back."""
        self._left = self._attended = True
        self.wait()

    def expect(self) -> None:
        """It is made again after a restart: whoever it is for comes back within the grace, or is gone."""
        self._attended = True
        self.wait()

    def wait(self) -> None:
        """Nobody is connected: keep it for its grace."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._present:
            grace_s = self._close_grace_s if self._left else self._grace_s
            self._timer = asyncio.get_running_loop().call_later(grace_s, self._over)

    def _over(self) -> None:
        self._timer = None
        if self._attended or not self.pending:  # of a client that only joins, what it began runs to its end
            self._on_over(self)

    def expire(self) -> None:
        """There is no room for it: nobody is waited for any more."""
        self.close()
        self._on_over(self)

    def close(self) -> None:
        """It is over; nothing is waited for any more."""
        self.closing.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Sessions:
    """The sessions of one app, by hash, and their events."""

    def __init__(self, grace_s: float, close_grace_s: float, on_over: Callable[[Session], None]) -> None:
        self._graces_s = grace_s, close_grace_s
        self._on_over = on_over
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._numbers = count(1)
        self._holders: dict[str, Session] = {}
        self._owners: OrderedDict[str, str] = OrderedDict()

    def find(self, name: str) -> Session | None:
        """The session of that hash."""
        return self._sessions.get(name)

    def owner_of(self, name: str, asking: str | None) -> str | None:
        """Whose the session of that hash is, or was lately; `asking`, where it is new."""
        session = self._sessions.get(name)
        return session.owner if session is not None else self._owners.get(name, asking)

    def knows(self, name: str) -> bool:
        """Whether there is a session of that hash, or it is known whose the last was."""
        return name in self._sessions or name in self._owners

    def remember(self, name: str, owner: str) -> None:
        """Whose the session of that hash was."""
        self._owners[name] = owner
        self._owners.move_to_end(name)
        if len(self._owners) > KEPT_OWNERS:
            self._owners.popitem(last=False)

    def begin(self, name: str, owner: str | None, scope: Scope) -> Session:
        """The session of that hash, made where there is none: then `owner` has it."""
        session = self._sessions.get(name)
        if session is None:
            self._make_room()
            session = Session(name, owner, scope, self._graces_s, self._on_over)
            self._sessions[name] = session
        return session

    def _make_room(self) -> None:
        for _ in range(LOOKS):
            if len(self._sessions) < MOST_IDLE:
                return
            name, oldest = next(iter(self._sessions.items()))
            if oldest.idle:
                oldest.expire()
            else:
                self._sessions.move_to_end(name)

    def add(self, session: Session, event: Event) -> None:
        """An event that was joined, or is taken up again after a restart."""
        # One count for all: a cursor of a session that is over is none in a later one of its name.
        for old in session.add(event, next(self._numbers)):
            self._holders.pop(old.id, None)
        self._holders[event.id] = session

    def holder(self, event_id: str) -> Session | None:
        """The session that remembers an event, by the id that its client knows."""
        return self._holders.get(event_id)

    def event(self, event_id: str) -> Event | None:
        """An event that a session remembers."""
        session = self._holders.get(event_id)
        return None if session is None else session.events.get(event_id)

    def end(self, session: Session) -> None:
        """Forget it."""
        session.close()
        if self._sessions.get(session.hash) is session:
            del self._sessions[session.hash]
            for event_id in session.events:
                self._holders.pop(event_id, None)
            if session.owner is not None:
                self.remember(session.hash, session.owner)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._sessions.values()))
