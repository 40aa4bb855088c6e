"""Whether memory is tight, and the wait of a function while it is.

A wait for ever would be a deadlock: where all memory is held by functions that wait, only one that goes on can
end and free its own. So each is held for a time only (`HELD_S`), and then takes one step, to its next yield, where
it is held for longer. And the oldest of them, once it has been held, goes on as it likes while there is memory to
spare beyond the limit: run by run, what there is to do is done.
"""

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator

__all__ = ["HELD_S", "Hold", "Pressure"]

HELD_S = (1.0, 30.0)
"""How long a function is held at its first yield while memory is tight, doubled with each up to the second number.
One that is nearly done so is done within seconds; one that takes more with each yield takes it ever more slowly,
ten times in the first three minutes, for whoever looks after the service to see."""

_numbers = itertools.count()


def _nothing() -> None:
    pass


class Pressure:
    """Whether memory is tight. Turned by whoever knows; asked, and listened to, from any thread.

    times: how often it has become tight.
    tight_s: for how many seconds, all in all, when it was eased last.
    """

    def __init__(self) -> None:
        self.tight = False
        self.times = 0
        self.tight_s = 0.0
        self._since = 0.0
        self._spare = False
        self._line: dict[int, Hold] = {}
        self._listeners: dict[object, Callable[[], object]] = {}
        self._lock = threading.Lock()

    def turn(self, *, tight: bool, spare: bool = False) -> None:
        """Memory is tight from now on, or is not; `spare`: there is some beyond the limit for one function."""
        with self._lock:
            self._spare = spare
            first = self._first()
            listeners = [] if tight is self.tight else list(self._listeners.values())
            if tight is not self.tight:
                self.tight_s += self.lasted_s
                self._since = time.monotonic()
                self.times += tight
                self._line.clear()
            self.tight = tight
        for listener in listeners:
            listener()
        if first is not None:
            first.wake()

    @property
    def lasted_s(self) -> float:
        """For how many seconds it has been tight by now; 0 where it is not."""
        return time.monotonic() - self._since if self.tight else 0.0

    def listen(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Have it called after each turn, in the turner's thread, so it must be short; returns how to end that."""
        key = object()

        def end() -> None:
            with self._lock:
                self._listeners.pop(key, None)

        with self._lock:
            self._listeners[key] = listener
        return end

    def listen_in_loop(self, listener: Callable[[], object]) -> Callable[[], None]:
        """The same, called in the event loop that runs now."""
        return self.listen(_in_this_loop(listener))

    def enter(self, hold: "Hold") -> None:
        """A function is held: it may come to be the oldest."""
        with self._lock:
            if self.tight and not hold.over:
                self._line[hold.number] = hold

    def leave(self, hold: "Hold") -> None:
        """It has ended, or is held no more: if it was the oldest, another is."""
        with self._lock:
            left = self._line.pop(hold.number, None)
            first = self._first()
        if left is not None and first is not None:
            first.wake()

    def lets(self, hold: "Hold") -> bool:
        """Whether this function may go on though memory is tight, once it has been held."""
        with self._lock:
            return self._first() is hold and hold.was_held

    @property
    def has_first(self) -> bool:
        """Whether there is one that may."""
        with self._lock:
            return self._first() is not None

    def _first(self) -> "Hold | None":
        return self._line[min(self._line)] if self._spare and self._line else None


def _in_this_loop(call: Callable[[], object]) -> Callable[[], None]:
    loop = asyncio.get_running_loop()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(call)

    return tell


class Hold:
    """Where one function waits while memory is tight: after a yield, whose events are on their way by then.

    Nothing else waits: what a function says beside its yields, its end and its clean-up are taken as ever.

    touched: called after each wait; the function's silence was not its own until then.
    """

    def __init__(self, pressure: Pressure, touched: Callable[[], object] = _nothing) -> None:
        self.number = next(_numbers)
        """Older ones have lower numbers."""
        self.waiting = False
        """Whether the function is held at this moment."""
        self.over = False
        """Whether it is not to be held any more."""
        self.pressure = pressure
        self._touched = touched
        self._time = 0
        self._held_time = 0
        self._wait_s = HELD_S[0]
        self._go: Callable[[], object] = _nothing

    @property
    def due(self) -> bool:
        """Whether the function should wait before it goes on."""
        return self.pressure.tight and not (self.over or self.pressure.lets(self))

    async def wait(self) -> None:
        """Wait until memory is eased, `end` is called, it is the oldest's turn, or the time is over."""
        eased = asyncio.Event()
        with self._held(_in_this_loop(eased.set)):
            for wait_s in self._waits():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await eased.wait()
                        break

    def wait_in_thread(self) -> None:
        """The same for a function in a thread; returns at once where it is not due."""
        if self.due:
            eased = threading.Event()
            with self._held(eased.set):
                for wait_s in self._waits():
                    if eased.wait(wait_s):
                        break

    def wake(self) -> None:
        """It is the oldest, and may go on if it has been held. From any thread."""
        if self.was_held:
            self._go()

    @property
    def was_held(self) -> bool:
        """Whether it has been, since memory became tight."""
        return self._held_time == self.pressure.times

    def end(self) -> None:
        """The function is over, or is to stop: it is held no more. From any thread."""
        self.over = True
        self.pressure.leave(self)
        self._go()

    @contextlib.contextmanager
    def _held(self, go: Callable[[], object]) -> Iterator[None]:
        self._go = go
        unlisten = self.pressure.listen(go)
        self.waiting = True
        self.pressure.enter(self)
        try:
            if not self.due:  # it was eased, or the run stopped, in this moment
                go()
            yield
        finally:
            unlisten()
            self._go = _nothing
            self._touched()
            self.waiting = False

    def _waits(self) -> Iterator[float]:
        yield self._next_wait_s()
        first_time, self._held_time = not self.was_held, self.pressure.times
        # By now it is known which is the oldest: the others leave what there is to spare to that one.
        if first_time and self.pressure.has_first and not self.pressure.lets(self):
            yield self._next_wait_s()

    def _next_wait_s(self) -> float:
        first, most = HELD_S
        if self._time != self.pressure.times:
            self._time, self._wait_s = self.pressure.times, first
        wait_s, self._wait_s = self._wait_s, min(most, self._wait_s * 2)
        return wait_s
