"""Back-pressure: a generator waits while what it has yielded before is still on its way into the store.

Gradio's own mailbox of a session has no bound. Whoever yields faster than the store can write, with `rate=0` say,
would fill the memory with what nobody has read yet.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

__all__ = ["room"]

MOST_WAITING = 16
"""Messages in a session's mailbox: enough that whoever empties it always finds some, few enough that large ones
don't matter."""

AGAIN_S = 0.001
"""How often it is looked at. A mailbox of this size is emptied within a few milliseconds."""

STUCK_S = 10.0
"""If nothing has been taken for so long, nobody empties it: then it is Gradio's affair alone, as without us."""


async def room(blocks: Any, session_hash: str | None) -> None:
    """Wait until the mailbox of this session has room, or nobody empties it."""
    before, since_s = _waiting(blocks, session_hash), time.monotonic()
    while before > MOST_WAITING and time.monotonic() < since_s + STUCK_S:
        await asyncio.sleep(AGAIN_S)
        now = _waiting(blocks, session_hash)
        if now < before:
            since_s = time.monotonic()
        before = now


def _waiting(blocks: Any, session_hash: str | None) -> int:
    mailboxes: Mapping[Any, asyncio.Queue[Any]] = getattr(
        getattr(blocks, "_queue", None), "pending_messages_per_session", {}
    )
    mailbox = mailboxes.get(session_hash)
    return 0 if mailbox is None else mailbox.qsize()
