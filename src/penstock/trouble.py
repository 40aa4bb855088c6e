"""What fails again and again, as the log has it: not once a second for as long as nobody mends it."""

import logging
import time
from collections.abc import Callable

from .errors import StoreError

__all__ = ["Trouble"]

SAY_AGAIN_S = 60.0
"""Between two lines of one trouble, however often it is met."""


class Trouble:
    """One thing that a loop can't do for a while: said at once, then at most once a minute, and when it is over.

    Args:
        log: Where it is said.
        what: What can't be done, as a sentence without its end: "Runs can't be claimed".
        level: Of `logging`.
        clock: Seconds.
    """

    def __init__(
        self,
        log: logging.Logger,
        what: str,
        level: int = logging.WARNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._what = what
        self._level = level
        self._clock = clock
        self._since: float | None = None
        self._said_at = float("-inf")
        self._is_known = False  # whether there is a line of this one, which wants an end

    def met(self, error: Exception) -> None:
        """It has failed, again or for the first time. What is no StoreError is a fault, shown with its trace."""
        now = self._clock()
        self._since = now if self._since is None else self._since
        if now - self._said_at < SAY_AGAIN_S:
            return
        self._said_at, self._is_known = now, True
        if isinstance(error, StoreError):
            self._log.log(self._level, "%s: %s %s", self._what, error.message, error.hint)
        else:
            self._log.error("%s.", self._what, exc_info=error)

    def over(self) -> None:
        """It has been done."""
        if self._since is None:
            return
        if self._is_known:
            # As loud as its beginning, or who has read that one would never hear of the end.
            lasted_s = self._clock() - self._since
            self._log.log(self._level, "%s: that is over, after %.0f s.", self._what, lasted_s)
        self._since, self._is_known = None, False
