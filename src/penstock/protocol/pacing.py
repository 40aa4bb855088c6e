"""When a writer or a subscriber may flush: the first at once, then at most `rate` times a second."""

__all__ = ["Pacer"]


class Pacer:
    """Spaces out flushes. Times are seconds of any one clock, given by the caller.

    rate: flushes a second at most; 0 spaces nothing.
    """

    __slots__ = ("_last", "interval_s")

    def __init__(self, rate: float) -> None:
        self.interval_s = 1 / rate if rate > 0 else 0.0
        self._last = float("-inf")

    def due(self, now: float) -> float:
        """The earliest time, not before `now`, at which the next flush may happen."""
        return max(now, self._last + self.interval_s)

    def flushed(self, now: float) -> None:
        """A flush happened at `now`, in its turn or out of it (an urgent one counts too)."""
        self._last = now
