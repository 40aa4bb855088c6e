"""Gradio's events as runs: their functions, what the store keeps of them, and how they are read."""

import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from typing import Any, NamedTuple

from ....errors import StoreError, UnknownRun
from ....events import AnyEvent, Folded
from ....models import RunRecord, RunState
from ....services import Host
from ....storage.base import ValueStore
from ....trouble import Trouble
from ....worker import Recording
from ..seams.functions import Dependency
from ..seams.surfaces import Surfaces
from .kept import kept_in
from .patience import patiently

__all__ = ["Runs", "Told"]

log = logging.getLogger("penstock")

KNOWN_OWNERS = 4096
"""Runs whose owner is remembered, the latest, so that each reconnect does not ask the store."""


class Told(NamedTuple):
    """What a reader of a run is told next: an event, where it stands, or that the server is leaving."""

    epoch: str
    event: AnyEvent | Folded | None = None
    status: dict[str, Any] | None = None
    leaving: bool = False


class Runs:
    """The runs of one Gradio app."""

    def __init__(self, app: Host, surfaces: Surfaces, gradio: Any) -> None:
        self._app = app
        self._surfaces = surfaces
        self._gradio = gradio
        self._indexes: dict[str, int] = {}
        self._registered: dict[str, Dependency] = {}
        self._owners: OrderedDict[str, str | None] = OrderedDict()
        self._trouble = Trouble(log, "Runs that wait for Gradio can't be looked for")

    async def start(self, left: Callable[[str, str], None], waiting: Callable[[], None]) -> None:
        """Open the store. Raises StoreError.

        left: told of a run in our care that was ended while it waited, and why.
        waiting: told when there may be more to take up.
        """
        self._services = await self._app.start()
        self._services.queue.recorded.listen(left, waiting)
        for function in self._surfaces.functions(self._gradio):
            self._indexes[self._register(function)] = function.index

    @property
    def server(self) -> Any:
        """Penstock's own server."""
        return self._services.server

    @property
    def values(self) -> ValueStore:
        """Where values are kept that belong to no run."""
        return self._services.store

    # Functions

    def function(self, session_hash: str, fn_index: int | None, api_name: str | None) -> str:
        """The name under which a Gradio function's runs are kept: looked up anew, as reload mode changes it."""
        return self._register(self._surfaces.dependency(self._gradio, session_hash, fn_index, api_name))

    def index_of(self, function: str) -> int | None:
        """The number of a function by its name; None for one that only a session has."""
        return self._indexes.get(function)

    def home_of(self, function: str) -> str:
        """The name of the file in which a function was written; empty where that can't be told."""
        found = self._registered.get(function)
        return "" if found is None else found.home

    def passwords_of(self, function: str) -> tuple[int, ...]:
        """The places of a function's inputs that are passwords."""
        found = self._registered.get(function)
        return () if found is None else found.passwords

    def _register(self, function: Dependency) -> str:
        if self._registered.get(function.name) == function:
            return function.name
        self._registered[function.name] = function
        self._app.recorded(
            function.name,
            concurrency_limit=function.concurrency_limit,
            concurrency_id=function.concurrency_id,
            on_crash="retry" if function.idempotent else "fail",
            description=function.description,
        )
        return function.name

    # Writing

    async def take_in(
        self, run_id: str, function: str, given: bytes, session: str, owner: str | None, key: str | None
    ) -> RunRecord:
        """Keep an event as a run that waits; with a key that was used, the earlier run. Raises StoreError."""
        queue = self._services.queue
        receipt = await queue.take_in(function, given, run_id=run_id, session=session, key=key)
        run = receipt.run
        if run.id == run_id:  # an earlier run is whose it was
            self.remember(run.id, owner)
        return run

    async def record(self, run_id: str, on_stop: Callable[[str], None]) -> Recording | None:
        """Begin to write a run; None where it does not wait any more. Raises StoreError."""
        return await self._services.worker.record(run_id, on_stop)

    async def fail(self, run_id: str, error: dict[str, Any], state: RunState = RunState.FAILED) -> None:
        """End a run that waits and that Gradio has not; once the store can be written."""
        recording = await patiently(lambda: self.record(run_id, lambda _: None), f"The end of run {run_id}")
        if recording is not None:
            await recording.end(state, error=error)

    async def cancel(self, run_id: str, reason: str) -> None:
        """Stop a run, wherever it is; once the store can be written. Nothing where there is none (any more)."""
        with contextlib.suppress(UnknownRun):
            cancel = self._services.queue.cancel
            await patiently(lambda: cancel(run_id, reason), f"The stop of run {run_id}")

    def tell(self, run_id: str, status: dict[str, Any]) -> None:
        """Tell the readers of a run where it stands in Gradio's line."""
        self._services.hub.note(run_id, status)
        self._services.hub.tell(run_id, status)

    async def waiting(self, limit: int) -> list[RunRecord]:
        """Runs that wait and that nobody has in a line, the oldest first; each is given once.

        No runs while the store can't be asked, which is said.
        """
        try:
            found = await self._services.queue.waiting_recorded(self._indexes.keys(), limit)
        except StoreError as error:
            self._trouble.met(error)
            return []
        self._trouble.over()
        return found

    # Reading

    async def run(self, run_id: str) -> RunRecord | None:
        """One run, or None."""
        return await self._services.store.run(run_id)

    async def read(self, run_id: str) -> AsyncGenerator[Told, None]:
        """A run from its first event to its end, or to the server's leaving; nothing, where there is none."""
        with contextlib.suppress(UnknownRun):
            async with contextlib.aclosing(self._services.follow(run_id)) as following:
                async for news in following:
                    epoch = news.cursor.epoch
                    if news.status is not None:
                        yield Told(epoch, status=news.status)
                    for event in news.events:
                        yield Told(epoch, event)
                    if news.leaving:
                        yield Told(epoch, leaving=True)

    async def owner_of(self, run_id: str) -> tuple[bool, str | None]:
        """Whether there is such a run, and whose it is."""
        if run_id not in self._owners:
            run = await self.run(run_id)
            if run is None:
                return False, None
            kept = kept_in(run).gradio
            self.remember(run_id, None if kept is None else kept.owner)
        return True, self._owners[run_id]

    async def ended_within(self, run_id: str, period_s: float) -> bool:
        """Whether a run goes on, or has ended no longer ago than that."""
        run = await self.run(run_id)
        ended_ms = None if run is None else run.ended_at_ms
        return run is not None and (ended_ms is None or time.time() - ended_ms / 1000 <= period_s)

    def remember(self, run_id: str, owner: str | None) -> None:
        """Whose a run is."""
        self._owners[run_id] = owner
        if len(self._owners) > KNOWN_OWNERS:
            self._owners.popitem(last=False)
