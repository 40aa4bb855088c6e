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

LOOK_S = 0.2
"""Between two looks, of some dozens of microseconds each: in that time a function fills 200 MB at most, for which
the fifth above the default limit of a container of 1 GB is there."""

EASED_SHARE = 0.95
"""Of the limit: tight memory is eased below this. Without a distance between the two, each piece that is freed
and taken again would be a turn, with two lines of log."""

SPARE_SHARE = 1.1
"""Of the limit: up to here one function goes on while the others wait. By default, 88 % of what there is."""

RETURN_S = 2.0
"""How often, while memory is tight, what has been freed is returned to the system: CPython and the C library keep
it, unasked, and the memory of runs that have ended would count for ever. A collection may stop all threads for a
tenth of a second."""


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
        self._returned_at = float("-inf")
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
        while not self._stopped.wait(LOOK_S):
            try:
                self.look()
            except Exception:
                log.exception("The memory in use can't be looked at.")

    def look(self) -> None:
        """Look now, and turn if it is time to."""
        reading = self._gauge()
        mark = EASED_SHARE if self.tight else 1.0
        if reading is not None and reading.fullness > mark and self._return():
            reading = self._gauge()
        self.reading = reading
        if not self._stopped.is_set():
            fullness = 0.0 if reading is None else reading.fullness
            self.turn(tight=fullness > mark, spare=fullness <= SPARE_SHARE)

    def turn(self, *, tight: bool, spare: bool = False) -> None:
        """See `Pressure.turn`; with a line of log."""
        if tight and not self.tight:
            log.warning(
                "Memory is tight: %s. Functions wait at their yields, and new runs are refused.", self
            )
        elif self.tight and not tight:
            log.info("Memory is eased after %.1f s: %s.", self.lasted_s, self)
        super().turn(tight=tight, spare=spare)

    def __str__(self) -> str:
        """The figures, and the setting that they depend on."""
        if self.reading is None:
            return "nothing is known of it"
        used, limit, about = self.reading
        source = f"{DEFAULT_SHARE:.0%} of what there is" if self._limit_mb is None else "as set"
        return f"{used // MB} MB {about}; {limit // MB} MB may be (memory_limit_mb, {source})"

    def _return(self) -> bool:
        """Return to the system what has been freed, unless that was done just now; whether it was."""
        if time.monotonic() - self._returned_at < RETURN_S:
            return False
        gc.collect()
        with contextlib.suppress(Exception):  # only glibc has it
            ctypes.CDLL(None).malloc_trim(0)
        self._returned_at = time.monotonic()
        return True
