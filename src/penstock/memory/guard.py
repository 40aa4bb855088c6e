"""Looks how much memory the service uses, and says when it is too much.

In a thread of its own: what fills memory may be a function that never gives the event loop a chance.
"""

import contextlib
import ctypes
import gc
import logging
import threading
import time

from .limits import DEFAULT_SHARE, MB, Gauge, Reading, make_gauge
from .pressure import Pressure

__all__ = ["EASED_SHARE", "LOOK_S", "MemoryGuard"]

log = logging.getLogger("penstock")

LOOK_S = (0.01, 1.0)
"""Least and longest time between two looks, of up to a fifth of a millisecond each; see `FILL_BYTES_S`."""

TIGHT_LOOK_S = 0.2
"""The longest while memory is tight: functions wait for its being eased."""

FILL_BYTES_S = 4e9
"""How fast a function may fill memory, by measurement. What is left up to the next mark may be gone so soon, and
by then there is another look: with four gigabytes left that is the longest time, near the limit the least."""

LOOKING_SHARE = 0.05
"""Of a core, at most: a look at many large processes may take milliseconds."""

EASED_SHARE = 0.95
"""Of the limit: tight memory is eased below this. Without a distance between the two, each piece that is freed
and taken again would be a turn, with two lines of log."""

SPARE_SHARE = 1.1
"""Of the limit: up to here one function goes on while the others wait. By default, 88 % of what there is."""

RETURN_S = 2.0
"""How often, while memory is tight, what has been freed is returned to the system. The C library keeps it (all
of 208 MB that a thread had filled in pieces of 2,000 bytes): what has ended would count for ever. That takes
milliseconds, and a collection before it stops all threads for a quarter of a second with each million objects."""

RETURNING_SHARE = 0.1
"""Of a core, at most, goes into that."""


class MemoryGuard(Pressure):
    """Tight while more memory is used than may be. Between `start` and `stop` it turns itself.

    What waits then: functions at their yields (see `Hold`), claims of queued runs, and new runs are refused.

    limit_mb: for all processes of the service together, in MiB; None for `DEFAULT_SHARE` of what the system sets;
        0 for none.

    Attributes:
        reading: Bytes in use and the limit in bytes, as of the last look; None before the first one, where the
            guard is off, and where the system says nothing.
        times: How often memory has become tight.
        tight_s, lasted_s: For how many seconds, before this time, and this time.
    """

    def __init__(self, limit_mb: int | None, gauge: Gauge | None = None) -> None:
        super().__init__()
        self.reading: Reading | None = None
        self._limit_mb = limit_mb
        self._gauge = gauge or make_gauge(limit_mb)
        self._return_at = float("-inf")
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to look; nothing where it is off or nothing can be known, and then one line of log says so."""
        if self._limit_mb == 0:
            return
        if self._gauge() is None:
            log.warning("The memory guard is off: this system does not say how much memory is used.")
            return
        threading.Thread(target=self._run, name="penstock-memory", daemon=True).start()

    def stop(self) -> None:
        """Look no more, and hold nobody."""
        self._stopped.set()
        super().turn(tight=False)

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stopped.wait(wait_s):
            # By this clock waiting for the interpreter, which a busy function has, is none.
            begun_s = time.thread_time()
            try:
                self.look()
            except Exception:
                log.exception("The memory in use can't be looked at.")
            look_s = time.thread_time() - begun_s
            if self.tight:  # by now functions wait: it may take its time
                self._return()
            wait_s = max(self._next_look_s(), look_s / LOOKING_SHARE)

    def _next_look_s(self) -> float:
        least, most = LOOK_S[0], TIGHT_LOOK_S if self.tight else LOOK_S[1]
        if self.reading is None:
            return most
        mark = self.reading.limit * (SPARE_SHARE if self.tight else 1.0)
        left_s = (mark - self.reading.used) / FILL_BYTES_S
        return TIGHT_LOOK_S if left_s < 0 else min(most, max(least, left_s))

    def look(self) -> None:
        """Look now, and turn if it is time to."""
        self.reading = self._gauge()
        fullness = 0.0 if self.reading is None else self.reading.fullness
        mark = EASED_SHARE if self.tight else 1.0
        if not self._stopped.is_set():
            self.turn(tight=fullness > mark, spare=fullness <= SPARE_SHARE)

    def turn(self, *, tight: bool, spare: bool = False) -> None:
        """See `Pressure.turn`; with a line of log."""
        was_tight, lasted_s = self.tight, self.lasted_s
        super().turn(tight=tight, spare=spare)  # first: a line of log may take long
        if tight and not was_tight:
            log.warning(
                "Memory is tight: %s. Functions wait at their yields, and new runs are refused.", self
            )
        elif was_tight and not tight:
            log.info("Memory is eased after %.1f s: %s.", lasted_s, self)

    def __str__(self) -> str:
        """The figures, and the setting that they depend on."""
        if self.reading is None:
            return "nothing is known of it"
        used, limit, about = self.reading
        source = f"{DEFAULT_SHARE:.0%} of what there is" if self._limit_mb is None else "as set"
        return f"{used // MB} MB {about}; {limit // MB} MB may be (memory_limit_mb, {source})"

    def _return(self) -> None:
        """Return to the system what has been freed, unless that was done just now."""
        if time.monotonic() < self._return_at:
            return
        begun_s = time.thread_time()
        gc.collect()
        with contextlib.suppress(Exception):  # only glibc has it
            ctypes.CDLL(None).malloc_trim(0)
        took_s = time.thread_time() - begun_s
        self._return_at = time.monotonic() + max(RETURN_S, took_s / RETURNING_SHARE)
