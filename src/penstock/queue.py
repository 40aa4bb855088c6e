"""Taking runs in, stopping them, and saying where they stand."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from .errors import Fenced, ServerClosing, UnknownFunction, UnknownRun
from .models import Chunk, RunPage, RunRecord, RunState
from .protocol.sse import json_in
from .storage.base import Store
from .worker import Function, Worker, end_unexecuted

__all__ = ["Queue"]

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"

RUN_ID_CHARS = 24
"""124 bits: whoever knows an id may read the run, so it must not be guessed."""

EPOCH_CHARS = 10
"""51 bits: epochs of one name must differ, nobody gains by guessing one."""


def _random(chars: int) -> str:
    return "".join([secrets.choice(ALPHABET) for _ in range(chars)])


def _result_in(chunk: Chunk) -> msgspec.Raw:
    """The result's JSON as it stands in a final chunk."""
    return msgspec.json.decode(json_in(chunk.data)[-1], type=_Result).result


class _Result(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")


class Queue:
    """Runs from the caller's side. All methods raise StoreError while the store can't answer."""

    def __init__(self, store: Store, functions: Mapping[str, Function], worker: Worker) -> None:
        self._store = store
        self._functions = functions
        self._worker = worker
        self.closing = False

    async def submit(
        self, function: str, given: bytes | msgspec.Raw, *, key: str | None = None, session: str | None = None
    ) -> RunRecord:
        """Queue a run; once this returns it will be executed, whatever happens to this process.

        Args:
            function: A registered function's name.
            given: The input, a JSON object with one member per parameter.
            key: Idempotency key: the same key for the same function returns the earlier run.
            session: Whom the run belongs to; kept with it.

        Raises:
            UnknownFunction, InvalidInput, ServerClosing: Nothing was queued.
        """
        if self.closing:
            raise ServerClosing("The server is shutting down.", hint="Submit again in a few seconds.")
        known = self._functions.get(function)
        if known is None:
            raise UnknownFunction(
                f"There is no function {function!r}.", hint="GET /api/functions lists them.", field="function"
            )
        known.arguments(given)
        run = RunRecord(
            id=f"run_{_random(RUN_ID_CHARS)}",
            function=function,
            group=known.group,
            state=RunState.QUEUED,
            created_at_ms=time.time_ns() // 1_000_000,
            input=msgspec.Raw(bytes(given)),
            key=key,
            session=session,
            retries=known.retries,
        )
        kept, _ = await self._store.submit(run, _random(EPOCH_CHARS))
        self._worker.wake()
        return kept

    async def get(self, run_id: str) -> RunRecord:
        """One run. Raises UnknownRun."""
        run = await self._store.run(run_id)
        if run is None:
            raise UnknownRun(f"There is no run {run_id!r}.", hint="It may be of another store, or long gone.")
        return run

    async def page(
        self,
        *,
        function: str | None = None,
        state: RunState | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> RunPage:
        """Runs, newest first. Raises BadRequest for a `before` that no page gave."""
        return await self._store.runs(function=function, state=state, limit=limit, before=before)

    async def position(self, run: RunRecord) -> int | None:
        """1 for the next of its group to start; None once it has started."""
        if run.state is not RunState.QUEUED:
            return None
        if all(f.concurrency_limit is None for f in self._functions.values() if f.group == run.group):
            return 1  # nobody waits in a group without a limit
        return await self._store.waiting_before(run) + 1

    async def standing(self, run_id: str) -> dict[str, Any] | None:
        """Where a run stands that has written nothing yet, as its readers are told; None once it has ended."""
        if self._worker.has(run_id):
            return {"state": RunState.RUNNING, "position": None, "eta_s": None}
        run = await self._store.run(run_id)
        if run is None or run.state.ended:
            return None
        return {"state": run.state, "position": await self.position(run), "eta_s": None}

    async def result(self, run: RunRecord) -> Any:
        """What a succeeded run returned, or None."""
        if run.state is not RunState.SUCCEEDED:
            return None
        stream = await self._store.stream(run.id)
        if stream is None:
            return None
        for chunk in await self._store.read(run.id, stream.tail - 1, 1):
            return await asyncio.to_thread(_result_in, chunk)  # it may have megabytes
        return None

    async def cancel(self, run_id: str) -> tuple[RunRecord, str]:
        """Ask for a stop. Returns the run and how far the stop has come.

        `stopped`: the run has ended, by this or before; `acknowledged`: its worker is stopping it;
        `requested`: noted, and its worker, another process, will see it. Raises UnknownRun.
        """
        run = await self._store.request_cancel(run_id)
        if run is None:
            return await self.get(run_id), "stopped"
        if run.state.ended:
            return run, "stopped"
        if run.state is RunState.QUEUED and await self._end_unstarted(run_id):
            return await self.get(run_id), "stopped"
        return run, "acknowledged" if self._worker.cancel(run_id) else "requested"

    async def _end_unstarted(self, run_id: str) -> bool:
        claimed = await self._store.seize(self._worker.name, run_id)
        if claimed is None:
            return False
        try:
            await end_unexecuted(self._store, claimed, RunState.CANCELLED)
        except Fenced:  # it was claimed in this moment; its worker finds the request with it
            return False
        return True
