"""Forty readers behind networks that fail in every way: each gets every event once, live and in replay."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import httpx
import pytest

from penstock import AsyncClient
from penstock.testing import Cut, End, FaultProxy, ServerProcess, until

from . import stories
from .checks import check_bytes, check_log, check_outcome, check_seen, fold_of, stored
from .readers import SILENCE_S, Listener, Reader, Recorder, SyncListener

STEPS, PAUSE_MS = 120, 20.0
"""A run lasts 2.4 s and writes 10 to 40 KB: each connection carries a small part of it."""

BYTES = (150, 4000)
"""Where connections are cut and bodies end: from within the first head to beyond many events."""

FAULTS = (
    Cut(*BYTES),
    End(*BYTES),
    End(*BYTES, keep_alive=True),
    End(*BYTES, whole_chunks=True),
    None,  # this one's network is stalled, cut and taken away as a whole, see `storm`
)

STORM_AFTER = (1, 60)
"""Events that the readers behind the stormy network get between two blows."""

LISTENERS, SYNC, RECORDERS = 20, 6, 14

PHASE_S = 40


class Network:
    """A way to the server that fails, and the readers behind it."""

    def __init__(self, proxy: FaultProxy, client: AsyncClient, http: httpx.AsyncClient) -> None:
        self.proxy = proxy
        self.readers: list[Reader] = []
        self.kinds: dict[type[Reader], Callable[[str], Reader]] = {
            Listener: lambda run_id: Listener(client, run_id),
            SyncListener: lambda run_id: SyncListener(proxy.url, run_id),
            Recorder: lambda run_id: Recorder(http, proxy.url, run_id),
        }

    @property
    def count(self) -> int:
        return sum(len(reader.seen) for reader in self.readers)

    @property
    def over(self) -> bool:
        return all(reader.ended for reader in self.readers)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    async with ServerProcess(str(stories.FILE), "--store", store, cwd=tmp_path) as server:
        yield server


@pytest.fixture
async def networks(server: ServerProcess, seed: int) -> AsyncIterator[list[Network]]:
    async with AsyncExitStack() as stack:
        made = []
        for number, fault in enumerate(FAULTS):
            proxy = await stack.enter_async_context(FaultProxy(server.port, seed=seed + number))
            proxy.fault = fault
            client = await stack.enter_async_context(AsyncClient(proxy.url, silence_s=SILENCE_S))
            limits = httpx.Limits(max_connections=None)
            http = await stack.enter_async_context(httpx.AsyncClient(timeout=SILENCE_S, limits=limits))
            made.append(Network(proxy, client, http))
        yield made


async def storm(network: Network, chance: Random) -> set[str]:
    """Strike again and again, each time after some more events, while anybody reads. What was done."""
    done: set[str] = set()
    while not network.over:
        for blow in chance.sample((cut, stall, vanish), 3):
            mark = network.count + chance.randint(*STORM_AFTER)
            await reached(network, mark)
            if not network.over:
                done.add(await blow(network))
    return done


async def reached(network: Network, mark: int) -> None:
    await until(lambda: network.over or network.count >= mark, PHASE_S, f"{mark} events have come")


async def cut(network: Network) -> str:
    network.proxy.cut_all()
    return "cut"


async def stall(network: Network) -> str:
    """Nothing comes through until a reader has lost its patience and tries anew."""
    before = network.proxy.connections
    network.proxy.stall()
    await until(lambda: network.over or network.proxy.connections > before, PHASE_S)
    network.proxy.flow()
    return "stall"


async def vanish(network: Network) -> str:
    """Nobody is there until a reader has come back in vain."""
    before = {reader: reader.tries for reader in network.readers}
    network.proxy.offline()
    await until(lambda: network.over or any(r.tries > tries + 1 for r, tries in before.items()), PHASE_S)
    network.proxy.online()
    return "vanish"


def seat(networks: Sequence[Network], run_ids: Sequence[str], chance: Random) -> list[Reader]:
    """Forty readers of all kinds, eight behind each network and eight of each run."""
    kinds = [Listener] * LISTENERS + [SyncListener] * SYNC + [Recorder] * RECORDERS
    chance.shuffle(kinds)
    for network in networks:
        network.readers = []
    for number, kind in enumerate(kinds):
        network = networks[number % len(networks)]
        run_id = run_ids[(number // len(networks) + number) % len(run_ids)]
        network.readers.append(network.kinds[kind](run_id))
    return [reader for network in networks for reader in network.readers]


async def read_all(
    networks: Sequence[Network], run_ids: Sequence[str], chance: Random
) -> tuple[list[Reader], set[str]]:
    """Every reader to its end. Returns them, and what the storm did."""
    readers = seat(networks, run_ids, chance)
    async with asyncio.timeout(PHASE_S), asyncio.TaskGroup() as tasks:
        for reader in readers:
            tasks.create_task(reader.read())
        struck = tasks.create_task(storm(networks[-1], chance))
    return readers, struck.result()


async def submit_all(url: str, chance: Random) -> dict[str, stories.Expected]:
    """One run of each function, with what it must lead to."""
    runs = {}
    async with AsyncClient(url) as client:
        for name in [function.__name__ for function in stories.FUNCTIONS]:
            given = {"seed": chance.randrange(10**6), "steps": STEPS, "pause_ms": PAUSE_MS}
            run = await client.submit(name, given)
            runs[run.id] = stories.expected(name, int(given["seed"]), STEPS)
    return runs


def faults_so_far(networks: Sequence[Network]) -> list[int]:
    return [network.proxy.cuts + network.proxy.ends for network in networks]


async def test_everything_comes_once_through_networks_that_fail(
    server: ServerProcess, networks: list[Network], tmp_path: Path, seed: int
) -> None:
    chance = Random(seed)
    runs = await submit_all(server.url, chance)
    live, struck = await read_all(networks, list(runs), chance)
    faults = faults_so_far(networks)
    replayed, _ = await read_all(networks, list(runs), chance)
    more_faults = [now - then for now, then in zip(faults_so_far(networks), faults, strict=True)]
    assert await asyncio.to_thread(server.terminate) == 0

    rows = await stored(tmp_path / "runs.db", runs)
    for run_id, expected in runs.items():
        check_log(rows[run_id])
        check_outcome(fold_of(row.event for row in rows[run_id]), expected)
    for reader in (*live, *replayed):
        check_seen(reader.seen, rows[reader.run_id])
        check_outcome(fold_of(reader.seen), runs[reader.run_id])
        if isinstance(reader, Recorder):
            check_bytes(reader, rows[reader.run_id])
    # The networks must have failed, or nothing was shown.
    assert len(live) == len(replayed) == 40
    assert struck == {"cut", "stall", "vanish"}
    assert min(faults) >= 8
    # What is replayed was merged and compressed, and is soon there: some networks hardly get to fail.
    assert sum(more_faults[:-1]) >= 20
