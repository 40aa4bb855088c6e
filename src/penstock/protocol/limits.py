"""Admission: which queued runs may start now. The whole rule in plain values; a store may find the same answer
by indexes, and is examined against this one (tests/storage/test_histories.py).

A **line** is the queued runs of one function and lane (the worth of its concurrency key; empty without one), in
the order of their `rank_ms`. Of all lines that may give a run, the one with the earliest turn does. A plain line's
turn is the rank of its first run, so plain lines together are first in, first out. A lane goes to the back each
time a run of it was started: lanes take turns. Priority is a head start: a run counts as submitted that many
minutes earlier, so however many prioritised ones come, each run's turn comes too.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from ..errors import ConfigError
from ..models import Group, Pace, Rate, Terms

__all__ = [
    "HEAD_START_MS",
    "SKEW_MS",
    "STARTS_KEPT_MS",
    "TICKS",
    "Line",
    "Lines",
    "Waiting",
    "admit",
    "eta_s",
    "gathers_until",
    "may_start_at",
    "pace_after",
    "parse_rate",
    "rank_ms",
    "served_at",
    "turn_of",
]

HEAD_START_MS = 60_000
"""What one step of priority is worth: a minute of waiting."""

TICKS = 1000
"""Turns are told in milliseconds times this, so that those given in one claim differ."""

PACE_MEMORY = 20
"""Runs after which an earlier duration has lost two thirds of its weight: models and inputs change."""

COUNT_DIGITS = 6
"""A store keeps as many starts as a rate counts; a limit of more is none."""

SKEW_MS = 10_000
"""A claim's time is read before it waits for the store's lock, five seconds at most, so that a start of another
process may lie ahead of it; what lies further ahead is of a clock that was set back."""

STARTS_KEPT_MS = 3_600_000
"""How long a store keeps a start that no rate counts any more: a clock may be set back by less and break none."""

_PERIODS_MS = {"s": 1000, "sec": 1000, "min": 60_000, "h": 3_600_000, "hour": 3_600_000, "day": 86_400_000}


def parse_rate(text: str) -> Rate:
    """`"10/min"`: ten starts in any minute. Periods: s, min, h, day. Raises ConfigError."""
    count, _, period = text.partition("/")
    count, period = count.strip(), period.strip()
    known = count.isascii() and count.isdigit() and len(count) <= COUNT_DIGITS and period in _PERIODS_MS
    if not known or int(count) < 1:
        raise ConfigError(f"rate_limit is {text!r}.", hint='"10/min": a count, and one of s, min, h, day.')
    return Rate(int(count), _PERIODS_MS[period])


class Waiting(msgspec.Struct, frozen=True, order=True):
    """A queued run: `number` is its place in the order of submission."""

    rank_ms: int
    number: int
    priority: int
    created_at_ms: int


class Line(msgspec.Struct):
    """Queued runs of one function and lane, first to last, and when its lane last had a turn (0: never)."""

    function: str
    lane: str
    runs: Sequence[Waiting]
    served: int = 0


class Lines(msgspec.Struct):
    """One group's lines, with its running calls, its running runs by lane, and starts by function and lane.

    starts: the last ones, oldest first, as many as the function's rate counts; it is called only where there
        is a rate.
    mark: of the last turn that was given to a lane.
    """

    group: Group
    lines: Sequence[Line]
    calls: int
    running: Mapping[str, int]
    starts: Callable[[str, str], Sequence[int]]
    mark: int = 0


def rank_ms(created_at_ms: int, priority: int) -> int:
    """What a line is ordered by."""
    return created_at_ms - priority * HEAD_START_MS


def served_at(now_ms: int, last: int) -> int:
    """The mark of a turn: later than whatever waits by now, and than the `last` one of its group."""
    return max(now_ms * TICKS, last) + 1


def turn_of(first: Waiting, served: int) -> int:
    """When it is a line's turn, whose lane was last served then."""
    return max(first.rank_ms * TICKS, served - first.priority * HEAD_START_MS * TICKS)


def may_start_at(rate: Rate, oldest_ms: int | None, now_ms: int) -> int:
    """From when on the rate lets another start, the last `rate.count` having begun at `oldest_ms`.

    None: there were not as many yet. `now_ms` or earlier means now.
    """
    if oldest_ms is None or oldest_ms > now_ms + SKEW_MS:  # the clock was set back: it can't be waited for
        return now_ms
    return oldest_ms + rate.period_ms


def admit(queue: Iterable[Lines], now_ms: int, most: int) -> tuple[list[list[int]], int | None]:
    """The calls that may start now, at most `most`, in order, each with the numbers of the runs it serves; and
    when next one may that waits for its time only."""
    admission = _Admission(queue, now_ms)
    calls: list[list[int]] = []
    while len(calls) < most and (source := admission.next_source()) is not None:
        calls.append(source.call())
    return calls, admission.again_at_ms


class _Admission:
    def __init__(self, queue: Iterable[Lines], now_ms: int) -> None:
        self.now_ms = now_ms
        self.again_at_ms: int | None = None
        self._sources = [
            _Source(self, group, function)
            for group in map(_Standing, queue)
            for function in group.lines.group.functions
        ]

    def next_source(self) -> "_Source | None":
        """The function whose line has the earliest turn."""
        ready = [(turn, source) for source in self._sources if (turn := source.turn()) is not None]
        return min(ready, key=lambda one: one[0])[1] if ready else None

    def has_come(self, time_ms: int) -> bool:
        """Whether it is that time; if not, it is one to look again at."""
        if time_ms <= self.now_ms:
            return True
        self.again_at_ms = time_ms if self.again_at_ms is None else min(self.again_at_ms, time_ms)
        return False


class _Standing:
    """What changes in a group while runs of it are started."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        limit = lines.group.concurrency_limit
        self.free = float("inf") if limit is None else limit - lines.calls
        self.running = dict(lines.running)
        self.mark = lines.mark
        self.served = {(line.function, line.lane): line.served for line in lines.lines}
        self.starts: dict[tuple[str, str], list[int]] = {}

    def starts_of(self, line: Line) -> list[int]:
        place = (line.function, line.lane)
        if place not in self.starts:
            self.starts[place] = list(self.lines.starts(*place))
        return self.starts[place]

    def serve(self, lane: str, now_ms: int) -> None:
        if lane:
            self.mark = served_at(now_ms, self.mark)
            self.served |= {place: self.mark for place in self.served if place[1] == lane}


class _Source:
    """One function's lines, by turn."""

    def __init__(self, admission: _Admission, standing: _Standing, function: str) -> None:
        self._admission = admission
        self._standing = standing
        self._terms = standing.lines.group.terms_of(function)
        lines = [line for line in standing.lines.lines if line.function == function and line.runs]
        self._waiting = sum(len(line.runs) for line in lines)
        self._heap = [(*self._key(line, 0), place) for place, line in enumerate(lines)]
        self._lines = [(line, 0) for line in lines]  # with how many of its runs were started
        heapq.heapify(self._heap)

    def _key(self, line: Line, begun: int) -> tuple[int, int]:
        first = line.runs[begun]
        served = self._standing.served[line.function, line.lane] if line.lane else 0
        return turn_of(first, served), first.number

    def turn(self, *, filling: bool = False) -> tuple[int, int] | None:
        """The earliest turn of a line that may give a run; None where there is none."""
        if not filling and (self._standing.free <= 0 or self._gathers()):
            return None
        while self._heap:
            turn, number, place = self._heap[0]
            line, begun = self._lines[place]
            key = self._key(line, begun)
            if key != (turn, number):  # its lane was served through another function's line meanwhile
                heapq.heapreplace(self._heap, (*key, place))
            elif not self._has_room(line):
                heapq.heappop(self._heap)
            else:
                return key
        return None

    def _has_room(self, line: Line) -> bool:
        limit, rate = self._terms.key_limit, self._terms.rate
        if limit is not None and line.lane and self._standing.running.get(line.lane, 0) >= limit:
            return False
        if rate is None:
            return True
        starts = self._standing.starts_of(line)
        oldest_ms = starts[-rate.count] if len(starts) >= rate.count else None
        return self._admission.has_come(may_start_at(rate, oldest_ms, self._admission.now_ms))

    def _gathers(self) -> bool:
        if not 0 < self._waiting < self._terms.batch_size:
            return False
        oldest_ms = min([run.created_at_ms for line, begun in self._lines for run in line.runs[begun:]])
        until_ms = gathers_until(self._terms, oldest_ms, self._waiting, self._admission.now_ms)
        return not self._admission.has_come(until_ms)

    def call(self) -> list[int]:
        """Start a call: its first run, and as many more as its batch takes."""
        self._standing.free -= 1
        numbers = [self._start()]
        while len(numbers) < self._terms.batch_size and self.turn(filling=True) is not None:
            numbers.append(self._start())
        return numbers

    def _start(self) -> int:
        _, number, at = heapq.heappop(self._heap)
        line, begun = self._lines[at]
        self._lines[at] = (line, begun + 1)
        self._waiting -= 1
        running = self._standing.running
        running[line.lane] = running.get(line.lane, 0) + 1
        if self._terms.rate is not None:
            self._standing.starts_of(line).append(self._admission.now_ms)
        self._standing.serve(line.lane, self._admission.now_ms)
        if begun + 1 < len(line.runs):
            heapq.heappush(self._heap, (*self._key(line, begun + 1), at))
        return number


def gathers_until(terms: Terms, oldest_ms: int, waiting: int, now_ms: int) -> int:
    """Until when a batch of `waiting` runs waits for more, its oldest of `oldest_ms`; 0 if it does not."""
    # A full one does not, nor does one from before the clock was set back.
    return 0 if waiting >= terms.batch_size or oldest_ms > now_ms else oldest_ms + terms.batch_wait_ms


def pace_after(pace: Pace, took_ms: float) -> Pace:
    """The pace once another run has taken `took_ms`: exponentially weighted, a plain mean of the first ones."""
    weight = max(1 / (pace.runs + 1), 1 / PACE_MEMORY)
    step = took_ms - pace.mean_ms
    variance = (1 - weight) * (pace.variance + weight * step * step)
    return Pace(pace.runs + 1, pace.mean_ms + weight * step, variance)


def eta_s(
    ahead: int, limit: int | None, waiting: Mapping[str, int], paces: Mapping[str, Pace], per_call: int = 1
) -> tuple[float, float] | None:
    """Seconds until a run with `ahead` before it starts, and one standard deviation; None while no run has ended.

    All places are taken when somebody waits, so one becomes free every mean / limit. The mean is of the group's
    functions as they stand in line, `waiting` being how many of each; a call serves `per_call` of them.
    """
    if limit is None:
        return 0.0, 0.0
    known = {name: paces[name] for name in waiting if name in paces} or dict(paces)
    weights = {name: max(1, waiting.get(name, 0)) for name in known}
    total = sum(weights.values())
    if not total or limit < 1:
        return None
    mean = sum(known[name].mean_ms * weight for name, weight in weights.items()) / total
    variance = sum(known[name].variance * weight for name, weight in weights.items()) / total
    turns = ahead // per_call + 1
    return turns * mean / limit / 1000, (variance * turns) ** 0.5 / limit / 1000
