"""Where runs stand in line, when they are likely to start, and telling those who wait.

One look at the store answers for all of this process's readers of runs that are silent, at most once a second:
each run, line or lot before the last of them is counted once, for all (see `RunStore.standings`).
"""

import asyncio
import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..hub import Hub, Status
from ..models import Pace, RunRecord, RunState, Standing, Stream, Submitted, Tally
from ..protocol.limits import eta_s
from ..storage.base import Store
from ..trouble import Trouble
from ..worker import Groups, Worker

__all__ = ["Standings"]

log = logging.getLogger("penstock")

TELL_S = 1.0
"""Waiting readers are told at most this often: faster than people look, slower than lines move."""

SLACK_S = 0.1
"""By how much two looks may be closer than that: else every second one of a reader would be passed over."""

TELL_MOST = 5000
"""Runs in one look: among 100,000 that wait, each with a key of its own, it takes a reading thread 180 ms
(benchmarks)."""

MOST_ETA_S = 1e9
"""What is further off is no estimate: the store's mark of a run that is to start no more."""

KNOWN_S = 1.0
"""How long the durations of past runs are believed: they change slowly, and each answer asks for them."""


class Standings:
    """Of one app. `run` is its task."""

    def __init__(self, store: Store, groups: Groups, worker: Worker, hub: Hub, max_threads: int) -> None:
        self._store = store
        self._groups = groups
        self._worker = worker
        self._hub = hub
        self._max_threads = max_threads
        self._paces: dict[str, Pace] = {}
        self._tallies: dict[str, list[Tally]] = {}
        self._known_at = float("-inf")
        self._next = 0

    # For callers

    async def of(self, runs: Sequence[RunRecord]) -> dict[str, Status]:
        """Where these runs stand, as far as they have not ended. Raises StoreError."""
        waiting = [run.id for run in runs if run.state is RunState.QUEUED]
        found = await self._look(waiting)
        return found | {run.id: dict(_RUNNING) for run in runs if run.state is RunState.RUNNING}

    async def for_reader(self, stream: Stream) -> Status | None:
        """What a reader is told first: where the run stands, unless its events say so, or it has ended."""
        if stream.ended:
            return None
        status = await self._at_first(stream.name)
        if stream.tail and status is not None and status["state"] == RunState.RUNNING:
            return status if "cancel" in status else None
        return status  # of one that waits, for another attempt perhaps

    async def _at_first(self, run_id: str) -> Status | None:
        if self._worker.has(run_id):
            return _RUNNING
        noted = self._hub.noted(run_id)
        if noted is not None:
            return noted  # a moment old, and looked at again within a second
        return (await self._look([run_id])).get(run_id)

    async def of_submitted(self, submitted: Submitted) -> Status:
        """Where a new run stands; mostly told without another look at the store. Raises StoreError."""
        run = submitted.run
        if not submitted.fresh or not self._groups.goes_in_order(run.group):
            return (await self.of([run])).get(run.id, _ENDED)
        await self._refresh_paces()
        return self._waiting(run.group, submitted.ahead, submitted.calls, plain=True)

    async def room_in_s(self, group: str) -> int:
        """Whole seconds until one of a full group's places is likely to be free; at least 1."""
        await self._refresh()
        waiting = sum(tally.waiting for tally in self._tallies.get(group, []))
        likely = self._eta(group, 0, self._taken(group) + waiting)  # who waits takes what is free in a moment
        return 1 if likely is None else max(1, math.ceil(likely[0]))

    async def overview(self) -> dict[str, Any]:
        """`GET /api/queue`."""
        await self._refresh()
        names = dict.fromkeys([*(group.name for group in self._groups.of()), *self._tallies])
        return {
            "groups": [self._group(name) for name in names],
            "workers": len(await self._store.workers()),
            "max_threads": self._max_threads,
        }

    def _group(self, name: str) -> dict[str, Any]:
        tallies = self._tallies.get(name, [])
        members = self._groups.members(name)
        functions = [member.name for member in members] or [tally.function for tally in tallies]
        waiting = sum(tally.waiting for tally in tallies)
        limit = self._groups.limit_of(name)
        return {
            "group": name,
            "functions": functions,
            "concurrency_limit": limit,
            "max_size": self._groups.max_size_of(name),
            "rate_limits": {m.name: m.options.rate_limit for m in members if m.options.rate_limit},
            "waiting": waiting,
            "running": sum(tally.running for tally in tallies),
            "calls": sum(tally.calls for tally in tallies),
            "held": sum(tally.held for tally in tallies),
            "eta_s": _seconds(self._eta(name, waiting, self._taken(name))),
            "durations": {name: _duration(self._paces[name]) for name in functions if name in self._paces},
        }

    async def _look(self, run_ids: Sequence[str]) -> dict[str, Status]:
        if not run_ids:
            return {}
        await self._refresh()
        found = await self._store.standings(run_ids)
        return {run_id: self._status(standing) for run_id, standing in found.items()}

    async def _refresh(self) -> None:
        await self._refresh_paces()
        tallies: dict[str, list[Tally]] = {}
        for tally in await self._store.tallies():
            tallies.setdefault(tally.group, []).append(tally)
        self._tallies = tallies

    async def _refresh_paces(self) -> None:
        if time.monotonic() - self._known_at >= KNOWN_S:
            self._known_at = time.monotonic()
            self._paces = await self._store.paces()

    def _taken(self, group: str) -> int:
        return sum(tally.calls + tally.held for tally in self._tallies.get(group, []))

    def _eta(self, group: str, ahead: int, taken: int) -> tuple[float, float] | None:
        limit = self._groups.limit_of(group)
        if limit is None or ahead + taken < limit:
            return 0.0, 0.0  # there is room for it
        waiting = {tally.function: tally.waiting for tally in self._tallies.get(group, [])}
        members = {member.name: waiting.get(member.name, 0) for member in self._groups.members(group)}
        paces = {name: self._paces[name] for name in members if name in self._paces}
        per_call = min([member.terms.batch_size for member in self._groups.members(group)], default=1)
        return eta_s(ahead, limit, members, paces, per_call)

    def _status(self, standing: Standing) -> Status:
        status = self._queued(standing) if standing.state is RunState.QUEUED else dict(_RUNNING)
        if standing.cancel:
            status["cancel"] = "acknowledged" if standing.acknowledged else "requested"
        return status

    def _queued(self, standing: Standing) -> Status:
        if standing.not_before_ms:  # its next attempt has a time of its own
            wait_s = standing.not_before_ms / 1000 - time.time()
            eta_s = round(max(0.0, wait_s), 1) if wait_s < MOST_ETA_S else None
            return {"state": RunState.QUEUED, "position": 1, "eta_s": eta_s}
        plain = self._groups.is_plain(standing.function)
        return self._waiting(standing.group, standing.ahead, self._taken(standing.group), plain=plain)

    def _waiting(self, group: str, ahead: int, taken: int, *, plain: bool) -> Status:
        unlimited = self._groups.limit_of(group) is None and self._groups.members(group)
        if unlimited and plain:
            ahead = 0  # nobody waits for others
        likely = self._eta(group, ahead, taken)
        if likely == (0.0, 0.0) and not plain:
            likely = None  # its group has room, and it waits for its key or its rate
        status: Status = {"state": RunState.QUEUED, "position": ahead + 1, "eta_s": _seconds(likely)}
        if likely is not None and likely[1] > 0:
            status["eta_spread_s"] = round(likely[1], 1)
        return status

    # For readers

    async def run(self) -> None:
        """Tell readers what has changed, until cancelled."""
        trouble = Trouble(log, "Nobody can be told where their runs stand")
        while True:
            await asyncio.sleep(TELL_S)
            try:
                await self._tell()
            except Exception as error:  # noqa: BLE001 - said; the next look may go well
                trouble.met(error)
            else:
                if self._hub.subscribers:  # else nothing was asked
                    trouble.over()

    async def _tell(self) -> None:
        for run_id, status in (await self._look(self._silent())).items():
            # A silent run may have gone back to the queue. One that runs is news only to who took it for waiting.
            if status["state"] == RunState.QUEUED or RunState.QUEUED in self._hub.told(run_id):
                self._hub.tell(run_id, status, after_s=TELL_S - SLACK_S)
        if self._hub.subscribers:
            for run_id, acknowledged in (await self._store.stopping()).items():
                self.tell_stopping(run_id, "acknowledged" if acknowledged else "requested")

    def _silent(self) -> list[str]:
        # Where more are read than one look takes, each is told a little less often.
        everyone = self._hub.silent(TELL_S)
        self._next = self._next if self._next < len(everyone) else 0
        found = everyone[self._next : self._next + TELL_MOST]
        self._next += len(found)
        return found

    def tell_running(self, run_id: str) -> None:
        """Something else has begun to execute a run: its readers need not wait for the next look."""
        self._hub.tell(run_id, _RUNNING)

    def tell_stopping(self, run_id: str, receipt: str) -> None:
        """A stop was asked for, of a run that is under way."""
        self._hub.tell(run_id, _RUNNING | {"cancel": receipt})


_RUNNING: Status = {"state": RunState.RUNNING, "position": None, "eta_s": None}
_ENDED: Status = {"position": None, "eta_s": None}


def _seconds(likely: tuple[float, float] | None) -> float | None:
    return None if likely is None else round(likely[0], 1)


def _duration(pace: Pace) -> Mapping[str, float]:
    mean_s, spread_s = pace.mean_ms / 1000, math.sqrt(pace.variance) / 1000
    return {"runs": pace.runs, "mean_s": round(mean_s, 3), "spread_s": round(spread_s, 3)}
