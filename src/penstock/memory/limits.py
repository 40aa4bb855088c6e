"""How much memory there may be, and how much of it is used.

By default the nearest of the bounds under which the system would end us counts: each control group that this
process is in (version 1 or 2, its ancestors too), and the machine. Of a control group all that is used counts,
whosever it is, since that is what its limit is about, but not what the kernel can drop at any time: the page
cache, which a large store's file fills to the brim. Of the machine, where others' memory is not ours to bound,
our own processes' counts against what they could have: their own, and what is still available.

A limit that was given is about our own processes, and nothing else is looked at.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from .processes import KernelFile, Service

__all__ = ["DEFAULT_SHARE", "Reading", "make_gauge"]

DEFAULT_SHARE = 0.8
"""Of a bound that the system sets. The rest is for what grows between two looks, or never yields: a function
fills up to a gigabyte a second."""

UNLIMITED_BYTES = 1 << 60
"""Version 1 writes "no limit" as a number of about 2**63."""

MB = 1024 * 1024


class Reading(NamedTuple):
    """Bytes in use, the bytes above which that is too much, and in words what that is about."""

    used: int
    limit: int
    about: str

    @property
    def fullness(self) -> float:
        """1 is at the limit."""
        return self.used / self.limit if self.limit else float(self.used > 0)


Gauge = Callable[[], Reading | None]
"""Looks once; None where nothing can be known."""


def make_gauge(limit_mb: int | None, root: Path = Path("/")) -> Gauge:
    """For a limit that was given, or for the system's own.

    root: the folder in which `proc` and `sys` lie.
    """
    service = Service()
    if limit_mb is not None:
        return _Given(limit_mb * MB, service)
    system: list[Gauge] = list(_groups(root))
    with contextlib.suppress(OSError):
        system.append(_Machine(root / "proc/meminfo", service))
    return _Nearest(system)


class _Given:
    def __init__(self, limit: int, service: Service) -> None:
        self._limit = limit
        self._service = service

    def __call__(self) -> Reading | None:
        used = self._service.resident_bytes()
        if used > self._limit:
            used = self._service.exact_bytes()
        return Reading(used, self._limit, "of the service's processes") if used else None


class _Machine:
    def __init__(self, meminfo: Path, service: Service) -> None:
        self._meminfo = KernelFile(meminfo)
        self._service = service

    def __call__(self) -> Reading | None:
        try:
            lines = self._meminfo.read().splitlines()
            available = next(
                int(line.split()[1]) * 1024 for line in lines if line.startswith(b"MemAvailable:")
            )
        except (OSError, StopIteration):
            return None
        reading = _of_machine(self._service.resident_bytes(), available)
        return reading if reading.fullness <= 1 else _of_machine(self._service.exact_bytes(), available)


def _of_machine(own: int, available: int) -> Reading:
    limit = int((own + available) * DEFAULT_SHARE)
    return Reading(own, limit, f"of the service's processes, with {available // MB} MB left on the machine")


class _Group:
    """A control group: what it uses, its limit, and what of that is page cache. Raises OSError for one without."""

    def __init__(self, folder: Path, names: "_Names") -> None:
        self._usage, self._limit = KernelFile(folder / names.usage), KernelFile(folder / names.limit)
        self._stat = KernelFile(folder / "memory.stat")
        self._cache = names.cache

    def __call__(self) -> Reading | None:
        try:
            text = self._limit.read().strip()
            if text == b"max" or (most := int(text)) >= UNLIMITED_BYTES:
                return None
            limit = int(most * DEFAULT_SHARE)
            used = int(self._usage.read())
            if used > limit:
                used -= self._droppable()
        except (OSError, ValueError):  # it is gone
            return None
        return Reading(used, limit, f"of the control group, which may have {most // MB} MB")

    def _droppable(self) -> int:
        fields = map(bytes.split, self._stat.read().splitlines())
        return sum(int(value) for name, value in fields if name in self._cache)


class _Names(NamedTuple):
    """What a version of control groups calls its files, and the page cache in `memory.stat`."""

    usage: str
    limit: str
    cache: frozenset[bytes]


VERSION_1 = _Names(
    "memory.usage_in_bytes",
    "memory.limit_in_bytes",
    frozenset({b"total_inactive_file", b"total_active_file"}),
)
VERSION_2 = _Names("memory.current", "memory.max", frozenset({b"inactive_file", b"active_file"}))


class _Nearest:
    """The fullest of several."""

    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self._gauges = list(gauges)

    def __call__(self) -> Reading | None:
        readings = [reading for gauge in self._gauges if (reading := gauge()) is not None]
        return max(readings, key=lambda reading: reading.fullness, default=None)


def _groups(root: Path) -> Iterator[_Group]:
    """The control groups that bound this process, its own first. None where there are none."""
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return
    for membership in memberships:
        _, controllers, path = membership.split(":", 2)
        if controllers == "" or "memory" in controllers.split(","):
            names = VERSION_1 if controllers else VERSION_2
            for folder in _folders(path, mounts, version=1 if controllers else 2):
                with contextlib.suppress(OSError):  # a root has no limit
                    yield _Group(root / folder.relative_to("/"), names)


def _folders(path: str, mounts: Iterable[str], version: int) -> Iterator[PurePosixPath]:
    """Where the group's files are, and those of the groups above it, as far as this process can see them."""
    for mount in mounts:
        place, _, more = mount.partition(" - ")
        kind, _, options = more.split(" ", 2)
        if (kind, version) == ("cgroup2", 2) or (
            (kind, version) == ("cgroup", 1) and "memory" in options.split(",")
        ):
            _, _, _, top, mounted, *_ = place.split(" ")
            inside = PurePosixPath(path)
            # In a container the mount begins at its own group, while the path may be the machine's.
            inside = inside.relative_to(top) if inside.is_relative_to(top) else PurePosixPath()
            folder = PurePosixPath(mounted) / inside.as_posix().lstrip("/")
            yield from (one for one in (folder, *folder.parents) if one.is_relative_to(mounted))
            return
