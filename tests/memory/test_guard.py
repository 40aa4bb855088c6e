"""The guard over real memory: of this process, and of several."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from penstock.memory import MemoryGuard
from penstock.memory.limits import Reading
from penstock.memory.processes import Service
from penstock.testing import until

MB = 1024 * 1024


@pytest.fixture
def block_mb() -> int:
    """A tenth more than what is in use now is too little to tell tight from eased, whatever ran here before."""
    return max(80, Service().exact_bytes() // MB // 4)


@pytest.fixture
def guards() -> Iterator[Callable[[int | None], MemoryGuard]]:
    """`guards(mb)` watches over so much more than there is in use now."""
    made: list[MemoryGuard] = []

    def make(more_mb: int | None) -> MemoryGuard:
        limit = None if more_mb is None else Service().exact_bytes() // MB + more_mb
        made.append(MemoryGuard(limit))
        made[-1].start()
        return made[-1]

    yield make
    for guard in made:
        guard.stop()


async def test_it_turns_when_memory_is_taken_and_when_it_is_freed(
    guards: Callable[[int], MemoryGuard], block_mb: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "penstock")
    guard = guards(block_mb)
    await until(lambda: guard.reading is not None)
    assert not guard.tight
    block = b"\1" * (2 * block_mb * MB)
    await until(lambda: guard.tight)
    assert guard.reading is not None
    assert guard.reading.used > guard.reading.limit
    del block
    await until(lambda: not guard.tight)
    assert guard.times == 1
    assert 0 < guard.tight_s < 60
    warning, info = [(one.levelname, one.getMessage()) for one in caplog.records]
    assert warning[0] == "WARNING"
    assert f"{guard.reading.limit // MB} MB may be (memory_limit_mb, as set)" in warning[1]
    assert info[0] == "INFO"
    assert info[1].startswith("Memory is eased after ")


async def test_what_was_freed_in_small_pieces_is_returned_to_the_system(
    guards: Callable[[int], MemoryGuard],
    block_mb: int,
) -> None:
    guard = guards(block_mb)
    kept: list[bytes] = []

    def fill() -> None:  # in a thread, whose memory the C library keeps apart, and does not return by itself
        kept.extend(bytes(2000) for _ in range(2 * block_mb * MB // 2000))
        kept.append(bytes(2000))

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
    await until(lambda: guard.tight)
    del kept[:-1]
    await until(lambda: not guard.tight, deadline_s=45)


async def test_a_ring_that_only_a_collection_frees_is_freed(
    guards: Callable[[int], MemoryGuard], block_mb: int
) -> None:
    guard = guards(block_mb)
    ring: list[object] = [b"\1" * (2 * block_mb * MB)]
    ring.append(ring)
    await until(lambda: guard.tight)
    del ring
    await until(lambda: not guard.tight, deadline_s=45)


async def test_it_looks_as_often_where_a_collection_takes_long() -> None:
    looks: list[None] = []

    def gauge() -> Reading:
        looks.append(None)
        return Reading(2, 1, "of a test")

    heap = [{number: [number]} for number in range(1_000_000)]
    guard = MemoryGuard(1, gauge)
    guard.start()
    try:
        await until(
            lambda: len(looks) >= 20, deadline_s=30
        )  # each after 0.2 s, not after 20 collections' time
    finally:
        guard.stop()
    assert guard.tight_s > 0
    del heap


async def test_with_nothing_set_this_machine_is_watched(guards: Callable[[int | None], MemoryGuard]) -> None:
    guard = guards(None)
    await until(lambda: guard.reading is not None)
    assert guard.reading is not None
    assert guard.reading.limit > 0


def test_where_nothing_can_be_known_it_is_off_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    guard = MemoryGuard(None, lambda: None)
    guard.start()
    assert [record.getMessage() for record in caplog.records] == [
        "The memory guard is off: this system does not say how much memory is used."
    ]
    assert not guard.tight


def test_memory_is_eased_some_way_below_the_limit() -> None:
    used = 0
    guard = MemoryGuard(1, lambda: Reading(used, 1000, "of a test"))
    turns = []
    for used in (999, 1000, 1001, 990, 951, 950, 990, 1000, 1001):  # noqa: B007 - the gauge reads it
        guard.look()
        turns.append(guard.tight)
    assert turns == [False, False, True, True, True, False, False, False, True]


def run(program: str) -> list[int]:
    """The numbers that a program prints, in MB."""
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=True)
    return [int(word) // MB for word in done.stdout.split()]


BESIDE = """
import sys; sys.path[:0] = {path}
from penstock.memory.processes import Service, count_with_parent
if {counted}: count_with_parent()
print(Service().resident_bytes(), Service().exact_bytes())
"""


def test_processes_of_one_service_are_counted_together() -> None:
    ballast = b"\1" * (100 * MB)
    alone = run(BESIDE.format(path=sys.path, counted=False))
    together = run(BESIDE.format(path=sys.path, counted=True))
    assert max(alone) < 100 < min(together)
    del ballast


FORKED = """
import os, sys; sys.path[:0] = {path}
from penstock.memory.processes import Service
ballast = b"\\1" * (100 << 20)
ends, children = [os.pipe(), os.pipe()], []
for come, go in (ends, ends, ends):
    children.append(os.fork())
    if not children[-1]:
        os.close(go[1]); os.write(come[1], b"."); os.read(go[0], 1); os._exit(0)
    os.read(come[0], 1)
print(Service().resident_bytes(), Service().exact_bytes())
os.close(ends[1][1])
for child in children: os.waitpid(child, 0)
"""


def test_what_forked_processes_share_is_counted_once_above_the_limit() -> None:
    most, exact = run(FORKED.format(path=sys.path))
    assert most > 400
    assert 100 < exact < 200


def test_a_process_that_has_ended_counts_for_nothing() -> None:
    service = Service()
    assert list(service._processes()) == [os.getpid()]
    service._list_at = float("-inf")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.pid in service._processes()
    service._list_at = float("inf")
    child.communicate(b"\n")
    assert child.pid in service._processes()
    assert os.getpid() in service._processes()
    assert service.exact_bytes() >= 10 * MB
