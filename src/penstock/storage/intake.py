"""Whether a run may be taken in: the refusals that all stores share."""

from ..errors import AlreadyRunning, QueueFull
from ..models import Intake

__all__ = ["already_running", "check_room"]


def already_running(run_id: str) -> AlreadyRunning:
    """The session's earlier run has not ended."""
    return AlreadyRunning(
        f"The session has a run of this function that has not ended: {run_id}.",
        hint="Read that one, cancel it, or wait for its end.",
        field="session",
    )


def check_room(group: str, intake: Intake, waiting: int, calls: int, *, stuck: bool) -> None:
    """Raise QueueFull where as many wait as may, `waiting` and `calls` being what waits and runs already.

    A run for which there is room to start does not wait: how soon workers look must not decide who is refused.

    stuck: its key or its rate lets it start in no case.
    """
    if intake.max_size is None:
        return
    limit = float("inf") if intake.concurrency_limit is None else intake.concurrency_limit
    if waiting >= intake.max_size + (0 if stuck else max(0, limit - calls)):
        raise QueueFull(f"{waiting} runs wait in {group!r}: it is full.", hint="Submit again later.")
