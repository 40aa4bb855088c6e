"""The memory of a service's processes, from /proc: this one, what it has started, and those beside it."""

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

__all__ = ["KernelFile", "Service", "children_of", "count_with_parent", "resident_bytes", "stat_of"]

LISTING_S = 0.1
"""How often it is looked which processes there are; one that was just forked has its memory in common with those
that are known, and takes that long to fill much of its own."""

LISTING_SHARE = 0.05
"""Of a core, at most, goes into that: with a thousand threads it takes 7 ms."""

FILE_BYTES = 16 * 1024
"""More than any of the files that are read here has."""

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096

_leaders: set[int] = set()


def count_with_parent() -> None:
    """This process is one of several that its parent has started for one service: they are counted together."""
    _leaders.add(os.getppid())


def children_of(process: int) -> list[int]:
    """The ids of its children, dead ones that were not waited for included."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread may end meanwhile
                found += map(int, (task / "children").read_bytes().split())
    return found


def stat_of(process: int) -> list[bytes]:
    """The fields of proc_pid_stat(5) from the third, the state, on. Raises OSError.

    Counted after the name, which may itself hold spaces and brackets, and is cut at 15 bytes, maybe inside a
    character.
    """
    return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


class KernelFile:
    """A file of the kernel's, which is another with each reading, kept open.

    So a reading is one call, and the interpreter is given up once: each time a function that fills memory has it
    for as long as it likes. Raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._number = -1
        self._number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> bytes:
        """What it says now. Raises OSError."""
        return os.pread(self._number, FILE_BYTES, 0)

    def __del__(self) -> None:
        if self._number >= 0:
            os.close(self._number)


class Service:
    """All its processes: this one, its siblings where there are any (`count_with_parent`), and what they started.

    So each of several processes compares the same sum with the limit, and all wait together: a share of the limit
    for each would hold up the one that works while the others have nothing to do.

    roots: other processes, with what those have started, to look at in their place.
    """

    def __init__(self, *roots: int) -> None:
        self._roots = roots
        self._family: list[int] = []
        self._list_at = float("-inf")
        self._own: KernelFile | None = None
        with contextlib.suppress(OSError):  # there is no /proc
            self._own = KernelFile(Path("/proc/self/statm"))

    def resident_bytes(self) -> int:
        """What they have in memory, at most: what several share, code or what was there before a fork, is counted
        for each. Takes microseconds. 0 where it can't be known."""
        return 0 if self._own is None else sum(map(self._resident_bytes, self._processes()))

    def exact_bytes(self) -> int:
        """The same with shared memory counted once. Takes some milliseconds for each gigabyte."""
        processes = self._processes()
        if len(processes) == 1:  # it shares the code that it executes with others, which is not much
            return self.resident_bytes()
        return sum(map(self._exact_bytes, processes))

    def _processes(self) -> list[int]:
        if time.monotonic() >= self._list_at:
            begun_s = time.thread_time()
            self._family = _below(self._roots or {os.getpid(), *_leaders})
            took_s = time.thread_time() - begun_s
            self._list_at = time.monotonic() + max(LISTING_S, took_s / LISTING_SHARE)
        return self._family

    def _resident_bytes(self, process: int) -> int:
        try:
            if process == os.getpid() and self._own is not None:
                statm = self._own.read()
            else:
                statm = Path(f"/proc/{process}/statm").read_bytes()
            return int(statm.split()[1]) * PAGE_BYTES
        except (OSError, IndexError):  # it has ended
            return 0

    def _exact_bytes(self, process: int) -> int:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_bytes().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:"))
        except (OSError, StopIteration):  # it has ended, is another user's, or the kernel is older than 4.14
            return self._resident_bytes(process)


def _below(roots: Iterable[int]) -> list[int]:
    """These processes and all that descend from them."""
    found: dict[int, None] = {}
    waiting = list(roots)
    while waiting:
        process = waiting.pop()
        if process not in found:
            found[process] = None
            waiting += children_of(process)
    return list(found)
