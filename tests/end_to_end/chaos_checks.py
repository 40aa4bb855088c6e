"""What the record of the chaos test shows: when each call was at work, and whether a promise was broken.

A call that has no last mark was cut short. It counts as going on until the last moment in which its process is
known to have lived: its last mark, or the kill. So what is found here is a fault, however slow the machine was.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .chaos_app import KINDS, RATE, Mark, Part

RATE_PERIOD_MS = 1000

_LIMITS = {kind.group: kind.limit for kind in KINDS.values()}
_KEY_LIMITS = {kind.group: kind.key_limit for kind in KINDS.values()}


class Interval(NamedTuple):
    """A call of a function. `fate` is how it ended; empty if it was cut short."""

    group: str
    pid: int
    parts: Sequence[Part]
    begun_ns: int
    ended_ns: int
    fate: str


def marks_in(record: Path) -> tuple[list[Mark], int]:
    """The marks in the order in which they were written, and how many lines were cut by a kill."""
    marks, torn = [], 0
    for line in filter(None, record.read_bytes().split(b"\n")):
        try:
            marks.append(msgspec.json.decode(line, type=Mark))
        except msgspec.DecodeError:
            torn += 1
    return marks, torn


def intervals_of(marks: Iterable[Mark], killed_ns: Mapping[int, int]) -> list[Interval]:
    """Each call's. killed_ns: when processes were killed, as of the moment before."""
    begun: dict[str, Mark] = {}
    ended: dict[str, Mark] = {}
    lived_ns = dict(killed_ns)
    for mark in marks:
        kept = begun if mark.what == "begun" else ended
        assert mark.call not in kept, mark
        kept[mark.call] = mark
        lived_ns[mark.pid] = max(mark.at_ns, lived_ns.get(mark.pid, 0))
    return [
        Interval(mark.group, mark.pid, mark.parts, mark.at_ns, *_end(mark, ended.get(call), lived_ns))
        for call, mark in begun.items()
    ]


def _end(begun: Mark, ended: Mark | None, lived_ns: Mapping[int, int]) -> tuple[int, str]:
    return (lived_ns[begun.pid], "") if ended is None else (ended.at_ns, ended.what)


def check_limits(intervals: Sequence[Interval]) -> set[str]:
    """No group had more calls at work than its limit, no lane more runs than its key's, no run two attempts.

    Returns the groups that were full at some time.
    """
    groups, lanes, runs = defaultdict(list), defaultdict(list), defaultdict(list)
    for one in intervals:
        groups[one.group].append(one)
        for part in one.parts:
            lanes[one.group, part.lane].append(one)
            runs[part.run_id].append(one)
    for (group, lane), found in lanes.items():
        assert most_at_once(found) <= (_KEY_LIMITS[group] or len(found)), (group, lane)
    for run_id, found in runs.items():
        assert most_at_once(found) <= 1, run_id
    most = {group: most_at_once(found) for group, found in groups.items()}
    assert all(most[group] <= (_LIMITS[group] or most[group]) for group in most), most
    return {group for group in most if most[group] == _LIMITS[group]}


def most_at_once(intervals: Iterable[Interval]) -> int:
    """How many were going on in any one moment, at most."""
    # What ends in the moment in which another begins has made room for it: -1 comes before 1.
    changes = sorted(itertools.chain.from_iterable([(i.begun_ns, 1), (i.ended_ns, -1)] for i in intervals))
    return max(itertools.accumulate(change for _, change in changes))


def check_rate(intervals: Iterable[Interval], told: Mapping[str, Mapping[str, Any]]) -> None:
    """No more starts of a caller's runs than its rate allows, in any period; each attempt is one."""
    # By the clock of the claim, which is the one that is promised; the function is called a little later.
    starts: dict[str, list[int]] = defaultdict(list)
    for part in (part for one in intervals if one.group == "paced" for part in one.parts):
        starts[part.lane].append(part.started_at_ms)
        run = told[part.run_id]
        assert run["attempt"] > part.attempt or run["started_at_ms"] == part.started_at_ms, part
    assert len(starts) == KINDS["paced"].lanes
    for caller, times_ms in starts.items():
        times_ms.sort()
        for first, beyond in zip(times_ms, times_ms[RATE:], strict=False):
            assert beyond - first >= RATE_PERIOD_MS, (caller, times_ms)


def check_attempts(
    intervals: Iterable[Interval], told: Mapping[str, Mapping[str, Any]], dead: Iterable[int]
) -> None:
    """Each attempt was begun once, and followed by another only if it raised, or its process has died.

    dead: the processes that were killed, or told to leave.
    """
    begun = Counter((part.run_id, part.attempt) for one in intervals for part in one.parts)
    assert max(begun.values()) == 1, begun.most_common(1)
    dead = set(dead)
    for one in intervals:
        for part in one.parts:
            attempts = told[part.run_id]["attempt"]
            assert part.attempt <= attempts, part
            assert part.attempt == attempts or one.fate == "raised" or one.pid in dead, (one, attempts)


def losses_of(intervals: Iterable[Interval], run: Mapping[str, Any], killed: Iterable[int]) -> int:
    """Attempts of a run that may have been under way in a process when it was killed."""
    killed = set(killed)
    pids = [one.pid for one in intervals for part in one.parts if part.run_id == run["run_id"]]
    return int(run["attempt"]) - sum(pid not in killed for pid in pids)
