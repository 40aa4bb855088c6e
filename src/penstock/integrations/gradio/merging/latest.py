"""What a generator has yielded and its reader has not had yet: one value, which the next one replaces.

The rule of merging, without clock, threads or tasks; those who call it bring the time.
"""

import asyncio
import threading
from collections import deque
from typing import Any

from .outputs import Outputs, Parts

__all__ = ["Latest"]

LONGEST_SHARE_S = 1.0
"""What takes Gradio long to prepare comes less often: the generator then has as much time as Gradio had, so that
merging still gains when preparing takes longer than the time between two updates. But no longer than this."""


class Latest:
    """Between one generator and one reader, who takes turns with it.

    The generator runs only while its reader waits for a value, or where it was running when one fell due. The
    first value is given at once, each later one when `1 / rate` seconds have passed since the last, at the end, or
    before the error with which the generator ended. What can't be replaced, or held, is given at once.

    All methods may be called from any thread.
    """

    def __init__(self, outputs: Outputs, rate: float) -> None:
        self._outputs, self._pause_s = outputs, 1 / rate
        self._lock = threading.Lock()
        self._asked = self._stopped = False
        self._given_s: float | None = None
        self._due_s = self._looked_s = float("-inf")
        self._out: deque[Any] = deque()
        """To be given at once; at most one, and the held one before it."""
        self._unasked: deque[Any] = deque()
        """At most one value that came when nobody waited, or that waits until the held one is taken."""
        self._held: Parts | None = None
        self._error: BaseException | None = None

    def ask(self, now_s: float) -> None:
        """The reader waits for a value from now on."""
        with self._lock:
            self._asked = True
            if self._given_s is not None:
                share_s = min(now_s - self._given_s, LONGEST_SHARE_S)
                self._due_s = max(self._given_s + self._pause_s, now_s + share_s)
            if self._unasked and not self._out:
                self._settle(self._unasked.popleft(), now_s)
            self._flush_at_end()

    def offer(self, value: Any, now_s: float, *, hold: bool = True) -> bool:
        """The generator has yielded this; whether it may run on. Without `hold` it is given at once."""
        with self._lock:
            if self._stopped:
                return False
            if not self._asked:
                self._unasked.append(value)
                return False
            return self._settle(value, now_s, hold=hold)

    def end(self, error: BaseException) -> None:
        """The generator has ended: with StopAsyncIteration, or with an error."""
        with self._lock:
            self._error = error
            if isinstance(error, asyncio.CancelledError):
                self._held = None  # its reader is gone
            self._flush_at_end()

    def stop(self) -> None:
        """Nobody will take anything any more: the generator stops at its next yield."""
        with self._lock:
            self._stopped, self._held = True, None
            self._out.clear()
            self._unasked.clear()
            self._error = StopAsyncIteration()

    @property
    def stopped(self) -> bool:
        """Whether nobody will take anything any more."""
        return self._stopped

    @property
    def due_s(self) -> float:
        """When what is held, or comes next, may be given."""
        return self._due_s

    @property
    def runs_on(self) -> bool:
        """Whether the generator should be running: it has more, and its reader wants it."""
        with self._lock:
            return self._asked and not (self._out or self._unasked or self._stopped or self._error)

    def ready(self, now_s: float) -> bool:
        """Whether there is something to take."""
        with self._lock:
            self._looked_s = max(self._looked_s, now_s)
            return (
                bool(self._out)
                or self._error is not None
                or (self._held is not None and now_s >= self._due_s)
            )

    def take(self, now_s: float) -> Any:
        """What is ready.

        Raises:
            BaseException: that with which the generator ended, once everything has been taken; from then on
                StopAsyncIteration.
        """
        with self._lock:
            self._asked, self._given_s = False, now_s
            if self._out:
                return self._out.popleft()
            if self._held is not None:
                held, self._held = self._held, None
                return self._outputs.whole(held)
            error, self._error = self._error, StopAsyncIteration()
            assert error is not None
            raise error

    def _settle(self, value: Any, now_s: float, *, hold: bool = True) -> bool:
        """Give it, hold it, or let what is held go first; whether the generator may run on."""
        parts = self._outputs.parts(value)
        if self._held is not None:
            parts = None if parts is None else self._outputs.replaced(self._held, parts)
            if parts is None:
                self._out.append(self._outputs.whole(self._held))
                self._unasked.append(value)
                self._held = None
                return False
            value = self._outputs.whole(parts)
        # The reader may have looked since the generator's thread did: what it found due is not held any more.
        holds = hold and parts is not None and max(now_s, self._looked_s) < self._due_s
        fixed = self._outputs.fixed(parts) if holds and parts is not None else None
        if fixed is None:
            self._held = None
            self._out.append(value)
            return False
        self._held = fixed
        return True

    def _flush_at_end(self) -> None:
        if self._error is None:
            return
        if self._held is not None:
            self._out.append(self._outputs.whole(self._held))
            self._held = None
