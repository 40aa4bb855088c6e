"""Claims runs under their groups' limits, executes them, keeps the leases alive, and drains at shutdown."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..errors import Fenced, InvalidInput, StoreError
from ..models import Chunk, Claimed, Group, Lease, RunState
from ..settings import Settings
from ..storage.base import Store
from .active import Active, Reason
from .emission import plain_text
from .execute import STOP_GRACE_S, Execution
from .function import Function
from .journal import Journal
from .recorder import Outcome
from .run import Run

__all__ = ["Worker"]

log = logging.getLogger("penstock")

CLAIM_MOST = 256
"""Runs claimed in one transaction, so that others' writes are not held up."""

LOOK_S = 1.0
"""The line is looked at this often unasked: a wake-up may be lost, and a retry's time may have come."""

SIGNS_PER_LEASE = 3
"""Signs of life in one lease: two may be lost."""


class Worker:
    """Executes this process's share of the runs.

    name: unique to the process's life; what leases are held under.
    functions: by name; may grow until `start`.
    """

    def __init__(
        self, name: str, store: Store, functions: Mapping[str, Function], settings: Settings
    ) -> None:
        self.name = name
        self._store = store
        self._functions = functions
        self._settings = settings
        self._journal = Journal(store)
        self._wake = asyncio.Event()
        self._active: dict[str, Active] = {}
        self._runs: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._threads = 0
        self._lingering: Counter[str] = (
            Counter()
        )  # group to functions that go on though their runs have ended
        self._draining = False
        self._signed_at = float("-inf")
        self._signed_ms = 0
        self._left: set[asyncio.Future[Any]] = set()  # what goes on; asyncio itself holds tasks weakly
        self._steady_from = float("inf")
        self._claiming = asyncio.Lock()
        self._look_for_strays = False
        self._look_for_cancels = False  # another process may have asked for a stop

    async def sign_in(self) -> None:
        """Give the first sign of life, under which runs may be claimed. Raises StoreError."""
        await self._sign()
        await self._store.regroup(self._all_groups())

    def start(self, settle: Callable[[Claimed], Awaitable[None]]) -> None:
        """Begin to claim. `settle` ends, or gives back, a run in this worker's name that it does not execute."""
        self._settle = settle
        self._unlisten = self._store.listen(self._heard)
        self._loops = [
            asyncio.create_task(loop()) for loop in (self._journal.run, self._claim_loop, self._sign_loop)
        ]

    def wake(self) -> None:
        """Something was queued."""
        self._wake.set()

    def cancel(self, run_id: str) -> bool:
        """Stop a run that is under way here; False if it is not."""
        active = self._active.get(run_id)
        if active is None:
            self._look_for_cancels = True  # it may be claimed in this moment
            self._wake.set()
            return False
        active.stop("cancelled")
        return True

    def has(self, run_id: str) -> bool:
        """Whether the run is under way here."""
        return run_id in self._active

    @property
    def running(self) -> int:
        """Runs under way in this process."""
        return len(self._active)

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
            async with asyncio.timeout(grace_s - wind_down_s), self._claiming:
                pass
        if self._runs:
            await asyncio.wait(self._runs, timeout=max(0.0, interrupt_at - time.monotonic()))
        for active in list(self._active.values()):
            active.stop("shutdown", within_s=wind_down_s / 3)
        if self._runs:
            await asyncio.wait(self._runs, timeout=wind_down_s)

    async def stop(self) -> None:
        """End the loops and sign out. Call `drain` first."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if not self._loops:
            return  # it never signed in, and a store that let it not takes long to say so again
        self._unlisten()
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
        writing. One in our name that is not executed, of a claim whose answer was lost, is settled.
        """
        executed = {run_id: active.recorder.lease.fence for run_id, active in self._active.items()}
        # Runs may have come back to the queue, or from an older process, in a group that their function has left.
        await self._store.regroup(self._all_groups())
        held = await self._store.held(self.name)
        for run_id, fence in executed.items():
            if held.get(run_id) != fence and run_id in self._active:
                self._active[run_id].recorder.abandon()
        for run_id in held.keys() - executed.keys():
            claimed = await self._store.seize(self.name, run_id)
            if claimed is not None:
                await self._settle(claimed)
                self._wake.set()

    async def _sign_loop(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease_s / SIGNS_PER_LEASE)
            try:
                await self._sign()
                self._look_for_strays = True
                self._wake.set()
            except StoreError as error:
                log.error("The lease could not be renewed: %s %s", error.message, error.hint)  # noqa: TRY400
            except Exception:
                log.exception("The lease could not be renewed.")

    # Claims

    async def _claim_loop(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                self._look_for_cancels = True
            self._wake.clear()
            try:
                async with self._claiming:
                    await self._claim()
                    if self._look_for_strays:  # here, where no claim is under way
                        await self._reconcile()
                        self._look_for_strays = False
                await self._notice_cancels()
            except StoreError as error:
                log.error("Runs can't be claimed: %s %s", error.message, error.hint)  # noqa: TRY400
                await asyncio.sleep(LOOK_S)
            except Exception:  # a fault of ours, but while this process signs, no other would claim for it
                log.exception("Runs can't be claimed.")
                await asyncio.sleep(LOOK_S)

    async def _claim(self) -> None:
        for threaded in (False, True):
            while not self._draining:
                most = min(CLAIM_MOST, self._settings.max_threads - self._threads) if threaded else CLAIM_MOST
                groups = self._groups(threaded=threaded)
                if not groups or most <= 0:
                    break
                claimed = await self._store.claim(self.name, groups, _now_ms(), most)
                await asyncio.gather(*[self._begin(one) for one in claimed])
                if len(claimed) < most:
                    break

    def _groups(self, *, threaded: bool) -> list[Group]:
        groups: dict[str, tuple[list[str], int | None]] = {}
        for function in self._functions.values():
            if function.threaded is threaded:
                names, _ = groups.setdefault(function.group, ([], self._limit_of(function.group)))
                names.append(function.name)
        return [Group(name, tuple(names), limit) for name, (names, limit) in groups.items()]

    def _all_groups(self) -> list[Group]:
        return [*self._groups(threaded=False), *self._groups(threaded=True)]

    def _limit_of(self, group: str) -> int | None:
        """The lowest limit given in the group, less the functions that go on for ended runs."""
        default = self._settings.default_concurrency_limit
        given = (f.concurrency_limit for f in self._functions.values() if f.group == group)
        limits = [default if limit == "default" else limit for limit in given if limit is not None]
        return max(0, min(limits) - self._lingering[group]) if limits else None

    async def _notice_cancels(self) -> None:
        looking, self._look_for_cancels = self._look_for_cancels, False
        if looking and self._active:
            for run_id in await self._store.cancels(self.name):
                if run_id in self._active:
                    self._active[run_id].stop("cancelled")

    # Execution

    async def _begin(self, claimed: Claimed) -> None:
        if self._draining:  # it was claimed in the moment in which the shutdown began
            await self._give_back(claimed.lease)
            return
        function = self._functions[claimed.run.function]
        self._threads += function.threaded
        rate = self._settings.rate if function.rate is None else function.rate
        active = Active(claimed, self._journal.record(claimed, rate))
        self._active[claimed.run.id] = active
        task = asyncio.create_task(self._see_through(active, function), name=f"penstock-run-{claimed.run.id}")
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)

    async def _see_through(self, active: Active, function: Function) -> None:
        try:
            outcome = await active.outcome(self._prepare(active, function))
        except InvalidInput as error:  # the function's signature has changed since the run was submitted
            outcome = Outcome(RunState.FAILED, None, error.as_dict())
        except Exception as error:
            log.exception("Run %s could not be executed.", active.claimed.run.id)
            outcome = Outcome(
                RunState.FAILED, None, {"code": "exception", "message": plain_text(repr(error)), "hint": ""}
            )
        try:
            await self._conclude(active, outcome)
        finally:
            del self._active[active.claimed.run.id]
            self._free(function, active.left_behind)

    def _prepare(self, active: Active, function: Function) -> Execution:
        run, recorder = active.claimed.run, active.recorder
        if active.claimed.stream.tail > 0:
            recorder.withdraw(
                to=0, reason=f"attempt {run.attempt - 1} was cut short; attempt {run.attempt} begins again"
            )
        return Execution(function, Run(run, recorder), recorder, function.arguments(run.input))

    async def _conclude(self, active: Active, outcome: Outcome) -> None:
        run = active.claimed.run
        # Whatever a function makes of its cancellation, an error or a result: it was stopped.
        if active.reason is not None or outcome.state is RunState.CANCELLED:
            if active.reason == "shutdown" and run.retries > 0:
                active.recorder.abandon()
                await self._give_back(active.claimed.lease)
                return
            outcome = _explain(active.reason)
        active.recorder.end(outcome)
        await active.recorder.done

    async def _give_back(self, lease: Lease) -> None:
        try:
            await self._store.requeue(lease, 0)
        except (StoreError, Fenced) as error:
            log.warning("Run %s was not given back: %s", lease.run_id, error.message)

    def _free(self, function: Function, left_behind: asyncio.Future[Any] | None) -> None:
        if left_behind is None:
            self._threads -= function.threaded
            self._wake.set()
            return
        # It goes on: the run has ended, its slot has not.
        self._lingering[function.group] += 1
        self._left.add(left_behind)
        left_behind.add_done_callback(self._left.discard)
        left_behind.add_done_callback(lambda _: self._returned(function))

    def _returned(self, function: Function) -> None:
        self._lingering[function.group] -= 1
        self._threads -= function.threaded
        self._wake.set()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _explain(reason: Reason | None) -> Outcome:
    if reason == "shutdown":
        error = {
            "code": "shutdown",
            "message": "The server shut down before the run was finished.",
            "hint": "Submit it again.",
        }
        return Outcome(RunState.INTERRUPTED, None, error)
    if reason is None:  # the function cancelled itself
        error = {
            "code": "exception",
            "message": "CancelledError: the function was cancelled from within.",
            "hint": "",
        }
        return Outcome(RunState.FAILED, None, error)
    return Outcome(RunState.CANCELLED)
