"""`gr.State` over a restart: a page that goes on finds its session's values again, as the last event left them.

Gradio has them in its server's memory. Here the values of a session that have an exact JSON form are kept in the
store when an event that may have changed them ends, before its client hears of that; and given to Gradio when a
session that this process does not know comes back, before Gradio hears of it. They are kept under the session's
hash and its owner, so that nobody else's come by either.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from ....errors import StoreError
from ....storage.base import ValueStore
from .stateful import Changing, Held, State, Stateful, Unkeepable, exact_json

__all__ = ["States"]

log = logging.getLogger("penstock")

MOST_BYTES = 1024 * 1024
"""Of a session's values together: each event that changes one writes them all, beside what the events write."""

KEPT_S = 7 * 24 * 3600
"""How long the values of a session are kept after they last changed: a page may stand open over a weekend."""

CLOSED_S = 3600
"""The same once the session is over: as long as Gradio keeps what was set for a page that may be opened again."""

RENEWED_S = 24 * 3600
"""How often values that stay the same are written again, so that their time is not over while they are used."""

KNOWN_SESSIONS = 10_000
"""Sessions of which is known what the store has, the latest: as many as Gradio keeps states for."""

SAVE_S = 5.0
"""How long the end of an event waits for a store that can't be written: then it ends without its states."""

AGAIN_S = 0.2
"""How soon such a store is tried again."""


class _Known:
    """What is known of one session. saved: what the store has; None where that is not known."""

    __slots__ = ("lock", "looked", "saved")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.looked = False
        self.saved: tuple[bytes | None, int] | None = None


class States:
    """Of one Gradio app.

    label: tells it from other apps of the process, the same after a restart.
    """

    def __init__(self, gradio: Any, store: ValueStore, label: str) -> None:
        self._stateful = Stateful(gradio)
        self._store = store
        self._label = label
        self._sessions: OrderedDict[str, _Known] = OrderedDict()
        self._said: set[str] = set()
        self._broken = False

    @property
    def none(self) -> bool:
        """Whether the app has no `gr.State`, or none that we can get at: nothing is to be done then."""
        return self._broken or not self._try(lambda: self._stateful.states, ())

    # Giving back

    async def restore(self, session_hash: str, asking: str | None) -> None:
        """Give Gradio what was kept of a session, where this life does not know it. Raises StoreError.

        asking: whoever comes with it: what is kept of somebody else's session is not given to him.
        """
        if self.none:
            return
        known = self._of(session_hash)
        if known.looked:
            return
        async with known.lock:
            if not known.looked:
                await self._restore(known, session_hash, asking)
                known.looked = True

    async def _restore(self, known: _Known, session_hash: str, asking: str | None) -> None:
        if self._try(lambda: self._stateful.lives(session_hash), True):
            return
        found = None
        for owner in (asking or "").split(" "):
            found = found or await self._store.kept(self._name(session_hash, owner), _now_ms())
        if found is not None:
            values = _decoded(found)
            self._try(lambda: self._stateful.give(session_hash, values), None)
        else:
            known.saved = None, 0

    # Keeping

    async def save(self, session_hash: str, owner: str | None, fn_index: int | None) -> None:
        """An event of the session has ended: keep what it may have changed. Never raises."""
        if self.none or not self._try(lambda: self._stateful.may_change(session_hash, fn_index), False):
            return
        try:
            async with asyncio.timeout(SAVE_S):
                await self._saved(session_hash, owner)
        except TimeoutError:
            log.warning(
                "The gr.State of session %s could not be kept: the store can't be written.", session_hash
            )

    async def over(self, session_hash: str, owner: str | None) -> None:
        """The session is over: nobody was there for its grace."""
        if self.none or session_hash not in self._sessions:
            return
        known = self._of(session_hash)
        async with known.lock:
            with contextlib.suppress(StoreError, Changing):  # then it stays for the longer time
                if (values := self._encoded(session_hash)) is not None:
                    now_ms = _now_ms()
                    until_ms = now_ms + CLOSED_S * 1000
                    await self._store.keep(self._name(session_hash, owner), values, until_ms, now_ms)
            known.saved = None

    async def _saved(self, session_hash: str, owner: str | None) -> None:
        known = self._of(session_hash)
        while True:
            try:
                async with known.lock:  # and the values are those of now: a later save has later ones
                    await self._keep(known, session_hash, owner)
            except StoreError:
                await asyncio.sleep(AGAIN_S)
            except Changing:  # by another event, which keeps it when it ends
                return
            else:
                return

    async def _keep(self, known: _Known, session_hash: str, owner: str | None) -> None:
        values, now_ms = self._encoded(session_hash), _now_ms()
        digest = None if values is None else hashlib.blake2b(values, digest_size=16).digest()
        period = 0 if values is None else now_ms // (RENEWED_S * 1000)
        if known.saved != (digest, period):
            known.saved = None
            until_ms = now_ms + KEPT_S * 1000
            await self._store.keep(self._name(session_hash, owner), values, until_ms, now_ms)
            known.saved = digest, period

    def _encoded(self, session_hash: str) -> bytes | None:
        """The values that are not as they began; None where there are none."""
        left, parts = MOST_BYTES, []
        for state, held in self._try(lambda: list(self._stateful.held(session_hash)), []):
            try:
                value = exact_json(held.value, left)
            except Unkeepable as error:
                if held.at_s is not None or state.default is not None:
                    self._say(state, error)
                continue
            if value != state.default:
                left -= len(value)
                at_s = "null" if state.ttl_s == float("inf") else repr(held.at_s or "null")
                parts.append(f'"{state.mark}":[{value},{at_s}]')
        return ("{" + ",".join(parts) + "}").encode() if parts else None

    def _say(self, state: State, why: Unkeepable) -> None:
        if state.mark not in self._said:
            self._said.add(state.mark)
            log.warning(
                "The gr.State that %s uses (component %d) is not kept over a restart: it has %s in it.",
                f"`{state.user}`" if state.user else "no function", state.id, why,
            )  # fmt: skip

    # What both need

    def _of(self, session_hash: str) -> _Known:
        known = self._sessions.get(session_hash)
        if known is None:
            known = self._sessions[session_hash] = _Known()
            if len(self._sessions) > KNOWN_SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(session_hash)
        return known

    def _name(self, session_hash: str, owner: str | None) -> str:
        told = msgspec.json.encode([self._label, (owner or "").split(" ")[0], session_hash])
        return "gradio " + hashlib.blake2b(told, digest_size=24).hexdigest()

    def _try(self, call: Callable[[], Any], without: Any) -> Any:
        """What Gradio's sessions say: whatever a Gradio of tomorrow raises, the app goes on as without us."""
        try:
            return call()
        except Exception:
            self._broken = True
            log.exception("Gradio's sessions are not as expected: gr.State does not outlive restarts.")
            return without


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _decoded(found: bytes) -> dict[str, Held]:
    return {mark: Held(*held) for mark, held in json.loads(found).items()}
