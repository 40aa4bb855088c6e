"""A queue to play with: what `admit` lets start is started, and each start is examined by counting."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from penstock.models import Group
from penstock.protocol.limits import Line, Lines, Waiting, admit, rank_ms, served_at, turn_of

__all__ = ["BEGIN_MS", "Hall", "Job"]

BEGIN_MS = 1_700_000_000_000
FOR_EVER_MS = 1 << 60


class Job(NamedTuple):
    group: str
    function: str
    lane: str
    waiting: Waiting

    @property
    def line(self) -> tuple[str, str, str]:
        return self.group, self.lane, self.function


class Hall:
    """A queue that starts what `admit` says, and examines each start by counting."""

    def __init__(self, *groups: Group) -> None:
        self.groups = {group.name: group for group in groups}
        self.home = {function: group.name for group in groups for function in group.functions}
        self.now_ms = BEGIN_MS
        self.jobs: list[Job] = []
        self.queued: dict[int, Job] = {}
        self.running: dict[int, tuple[Job, int]] = {}  # with its call
        self.ended: set[int] = set()
        self.served: dict[tuple[str, str, str], int] = {}  # of lines that there are
        self.marks = dict.fromkeys(self.groups, 0)
        self.starts: dict[tuple[str, str], list[int]] = {}
        self.order: list[Job] = []  # as they were started
        self.calls = 0

    # What happens to it

    def submit(self, function: str, lane: str = "", priority: int = 0) -> int:
        number = len(self.jobs)
        waiting = Waiting(rank_ms(self.now_ms, priority), number, priority, self.now_ms)
        self.jobs.append(Job(self.home[function], function, lane, waiting))
        self._join(number)
        return number

    def _join(self, number: int) -> None:
        self.queued[number] = self.jobs[number]
        self.served.setdefault(self.jobs[number].line, 0)

    def end(self, number: int) -> None:
        del self.running[number]
        self.ended.add(number)

    def give_back(self, number: int) -> None:
        """In order, or because its worker has crashed."""
        del self.running[number]
        self._join(number)

    def claim(self, most: int = 1000) -> int | None:
        calls, again_at_ms = admit(map(self._lines, self.groups.values()), self.now_ms, most)
        assert len(calls) <= most
        for call in calls:
            self._begin(call)
        if len(calls) < most:
            assert not self.startable(self.now_ms), "what may start does"
            self._check_again(again_at_ms, idle=not calls)
        return again_at_ms

    def _lines(self, group: Group) -> Lines:
        places = [place for place in self.served if place[0] == group.name]
        lines = [
            Line(function, lane, self._in_line(name, lane, function), self.served[name, lane, function])
            for name, lane, function in places
        ]
        calls = len({call for job, call in self.running.values() if job.group == group.name})
        running, mark = self._in_lanes(group.name), self.marks[group.name]
        return Lines(group, lines, calls, running, self._last_starts, mark)

    def _in_line(self, *place: str) -> list[Waiting]:
        return sorted(job.waiting for job in self.queued.values() if job.line == place)

    def _in_lanes(self, group: str) -> Counter[str]:
        return Counter(job.lane for job, _ in self.running.values() if job.group == group)

    def _last_starts(self, function: str, lane: str) -> Sequence[int]:
        rate = self.groups[self.home[function]].terms_of(function).rate
        assert rate is not None, "it is asked only where there is one"
        return self.starts.get((function, lane), [])[-rate.count :]

    # What is promised

    def _begin(self, call: list[int]) -> None:
        job, self.calls = self.jobs[call[0]], self.calls + 1
        terms = self.groups[job.group].terms_of(job.function)
        assert 1 <= len(call) <= terms.batch_size
        assert call[0] == self.startable(self.now_ms)[0], "it is the earliest turn that may start"
        for filled, number in enumerate(call):
            fitting = [job] if not filled else self._fitting(job, self.now_ms)
            assert self.jobs[number] in fitting
            self._start(number)
        if len(call) < terms.batch_size:
            assert not self._fitting(job, self.now_ms), "a batch takes all that it can"

    def _start(self, number: int) -> None:
        job = self.queued.pop(number)  # once, and only what waits
        self.running[number] = job, self.calls
        self.order.append(job)
        starts = self.starts.setdefault((job.function, job.lane), [])
        starts.append(self.now_ms)
        if job.lane:
            mark = self.marks[job.group] = served_at(self.now_ms, self.marks[job.group])
            self.served |= {line: mark for line in self.served if line[:2] == job.line[:2]}
        if job.line not in {one.line for one in self.queued.values()}:
            del self.served[job.line]
        self._check_limits(job, starts)

    def _check_limits(self, job: Job, starts: list[int]) -> None:
        group = self.groups[job.group]
        terms = group.terms_of(job.function)
        calls = {call for one, call in self.running.values() if one.group == job.group}
        assert group.concurrency_limit is None or len(calls) <= group.concurrency_limit
        if terms.key_limit is not None and job.lane:
            assert self._in_lanes(job.group)[job.lane] <= terms.key_limit
        if terms.rate is not None:
            recent = [at_ms for at_ms in starts if self.now_ms - at_ms < terms.rate.period_ms]
            assert len(recent) <= terms.rate.count, (
                "in the period that ends now; each window ends with a start"
            )

    def startable(self, at_ms: int) -> list[int]:
        """Numbers of the runs that may begin a call then, the earliest turn first."""
        heads = [job for job in self._heads() if self._group_has_room(job) and self._may_join(job, at_ms)]
        ready = [job for job in heads if self._is_gathered(job, at_ms)]
        return [job.waiting.number for job in sorted(ready, key=self._turn)]

    def _fitting(self, first: Job, at_ms: int) -> list[Job]:
        """The run that may join a call that has begun, or none: its function's, by turns."""
        heads = [
            job for job in self._heads() if job.function == first.function and self._may_join(job, at_ms)
        ]
        return sorted(heads, key=self._turn)[:1]

    def _heads(self) -> Iterable[Job]:
        for place in self.served:
            yield min((job for job in self.queued.values() if job.line == place), key=lambda job: job.waiting)

    def _turn(self, job: Job) -> tuple[int, int]:
        return turn_of(job.waiting, self.served[job.line] if job.lane else 0), job.waiting.number

    def _group_has_room(self, job: Job) -> bool:
        limit = self.groups[job.group].concurrency_limit
        calls = {call for one, call in self.running.values() if one.group == job.group}
        return limit is None or len(calls) < limit

    def _may_join(self, job: Job, at_ms: int) -> bool:
        terms = self.groups[job.group].terms_of(job.function)
        if (
            terms.key_limit is not None
            and job.lane
            and self._in_lanes(job.group)[job.lane] >= terms.key_limit
        ):
            return False
        starts = self.starts.get((job.function, job.lane), [])
        return terms.rate is None or terms.rate.count > sum(
            at_ms - start_ms < terms.rate.period_ms for start_ms in starts
        )

    def _is_gathered(self, job: Job, at_ms: int) -> bool:
        terms = self.groups[job.group].terms_of(job.function)
        waiting = [one.waiting.created_at_ms for one in self.queued.values() if one.function == job.function]
        oldest_ms = min(waiting)
        return len(waiting) >= terms.batch_size or not oldest_ms <= at_ms < oldest_ms + terms.batch_wait_ms

    def _check_again(self, again_at_ms: int | None, *, idle: bool) -> None:
        if again_at_ms is None:
            assert not self.startable(FOR_EVER_MS), "nothing waits for its time"
            return
        assert again_at_ms > self.now_ms
        assert not self.startable(again_at_ms - 1), "nothing could be started before"
        terms = [terms for group in self.groups.values() for terms in group.terms.values()]
        # Once a batch has gathered, another reason may hold it up: then the look was in vain.
        if idle and not any(one.batch_wait_ms and (one.rate or one.key_limit) for one in terms):
            assert self.startable(again_at_ms), "and then something can"

    def work_off(self) -> None:
        """Until nothing waits; fails where nothing could go on."""
        while self.queued:
            for number in list(self.running):
                self.end(number)
            before, again_at_ms = len(self.queued), self.claim()
            if len(self.queued) == before:
                assert again_at_ms is not None, "no line is forgotten"
                self.now_ms = again_at_ms  # which is later, as each claim examines
