"""GET /metrics: what this process and the others of its service have counted, and what the store knows."""

import asyncio
import contextlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache, reduce
from itertools import count
from typing import Any, NamedTuple, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..errors import StoreError
from ..hub import Hub, Lag
from ..memory import MemoryGuard
from ..memory.processes import resident_bytes
from ..meters import Gauges, Meters, Snapshot, added
from ..models import Tally
from ..storage.base import Store
from ..worker import Groups
from .families import GroupFacts, MemoryFacts, StoreFacts, View, render

__all__ = ["Metrics", "Peers", "Sources"]

log = logging.getLogger("penstock")

STORE_S = 1.0
"""How long a scrape waits for the store: it is answered without, long before Prometheus gives up (10 s)."""

TELL_S = 1.0
"""How often a process tells the others of its service: a second is less than any scrape's interval."""

_NOBODY = Lag({}, 0, 0)
_NOTHING: Any = {}


class Peers(Protocol):
    """The other processes of a service. Its methods block, for a few small files."""

    def tell(self, number: int, snapshot: bytes) -> None:
        """Have the others know how this process stands, unless a later `number` was told. From any thread."""
        ...

    def others(self) -> tuple[list[bytes], Any]:
        """What the others have told, and what those that are gone had counted, as decoded JSON."""
        ...


class Sources(NamedTuple):
    """Where a started app's figures are."""

    hub: Hub
    store: Store
    groups: Groups
    memory: MemoryGuard


class Metrics:
    """Of one app.

    sources: None while it can't start. peers: None where it has one process.
    """

    def __init__(
        self,
        meters: Meters,
        sources: Sources | None = None,
        peers: Peers | None = None,
    ) -> None:
        self._meters = meters
        self._sources = sources
        self._peers = peers
        self._numbers = count(1)
        # One of its own: functions may keep all of the loop's busy, and then figures are wanted most.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-metrics")

    async def scrape(self, request: Request) -> Response:
        """GET /metrics. The store's trouble is an answer, too."""
        facts = await self._ask_store()
        own = self._snapshot()
        # In a thread: what is loaded at the first scrape, and written at each, would hold up the readers.
        body, content_type = await asyncio.get_running_loop().run_in_executor(
            self._thread, self._render, own, facts, request.headers.get("accept", "")
        )
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    async def tell_peers(self) -> None:
        """Tell them how this process stands, from time to time, until cancelled; nothing where there are none."""
        loop = asyncio.get_running_loop()
        while self._peers is not None:
            try:
                await loop.run_in_executor(self._thread, self._peers.tell, *self._snapshot())
            except Exception:
                log.exception("The other processes can't be told what this one has counted.")
            await asyncio.sleep(TELL_S)

    def close(self) -> None:
        """This process is about to end: a last word to the others."""
        if self._peers is not None:
            self._peers.tell(*self._snapshot())
        self._thread.shutdown(wait=False)

    def _snapshot(self) -> tuple[int, bytes]:
        lag = _NOBODY if self._sources is None else self._sources.hub.lag()
        self._meters.cpu_s = time.process_time()
        gauges = Gauges(lag.readers, lag.events, lag.most, resident_bytes())
        return next(self._numbers), msgspec.json.encode(Snapshot(gauges, self._meters))

    def _render(self, own: tuple[int, bytes], facts: StoreFacts | None, accept: str) -> tuple[bytes, str]:
        snapshots, gone = [own[1]], _NOTHING
        if self._peers is not None:
            # First: what is answered now, nobody who is asked next may know less of.
            self._peers.tell(*own)
            others, gone = self._peers.others()
            snapshots += others
        found = [msgspec.json.decode(one, type=Snapshot) for one in snapshots]
        counted = reduce(added, [one.counted for one in found], gone)
        view = View(
            msgspec.convert(counted, Meters),
            reduce(_together, [one.now for one in found]),
            len(found),
            facts,
            _version(),
            None if self._sources is None else _memory(self._sources.memory),
        )
        return render(view, accept)

    async def _ask_store(self) -> StoreFacts | None:
        if self._sources is None:
            return None
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(STORE_S):
                return await _facts(self._sources)
        return None


async def _facts(sources: Sources) -> StoreFacts:
    # As far as it is asked for, a group that has nothing to do is there, too.
    waiting: dict[str, list[Tally]] = {group.name: [] for group in sources.groups.of()}
    for tally in await sources.store.tallies():
        waiting.setdefault(tally.group, []).append(tally)
    groups = {
        name: GroupFacts(
            sum(tally.waiting for tally in tallies),
            sum(tally.running for tally in tallies),
            sum(tally.held for tally in tallies),
            sources.groups.limit_of(name),
        )
        for name, tallies in waiting.items()
    }
    return StoreFacts(groups, len(await sources.store.workers()))


def _memory(guard: MemoryGuard) -> MemoryFacts | None:
    reading = guard.reading
    return None if reading is None else MemoryFacts(reading.used, reading.limit, guard.tight)


def _together(one: Gauges, other: Gauges) -> Gauges:
    return Gauges(
        added(one.readers, other.readers),
        one.behind + other.behind,
        max(one.behind_most, other.behind_most),
        one.resident_bytes + other.resident_bytes,
    )


@cache
def _version() -> str:
    from importlib import metadata  # not before the first scrape

    try:
        return metadata.version("penstock")
    except metadata.PackageNotFoundError:  # it runs from a folder, not installed
        return "unknown"
