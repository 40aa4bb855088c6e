"""One tail for each stream that somebody reads, and subscribers as cursors into it.

A subscriber holds a position, never a queue: what it has not taken yet is in the tail's few recent chunks,
shared by all, or in the store. A wake-up only says "look again", so a lost one costs time and no event.
"""

import time
from typing import NamedTuple

from ..models import Chunk, Stream
from ..protocol.sse import epoch_of
from ..storage.base import Store
from .beat import Bell
from .subscriber import Subscriber
from .tail import Status, Tail

__all__ = ["WARM_TAILS", "Hub", "Lag"]

WARM_TAILS = 1024
"""Streams that nobody reads whose last chunks are kept all the same, the latest ones: a reader mostly comes just
after a run was submitted, or back after a broken connection, and then costs the store nothing. 16 MiB with
`WARM_BYTES`."""

FRESH_S = 1.0
"""How long what was noted of a run's standing is told to new readers: as long as they wait for the next look."""


class Lag(NamedTuple):
    """Who reads, by transport, and how many events all of them and the last of them are behind their streams."""

    readers: dict[str, int]
    events: int
    most: int


class Hub:
    """Hands out subscribers of one store's streams. Made on the event loop that serves them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tails: dict[str, Tail] = {}
        self._bell = Bell()
        self.lately: set[str] | None = None
        """Streams that somebody has come to read since this was last emptied; None where nobody looks."""
        self._warm: dict[str, None] = {}  # streams of tails without subscribers, oldest first
        self.draining = False
        self.closed = False
        self._stop_listening = store.listen(self._heard)

    @property
    def subscribers(self) -> int:
        """Readers connected now."""
        return sum(len(tail.subscribers) for tail in self._tails.values())

    def lag(self) -> Lag:
        """How all readers stand. A look at each: a millisecond for thousands."""
        readers, events, most = dict.fromkeys(("sse", "websocket", "poll"), 0), 0, 0
        for tail in self._tails.values():
            end = max(tail.recent.end, tail.reached)
            for subscriber in tail.subscribers:
                readers[subscriber.transport] = readers.get(subscriber.transport, 0) + 1
                behind = end - subscriber.position
                if behind > 0:
                    events += behind
                    most = max(most, behind)
        return Lag(readers, events, most)

    def subscribe(self, stream: str, after: int = 0) -> Subscriber:
        """A reader that has everything up to `after`. Use it in a `with` block, or close it."""
        tail = self._tails.get(stream) or self._new_tail(stream)
        self._warm.pop(stream, None)
        if self.lately is not None:
            self.lately.add(stream)
        return Subscriber(tail, after)

    def _new_tail(self, stream: str) -> Tail:
        tail = self._tails[stream] = Tail(stream, self._store, self._bell, self._left)
        tail.draining = self.draining
        return tail

    def _left(self, tail: Tail) -> None:
        # With the last reader of an ended stream its tail goes too.
        if self._tails.get(tail.stream) is not tail:  # a second farewell: others have come since
            return
        if tail.recent.chunks and not tail.recent.chunks[-1].final:
            self._keep_warm(tail)
        else:
            del self._tails[tail.stream]

    def known(self, stream: str) -> Stream | None:
        """The stream as this process has written it, without asking the store; None where that is not known."""
        tail = self._tails.get(stream)
        if tail is None or tail.stale:
            return None
        if tail.recent.chunks:
            last = tail.recent.chunks[-1]
            return Stream(stream, epoch_of(last), last.last_seq, last.final)
        return None if tail.epoch is None or tail.recent.end else Stream(stream, tail.epoch, 0, ended=False)

    def expect(self, stream: Stream) -> bool:
        """A stream that this process is about to make: whoever comes to read it costs the store nothing.

        False where there are readers of one of that name: then nothing is expected.
        """
        if stream.name in self._tails:
            return False
        tail = self._new_tail(stream.name)
        tail.epoch = stream.epoch
        tail.anchor(0)
        self._keep_warm(tail)
        return True

    @property
    def read(self) -> set[str]:
        """Streams that have readers here."""
        return {name for name, tail in self._tails.items() if tail.subscribers}

    def silent(self, for_s: float) -> list[str]:
        """Streams with readers to which nothing was written for so long."""
        since = time.monotonic() - for_s
        return [name for name, tail in self._tails.items() if tail.subscribers and tail.written_at <= since]

    def told(self, stream: str) -> set[str]:
        """The states that readers of a run were last told, as far as nothing was written since."""
        tail = self._tails.get(stream)
        statuses = [one.status for one in tail.subscribers] if tail is not None else []
        return {status["state"] for status in statuses if status is not None}

    def tell(self, stream: str, status: Status, *, after_s: float = 0.0) -> None:
        """Let the readers of a run know where it stands; not those who were told something within `after_s`."""
        tail, since = self._tails.get(stream), time.monotonic() - after_s
        for subscriber in () if tail is None else tuple(tail.subscribers):
            if subscriber.told_at <= since:
                subscriber.status = status
                subscriber.wake()

    def note(self, stream: str, status: Status) -> None:
        """Where a run stands that was just submitted here: what its first reader is told first."""
        tail = self._tails.get(stream)
        if tail is not None:
            tail.status = time.monotonic(), status

    def noted(self, stream: str) -> Status | None:
        """What was noted, while it is fresh."""
        tail = self._tails.get(stream)
        if tail is None or tail.status is None or time.monotonic() - tail.status[0] > FRESH_S:
            return None
        return tail.status[1]

    def forget(self, stream: str) -> None:
        """It was not made."""
        if self._warm.pop(stream, "") is None:
            del self._tails[stream]

    def _keep_warm(self, tail: Tail) -> None:
        tail.trim(time.monotonic())
        self._tails[tail.stream] = tail
        self._warm[tail.stream] = None
        if len(self._warm) > WARM_TAILS:
            oldest = next(iter(self._warm))
            del self._warm[oldest]
            self._tails.pop(oldest, None)

    def drain(self) -> None:
        """Tell every reader that the server is leaving."""
        self.draining = True
        for tail in tuple(self._tails.values()):
            tail.draining = True
            tail.wake(urgent=True)

    def close(self) -> None:
        """Hear no more of the store, and ask it no more."""
        self.closed = True
        self._stop_listening()
        for tail in self._tails.values():
            tail.stop()

    def _heard(self, stream: str | None, chunk: Chunk | None) -> None:
        if stream is None:
            return  # runs have changed; what was appended is told stream by stream
        tail = self._tails.get(stream)
        if chunk is None:
            if tail is not None:
                tail.stale = True
                tail.wake()
                tail.look_again()
            return
        if tail is None:
            if chunk.first_seq > 1:
                return  # only a beginning is worth keeping before anybody asks
            self._keep_warm(tail := self._new_tail(stream))
        tail.push(chunk)
        tail.wake(urgent=chunk.final)
