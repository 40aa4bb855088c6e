"""A process that records is killed: the next finds what it had in its care, and nothing that was told is lost."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.events import Replace, Reset
from penstock.models import RunState
from penstock.protocol.coalesce import Fold
from penstock.testing import until

from .recording_app import WORDS

if TYPE_CHECKING:
    from tests.conftest import Bench

SCRIPT = Path(__file__).parent / "recording_app.py"
DEADLINE_S = 30


@contextlib.asynccontextmanager
async def recording(store: str) -> AsyncIterator[Process]:
    """The process, once it has recorded something."""
    process = await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), store, stdout=PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def fold_of(bench: "Bench", run_id: str) -> Fold:
    """The state to which a run's events lead so far, or in the end."""
    fold = Fold()
    async with contextlib.aclosing(bench.services.follow(run_id)) as told:
        async for news in told:
            for event in news.events:
                fold.apply(event)  # type: ignore[arg-type]  # no fold was asked for
            if news.events or fold.end:
                stream = await bench.services.store.stream(run_id)
                assert stream is not None
                if fold.seq == stream.tail:
                    return fold
    return fold


async def test_what_a_killed_process_recorded_goes_on_elsewhere(
    tmp_path: Path, make_bench: "type[Bench]"
) -> None:
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    async with recording(store) as process:
        async with make_bench(store=store) as bench:
            bench.app.recorded("once")
            assert await bench.services.queue.waiting_recorded(["once"], 9) == [], (
                "it lives, and keeps its line"
            )
        process.kill()
        await process.wait()
    async with make_bench(store=store) as bench:
        bench.app.recorded("once", concurrency_limit=None)
        bench.app.recorded("again", concurrency_limit=None, on_crash="retry")
        lost = await bench.services.queue.get("once-runs")
        assert (lost.state, (lost.error or {})["code"]) == (RunState.INTERRUPTED, "worker_lost")
        assert (await fold_of(bench, "once-runs")).value == {"text": "word " * (WORDS - 1)}
        found: list[str] = []

        async def all_found() -> bool:
            adopted = await bench.services.queue.waiting_recorded(["once", "again"], 9)
            found.extend(run.id for run in adopted)
            return len(found) == 3

        await until(all_found, DEADLINE_S, "the retry's time comes")
        assert sorted(found) == ["again-runs", "again-waits", "once-waits"]
        await goes_on(bench)


async def goes_on(bench: "Bench") -> None:
    """What may run again does, and its readers are told that it begins anew."""
    again = await bench.services.worker.record("again-runs", print)
    assert again is not None
    assert (again.run.attempt, again.run.losses) == (2, 1)
    again.emit("fresh")
    assert await again.end(RunState.SUCCEEDED)
    fold = await fold_of(bench, "again-runs")
    assert (fold.text, fold.value) == ("fresh", None)
    events = [event async for news in bench.services.follow("again-runs") for event in news.events]
    assert [type(event) for event in events if isinstance(event, Reset | Replace)][-1] is Reset
    waits = await bench.services.worker.record("once-waits", print)
    assert waits is not None
    assert (waits.run.attempt, waits.run.session, bytes(waits.run.input)) == (1, "s", b'{"data":[]}')
    assert await waits.end(RunState.SUCCEEDED)
