"""How an attempt of a run goes out."""

from typing import Any

import msgspec

from ..models import RunState

__all__ = ["GiveBack", "Outcome", "RunStopped"]


class RunStopped(BaseException):
    """Raised inside a function that must stop: its run was cancelled, or is no longer this worker's.

    Not an Exception, like asyncio.CancelledError: code that survives every error must not survive this.
    """


class Outcome(msgspec.Struct, frozen=True):
    """How a run ended."""

    state: RunState
    result: Any = None
    error: dict[str, Any] | None = None


class GiveBack(msgspec.Struct, frozen=True):
    """The attempt is over and the run is not: it goes back to the queue.

    error: what the function raised; None if it did nothing wrong. lost: the process that executed it died.
    """

    not_before_ms: int = 0
    error: dict[str, Any] | None = None
    lost: bool = False
