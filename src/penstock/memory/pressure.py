"""Whether memory is tight, and the wait of a function while it is."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

__all__ = ["HELD_S", "Hold", "Pressure"]

HELD_S = (1.0, 30.0)
"""How long a function is held at its first yield while memory is tight, doubled with each up to the second number.
For ever would be a deadlock where all memory is held by functions that wait: only one that goes on can end and
free its own. A function that is nearly done so is done within seconds; one that takes more with each yield takes
it ever more slowly, ten times in the first three minutes, for whoever looks after the service to see."""


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
        self._listeners: dict[object, Callable[[], object]] = {}
        self._lock = threading.Lock()

    def turn(self, *, tight: bool) -> None:
        """Memory is tight from now on, or is not."""
        with self._lock:
            if tight is self.tight:
                return
            self.tight_s += self.lasted_s
            self._since = time.monotonic()
            self.tight = tight
            self.times += tight
            listeners = list(self._listeners.values())
        for listener in listeners:
            listener()

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
        self.waiting = False
        """Whether the function is held at this moment."""
        self._pressure = pressure
        self._touched = touched
        self._over = False
        self._time = 0
        self._wait_s = HELD_S[0]
        self._go: Callable[[], object] = _nothing

    @property
    def due(self) -> bool:
        """Whether the function should wait before it goes on."""
        return self._pressure.tight and not self._over

    async def wait(self) -> None:
        """Wait until memory is eased, `end` is called, or the function's turn has come (`HELD_S`)."""
        eased = asyncio.Event()
        with self._held(_in_this_loop(eased.set)), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._next_wait_s()):
                await eased.wait()

    def wait_in_thread(self) -> None:
        """The same for a function in a thread; returns at once where it is not due."""
        if self.due:
            eased = threading.Event()
            with self._held(eased.set):
                eased.wait(self._next_wait_s())

    def end(self) -> None:
        """The run is to stop: its function is held no more. From any thread."""
        self._over = True
        self._go()

    @contextlib.contextmanager
    def _held(self, go: Callable[[], object]) -> Iterator[None]:
        self._go = go
        unlisten = self._pressure.listen(go)
        self.waiting = True
        try:
            if not self.due:  # it was eased, or the run stopped, in this moment
                go()
            yield
        finally:
            unlisten()
            self._go = _nothing
            self._touched()
            self.waiting = False

    def _next_wait_s(self) -> float:
        first, most = HELD_S
        if self._time != self._pressure.times:
            self._time, self._wait_s = self._pressure.times, first
        wait_s, self._wait_s = self._wait_s, min(most, self._wait_s * 2)
        return wait_s
