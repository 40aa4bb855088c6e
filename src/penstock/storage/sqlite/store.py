"""The default store: one SQLite file in WAL mode, shared by as many processes as one machine runs.

What an answered write survives is the `synchronous` setting's choice (https://sqlite.org/pragma.html):

- `full`, the default: a power loss. The commit waits for the disk.
- `normal`: the death of any process, but a power loss may take back the last commits (never damage the file).

The file must lie on a local disk: WAL shares memory between processes, which network file systems don't.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any, TypeVar

from ...errors import Fenced, StoreUnavailable
from ...meters import StoreWork
from ...models import (
    Append,
    Chunk,
    Claimed,
    Ending,
    Group,
    Intake,
    Lease,
    Pace,
    RunFilter,
    RunPage,
    RunRecord,
    RunState,
    Standing,
    Stream,
    Submitted,
    Tally,
)
from ..base import ANYTHING, EVERY_RUN, Listener, WorkerSign
from ..listeners import tell_all, tell_chunks
from . import claims, lists, records, values, work
from .connection import schema_version
from .file import StoreFile
from .readers import Readers
from .writer import Committed, Work, Writer

__all__ = ["SqliteStore"]

T = TypeVar("T")

READERS = 4
"""Threads that read: enough to keep two cores' disks busy, few enough not to crowd the interpreter."""


class SqliteStore:
    """The contracts of `storage.base` in one SQLite file.

    path: the file, made where it does not exist; its folder must.
    synchronous: `full` or `normal`, see above.
    meter: where commits and errors are counted.
    """

    def __init__(
        self, path: str | Path, *, synchronous: str = "full", meter: StoreWork | None = None
    ) -> None:
        self.path = Path(path)
        self._meter = meter or StoreWork()
        self._synchronous = synchronous
        self._writer: Writer | None = None
        self._closed = False
        self._file = StoreFile(self.path)
        self._readers = Readers(self._file, READERS, self._meter)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: list[Listener] = []

    async def open(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"{self.path} has been closed.", hint="Make another store for the file.")
        self._loop = asyncio.get_running_loop()
        if self._writer is None:
            self._writer = Writer(self._file, self._synchronous, self._others_wrote, self._meter)
        await self._write(schema_version)  # any work connects, and so finds out what is wrong

    async def close(self) -> None:
        self._closed = True
        writer, self._writer = self._writer, None
        if writer is not None:
            await asyncio.to_thread(writer.close)
        await asyncio.to_thread(self._readers.close)

    async def _write(self, job: Work, committed: Committed | None = None) -> Any:
        return await self._opened().do(job, committed)

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        self._opened()
        return await self._readers.do(read)

    def _opened(self) -> Writer:
        if self._writer is None:
            raise StoreUnavailable(f"{self.path} is not open.", hint="Open the store first.")
        return self._writer

    def _others_wrote(self, streams: set[str]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody listens any more
                self._loop.call_soon_threadsafe(self._tell_of_others, streams)

    def _tell_of_others(self, streams: set[str]) -> None:
        for stream in streams:
            self._tell(stream, None)
        self._tell(None, None)

    def _tell(self, stream: str | None, chunk: Chunk | None) -> None:
        tell_all(self._listeners, stream, chunk)

    def listen(self, listener: Listener) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # Streams

    async def append(self, batch: Sequence[Append]) -> list[bool]:
        writer = self._opened()

        def append(connection: sqlite3.Connection) -> list[bool]:
            taken = work.append(connection, batch)
            writer.watch.wrote(compress(batch, taken))
            return taken

        taken: list[bool] = await writer.do(append, lambda taken: self._tell_of(batch, taken))
        return taken

    def _tell_of(self, batch: Sequence[Append], taken: list[bool]) -> None:
        tell_chunks(self._listeners, compress(batch, taken))

    async def read(self, stream: str, after: int, limit_bytes: int) -> list[Chunk]:
        return await self._read(
            lambda connection: records.read_chunks(connection, stream, after, limit_bytes)
        )

    async def stream(self, name: str) -> Stream | None:
        return await self._read(lambda connection: records.read_stream(connection, name))

    # Runs

    async def submit(self, run: RunRecord, epoch: str, intake: Intake = ANYTHING) -> Submitted:
        kept: Submitted = await self._write(lambda connection: work.submit(connection, run, epoch, intake))
        return kept

    async def run(self, run_id: str) -> RunRecord | None:
        return await self._read(lambda connection: records.read_run(connection, run_id))

    async def runs(self, sought: RunFilter = EVERY_RUN, *, limit: int, before: str | None = None) -> RunPage:
        return await self._read(lambda connection: lists.read_runs(connection, sought, limit, before))

    async def standings(self, run_ids: Sequence[str]) -> dict[str, Standing]:
        return await self._read(lambda connection: records.standings(connection, run_ids))

    async def tallies(self) -> list[Tally]:
        return await self._read(records.tallies)

    async def paces(self) -> dict[str, Pace]:
        return await self._read(records.paces)

    async def claim(self, worker: str, groups: Sequence[Group], now_ms: int, limit: int) -> list[Claimed]:
        claimed: list[Claimed] = await self._write(
            lambda connection: claims.claim(connection, worker, groups, now_ms, limit)
        )
        return claimed

    async def start(self, worker: str, run_id: str, now_ms: int) -> Claimed | None:
        claimed: Claimed | None = await self._write(
            lambda connection: claims.start(connection, worker, run_id, now_ms)
        )
        return claimed

    async def adopt(
        self, worker: str, functions: Collection[str], now_ms: int, limit: int
    ) -> list[RunRecord]:
        given = worker, sorted(functions), now_ms, limit
        # A look first, beside the writer: it is asked often, and there is hardly ever anything to do.
        if not await self._read(lambda connection: claims.unkept(connection, *given[1:])):
            return []
        adopted: list[RunRecord] = await self._write(lambda connection: claims.adopt(connection, *given))
        return adopted

    async def due_at_ms(self) -> int | None:
        return await self._read(claims.due_at_ms)

    async def overdue(self, now_ms: int, limit: int) -> dict[str, str]:
        return await self._read(lambda connection: records.overdue(connection, now_ms, limit))

    async def seize(self, worker: str, run_id: str, *, waiting: bool = False) -> Claimed | None:
        seized: Claimed | None = await self._write(
            lambda connection: work.seize(connection, worker, run_id, waiting=waiting)
        )
        return seized

    async def finish(
        self,
        lease: Lease,
        state: RunState,
        error: dict[str, Any] | None,
        last: Chunk,
        now_ms: int,
        *,
        lingers: bool = False,
    ) -> None:
        (done,) = await self.finish_all([Ending(lease, state, error, last, now_ms, lingers)])
        if not done:
            raise Fenced(f"Run {lease.run_id} is not this worker's to end.")

    async def finish_all(self, ends: Sequence[Ending]) -> list[bool]:
        writer = self._opened()

        def finish(connection: sqlite3.Connection) -> list[bool]:
            done = work.finish(connection, ends)
            writer.watch.ended(compress(ends, done))
            return done

        done: list[bool] = await writer.do(finish, lambda done: self._tell_of_ends(ends, done))
        return done

    def _tell_of_ends(self, ends: Sequence[Ending], done: list[bool]) -> None:
        for end, ok in zip(ends, done, strict=True):
            if ok:
                self._tell(end.lease.run_id, end.last)

    async def returned(self, run_id: str) -> None:
        await self._write(lambda connection: work.returned(connection, run_id))

    async def requeue(
        self, lease: Lease, not_before_ms: int, *, lost: bool = False, error: dict[str, Any] | None = None
    ) -> None:
        await self._write(
            lambda connection: work.requeue(connection, lease, not_before_ms, lost=lost, error=error)
        )

    async def regroup(self, groups: Sequence[Group]) -> None:
        home = {function: group.name for group in groups for function in group.functions}
        # A look first, beside the writer: it is asked often, and there is hardly ever anything to do.
        if any(home.get(function, group) != group for function, group in await self._read(records.homes)):
            await self._write(lambda connection: work.regroup(connection, groups))

    async def held(self, worker: str) -> dict[str, int]:
        return await self._read(lambda connection: records.held(connection, worker))

    async def spare(self, lease: Lease) -> None:
        await self._write(lambda connection: work.spare(connection, lease))

    async def prioritize(self, run_id: str, priority: int) -> RunRecord | None:
        run: RunRecord | None = await self._write(
            lambda connection: work.prioritize(connection, run_id, priority)
        )
        return run

    async def request_cancel(self, run_id: str, reason: str = "cancelled") -> RunRecord | None:
        run: RunRecord | None = await self._write(
            lambda connection: work.request_cancel(connection, run_id, reason)
        )
        return run

    async def acknowledge(self, run_ids: Sequence[str]) -> None:
        await self._write(lambda connection: work.acknowledge(connection, run_ids))

    async def stopping(self) -> dict[str, bool]:
        return await self._read(records.stopping)

    async def watch(self, worker: str, present: Mapping[str, bool], now_ms: int) -> None:
        await self._write(lambda connection: work.watch(connection, worker, present, now_ms))

    async def abandoned(self, now_ms: int, up_ms: int) -> list[str]:
        found: list[str] = await self._write(lambda connection: work.abandoned(connection, now_ms, up_ms))
        return found

    async def cancels(self, worker: str) -> dict[str, str]:
        return await self._read(lambda connection: records.cancels(connection, worker))

    async def sign(self, worker: str, expires_at_ms: int) -> None:
        await self._write(lambda connection: work.sign(connection, worker, expires_at_ms))

    async def leave(self, worker: str) -> None:
        await self._write(lambda connection: work.forget(connection, worker))

    async def workers(self) -> Sequence[WorkerSign]:
        return await self._read(records.workers)

    async def take_over(self, worker: str, lost: WorkerSign) -> list[Claimed]:
        claimed: list[Claimed] = await self._write(
            lambda connection: work.take_over(connection, worker, lost.worker, lost.expires_at_ms)
        )
        return claimed

    # Values

    async def keep(self, name: str, value: bytes | None, until_ms: int, now_ms: int) -> None:
        await self._write(lambda connection: values.keep(connection, name, value, until_ms, now_ms))

    async def kept(self, name: str, now_ms: int) -> bytes | None:
        return await self._read(lambda connection: values.kept(connection, name, now_ms))
