"""Claims runs under their groups' limits, executes them, keeps the leases alive, and drains at shutdown."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import groupby

from ..errors import StoreError, UnknownFunction
from ..memory import HELD_S, Pressure
from ..meters import Meters
from ..models import Chunk, Claimed
from ..settings import Settings
from ..storage.base import Store
from ..storage.uploads import Uploads, make_uploads
from ..trouble import Trouble
from .execute import STOP_GRACE_S
from .executor import Executor
from .function import Function
from .gate import Gate
from .groups import Groups
from .journal import Journal
from .recording import OnStop, Recording

__all__ = ["Worker"]

log = logging.getLogger("penstock")

CLAIM_MOST = 256
"""Runs claimed in one transaction, so that others' writes are not held up."""

LOOK_S = 1.0
"""The line is looked at this often unasked: a wake-up may be lost, and a retry's time may have come."""

DUE_AGAIN_S = 0.01
"""The least wait for what comes due: several times that lie close together are one claim."""

SIGNS_PER_LEASE = 3
"""Signs of life in one lease: two may be lost."""


class Worker:
    """Executes this process's share of the runs.

    name: unique to the process's life; what leases are held under.
    functions: by name; may grow until `start`.
    pressure: no run is claimed while memory is tight, as long as there is one here that may end and free its own.
    meters: where it counts what it does. uploads: by default those of the settings' store.
    """

    on_recorded: Callable[[str], None] | None = None
    """Called with a run that something else has begun to execute, and that is recorded here from now on."""

    def __init__(
        self,
        name: str,
        store: Store,
        functions: Mapping[str, Function],
        settings: Settings,
        pressure: Pressure | None = None,
        *,
        meters: Meters | None = None,
        uploads: Uploads | None = None,
    ) -> None:
        self.name = name
        self.meters = meters = meters or Meters()
        self._store, self._functions = store, functions
        self.groups = Groups(functions, settings)
        self._settings = settings
        self._journal = Journal(store, meters.appends.stored)
        self._pressure = pressure = pressure or Pressure()
        self._wake = wake = asyncio.Event()
        doing = wake.set, pressure, meters.runs, uploads or make_uploads(settings.store)
        self._executor = Executor(store, self._journal, functions, settings, *doing)
        self._loops: list[asyncio.Task[None]] = []
        self._draining = False
        self._due_ms: int | None = None
        self._claimed_ms = 0  # as of when the last claim looked
        self._signed_at, self._signed_ms, self._steady_from = float("-inf"), 0, float("inf")
        self._claiming, self._starting = asyncio.Lock(), Gate()
        # Another process may have asked for a stop.
        self._look_for_strays = self._look_for_cancels = False
        self._acknowledged: set[str] = set()

    async def sign_in(self) -> None:
        """Give the first sign of life, under which runs may be claimed. Raises StoreError."""
        await self._sign()
        await self._store.regroup(self.groups.of())

    def start(self, settle: Callable[[Claimed], Awaitable[None]]) -> None:
        """Begin to claim. `settle` ends, or gives back, a run in this worker's name that it does not execute.

        Raises ConfigError for an isolated function that another process can't find.
        """
        self._executor.children.begin()
        self._settle = settle
        self._unlisten = self._store.listen(self._heard)
        self._unlisten_memory = self._pressure.listen_in_loop(self._wake.set)
        self._loops = [
            asyncio.create_task(loop()) for loop in (self._journal.run, self._claim_loop, self._sign_loop)
        ]

    def wake(self) -> None:
        """Something was queued."""
        self._wake.set()

    def cancel(self, run_id: str, reason: str = "cancelled") -> bool:
        """Stop a run that is under way here; False if it is not."""
        active = self._executor.active.get(run_id)
        if active is None:
            self._look_for_cancels = True  # it may be claimed in this moment
            self._wake.set()
            return False
        active.stop(reason)
        return True

    def has(self, run_id: str) -> bool:
        """Whether the run is under way here."""
        return run_id in self._executor.active

    @property
    def running(self) -> int:
        """Runs under way in this process."""
        return len(self._executor.active)

    async def record(self, run_id: str, on_stop: OnStop) -> Recording | None:
        """Start a run that something else executes, and write down what it says. Any number at once.

        None where it does not wait any more (it was cancelled, or another process has it), and where this process
        is leaving: then it waits for the next one.

        on_stop: see `OnStop`. The run then ends when `Recording.end` is called, or after `STOP_GRACE_S` by itself;
        with "fenced" it is another worker's, and nothing more is written.

        Raises:
            StoreError: It may have been started all the same; then it is given back within seconds.
            UnknownFunction: There is no such function here (any more); the run still waits.
        """
        async with self._starting.passing():
            claimed = None
            if not self._draining:
                claimed = await self._store.start(self.name, run_id, _now_ms())
            if claimed is None:
                return None
            known = claimed.run.function in self._functions
            if self._draining or not known:
                await self._executor.give_back([claimed])
                if not known:
                    raise UnknownFunction(f"There is no function {claimed.run.function!r}.")
                return None
            self.meters.runs.started(claimed.run)
            recording = self._executor.record(claimed, on_stop)
        if self.on_recorded is not None:
            self.on_recorded(run_id)
        return recording

    def hold(self) -> None:
        """Claim no more."""
        self._draining = True
        self._wake.set()

    async def drain(self, grace_s: float) -> None:
        """Claim no more, give the runs time to finish, then interrupt them or give them back: all in `grace_s`.

        When this returns the store knows each run's fate, unless it can't be written or a function would not
        be stopped; such runs are settled by whoever sweeps next.
        """
        self.hold()
        wind_down_s = min(STOP_GRACE_S, grace_s / 4)
        interrupt_at = time.monotonic() + grace_s - wind_down_s
        with contextlib.suppress(TimeoutError):  # a claim under way is to be given back, not forgotten
            async with asyncio.timeout(grace_s - wind_down_s), self._claiming, self._starting.alone():
                pass
        await self._wait(max(0.0, interrupt_at - time.monotonic()))
        await self.interrupt(wind_down_s)

    async def interrupt(self, within_s: float) -> None:
        """Interrupt the runs or give them back; the functions have a third of the time, and then the store."""
        for active in list(self._executor.active.values()):
            active.stop("shutdown", within_s=within_s / 3)
        await self._wait(within_s)

    async def _wait(self, timeout_s: float) -> None:
        if self._executor.tasks:
            await asyncio.wait(self._executor.tasks, timeout=timeout_s)

    async def stop(self) -> None:
        """End the loops and what is left of the runs, and sign out. Call `drain` first."""
        await self._executor.children.close()
        loops, self._loops = self._loops, []
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        self._executor.abandon_recordings()
        await self._executor.close()
        if not loops:
            return  # it never signed in, and a store that let it not takes long to say so again
        self._unlisten()
        self._unlisten_memory()
        if self._executor.left_for_others:
            return  # signed out, it would be taken for gone at once, while its functions go on
        try:
            await self._store.leave(self.name)
        except StoreError as error:
            log.warning("Signing out failed; the lease runs out by itself: %s", error.message)

    def _heard(self, stream: str | None, _chunk: Chunk | None) -> None:
        if stream is None:
            self._look_for_cancels = True
            self._wake.set()

    # Leases

    async def _sign(self) -> None:
        lease_s, now_ms = self._settings.lease_s, _now_ms()
        await self._store.sign(self.name, now_ms + round(lease_s * 1000))
        now = time.monotonic()
        # Both clocks: one stands still while the machine sleeps, the other is set.
        if now - self._signed_at > lease_s / 2 or now_ms - self._signed_ms > lease_s * 500:
            self._steady_from = now
        self._signed_at, self._signed_ms = now, now_ms

    def may_judge(self) -> bool:
        """Whether another worker's silence is its own fault: for a whole lease nothing has kept us from signing.

        While a store is locked or full nobody can sign, and whoever came first after it would else take the
        others' runs.
        """
        lease_s, now = self._settings.lease_s, time.monotonic()
        fresh = now - self._signed_at < lease_s / 2 and _now_ms() - self._signed_ms < lease_s * 500
        return fresh and now - self._steady_from >= lease_s

    async def _reconcile(self) -> None:
        """Compare what is executed here with what the store says is.

        A run that another worker took over, while this process was asleep, is stopped before it notices by
        writing. One in our name that is not executed is settled: given back, if it was never begun here.
        """
        executed = {run_id: active.recorder.lease.fence for run_id, active in self._executor.active.items()}
        # Runs may have come back to the queue, or from an older process, in a group that their function has left.
        await self._store.regroup(self.groups.of())
        held = await self._store.held(self.name)
        for run_id, fence in executed.items():
            if held.get(run_id) != fence and run_id in self._executor.active:
                self._executor.active[run_id].recorder.abandon()
        self._executor.given_up &= held.keys()
        if not self._draining:  # what outlives the drain is settled by others, once this process is gone
            # Nor what goes on here after all: a second attempt would run beside the first.
            for run_id in held.keys() - executed.keys() - self._executor.left_behind:
                await self._settle_stray(run_id)

    async def _settle_stray(self, run_id: str) -> None:
        claimed = await self._store.seize(self.name, run_id)
        if claimed is None:
            return
        if run_id in self._executor.given_up or claimed.run.cancel:
            await self._settle(claimed)
        else:  # of a claim whose answer was lost
            await self._executor.give_back([claimed])
        self._wake.set()

    async def _sign_loop(self) -> None:
        trouble = Trouble(log, "The lease could not be renewed", logging.ERROR)
        while True:
            await asyncio.sleep(self._settings.lease_s / SIGNS_PER_LEASE)
            try:
                await self._sign()
                self._look_for_strays = True
                self._wake.set()
                trouble.over()
            except Exception as error:  # noqa: BLE001 - said; it is tried again
                trouble.met(error)

    # Claims

    async def _claim_loop(self) -> None:
        trouble = Trouble(log, "Runs can't be claimed", logging.ERROR)
        while True:
            await self._wait_for_news()
            try:
                async with self._claiming:
                    await self._claim()
                    if self._look_for_strays:  # here, where no claim is under way, nor a start
                        async with self._starting.alone():
                            await self._reconcile()
                        self._look_for_strays = False
                await self._notice_cancels()
                trouble.over()
            except Exception as error:  # noqa: BLE001 - while this process signs, no other would claim for it
                trouble.met(error)
                await asyncio.sleep(LOOK_S)

    async def _wait_for_news(self) -> None:
        try:
            async with asyncio.timeout(self._wait_s()):
                await self._wake.wait()
        except TimeoutError:
            self._look_for_cancels = True
        self._wake.clear()

    def _wait_s(self) -> float:
        """How long the line may be left alone, unless somebody wakes this loop."""
        # What was due at the last claim, and not claimed by it, waits for a place, which comes with a wake-up, or
        # is somebody else's.
        if self._due_ms is None or self._due_ms <= self._claimed_ms:
            return LOOK_S
        return min(LOOK_S, max(DUE_AGAIN_S, (self._due_ms - _now_ms()) / 1000))

    async def _claim(self) -> None:
        while not self._draining and (most := self._most_at_once()):
            threads = self._settings.max_threads - self._executor.threads
            groups = self.groups.claimable(threaded=threads > 0)
            most = min(most, threads) if threads > 0 else most
            now_ms = _now_ms()
            claimed = await self._store.claim(self.name, groups, now_ms, most) if groups else []
            self._claimed_ms = now_ms
            calls = [list(call) for _, call in groupby(claimed, key=lambda one: one.run.call)]
            for call in calls:
                await self._begin(call)
            if len(calls) < most:
                break
        # Only where something waits for its time is it worth another look into the store.
        looks = not (self._draining or self._pressure.tight) and self._may_be_due()
        self._due_ms = await self._store.due_at_ms() if looks else None

    def _most_at_once(self) -> int:
        """How many calls may begin now, as far as memory goes."""
        if not self._pressure.tight:
            return CLAIM_MOST
        # Where nothing runs here, nothing here will free any: not to wait for ever, one is tried after the other.
        return int(not self._executor.active and self._pressure.lasted_s >= HELD_S[1])

    def _may_be_due(self) -> bool:
        options = [function.options for function in self._functions.values()]
        return any(
            one.rate_limit or one.retries or one.crash_retries or (one.batch and one.max_wait_ms)
            for one in options
        )

    async def _begin(self, call: list[Claimed]) -> None:
        if self._draining:  # it was claimed in the moment in which the shutdown began
            await self._executor.give_back(call)
        else:
            for claimed in call:
                self.meters.runs.started(claimed.run)
            self._executor.begin(call)

    async def _notice_cancels(self) -> None:
        looking, self._look_for_cancels = self._look_for_cancels, False
        if not (looking and self._executor.active):
            return
        found = await self._store.cancels(self.name)
        stopping = [run_id for run_id in found if run_id in self._executor.active]
        for run_id in stopping:
            self._executor.active[run_id].stop(found[run_id])
        fresh = [run_id for run_id in stopping if run_id not in self._acknowledged]
        if fresh:
            await self._store.acknowledge(fresh)
        self._acknowledged = set(stopping)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
