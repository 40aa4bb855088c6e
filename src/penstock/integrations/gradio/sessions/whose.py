"""Whose sessions are, over a restart: nobody else who knows a hash gets the session of the one whose runs wait.

It is kept in the store with a session's first event, and for as long as the session is there.
"""

import contextlib
import hashlib
import time

import msgspec

from ....errors import StoreError
from ....storage.base import ValueStore
from .sessions import Session, Sessions

__all__ = ["Whose"]

KEPT_S = 7 * 24 * 3600
"""How long after a session's last event it is known whose it is, should its end never come: as its `gr.State`."""

RENEWED_S = 24 * 3600
"""How often that is written again, so that its time is not over while the session is used."""


class Whose:
    """Of one Gradio app. label: tells it from other apps, the same after a restart."""

    def __init__(self, sessions: Sessions, store: ValueStore, label: str) -> None:
        self._sessions = sessions
        self._store = store
        self._label = label

    async def learn(self, session_hash: str) -> None:
        """Find out whose a session was before this process began. Raises StoreError."""
        if not self._sessions.knows(session_hash):
            owner = await self._store.kept(self._name(session_hash), _now_ms())
            if owner is not None:
                self._sessions.remember(session_hash, owner.decode())

    async def keep(self, session: Session) -> None:
        """Something is begun in a session. Raises StoreError."""
        now_ms = _now_ms()
        told = session.owner, now_ms // (RENEWED_S * 1000)
        if session.owner is not None and session.told != told:
            until_ms = now_ms + KEPT_S * 1000
            await self._store.keep(self._name(session.hash), session.owner.encode(), until_ms, now_ms)
            session.told = told

    async def forget(self, session: Session) -> None:
        """It is over, and nothing of it waits."""
        if session.owner is not None and session.joined:
            with contextlib.suppress(StoreError):  # then it is known for some days more
                await self._store.keep(self._name(session.hash), None, 0, _now_ms())

    def _name(self, session_hash: str) -> str:
        told = msgspec.json.encode([self._label, session_hash])
        return "gradio owner " + hashlib.blake2b(told, digest_size=24).hexdigest()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
