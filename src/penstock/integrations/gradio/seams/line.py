"""Gradio's own line, mended: its mailboxes, its progress and its summary.

All of it is private to Gradio (`surfaces.TABLE` names each part). A part that is missing is left as it is.
"""

import asyncio
import logging
from collections import OrderedDict
from typing import Any

__all__ = ["harden_line", "is_private_line", "spare_mailbox"]

log = logging.getLogger("penstock")

MOST_IDLE = 2000
"""Mailboxes kept in all; Gradio's own number. Only those that nothing writes to make room for others, so that
there may be more while more sessions have something under way."""

LOOKS = 16
"""Mailboxes looked at, the oldest, when room is made for one: those in use go to the back and are not seen again
soon. As each new one may drop several, their number comes back to `MOST_IDLE`."""

AGAIN_S = 1.0
"""How soon progress goes on after an error."""

SUMMARY = "cached_event_analytics_summary"
MAILBOXES = "pending_messages_per_session"


def is_private_line(queue: Any, *names: str) -> bool:
    """Whether this Gradio's line has these parts."""
    return queue is not None and all(hasattr(queue, name) for name in names)


def harden_line(queue: Any) -> None:
    """Mend the line of one app; nothing where that was done. Before it starts."""
    if queue is None or getattr(queue, "penstock_line", False):
        return
    if is_private_line(queue, "compute_analytics_summary", SUMMARY, "start_progress_updates"):
        queue.__class__ = _mended(type(queue))
    if is_private_line(queue, MAILBOXES, "pending_event_ids_session"):
        setattr(queue, MAILBOXES, Mailboxes(queue, getattr(queue, MAILBOXES)))
    queue.penstock_line = True


def spare_mailbox(queue: Any, session_hash: str) -> None:
    """Drop the mailbox of a session that is over, unless an event still writes to it."""
    mailboxes = getattr(queue, MAILBOXES, None)
    if isinstance(mailboxes, Mailboxes) and not mailboxes.in_use(session_hash):
        mailboxes.pop(session_hash, None)


class Mailboxes(OrderedDict[str, Any]):
    """Messages by session, in place of a cache of the last 2,000 sessions: none that is in use is dropped."""

    def __init__(self, queue: Any, given: dict[str, Any]) -> None:
        super().__init__(given)
        self._queue = queue
        self.max_size = MOST_IDLE

    def in_use(self, session_hash: str) -> bool:
        """Whether an event of the session may still write to its mailbox."""
        return bool(self._queue.pending_event_ids_session.get(session_hash))

    def __setitem__(self, session_hash: str, mailbox: Any) -> None:
        if session_hash not in self:
            self._make_room()
        super().__setitem__(session_hash, mailbox)

    def _make_room(self) -> None:
        for _ in range(LOOKS):
            if len(self) < self.max_size:
                return
            oldest = next(iter(self))
            if self.in_use(oldest):
                self.move_to_end(oldest)
            else:
                del self[oldest]


class _Mended:
    """Put before Gradio's class of lines: the summary is made when it is read, and progress goes on."""

    stopped: bool
    event_count_at_last_cache: float
    _unsummed: tuple[Any, ...] | None = None

    def compute_analytics_summary(self, *records: Any) -> None:
        """Gradio calls it after each event; what it is given is kept, and looked at when somebody asks."""
        self._unsummed = records

    @property
    def cached_event_analytics_summary(self) -> Any:
        """What Gradio answers to /monitoring/summary."""
        if self._unsummed is not None:
            self._sum_up()
        return self.__dict__[SUMMARY]

    @cached_event_analytics_summary.setter
    def cached_event_analytics_summary(self, summary: Any) -> None:
        self.__dict__[SUMMARY] = summary

    def _sum_up(self) -> None:
        records, self._unsummed = self._unsummed or (), None
        self.event_count_at_last_cache = float("-inf")  # it is due, whatever the interval
        try:
            super().compute_analytics_summary(*records)  # type: ignore[misc]
        except Exception:
            log.exception("Gradio's summary of events can't be made.")

    async def start_progress_updates(self) -> None:
        """Gradio's own, begun again after an error: it serves all sessions."""
        while not self.stopped:
            try:
                await super().start_progress_updates()  # type: ignore[misc]
            except Exception:
                log.exception("Gradio's progress updates failed; they go on.")
                await asyncio.sleep(AGAIN_S)


_KINDS: dict[type, type] = {}
"""Classes that were made, by Gradio's: one for all apps."""


def _mended(kind: type) -> type:
    return _KINDS.setdefault(kind, type("Queue", (_Mended, kind), {}))
