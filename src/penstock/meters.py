"""What is counted in one process: plain numbers that the places where things happen add to, for `/metrics`.

No locks and no metric objects: an addition costs nothing that could be seen, even once for each reader and update.
Each number has one thread that adds to it; whoever reads may be one addition behind.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec
from msgspec import field

from .models import Chunk, RunRecord, RunState

__all__ = [
    "Appends",
    "Flow",
    "Gauges",
    "Meters",
    "Moments",
    "Runs",
    "Snapshot",
    "Spells",
    "StoreWork",
    "added",
]


class _Durations(msgspec.Struct):
    """How many were up to each of `BOUNDS_S`, and beyond, and their sum."""

    BOUNDS_S: ClassVar[tuple[float, ...]]

    counts: list[int]
    total_s: float = 0.0

    def add(self, seconds: float) -> None:
        """One more; a negative one, after the clock was set, counts as none at all."""
        self.counts[bisect_left(self.BOUNDS_S, seconds)] += 1
        self.total_s += max(0.0, seconds)


class Moments(_Durations):
    """Of what takes milliseconds."""

    BOUNDS_S: ClassVar[tuple[float, ...]] = (
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    )  # fmt: skip
    """A commit without a disk takes a tenth of the first; beyond the last a store is broken, not slow."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(Moments.BOUNDS_S) + 1))


class Spells(_Durations):
    """Of what takes up to hours: runs, and waiting for them."""

    BOUNDS_S: ClassVar[tuple[float, ...]] = (
        0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
    )  # fmt: skip

    counts: list[int] = field(default_factory=lambda: [0] * (len(Spells.BOUNDS_S) + 1))


class Flow(msgspec.Struct):
    """What readers got.

    reads: how often somebody came to read. updates: times that events were handed to a connection. events: those
    that reached readers, and `frames`, fewer, in how many they were merged. sent_bytes: all that was handed over,
    heartbeats too. stalled, rotated: readers that were cut off, and sent round, see `Pulse`.
    """

    reads: int = 0
    updates: int = 0
    events: int = 0
    frames: int = 0
    sent_bytes: int = 0
    stalled: int = 0
    rotated: int = 0

    def sent(self, events: int, frames: int, size_bytes: int) -> None:
        """Something was handed to one reader's connection."""
        if events:
            self.updates += 1
            self.events += events
            self.frames += frames
        self.sent_bytes += size_bytes


class Appends(msgspec.Struct):
    """What this process stored in streams. stored: from a chunk's first yield until it was kept."""

    chunks: int = 0
    events: int = 0
    size_bytes: int = 0
    stored: Moments = field(default_factory=Moments)

    def heard(self, _stream: str | None, chunk: Chunk | None) -> None:
        """A listener of the store."""
        if chunk is not None:
            self.chunks += 1
            self.events += chunk.last_seq - chunk.first_seq + 1
            self.size_bytes += len(chunk.data)


class StoreWork(msgspec.Struct):
    """What the store did. commits: each transaction, with the wait for the file's lock. errors: by operation."""

    commits: Moments = field(default_factory=Moments)
    errors: dict[str, int] = field(default_factory=lambda: {"read": 0, "write": 0})

    def failed(self, operation: str) -> None:
        """It could not be done."""
        _add(self.errors, operation)


class Runs(msgspec.Struct):
    """Runs as this process saw them, by function, group or reason: names that the app gives, so they are few.

    waits: from the submission to the first start, by group. took: from the last start to the end, by function.
    """

    submitted: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    ends: dict[str, dict[str, int]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    waits: dict[str, Spells] = field(default_factory=dict)
    took: dict[str, Spells] = field(default_factory=dict)

    def expect(self, functions: Iterable[str]) -> None:
        """Begin at 0: what appears with its first event has no increase for whoever watches."""
        for name in functions:
            self.submitted.setdefault(name, 0)
            self.lost.setdefault(name, 0)
            self.ends.setdefault(name, dict.fromkeys((state for state in RunState if state.ended), 0))

    def accepted(self, function: str) -> None:
        """A run was taken in."""
        _add(self.submitted, function)

    def refused(self, reason: str) -> None:
        """A run was not taken in, for now."""
        _add(self.rejected, reason)

    def started(self, run: RunRecord) -> None:
        """An attempt of it begins; the wait for a later one is not the queue's."""
        if run.attempt == 1 and run.started_at_ms is not None:
            self.waits.setdefault(run.group, Spells()).add((run.started_at_ms - run.created_at_ms) / 1000)

    def ended(self, function: str, state: RunState) -> None:
        """It has ended."""
        _add(self.ends.setdefault(function, {}), state.value)

    def lasted(self, function: str, seconds: float) -> None:
        """It has ended here, so long after it was started."""
        self.took.setdefault(function, Spells()).add(seconds)

    def lost_one(self, function: str) -> None:
        """The process that executed it died."""
        _add(self.lost, function)


class Meters(msgspec.Struct):
    """All that one process counted since its start; none of it ever falls."""

    flow: Flow = field(default_factory=Flow)
    appends: Appends = field(default_factory=Appends)
    store: StoreWork = field(default_factory=StoreWork)
    runs: Runs = field(default_factory=Runs)
    cpu_s: float = 0.0


class Gauges(msgspec.Struct):
    """How one process is at this moment. behind_most: of the reader that is furthest behind."""

    readers: dict[str, int] = field(default_factory=dict)
    behind: int = 0
    behind_most: int = 0
    resident_bytes: int = 0


class Snapshot(msgspec.Struct):
    """One process, as it tells the others of its service. counted: `Meters`, as JSON: theirs may be of another
    version."""

    now: Gauges
    counted: Any


def added(one: Any, other: Any) -> Any:
    """Two decoded JSON values of one shape, numbers added: what two processes counted, of whichever version."""
    if isinstance(one, dict) and isinstance(other, dict):
        both = {name: added(one[name], other[name]) for name in one.keys() & other.keys()}
        return one | other | both
    if isinstance(one, list) and isinstance(other, list):
        return [a + b for a, b in zip(one, other, strict=False)] + one[len(other) :] + other[len(one) :]
    return one + other


def _add(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
