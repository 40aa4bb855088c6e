"""What to do when a request or a stream did not come to its end: wait and try again, start over, or stop.

Without I/O: the clock and chance come in as arguments. The waits double with full jitter, so that a thousand
readers of a restarted server do not come back in one moment; a hint of the server's is a floor under them.
"""

from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import NamedTuple

__all__ = [
    "BASE_S",
    "CAP_S",
    "HINT_CAP_S",
    "Action",
    "Decision",
    "Patience",
    "Trouble",
    "backoff_s",
    "decide",
    "retry_after_s",
]

BASE_S = 0.5
"""The first wait is at most this: most cuts are a proxy's or a deploy's, and the server is there."""

CAP_S = 15.0
"""Longest wait of our own accord: a person may be looking at a stalled answer."""

HINT_CAP_S = 600.0
"""Longest wait that a server's hint can impose; after it, asking again costs one request."""

_AGAIN = frozenset({408, 425, 429})  # the 4xx that speak of the moment and not of the request
_NEVER = frozenset({501, 505, 511})  # the 5xx that no wait mends; 511 is a captive portal's login page


class Trouble(StrEnum):
    """What went wrong where there is no HTTP status to tell."""

    UNREACHABLE = "unreachable"  # no connection, or no answer on it
    CUT = "cut"  # the connection broke in the middle of an answer
    SILENT = "silent"  # not a byte for too long
    ENDED = "ended"  # the body ended cleanly, but before the run did
    UNTRUSTED = "untrusted"  # the server's certificate was refused
    UNUSABLE = "unusable"  # the answer is not what a Penstock server sends, or the request can't be sent


class Action(StrEnum):
    """What follows."""

    WAIT = "wait"
    START_OVER = "start over"
    STOP = "stop"
    FINISHED = "finished"


class Decision(NamedTuple):
    """What to do, and for WAIT after how many seconds."""

    action: Action
    wait_s: float = 0.0


def backoff_s(attempt: int, chance: float) -> float:
    """Seconds before the next try after `attempt` tries in vain: doubling, times `chance` in [0, 1)."""
    return min(CAP_S, BASE_S * 2.0 ** min(attempt, 32)) * chance


def decide(
    outcome: int | Trouble,
    attempt: int,
    chance: float,
    *,
    hint_s: float | None = None,
    left_s: float | None = None,
    has_cursor: bool = False,
) -> Decision:
    """What to do after `outcome`, an HTTP status or a trouble.

    attempt: tries in vain since the last progress, 0 for the first.
    chance: random, in [0, 1).
    hint_s: what the server asked for (`Retry-After`, `retry:`); no try comes sooner, within `HINT_CAP_S`.
    left_s: how much longer to try at all; None for ever. A wait beyond it is not begun.
    has_cursor: the request carried a cursor, so doing without one is something else to try.
    """
    if outcome == 204:
        return Decision(Action.FINISHED)
    if outcome == 410 and has_cursor:
        return Decision(Action.START_OVER)
    if not _may_pass(outcome):
        return Decision(Action.STOP)
    floor_s = min(max(hint_s or 0.0, 0.0), HINT_CAP_S)
    wait_s = floor_s + backoff_s(attempt, chance)
    if left_s is None:
        return Decision(Action.WAIT, wait_s)
    if left_s <= 0 or floor_s > left_s:
        return Decision(Action.STOP)
    return Decision(
        Action.WAIT, min(wait_s, left_s)
    )  # so that the last try is made when time is up, not before


def _may_pass(outcome: int | Trouble) -> bool:
    if isinstance(outcome, Trouble):
        return outcome not in (Trouble.UNTRUSTED, Trouble.UNUSABLE)
    return outcome in _AGAIN or (outcome >= 500 and outcome not in _NEVER)


class Patience:
    """How often, and since when, one caller has tried in vain. Times are seconds of any one clock.

    retry_for_s: how long to go on without progress, counted from the first failure; None for ever.
    """

    def __init__(self, retry_for_s: float | None) -> None:
        self.attempt = 0
        self._retry_for_s = retry_for_s
        self._since: float | None = None

    def progressed(self) -> None:
        """Something came of it: the next failure is a first one."""
        self.attempt, self._since = 0, None

    def decide(
        self,
        outcome: int | Trouble,
        now: float,
        chance: float,
        *,
        hint_s: float | None = None,
        has_cursor: bool = False,
    ) -> Decision:
        """`decide` for this caller's failure at `now`, which is counted."""
        if self._since is None:
            self._since = now
        left_s = None if self._retry_for_s is None else self._since + self._retry_for_s - now
        decision = decide(outcome, self.attempt, chance, hint_s=hint_s, left_s=left_s, has_cursor=has_cursor)
        self.attempt += 1
        return decision


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """A `Retry-After` header, seconds or a date, as seconds from `now_s` (Unix time); None if neither."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), HINT_CAP_S)
    try:
        date = parsedate_to_datetime(value)
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None
