"""Who watches which run: told to the store for those that are to stop when nobody does.

Readers come and go with every blip of a network, so what has changed is gathered for a moment and told at once.
"""

import asyncio
import logging
import time

from .hub import Hub
from .storage.base import Store
from .trouble import Trouble

__all__ = ["TOLD_S", "Presence"]

log = logging.getLogger("penstock")

TELL_S = 0.5
"""How long changes are gathered; the shortest grace is twice as long."""

TOLD_S = 1.0
"""By then the store knows of a reader that came: what is gathered for `TELL_S` has as long again to be written.
Absence is judged only so much later, or who came shortly before the grace was over would lose its run."""

EVERYTHING_S = 5.0
"""How often all readers are told, not only those that came or went: a process that slept for longer than its lease
has been taken for dead, and its readers for gone."""


class Presence:
    """This process's readers. `run` is its task; `worker`: under which name the store keeps them."""

    def __init__(self, store: Store, worker: str, hub: Hub) -> None:
        self._store = store
        self._worker = worker
        self._hub = hub
        self._told: set[str] = set()
        self._everything_at = float("-inf")
        self._trouble = Trouble(log, "The store can't be told who reads")
        hub.lately = set()

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await asyncio.sleep(TELL_S)
            try:
                await self._tell()
            except Exception as error:  # noqa: BLE001 - said; the others go on
                self._trouble.met(error)

    async def _tell(self) -> None:
        now, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        read, lately = self._hub.read, self._hub.lately or set()
        self._hub.lately = set()
        everything = now - self._everything_at >= EVERYTHING_S
        changed = read | self._told if everything else read ^ self._told
        fleeting = dict.fromkeys(lately - read, True)
        if fleeting:  # came and went since the last look: one that polls, say
            await self._store.watch(self._worker, fleeting, now_ms)
        present = {run_id: run_id in read for run_id in changed | fleeting.keys()}
        if present:
            await self._store.watch(self._worker, present, now_ms)
        if fleeting or present:
            self._trouble.over()
        self._told = read
        if everything:
            self._everything_at = now
