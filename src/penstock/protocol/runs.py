"""Run states: which may follow which, when a lost run is tried again, when a lease has run out."""

from ..models import RunState

__all__ = ["RETRY_CAP_S", "TRANSITIONS", "may_become", "retry_delay_s", "sources_of"]

_Q, _R = RunState.QUEUED, RunState.RUNNING
_ENDED = frozenset(state for state in RunState if state.ended)

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    # Ended in the queue: cancelled; its function is gone; it waited too long.
    _Q: frozenset({_R, RunState.CANCELLED, RunState.INTERRUPTED, RunState.FAILED}),
    _R: frozenset({_Q}) | _ENDED,  # back to the queue to be tried again, or when its worker leaves
    **dict.fromkeys(_ENDED, frozenset()),
}
"""State to the states that may follow it. Stores refuse every other change."""

RETRY_CAP_S = 60.0
"""Longest wait before another attempt: a person may be watching."""

_RETRY_BASE_S = 0.5


def may_become(state: RunState, wanted: RunState) -> bool:
    """Whether a run in `state` may become `wanted`."""
    return wanted in TRANSITIONS[state]


def sources_of(wanted: RunState) -> tuple[RunState, ...]:
    """The states from which a run may become `wanted`."""
    return tuple(state for state in RunState if may_become(state, wanted))


def retry_delay_s(attempt: int, chance: float) -> float:
    """Seconds before attempt `attempt + 1`: doubling, with full jitter from `chance` in [0, 1).

    The first retry is at once: its worker died, most likely of a deploy, and nothing suggests it will again.
    """
    if attempt <= 1:
        return 0.0
    return min(RETRY_CAP_S, _RETRY_BASE_S * 2.0 ** min(attempt, 32)) * chance
