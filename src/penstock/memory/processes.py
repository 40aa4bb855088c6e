"""The memory of a service's processes, from /proc: this one, what it has started, and those beside it."""

import contextlib
import os
import time
from pathlib import Path

__all__ = ["Service", "children_of", "count_with_parent"]

FAMILY_S = 1.0
"""How often it is looked which processes there are: with a thousand threads that takes 7 ms. One that has just
been forked has its memory in common with those that are known, so that it is hardly missed."""

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


class Service:
    """All its processes: this one, its siblings where there are any (`count_with_parent`), and what they started.

    So each of several processes compares the same sum with the limit, and all wait together: a share of the limit
    for each would hold up the one that works while the others have nothing to do.
    """

    def __init__(self) -> None:
        self._family: list[int] = []
        self._family_at = float("-inf")

    def resident_bytes(self) -> int:
        """What they have in memory, at most: what several share, code or what was there before a fork, is counted
        for each. Takes microseconds. 0 where it can't be known."""
        return sum(map(_resident_bytes, self._processes()))

    def exact_bytes(self) -> int:
        """The same with shared memory counted once. Takes some milliseconds for each gigabyte."""
        return sum(map(_exact_bytes, self._processes()))

    def _processes(self) -> list[int]:
        if time.monotonic() - self._family_at >= FAMILY_S:
            self._family = _below({os.getpid(), *_leaders})
            self._family_at = time.monotonic()
        return self._family


def _below(roots: set[int]) -> list[int]:
    """These processes and all that descend from them."""
    found: dict[int, None] = {}
    waiting = list(roots)
    while waiting:
        process = waiting.pop()
        if process not in found:
            found[process] = None
            waiting += children_of(process)
    return list(found)


def _resident_bytes(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_bytes().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):  # it has ended
        return 0


def _exact_bytes(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_bytes().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:"))
    except (OSError, StopIteration):  # it has ended, is another user's, or the kernel is older than 4.14
        return _resident_bytes(process)
