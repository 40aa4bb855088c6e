"""Brings one subscriber what there is, as fast as its pace and its connection take it."""

import asyncio
import logging
import math
import random
import time
from collections import deque
from collections.abc import Sequence

from ..errors import StoreError
from ..hub import NOTHING, Frames, Merge, Subscriber, make_frames
from ..meters import Flow
from ..protocol import sse
from .outlet import Outlet, nobody

__all__ = ["DRAIN_RECONNECT_MS", "RECONNECT_MS", "Delivery", "Pulse"]

log = logging.getLogger("penstock")

RECONNECT_MS = (500, 1500)
"""When a reader whose connection broke comes back; drawn at random, so that not all come at once."""

DRAIN_RECONNECT_MS = (1000, 4000)
"""The same at shutdown: the next server needs a moment, and everybody comes."""

ROTATE_RECONNECT_MS = (0, 200)
"""The same where a response has had its time: the server is there, and waits for it."""

ROTATE_EARLY = 0.1
"""Up to this share of its time a response ends early: readers that came together need not come back together."""

PULSE_S = 2.0
"""How often quiet and stalled readers are looked for: a heartbeat may come this much late."""

STALL_LOOKS = 4
"""Looks at a reader while it may take nothing: it is cut off at most so much of the timeout later. A look at each
once a second would be all that thousands of idle readers cost (benchmarks)."""

AT_ONCE = 250
"""Readers looked at in one turn of the loop: a few milliseconds' worth where all are sent a heartbeat."""

UNFOLD_AT_ONCE = 4
"""Pieces of a fold that are given to a connection in one turn of the loop: to compress one takes up to 0.5 ms."""

HEARTBEAT = Frames(sse.HEARTBEAT)


class Delivery:
    """One reader's stream, from its first bytes to its end, the server's leaving or the reader's.

    It works in callbacks, not in a task: waking one for each reader and update costs several times what sending
    does (benchmarks). Only who is behind what memory holds has one, while it reads the store.

    rate: updates a second; 0 for no pacing, and then nothing is merged.
    """

    __slots__ = (
        "_ends_at", "_folded", "_interval_s", "_merge", "_outlet", "_over", "_pulse", "_quiet_since", "_reading",
        "_stream", "_subscriber", "_taken_at", "_taken_bytes", "_unfolds_soon", "due",
    )  # fmt: skip

    def __init__(
        self, stream: str, subscriber: Subscriber, outlet: Outlet, rate: float, pulse: "Pulse"
    ) -> None:
        self._stream = stream
        self._subscriber = subscriber
        self._outlet = outlet
        self._merge = Merge.MANY if rate > 0 else Merge.NONE
        self._interval_s = _interval_s(rate)
        self._pulse = pulse
        self._reading: asyncio.Task[None] | None = None
        self._quiet_since = self._taken_at = time.monotonic()
        self._taken_bytes = 0
        self._over = False
        self.due = float("-inf")
        self._folded: list[Frames] | None = None  # the next one last
        self._unfolds_soon = False
        self._ends_at = pulse.end_of_one_that_begins(self._quiet_since)
        outlet.on_room = self._look
        outlet.on_gone = self._close

    def begin(self, greeting: bytes, folded: Sequence[Frames] = ()) -> None:
        """Send the first bytes, the state where it was folded, what there is, and from then on whatever comes."""
        self._subscriber.follow(self._look, self._interval_s)
        self._pulse.add(self)
        first = self._pulse.first_bytes + sse.retry(_drawn(RECONNECT_MS)) + greeting
        self._give(Frames(first, final=self._subscriber.ended and not folded))
        if folded:  # once there is room: of several streams each may have megabytes
            self._folded = [*reversed(folded)]
        self._look()

    def pace(self, rate: float) -> None:
        """Another rate from now on; what has waited for its time goes at once."""
        interval_s = _interval_s(rate)
        if self._over or interval_s == self._interval_s:
            return
        self._interval_s = interval_s
        if not rate or self._merge is Merge.NONE:
            self._merge = Merge.MANY if rate else Merge.NONE
        self._subscriber.follow(self._look, interval_s)
        self._look()

    # What may happen

    def _look(self) -> None:
        """There may be something new, or room for it."""
        try:
            self._bring()
        except Exception as error:  # noqa: BLE001 - of one reader
            self._give_up(error)

    def _bring(self) -> None:
        while not (self._over or self._reading or self._outlet.full):
            if self._folded:
                self._unfold()
                return
            if self._ends_at != math.inf and time.monotonic() >= self._ends_at:
                self._rotate()
                return
            leaving = self._subscriber.draining
            frames = self._subscriber.frames(self._merge)
            if frames is None:
                self._reading = asyncio.create_task(self._catch_up())
                return
            # After one look: a run that never pauses would hold us here.
            if leaving or frames.last_seq:
                self._give(frames, leaving=leaving)
                if leaving or not self._subscriber.has_all:
                    continue
            self._keep_up()
            return

    def _unfold(self) -> None:
        if not self._unfolds_soon:
            self._unfolds_soon = True
            asyncio.get_running_loop().call_soon(self._unfold_some)

    def _unfold_some(self) -> None:
        self._unfolds_soon = False
        for _ in range(UNFOLD_AT_ONCE):
            if self._folded and not (self._over or self._outlet.full):
                self._give(self._folded.pop())
        self._look()

    def _keep_up(self) -> None:
        if self._merge is Merge.MANY:  # it has what there was; from now on it is sent updates
            self._merge = Merge.ALL
        if self._subscriber.status is not None:
            self._tell_status()

    # Who is behind

    async def _catch_up(self) -> None:
        """Read the store until the subscriber stands where memory serves it, or its connection is full."""
        try:
            while not (self._over or self._outlet.full):
                after, leaving = self._subscriber.position, self._subscriber.draining
                chunks = await self._subscriber.take()
                if not chunks:
                    break
                if not self._over:
                    self._give(make_frames(chunks, after, self._merge), leaving=leaving)
        except StoreError as error:
            log.warning("A reader of %s is cut off: %s", self._stream, error.message)
            self._end(NOTHING)  # it comes back with its cursor, and is answered 503 until the store can
        except Exception as error:  # noqa: BLE001 - of one reader
            self._give_up(error)
        finally:
            self._reading = None
        self._look()

    # Sending

    def _give(self, frames: Frames, *, leaving: bool = False) -> None:
        """Send what is next: the last there is, where the server is leaving."""
        if frames.final:
            self._end(frames)
        elif leaving:
            last = frames.data + sse.draining(_drawn(DRAIN_RECONNECT_MS))
            self._end(Frames(last, count=frames.count, events=frames.events))
        else:
            self._write(frames)

    def _write(self, frames: Frames) -> None:
        self._outlet.write(frames)
        self._pulse.flow.sent(frames.events, frames.count, frames.size_bytes)
        self._quiet_since = time.monotonic()

    def _tell_status(self) -> None:
        status = self._subscriber.untold()
        if status is not None:
            self._write(Frames(sse.status("status", status)))

    def _end(self, last: Frames) -> None:
        if not self._over:
            self._close()
            self._outlet.end(last)
            self._pulse.flow.sent(last.events, last.count, last.size_bytes)
            if self._outlet.buffered_bytes:  # it may take nothing of that either
                self._pulse.add(self)

    def _give_up(self, error: Exception) -> None:
        # A fault of ours: what was to be sent next may be lost to this connection, but not to the next one.
        log.error("A reader of %s could not be served, and is cut off.", self._stream, exc_info=error)
        self._end(NOTHING)

    def _close(self) -> None:
        self._over = True
        self._subscriber.close()
        self._pulse.remove(self)
        self._outlet.on_room = self._outlet.on_gone = nobody  # else each holds the other

    # Quiet streams, and readers that take nothing

    def check(self, now: float, heartbeat_s: float, stall_timeout_s: float) -> None:
        """Called from `due` on, as soon as it is that."""
        # Not in the middle of a fold, which has to come whole: one that takes longer would never get through.
        if now >= self._ends_at and not (self._over or self._outlet.full or self._folded):
            self._rotate()
        taken_bytes, has_all = self._outlet.taken_bytes, not self._outlet.buffered_bytes
        if has_all or taken_bytes > self._taken_bytes:
            self._taken_at, self._taken_bytes = now, taken_bytes
        if self._over and has_all:
            self._pulse.remove(self)
        elif now - self._taken_at >= stall_timeout_s:
            self._cut(stall_timeout_s)
        elif not (self._over or self._outlet.full) and now - self._quiet_since >= heartbeat_s:
            self._write(HEARTBEAT)
            self._subscriber.doubt(heartbeat_s)
        self.due = min(self._ends_at, self._quiet_since + heartbeat_s, now + stall_timeout_s / STALL_LOOKS)

    def _rotate(self) -> None:
        self._pulse.flow.rotated += 1
        self._end(Frames(sse.retry(_drawn(ROTATE_RECONNECT_MS))))

    def _cut(self, stall_timeout_s: float) -> None:
        log.info("A reader of %s has taken nothing for %g s and is cut off.", self._stream, stall_timeout_s)
        self._pulse.flow.stalled += 1
        self._pulse.remove(self)
        self._outlet.cut()


def _interval_s(rate: float) -> float:
    return 1 / rate if rate > 0 else 0.0


def _drawn(between_ms: tuple[int, int]) -> int:
    return random.randint(*between_ms)  # noqa: S311 - jitter


class Pulse:
    """Goes through all deliveries again and again: one timer, however many there are.

    flow: where what readers get is counted.
    """

    def __init__(
        self, heartbeat_s: float, stall_timeout_s: float, max_age_s: float = 0.0, flow: Flow | None = None
    ) -> None:
        self.flow = flow or Flow()
        self._max_age_s = max_age_s
        self._heartbeat_s = heartbeat_s
        self.first_bytes = sse.first_bytes(heartbeat_s)
        self._stall_timeout_s = stall_timeout_s
        shortest_s = min(filter(None, (heartbeat_s, stall_timeout_s, max_age_s)))
        self._every_s = min(PULSE_S, shortest_s / 4)
        self._members: dict[Delivery, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._round: deque[Delivery] = deque()

    def end_of_one_that_begins(self, now: float) -> float:
        """When a response that begins now has had its time."""
        if not self._max_age_s:
            return math.inf
        return now + self._max_age_s * random.uniform(1 - ROTATE_EARLY, 1)  # noqa: S311 - jitter

    def add(self, delivery: Delivery) -> None:
        """From now on."""
        self._members[delivery] = None
        if self._timer is None and not self._round:
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self._beat)

    def remove(self, delivery: Delivery) -> None:
        """It is over."""
        self._members.pop(delivery, None)

    def _beat(self) -> None:
        self._timer = None
        self._round = deque(self._members)
        self._go_on()

    def _go_on(self) -> None:
        now = time.monotonic()
        for _ in range(min(AT_ONCE, len(self._round))):
            delivery = self._round.popleft()
            if now >= delivery.due and delivery in self._members:  # else it went with one before it
                self._check(delivery, now)
        loop = asyncio.get_running_loop()
        if self._round:
            loop.call_soon(self._go_on)
        elif self._members:
            self._timer = loop.call_later(self._every_s, self._beat)

    def _check(self, delivery: Delivery, now: float) -> None:
        try:
            delivery.check(now, self._heartbeat_s, self._stall_timeout_s)
        except Exception:  # of one reader: the others are served all the same
            log.exception("A reader could not be served.")
