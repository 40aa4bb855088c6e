"""Runs from the caller's side: submit, inspect, stop."""

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from ..errors import (
    InvalidInput,
    MemoryLimit,
    NotWaiting,
    QueueFull,
    RequestError,
    ServerClosing,
    StoreError,
    UnknownFunction,
    UnknownRun,
    UnknownUpload,
)
from ..events import MAX_EVENT_BYTES
from ..files import File
from ..hub import Hub, Status
from ..memory import MemoryGuard
from ..models import Chunk, Intake, RunFilter, RunPage, RunRecord, RunState, Stream, Submitted
from ..protocol.sse import json_in
from ..storage.base import ANYTHING, EVERY_RUN, Store
from ..storage.uploads import Uploads
from ..worker import Function, Worker, end_unexecuted
from .ids import new_epoch, new_run_id
from .recorded import RecordedLine, recorded_input
from .standings import Standings

__all__ = ["Queue", "Receipt"]

log = logging.getLogger("penstock")


STORED_BYTES = 3 * MAX_EVENT_BYTES
"""Most that an event takes in the store: in pieces, strings in JSON, twice its size, and what surrounds them."""


class _Last(msgspec.Struct):
    """A stream's last event, or the last piece of it, with the result's JSON as it stands there."""

    parts: int = 0
    data: str = ""
    result: msgspec.Raw = msgspec.Raw(b"null")


def _last_in(chunk: Chunk) -> _Last:
    return msgspec.json.decode(json_in(chunk.data)[-1], type=_Last)


def _whole_in(chunks: list[Chunk], parts: int) -> _Last:
    rows = [row for chunk in chunks for row in json_in(chunk.data)]
    pieces = [msgspec.json.decode(row, type=_Last).data for row in rows[-parts:]]
    return msgspec.json.decode("".join(pieces), type=_Last)


class Receipt(NamedTuple):
    """A run that was taken in, and where it stands."""

    run: RunRecord
    status: Status


class Queue:
    """Runs from the caller's side. All methods raise StoreError while the store can't answer."""

    def __init__(
        self,
        store: Store,
        functions: Mapping[str, Function],
        worker: Worker,
        standings: Standings,
        hub: Hub,
        memory: MemoryGuard,
        uploads: Uploads,
    ) -> None:
        self._store = store
        self._functions = functions
        self._worker = worker
        self._standings = standings
        self._hub = hub
        self._memory = memory
        self._uploads = uploads
        self._submitted_ms = 0
        self.closing = False
        self.recorded = RecordedLine(store, worker.name)
        """What waits in this process's care, of functions whose line is kept elsewhere."""
        self.meter = worker.meters.runs

    async def submit(
        self, function: str, given: bytes | msgspec.Raw, *, key: str | None = None, session: str | None = None
    ) -> Receipt:
        """Queue a run; once this returns it will be executed, whatever happens to this process.

        Args:
            function: A registered function's name.
            given: The input, a JSON object with one member per parameter.
            key: Idempotency key: the same key for the same function returns the earlier run.
            session: Whom the run belongs to; kept with it.

        Raises:
            UnknownFunction, InvalidInput, AlreadyRunning, QueueFull, MemoryLimit, ServerClosing: Nothing was
                queued.
        """
        self._check_open()
        if self._memory.tight:
            raise MemoryLimit(
                f"Memory is tight: {self._memory}.", hint="Submit again when runs have ended, or cancel some."
            )
        known = self._function(function)
        if known.takes_files:
            submitted = await self._submit_with_files(known, given, key, session)
        else:
            run = _record(known, given, known.arguments(given), key, session, self._clock_ms())
            submitted = await self._submit(known, run, self._worker.groups.intake_of(known))
        if known.recorded:
            self.recorded.wake()
        else:
            self._worker.wake()
        return await self._receipt(submitted)

    async def take_in(
        self,
        function: str,
        given: bytes | msgspec.Raw | Mapping[str, Any],
        *,
        run_id: str,
        session: str | None = None,
        key: str | None = None,
    ) -> Receipt:
        """Keep a run of a recorded function, which something else has in its line already: one commit.

        Its line is in this process's care from now on: see `RecordedLine.listen` and `Worker.record`. The
        group's `max_size` is not asked about. Where the key was used for this function before, or there is a run
        of this id, the receipt is that run's.

        Args:
            function: A recorded function's name.
            given: The input, a JSON object; not looked at beyond its size.
            run_id: Not used before; whoever knows it may read the run.
            session, key: As of `submit`.

        Raises:
            UnknownFunction, InvalidInput, ServerClosing: Nothing was kept.
        """
        self._check_open()
        known = self._function(function)
        run = _record(known, recorded_input(given), {}, key, session, self._clock_ms(), run_id)
        new, fresh = (
            self.recorded.keep(run_id),
            False,
        )  # before it is stored: another process may end it at once
        try:
            submitted = await self._submit(
                known, msgspec.structs.replace(run, worker=self._worker.name), ANYTHING
            )
            fresh = submitted.fresh
        finally:
            if new and not fresh:
                self.recorded.forget(run_id)
        return await self._receipt(submitted)

    async def waiting_recorded(self, functions: Collection[str], limit: int) -> list[RunRecord]:
        """Runs of these functions that wait and that nobody has in a line: after a restart, or submitted through
        the API. Oldest first, at most `limit`, each to one process: they are in this one's care from now on."""
        if self.closing:  # they are the next process's
            return []
        return await self.recorded.adopt(functions, time.time_ns() // 1_000_000, limit)

    def _check_open(self) -> None:
        if self.closing:
            raise ServerClosing("The server is shutting down.", hint="Submit again in a few seconds.")

    async def _receipt(self, submitted: Submitted) -> Receipt:
        if submitted.fresh:
            self.meter.accepted(submitted.run.function)
        try:
            for replaced in submitted.replaced:
                await self.cancel(replaced, "replaced")
            status = await self._standings.of_submitted(submitted)
        except StoreError as error:  # it is stored: an error would have the caller submit it again
            log.warning("Where %s stands can't be said: %s", submitted.run.id, error.message)
            status = {"position": None, "eta_s": None}
        else:
            self._hub.note(submitted.run.id, status)
        return Receipt(submitted.run, status)

    def _clock_ms(self) -> int:
        # A clock that is set back does not put later runs before earlier ones.
        self._submitted_ms = max(self._submitted_ms, time.time_ns() // 1_000_000)
        return self._submitted_ms

    def _function(self, name: str) -> Function:
        known = self._functions.get(name)
        if known is None:
            raise UnknownFunction(
                f"There is no function {name!r}.", hint="GET /api/functions lists them.", field="function"
            )
        return known

    async def _submit_with_files(
        self, function: Function, given: bytes | msgspec.Raw, key: str | None, session: str | None
    ) -> Submitted:
        files: list[str] = []

        def find(upload_id: str) -> File | None:
            file = self._uploads.find(upload_id)
            files.extend([] if file is None else [file.id])
            return file

        arguments = await asyncio.to_thread(function.arguments, given, find)
        run = _record(function, given, arguments, key, session, self._clock_ms())
        try:  # before the run is there: a process that dies now leaves a mark behind, not a run without its file
            await asyncio.to_thread(self._uploads.use, files, run.id)
        except UnknownUpload as error:
            raise InvalidInput("An uploaded file has just been removed.", hint="Upload it again.") from error
        try:
            submitted = await self._submit(function, run, self._worker.groups.intake_of(function))
        except RequestError:  # after any other it may be stored; the janitor looks whether it is
            await asyncio.to_thread(self._uploads.release, files, run.id)
            raise
        if not submitted.fresh:
            await asyncio.to_thread(self._uploads.release, files, run.id)
        return submitted

    async def _submit(self, function: Function, run: RunRecord, intake: Intake) -> Submitted:
        epoch, fresh = new_epoch(), False
        # Before it is stored: once it is, any worker may write to it.
        expected = self._hub.expect(Stream(run.id, epoch, 0, ended=False))
        try:
            submitted = await self._store.submit(run, epoch, intake)
            fresh = submitted.fresh
        except QueueFull as error:
            error.retry_after_s = await self._standings.room_in_s(function.group)
            raise
        else:
            return submitted
        finally:
            if expected and not fresh:
                self._hub.forget(run.id)

    async def get(self, run_id: str) -> RunRecord:
        """One run. Raises UnknownRun."""
        run = await self._store.run(run_id)
        if run is None:
            raise UnknownRun(f"There is no run {run_id!r}.", hint="It may be of another store, or long gone.")
        return run

    async def page(
        self, sought: RunFilter = EVERY_RUN, *, limit: int = 50, before: str | None = None
    ) -> RunPage:
        """Runs, newest first; see `RunStore.runs`. Raises BadRequest for a `before` that no page gave."""
        return await self._store.runs(sought, limit=limit, before=before)

    async def stored(self, run: RunRecord) -> tuple[int, Any]:
        """How many events the run's stream has, and what a succeeded one returned, or None."""
        stream = await self._store.stream(run.id)
        if stream is None:
            return 0, None
        return stream.tail, await self._result(stream) if run.state is RunState.SUCCEEDED else None

    async def _result(self, stream: Stream) -> Any:
        chunks = await self._store.read(stream.name, stream.tail - 1, 1)
        if not chunks:
            return None
        last = await asyncio.to_thread(_last_in, chunks[-1])  # it may have megabytes
        if last.parts:
            chunks = await self._store.read(stream.name, stream.tail - last.parts, STORED_BYTES)
            last = await asyncio.to_thread(_whole_in, chunks, last.parts)
        return last.result

    async def cancel(self, run_id: str, reason: str = "cancelled") -> tuple[RunRecord, str]:
        """Ask for a stop. Returns the run and how far the stop has come.

        `stopped`: the run has ended, by this or before; `acknowledged`: its worker is stopping it;
        `requested`: noted, and its worker, another process, will see it. Raises UnknownRun.
        """
        run = await self._store.request_cancel(run_id, reason)
        if run is None:
            return await self.get(run_id), "stopped"
        if run.state.ended:
            return run, "stopped"
        if run.state is RunState.QUEUED and await self.end_waiting(run_id, run.cancel_reason or reason):
            return await self.get(run_id), "stopped"
        if not self._worker.cancel(run_id, run.cancel_reason or reason):
            self._standings.tell_stopping(run_id, "requested")
            return run, "requested"
        await self._store.acknowledge([run_id])
        self._standings.tell_stopping(run_id, "acknowledged")
        return run, "acknowledged"

    async def prioritize(self, run_id: str, priority: int) -> Receipt:
        """Give a waiting run another priority, in minutes of waiting. Raises UnknownRun, NotWaiting."""
        run = await self._store.prioritize(run_id, priority)
        if run is None:
            run = await self.get(run_id)  # it raises
        if run.state is not RunState.QUEUED:
            raise NotWaiting(
                f"Run {run_id} does not wait.", hint="Only runs in the queue have a place in line."
            )
        self._worker.wake()
        return Receipt(run, (await self._standings.of([run])).get(run_id, {}))

    async def stop_for(self, run_id: str, reason: str) -> None:
        """Stop a run for a reason of the system's own: one that waits too long only where it waits."""
        if reason == "queue_timeout":
            await self.end_waiting(run_id, reason)
        else:
            await self.cancel(run_id, reason)

    async def end_waiting(self, run_id: str, reason: str) -> bool:
        """End a run in the queue; False if it is not there (any more). Raises StoreError."""
        claimed = await self._store.seize(self._worker.name, run_id, waiting=True)
        # If it is claimed in this moment, its worker finds the request with it.
        ended = claimed is not None and await end_unexecuted(self._store, claimed, reason, self.meter)
        if ended:
            self.recorded.left(run_id, reason)
        return ended


def _record(
    function: Function,
    given: bytes | msgspec.Raw,
    arguments: Mapping[str, Any],
    key: str | None,
    session: str | None,
    now_ms: int,
    run_id: str | None = None,
) -> RunRecord:
    """A run as it is submitted. Raises InvalidInput where the app's own questions fail."""
    options = function.options
    grace_ms = round(options.abandon_grace_s * 1000) if options.on_abandon == "cancel" else None
    return RunRecord(
        id=run_id or new_run_id(now_ms),
        function=function.name,
        group=function.group,
        state=RunState.QUEUED,
        created_at_ms=now_ms,
        input=msgspec.Raw(bytes(given)),
        key=key,
        session=session,
        lane=function.lane_of(arguments, session),
        priority=function.priority_of(arguments),
        crash_retries=options.crash_retries,
        start_by_ms=None
        if options.queue_timeout_s is None
        else now_ms + round(options.queue_timeout_s * 1000),
        abandon_grace_ms=grace_ms,
    )
