"""Who waits and who runs, in memory: `protocol.limits.admit` with its values kept up to date."""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from ...models import Group, RunRecord, RunState, Tally, Terms
from ...protocol.limits import Line, Lines, Waiting, admit, may_start_at, rank_ms, served_at
from ...protocol.standing import Places
from .starts import Starts

__all__ = ["OVERDUE_MS", "Lineup"]


OVERDUE_MS = 9_000_000_000_000_000
"""`not_before_ms` of a run that has waited too long: it starts no more."""


class _Held(msgspec.Struct, frozen=True):
    """A call that goes on though its run has ended."""

    group: str
    function: str
    lane: str
    worker: str


class Lineup:
    """Runs that have not ended, by group."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}  # by run id: the order of submission
        self._ids: list[str] = []
        self._lines: dict[str, dict[tuple[str, str], Line]] = {}
        self._parked: dict[str, RunRecord] = {}
        self._queued: dict[str, RunRecord] = {}
        self._waiting_in: Counter[str] = Counter()
        self._running: dict[str, dict[str, RunRecord]] = {}
        self._held: dict[str, _Held] = {}
        self._starts = Starts()
        self._marks: Counter[str] = Counter()
        self._again_at_ms: int | None = None

    def number(self, run_id: str) -> int:
        """A new run's place in the order of submission."""
        self._ids.append(run_id)
        self.numbers[run_id] = len(self._ids)
        return len(self._ids)

    def remove(self, run: RunRecord) -> None:
        """Take a run from where it stands."""
        self._parked.pop(run.id, None)
        self._waiting_in[run.group] -= self._queued.pop(run.id, None) is not None
        self._running.get(run.group, {}).pop(run.id, None)
        lines = self._lines.get(run.group, {})
        line = lines.get((run.lane, run.function))
        if line is not None:
            _drop(line, self._waiting(run))
            if not line.runs:
                del lines[run.lane, run.function]

    def put(self, run: RunRecord, *, parked: bool = False) -> None:
        """Put a run where it belongs; one that has ended nowhere."""
        if run.state is RunState.RUNNING:
            self._running.setdefault(run.group, {})[run.id] = run
        elif run.state is RunState.QUEUED:
            self._queued[run.id] = run
            self._waiting_in[run.group] += 1
            if parked:
                self._parked[run.id] = run
            else:
                self._join(run)

    def refresh(self, run: RunRecord) -> None:
        """A run has changed where it stands."""
        for place in (self._parked, self._queued, self._running.get(run.group, {})):
            if run.id in place:
                place[run.id] = run

    def _join(self, run: RunRecord) -> None:
        lines = self._lines.setdefault(run.group, {})
        line = lines.setdefault((run.lane, run.function), Line(run.function, run.lane, []))
        assert isinstance(line.runs, list)
        insort(line.runs, self._waiting(run))

    def _waiting(self, run: RunRecord) -> Waiting:
        rank = rank_ms(run.created_at_ms, run.priority)
        return Waiting(rank, self.numbers[run.id], run.priority, run.created_at_ms)

    def is_parked(self, run_id: str) -> bool:
        """Whether a queued run is out of line, until its time comes."""
        return run_id in self._parked

    # Claims

    def due(self, now_ms: int) -> Iterator[RunRecord]:
        """Parked runs whose time has come."""
        return (run for run in list(self._parked.values()) if run.not_before_ms <= now_ms)

    def overdue(self, now_ms: int) -> list[RunRecord]:
        """Queued runs that have waited too long, the longest first."""
        found = [run for run in self._queued.values() if run.start_by_ms is not None]
        late = [run for run in found if (run.start_by_ms or 0) <= now_ms]
        return sorted(late, key=lambda run: run.start_by_ms or 0)

    def admit(self, groups: Iterable[Group], now_ms: int, most: int) -> list[list[str]]:
        """Ids of the runs that may start, by call; their turns are given."""
        known = {group.name: group for group in groups}
        calls, self._again_at_ms = admit([self._of(group) for group in known.values()], now_ms, most)
        named = [[self._ids[number - 1] for number in call] for call in calls]
        for run in [self._queued[run_id] for call in named for run_id in call]:
            self._note_start(run, known[run.group].terms_of(run.function), now_ms)
        return named

    def _of(self, group: Group) -> Lines:
        return Lines(
            group,
            list(self._lines.get(group.name, {}).values()),
            self.calls(group.name, batches=group.batches),
            self._taken_in(group.name),
            lambda function, lane: self._starts.of((function, lane)),
            self._marks[group.name],
        )

    def _taken_in(self, group: str) -> Counter[str]:
        """Places that each lane takes, by running runs and by calls that go on."""
        running = self._running.get(group, {}).values()
        held = [one for one in self._held.values() if one.group == group]
        return Counter([*(run.lane for run in running), *(one.lane for one in held)])

    def _note_start(self, run: RunRecord, terms: Terms, now_ms: int) -> None:
        if terms.rate is not None:
            self._starts.note((run.function, run.lane), terms.rate, now_ms)
        if run.lane:
            self._marks[run.group] = served_at(now_ms, self._marks[run.group])
            for (lane, _), line in self._lines[run.group].items():
                if lane == run.lane:
                    line.served = self._marks[run.group]

    def due_at_ms(self) -> int | None:
        """When next something may start that waits for its time only."""
        times = [run.not_before_ms for run in self._parked.values()]
        return min([*times, *([] if self._again_at_ms is None else [self._again_at_ms])], default=None)

    # Lines kept elsewhere

    def may_start(self, run_id: str, now_ms: int) -> bool:
        """Whether a run waits that was not asked to stop, and has not waited too long."""
        run = self._queued.get(run_id)
        if run is None or run.cancel:
            return False
        return run.start_by_ms is None or run.start_by_ms > now_ms

    def unkept(self, functions: Collection[str], workers: Collection[str], now_ms: int) -> list[str]:
        """Ids of queued runs of these functions that none of these workers keeps, in order of submission."""
        found = [
            run.id
            for run in self._queued.values()
            if run.function in functions and not run.cancel and run.not_before_ms <= now_ms
            if run.worker is None or run.worker not in workers
        ]
        return sorted(found, key=self.numbers.__getitem__)

    # Calls that go on

    def hold(self, run: RunRecord) -> None:
        """The run has ended, its call goes on."""
        self._held[run.id] = _Held(run.group, run.function, run.lane, run.worker or "")

    def release(self, run_id: str) -> None:
        """A call has come back."""
        self._held.pop(run_id, None)

    def forget(self, worker: str) -> None:
        """A worker is gone, and the calls that went on in it."""
        self._held = {run_id: one for run_id, one in self._held.items() if one.worker != worker}

    # Looks

    @property
    def queued(self) -> Sequence[RunRecord]:
        """Runs that wait, in line or parked."""
        return list(self._queued.values())

    @property
    def running(self) -> Sequence[RunRecord]:
        """Runs under way."""
        return [run for group in self._running.values() for run in group.values()]

    @property
    def holders(self) -> set[str]:
        """Workers with calls that go on."""
        return {one.worker for one in self._held.values()}

    def waiting(self, group: str) -> int:
        """Queued runs of a group."""
        return self._waiting_in[group]

    def calls(self, group: str, *, batches: bool) -> int:
        """Places taken in a group; where there are no batches each run has one."""
        running = self._running.get(group, {}).values()
        held = sum(one.group == group for one in self._held.values())
        return held + (len({run.call for run in running}) if batches else len(running))

    def is_stuck(self, run: RunRecord, terms: Terms) -> bool:
        """Whether a new run could not start at once, even if its group had room: for its key, or its rate."""
        lines = self._lines.get(run.group, {})
        if terms.key_limit is not None and run.lane:
            taken = self._taken_in(run.group)[run.lane]
            taken += sum(len(line.runs) for (lane, _), line in lines.items() if lane == run.lane)
            if taken >= terms.key_limit:
                return True
        if terms.rate is None:
            return False
        starts = self._starts.of((run.function, run.lane))
        oldest_ms = starts[-terms.rate.count] if len(starts) >= terms.rate.count else None
        at_ms = may_start_at(terms.rate, oldest_ms, run.created_at_ms)
        return (run.lane, run.function) in lines or at_ms > run.created_at_ms

    def ahead(self, runs: Iterable[RunRecord]) -> dict[str, int]:
        """Runs that are to start before each of these; see `RunStore.standings`."""
        looks: dict[str, Places] = {}
        found = {}
        for run in runs:
            if run.id in self._queued and run.id not in self._parked:
                lines = self._lines[run.group]
                places = looks.get(run.group) or Places(list(lines.values()))
                looks[run.group] = places
                found[run.id] = places.ahead(self._waiting(run), lines[run.lane, run.function])
        return found

    def tallies(self) -> list[Tally]:
        """How many wait, run and are held."""
        waiting = Counter((run.group, run.function) for run in self._queued.values())
        running = Counter((run.group, run.function) for run in self.running)
        calls = Counter(
            (group, function) for group, function, _ in {(r.group, r.function, r.call) for r in self.running}
        )
        held = Counter((one.group, one.function) for one in self._held.values())
        places = sorted(waiting.keys() | running.keys() | held.keys())
        return [Tally(*place, waiting[place], running[place], held[place], calls[place]) for place in places]


def _drop(line: Line, waiting: Waiting) -> None:
    assert isinstance(line.runs, list)
    place = bisect_left(line.runs, waiting)
    if place < len(line.runs) and line.runs[place] == waiting:
        del line.runs[place]
