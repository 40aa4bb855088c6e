"""Who watches which run: told to the store for those that are to stop when nobody does.

Readers come and go with every blip of a network, so what has changed is gathered for a moment and told at once.
"""

import asyncio
import logging
import time

from .errors import StoreError
from .hub import Hub
from .storage.base import Store

__all__ = ["Presence"]

log = logging.getLogger("penstock")

TELL_S = 0.5
"""How long changes are gathered; the shortest grace is twice as long."""


class Presence:
    """This process's readers. `run` is its task; `worker`: under which name the store keeps them."""

    def __init__(self, store: Store, worker: str, hub: Hub) -> None:
        self._store = store
        self._worker = worker
        self._hub = hub
        self._told: set[str] = set()

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await asyncio.sleep(TELL_S)
            try:
                await self._tell()
            except StoreError as error:
                log.warning("The store can't be told who reads: %s", error.message)
            except Exception:
                log.exception("The store can't be told who reads.")

    async def _tell(self) -> None:
        read = self._hub.read
        changed = {run_id: run_id in read for run_id in read ^ self._told}
        if changed:
            await self._store.watch(self._worker, changed, time.time_ns() // 1_000_000)
            self._told = read
