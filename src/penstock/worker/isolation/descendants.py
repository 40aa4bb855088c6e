"""What a process has started, in whatever session: found in /proc, and killed.

Where there is none, or no pidfd (before Linux 5.3), nothing is found, and a process group is all that can be
killed.
"""

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from ...memory.processes import children_of, stat_of

__all__ = [
    "PATIENCE_S",
    "Process",
    "adopt_orphans",
    "environment_of",
    "kill_below",
    "kill_group",
    "kill_stray",
]

PR_SET_CHILD_SUBREAPER = 36
"""Of linux/prctl.h."""

PASS_S = 0.001
"""Between two looks: the kernel takes less to end a killed process and to hand over what that had started."""

PATIENCE_S = 0.5
"""How long what is killed may take to end: a thousand passes' worth, unless it hangs in the kernel or something
forks faster than it can be killed. The fork server does nothing else meanwhile."""

QUIET_PASSES = 2
"""In a row, in which nothing was found: the kernel's list may miss one while another leaves it."""


class Process(NamedTuple):
    """One, told from a later one with the same id by its start. `started`: in the system's ticks; 0 if unknown."""

    id: int
    started: int

    @classmethod
    def named(cls, number: int) -> "Process":
        """Who has this id now."""
        return cls(number, _stat(number).started)

    @property
    def alive(self) -> bool:
        """Whether it still has its id: it runs, or nobody has waited for it."""
        return _stat(self.id).started == self.started


class _Stat(NamedTuple):
    parent: int = 0
    started: int = 0


def adopt_orphans() -> None:
    """From now on, what a descendant of this process leaves behind becomes this one's child, not process 1's."""
    with contextlib.suppress(Exception):  # only Linux has it
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def environment_of(process: int) -> list[bytes]:
    """`NAME=value` as it was given when its program began; empty if that is not to be seen."""
    try:
        return Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def kill_below(
    parents: Collection[Process],
    chosen: Callable[[int], bool] = lambda _child: True,
    patience_s: float = PATIENCE_S,
) -> bool:
    """Kill all that descends from these processes, but not themselves. Whether nothing is left.

    parents: those have to adopt orphans; then whatever the killed had started becomes their child in turn, and no
        tree needs to be walked, which changes under one's feet.
    chosen: which of their children; what those have started is asked for in its turn.
    patience_s: after this it returns in any case; with 0, after a look that has found any.
    """
    end = time.monotonic() + patience_s
    quiet = 0
    while quiet < QUIET_PASSES:
        found = [_kill(child, parent, chosen) for parent in parents for child in children_of(parent.id)]
        if not any(found):
            quiet += 1
            continue
        if time.monotonic() >= end:
            return False
        quiet = 0
        time.sleep(PASS_S)
    return True


def kill_group(leader: int) -> None:
    """Kill what has stayed in this process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: where only the dead are in it
        os.killpg(leader, signal.SIGKILL)


def kill_stray(process: Process) -> None:
    """Kill a process that adopts orphans and may have ended meanwhile, as its parent is dead, and all below it."""
    if _send(process.id, signal.SIGSTOP, lambda: process.alive):
        kill_below([process])
    # Once it is gone a group that is left keeps its id from being given to another.
    if _stat(process.id).started in (0, process.started):
        kill_group(process.id)
    _send(process.id, signal.SIGKILL, lambda: process.alive)


def _kill(child: int, parent: Process, chosen: Callable[[int], bool]) -> bool:
    """Whether it lived."""

    def is_child() -> bool:  # in this order: the parent had its id for as long as the child was looked at
        return chosen(child) and _stat(child).parent == parent.id and parent.alive

    return _send(child, signal.SIGKILL, is_child)


def _send(process: int, number: int, is_meant: Callable[[], bool]) -> bool:
    """Whether there was somebody to hear it. `is_meant`: whether the id is still that of the one that is meant."""
    try:
        file = os.pidfd_open(process)  # first: from here on the signal can reach no other
    except (OSError, AttributeError):
        return False
    try:
        if _has_ended(file) or not is_meant():
            return False
        signal.pidfd_send_signal(file, number)
    except OSError:  # it has just gone, or belongs to somebody else (sudo)
        return False
    finally:
        os.close(file)
    return True


def _has_ended(file: int) -> bool:
    # Not by its state, which is a dead one's as soon as its first thread has ended.
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(0))


def _stat(process: int) -> _Stat:
    try:
        fields = stat_of(process)
    except OSError:
        return _Stat()
    return _Stat(int(fields[1]), int(fields[19]))
