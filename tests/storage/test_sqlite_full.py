"""A disk that is really full: said clearly, nothing lost, and over as soon as there is room again."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import StoreFull
from penstock.models import Chunk, Claimed, RunState
from penstock.storage.sqlite import SqliteStore

from .sqlite_files import EPOCH, append, chunk, execute, opened, queued, started

DISK_BYTES = 2 * 1024 * 1024
CHUNK_BYTES = 8_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of `DISK_BYTES`."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("NOT TESTED: a full disk needs the right to mount one (root, CAP_SYS_ADMIN)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def take_up(disk: Path, leave_bytes: int) -> Path:
    """Fill the disk but for `leave_bytes`; the file whose removal makes room again."""
    left = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(b"x" * (left.f_bavail * left.f_frsize - leave_bytes))
    return filler


async def append_to_all(store: SqliteStore, runs: list[Claimed], seqs: list[int]) -> list[Any]:
    """One chunk to each stream, at once; the answers or errors."""
    appends = (append(store, run, chunk(seq, CHUNK_BYTES)) for run, seq in zip(runs, seqs, strict=True))
    return await asyncio.gather(*appends, return_exceptions=True)


async def append_until_full(store: SqliteStore, runs: list[Claimed]) -> list[int]:
    """Append to all streams at once, again and again; the tails that were answered when the disk was full."""
    tails = [0] * len(runs)
    while True:
        outcomes = await append_to_all(store, runs, [tail + 1 for tail in tails])
        for number, outcome in enumerate(outcomes):
            if outcome == [True]:
                tails[number] += 1
            else:
                assert isinstance(outcome, StoreFull), outcome
        if any(isinstance(outcome, StoreFull) for outcome in outcomes):
            return tails


async def check(store: SqliteStore, tails: list[int]) -> None:
    for number, tail in enumerate(tails):
        found = await store.read(f"r{number}", 0, DISK_BYTES)
        assert found == [chunk(seq, CHUNK_BYTES) for seq in range(1, tail + 1)]


async def test_a_full_disk_is_said_and_loses_nothing(disk: Path) -> None:
    async with opened(disk / "store.db") as store:
        runs = [await started(store, f"r{number}") for number in range(4)]
        filler = take_up(disk, 300_000)
        tails = await append_until_full(store, runs)
        assert sum(tails) > 4
        for _ in range(3):
            with pytest.raises(StoreFull) as full:
                await append(store, runs[0], chunk(tails[0] + 1, 50 * CHUNK_BYTES))
            assert "Free disk space" in full.value.hint
        await check(store, tails)  # what was answered can be read on a full disk

        filler.unlink()
        for turn in (1, 2):
            outcomes = await append_to_all(store, runs, [tail + turn for tail in tails])
            assert outcomes == [[True]] * 4, "no gap: what was refused fits where it did"
        await check(store, [tail + 2 for tail in tails])
        last = Chunk(tails[0] + 3, tails[0] + 3, b"end", final=True)
        await store.finish(runs[0].lease, RunState.SUCCEEDED, None, last, 5)
    assert execute(disk / "store.db", "PRAGMA integrity_check") == [("ok",)]
    async with opened(disk / "store.db") as again:
        await check_after(again, tails)


async def check_after(store: SqliteStore, tails: list[int]) -> None:
    stands = [await store.stream(f"r{number}") for number in range(4)]
    assert [stream and (stream.tail, stream.ended) for stream in stands] == [
        (tail + (2 if number else 3), not number) for number, tail in enumerate(tails)
    ]


async def test_nothing_of_a_run_is_there_that_did_not_fit(disk: Path) -> None:
    async with opened(disk / "store.db") as store:
        runs = [await started(store, f"r{number}") for number in range(4)]
        filler = take_up(disk, 200_000)
        tails = await append_until_full(store, runs)
        refused = await submit_until_full(store)
        assert await store.run(refused) is None
        assert await store.stream(refused) is None
        last = Chunk(tails[0] + 1, tails[0] + 1, b"x" * DISK_BYTES, final=True)
        with pytest.raises(StoreFull):
            await store.finish(runs[0].lease, RunState.SUCCEEDED, None, last, 5)
        going = await store.run("r0")
        assert going is not None
        assert going.state is RunState.RUNNING
        filler.unlink()
        assert (await store.submit(queued(refused), EPOCH))[1]
        await check(store, tails)


async def submit_until_full(store: SqliteStore) -> str:
    for number in range(10_000):
        try:
            await store.submit(queued(f"s{number}"), EPOCH)
        except StoreFull:
            return f"s{number}"
    raise AssertionError("the disk is never full")


async def test_a_store_can_be_read_and_left_on_a_full_disk(disk: Path) -> None:
    async with opened(disk / "store.db") as store:
        runs = [await started(store, f"r{number}") for number in range(4)]
        filler = take_up(disk, 300_000)
        tails = await append_until_full(store, runs)
    # Closed while the disk was full; opening may need room, and says so if it does.
    try:
        async with opened(disk / "store.db") as store:
            await check(store, tails)
    except StoreFull:
        pass
    filler.unlink()
    async with opened(disk / "store.db") as store:
        await check(store, tails)
        assert await append(store, await started(store, "new"), chunk(1, CHUNK_BYTES)) == [True]


async def test_a_file_that_may_not_grow_is_an_error_that_goes(tmp_path: Path) -> None:
    """The same without the right to mount: a process whose files have a largest size (RLIMIT_FSIZE)."""
    script = Path(__file__).with_name("limited.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(tmp_path / "store.db"), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    tail = int(out.split()[-1])
    async with opened(tmp_path / "store.db") as store:
        assert [one.first_seq for one in await store.read("r", 0, DISK_BYTES)] == list(range(1, tail + 1))
