"""Looks after what dead processes leave: their runs go back to the queue, or end with a reason.

A worker is lost when its lease has run out, or at once when its process is known to be gone: a worker's name
says which process it is, and on the same machine that can be looked up. So after a crash and a restart nobody
waits for a lease.
"""

import asyncio
import contextlib
import logging
import os
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from .errors import Fenced, StoreError
from .memory.processes import stat_of
from .meters import Runs
from .models import Claimed, RunFilter
from .presence import TOLD_S
from .storage.base import Store, WorkerSign
from .storage.uploads import Uploads
from .trouble import Trouble
from .worker import end_unexecuted, retry_at_ms

__all__ = ["Janitor", "process_is_gone", "worker_name"]

log = logging.getLogger("penstock")

SWEEPS_PER_LEASE = 4
"""A lost worker's runs move within a lease and a quarter: 12.5 s of the 15 that are promised."""


def worker_name() -> str:
    """A name no other worker has, which tells where and which process this is."""
    return f"{_machine()}/{os.getpid()}/{_started(os.getpid())}/{secrets.token_hex(4)}"


def _machine() -> str:
    # A process id means something only within one boot and one pid namespace: containers may share a file.
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{Path('/proc/self/ns/pid').readlink().name.strip('pid:[]')}"
    return socket.gethostname()


def _started(pid: int) -> str:
    with contextlib.suppress(OSError, IndexError):
        fields = stat_of(pid)
        return "dead" if fields[0] in (b"Z", b"X") else fields[19].decode()  # nobody has reaped it yet
    return ""


def process_is_gone(worker: str) -> bool:
    """Whether the worker's process is known to have ended; False where that can't be told."""
    machine, _, rest = worker.partition("/")
    pid, _, rest = rest.partition("/")
    started = rest.partition("/")[0]
    if machine != _machine() or not started or not pid.isdigit():
        return False
    found = _started(int(pid))
    return found != started if found else _is_free(int(pid))


def _is_free(pid: int) -> bool:
    # A system may hide other users' processes (hidepid): one that can't be seen is not gone for that.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


LIMITS_S = 1.0
"""How often limits in time are looked at: they are in seconds."""

ENDED_AT_ONCE = 100
"""Runs ended side by side: they share a few commits, and others' writes wait for no more than these."""

EXPIRY_LOOKS, MOST_EXPIRY_S = 20, 3600.0
"""Looks for old uploads in the time that they are kept, and seconds between two at most."""

LOOKED_UP = 100
"""Runs asked for at once."""

End = Callable[[str, str], Awaitable[object]]
"""Ends a run, given its id and the reason."""


class Janitor:
    """Sweeps beside `worker`. Any number may sweep one store: each lost worker is taken over once.

    on_settled: called when runs have been given back or ended.
    read: which runs have readers in this process, where runs are to stop that nobody reads; None in a process that
        serves no readers and so can't know.
    may_judge: whether a lease that has run out means that its worker is lost; see `Worker.may_judge`.
    meter: where lost attempts and the runs that it ends are counted.
    """

    def __init__(
        self,
        store: Store,
        worker: str,
        lease_s: float,
        on_settled: Callable[[], None] = lambda: None,
        may_judge: Callable[[], bool] = lambda: True,
        *,
        read: Callable[[], set[str]] | None = None,
        meter: Runs | None = None,
    ) -> None:
        self._meter = meter or Runs()
        self._read = read
        self._absent: dict[str, float] = {}  # runs whose grace is over, and since when that is known here
        self._started = time.monotonic()
        self._may_judge = may_judge
        self._store = store
        self._worker = worker
        self._lease_s = lease_s
        self._on_settled = on_settled
        # A name that never signs: what it took over and could not settle, because the store failed in between,
        # is lost again, and found by the next sweep.
        self._name = f"{worker}/janitor"

    async def enforce(self, end: End) -> None:
        """End what has waited too long, or what nobody watches any more, until cancelled."""
        trouble = Trouble(log, "Limits in time can't be kept")
        while True:
            await asyncio.sleep(LIMITS_S)
            try:
                await self._enforce(end)
                trouble.over()
            except Exception as error:  # noqa: BLE001 - said; it is tried again
                trouble.met(error)

    async def _enforce(self, end: End) -> None:
        await self._end_overdue(end)
        if self._read is not None:
            await self._end_abandoned(end, self._read)

    async def _end_overdue(self, end: End) -> None:
        tried: set[str] = set()
        more = True
        while more:
            found = await self._store.overdue(_now_ms(), ENDED_AT_ONCE)
            # Each run once: of two processes that took the same ones again and again, neither could end them.
            fresh = {run_id: reason for run_id, reason in found.items() if run_id not in tried}
            tried |= fresh.keys()
            await _end_all(end, fresh.items())
            more = bool(fresh) and len(found) >= ENDED_AT_ONCE

    async def _end_abandoned(self, end: End, read: Callable[[], set[str]]) -> None:
        """End what nobody has read for its whole grace, once every reader that came in time must be known."""
        asked = time.monotonic()
        # Readers of a server that was away need time to come back before they count as gone.
        found = await self._store.abandoned(_now_ms(), round((asked - self._started) * 1000))
        now = time.monotonic()
        if now - asked > TOLD_S / 2:  # whoever wanted to tell of a reader has had to wait as well
            self._absent.clear()
        self._absent = {run_id: self._absent.get(run_id, now) for run_id in found}
        gone = [run_id for run_id, since in self._absent.items() if asked - since >= TOLD_S]
        for start in range(0, len(gone), ENDED_AT_ONCE):
            unread = set(gone[start : start + ENDED_AT_ONCE]) - read()
            await _end_all(end, [(run_id, "abandoned") for run_id in unread])

    async def run(self) -> None:
        """Sweep until cancelled."""
        trouble = Trouble(log, "Lost workers can't be looked for", logging.ERROR)
        while True:
            await asyncio.sleep(self._lease_s / SWEEPS_PER_LEASE)
            try:
                await self.sweep()
                trouble.over()
            except Exception as error:  # noqa: BLE001 - said; it is tried again
                trouble.met(error)

    async def expire(self, uploads: Uploads, keep_s: float) -> None:
        """Remove uploads that no run uses, `keep_s` after their last bytes, until cancelled."""
        every_s = min(max(keep_s / EXPIRY_LOOKS, LIMITS_S), MOST_EXPIRY_S)
        trouble = Trouble(log, "Uploads can't be looked through", logging.ERROR)
        while True:
            await asyncio.sleep(every_s * random.uniform(0.5, 1))  # noqa: S311 - processes that started together
            try:
                await self.expire_once(uploads, keep_s)
                trouble.over()
            except Exception as error:  # noqa: BLE001 - said; it is tried again
                trouble.met(error)

    async def expire_once(self, uploads: Uploads, keep_s: float) -> None:
        """Look through all uploads. Raises StoreError."""
        since_ms = _now_ms() - round(keep_s * 1000)
        old = await asyncio.to_thread(lambda: list(uploads.unchanged_since(since_ms)))
        kept = await self._kept(list({run_id for _, users in old for run_id in users}))
        for upload_id, users in old:
            if not kept.issuperset(users) or not users:
                gone = [run_id for run_id in users if run_id not in kept]
                await asyncio.to_thread(uploads.expire, upload_id, since_ms, gone)

    async def _kept(self, run_ids: list[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(run_ids), LOOKED_UP):
            part = tuple(run_ids[start : start + LOOKED_UP])
            page = await self._store.runs(RunFilter(ids=part), limit=LOOKED_UP)
            found |= {run.id for run in page.runs}
        return found

    async def sweep(self) -> int:
        """Settle the runs of every lost worker; returns how many there were. Raises StoreError."""
        settled = 0
        for sign in await self._store.workers():
            if sign.worker != self._worker and self._is_lost(sign):
                for claimed in await self._store.take_over(self._name, sign):
                    await self.settle(claimed)
                    settled += 1
        if settled:
            self._on_settled()
        return settled

    def _is_lost(self, sign: WorkerSign) -> bool:
        if process_is_gone(sign.worker):
            return True
        return sign.expires_at_ms <= _now_ms() and self._may_judge()

    async def settle(self, claimed: Claimed) -> None:
        """Give a run that nobody executes back to the queue, or end it. Raises StoreError."""
        run = claimed.run
        try:
            if run.losses < run.crash_retries and not run.cancel:
                await self._store.requeue(claimed.lease, retry_at_ms(run.losses + 1), lost=True)
            else:
                reason = run.cancel_reason or "cancelled" if run.cancel else "worker_lost"
                if not await end_unexecuted(self._store, claimed, reason, self._meter):
                    return
            self._meter.lost_one(run.function)
        except Fenced:
            log.info("Run %s was settled by another process.", run.id)


async def _end_all(end: End, ends: Iterable[tuple[str, str]]) -> None:
    outcomes = await asyncio.gather(*[end(run_id, reason) for run_id, reason in ends], return_exceptions=True)
    # None keeps the others from being ended. One of each kind is told: they mostly fail together, with the store.
    for error in {type(one): one for one in outcomes if isinstance(one, Exception)}.values():
        fault = None if isinstance(error, StoreError) else error
        log.warning("A run can't be ended: %s", error, exc_info=fault)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
