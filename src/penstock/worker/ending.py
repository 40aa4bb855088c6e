"""Why runs end that did not end by themselves, and how their ends are written."""

import time
from typing import Any, Literal

from ..errors import Fenced
from ..events import End
from ..meters import Runs
from ..models import Claimed, RunState
from ..protocol.sse import encode_chunk
from ..storage.base import Store
from .outcome import Outcome

__all__ = ["Reason", "end_unexecuted", "outcome_of"]

Reason = Literal[
    "cancelled",
    "replaced",
    "abandoned",
    "time_limit",
    "stalled",
    "queue_timeout",
    "shutdown",
    "worker_lost",
    "fenced",
]
"""Why a run was stopped. `fenced` is seen by no one: whoever holds the lease now ends the run."""

_ENDS: dict[str, tuple[RunState, str, str]] = {
    "replaced": (
        RunState.CANCELLED,
        "A later run of the session took its place.",
        "Read that one. on_repeat='enqueue' lets both run.",
    ),
    "abandoned": (
        RunState.CANCELLED,
        "Nobody was reading the run any more.",
        "Keep a reader connected, or declare the function with on_abandon='continue'.",
    ),
    "time_limit": (
        RunState.FAILED,
        "The run took longer than its time_limit_s.",
        "Give it less to do, or raise the limit.",
    ),
    "stalled": (
        RunState.FAILED,
        "The run gave no sign of life for its stall_timeout_s.",
        "Look at what it waited for; run.progress() counts as a sign.",
    ),
    "queue_timeout": (
        RunState.FAILED,
        "The run waited for longer than its queue_timeout_s.",
        "Submit it again when there is less to do, or raise the limit.",
    ),
    "shutdown": (
        RunState.INTERRUPTED,
        "The server shut down before the run was finished.",
        "Submit it again, or declare the function with on_crash='retry'.",
    ),
    "worker_lost": (
        RunState.INTERRUPTED,
        "The process that executed the run ended before the run did.",
        "Submit it again, or declare the function with on_crash='retry'.",
    ),
}
"""Reason, which is also the error's code, to the state in which it ends a run, and words for it."""


def outcome_of(reason: str) -> Outcome:
    """How a run ends that is stopped for this reason; a plain stop needs no words."""
    if reason not in _ENDS:
        return Outcome(RunState.CANCELLED)
    state, message, hint = _ENDS[reason]
    return Outcome(state, None, {"code": reason, "message": message, "hint": hint})


async def end_unexecuted(store: Store, claimed: Claimed, reason: str, meter: Runs) -> bool:
    """End a run that nobody executes: one that waits, or whose process died. False if it was claimed meanwhile.

    Raises StoreError; nothing was written then.
    """
    outcome = outcome_of(reason)
    now_ms = time.time_ns() // 1_000_000
    error: dict[str, Any] | None = outcome.error
    end = End(outcome.state.value, None, error, seq=claimed.stream.tail + 1, at_ms=now_ms)  # type: ignore[arg-type]
    last = encode_chunk([end], claimed.stream.epoch)
    try:
        await store.finish(claimed.lease, outcome.state, error, last, now_ms)
    except Fenced:
        return False
    meter.ended(claimed.run.function, outcome.state)
    return True
