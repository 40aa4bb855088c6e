"""Large events through networks that cut them and a server that is killed in the middle of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from penstock import AsyncClient
from penstock.client import AsyncRemoteRun
from penstock.events import AnyEvent, SpanEnd, SpanStart
from penstock.testing import Cut, End, FaultProxy, ServerProcess, until

from . import large_app
from .checks import check_log, fold_of, stored

FAULTS: tuple[Cut | End, ...] = (
    Cut(40_000, 600_000),
    End(40_000, 600_000),
    End(40_000, 600_000, keep_alive=True),
)
"""A piece or two get through, or some events, and a large one hardly ever as a whole."""

RUNS, KILLS = 2, 2

ALL_S = 60


class Reader:
    """One who reads a run through a network that fails."""

    def __init__(self, run: AsyncRemoteRun) -> None:
        self.run = run
        self.seen: list[AnyEvent] = []

    async def read(self) -> None:
        async with self.run.events() as events:
            async for event in events:
                self.seen.append(event)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    async with ServerProcess(str(large_app.FILE), "--store", store, cwd=tmp_path) as server:
        yield server


async def kill_and_restart(server: ServerProcess, readers: list[Reader], chance: Random) -> None:
    mark = sum(len(reader.seen) for reader in readers) + chance.randint(5, 40)
    await until(lambda: sum(len(reader.seen) for reader in readers) >= mark, 20, f"{mark} events have come")
    await asyncio.to_thread(server.restart)


def check(events: list[AnyEvent], seed: int) -> None:
    position = 0
    for event in events:
        assert event.seq - event.n == position
        position = event.seq
    fold = fold_of(events)
    steps = range(large_app.STEPS)
    assert fold.end is not None
    assert fold.end.state == "succeeded"
    assert fold.text == "".join(large_app.text(seed, step) for step in steps)
    assert fold.values == [large_app.value(seed, step) for step in steps]
    assert fold.value == large_app.value(seed, large_app.STEPS)
    begun = [event for event in fold.events if isinstance(event, SpanStart)]
    assert [span.input for span in begun] == fold.values
    ended = {event.span: event.output for event in fold.events if isinstance(event, SpanEnd)}
    assert [ended[span.span] for span in begun] == list(steps)


async def test_large_events_come_whole_and_once(server: ServerProcess, tmp_path: Path, seed: int) -> None:
    chance = Random(seed)
    seeds: dict[str, int] = {}
    async with asyncio.timeout(ALL_S), AsyncClient(server.url) as direct:
        for number in range(RUNS):
            seeds[(await direct.submit("bulky", {"seed": seed + number})).id] = seed + number
        readers: list[Reader] = []
        async with asyncio.TaskGroup() as tasks:
            for number, fault in enumerate(FAULTS):
                tasks.create_task(read_through(server, fault, list(seeds), readers, seed + number))
            for _ in range(KILLS):
                await kill_and_restart(server, readers, chance)
        for run_id, of in seeds.items():
            late = await direct.run(run_id).fold()
            assert late.values == [large_app.value(of, step) for step in range(large_app.STEPS)]
    assert len(readers) == RUNS * len(FAULTS)
    for reader in readers:
        check(reader.seen, seeds[reader.run.id])
    await asyncio.to_thread(server.terminate)
    for rows in (await stored(tmp_path / "runs.db", seeds)).values():
        check_log(rows)
        assert max(len(row.data) for row in rows) < 70_000


async def read_through(
    server: ServerProcess, fault: Cut | End, run_ids: list[str], readers: list[Reader], seed: int
) -> None:
    async with FaultProxy(server.port, seed=seed) as proxy, AsyncClient(proxy.url) as client:
        proxy.fault = fault
        mine = [Reader(client.run(run_id)) for run_id in run_ids]
        readers += mine
        await asyncio.gather(*[reader.read() for reader in mine])
        assert proxy.cuts + proxy.ends > 10, "the network must have failed, or nothing was shown"
