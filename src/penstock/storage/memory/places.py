"""Where runs stand in a group's lines; see `RunStore.standings`."""

from bisect import bisect_left
from collections.abc import Mapping
from functools import cached_property

from ...protocol.limits import Line, Waiting, turn_of

__all__ = ["Places"]

Lines = Mapping[tuple[str, str], Line]


class Places:
    """One look at a group: whatever is to be counted is put in order once, for all runs that are asked for."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def ahead(self, own: Waiting, lane: str, function: str) -> int:
        """How many are to start before a run."""
        before = self._of_lower_rank(own) if own.priority > 0 else bisect_left(self._numbers, own.number)
        return min(before, self._turns_before(own, self._lines[lane, function])) if lane else before

    def _of_lower_rank(self, own: Waiting) -> int:
        return bisect_left(self._ranked, own)

    def _turns_before(self, own: Waiting, line: Line) -> int:
        return bisect_left(line.runs, own) * len(self._lines) + bisect_left(self._turns, _turn(line))

    @cached_property
    def _numbers(self) -> list[int]:
        return sorted(one.number for line in self._lines.values() for one in line.runs)

    @cached_property
    def _ranked(self) -> list[Waiting]:
        return sorted(one for line in self._lines.values() for one in line.runs)

    @cached_property
    def _turns(self) -> list[tuple[int, int]]:
        return sorted(map(_turn, self._lines.values()))


def _turn(line: Line) -> tuple[int, int]:
    first = line.runs[0]
    return turn_of(first, line.served), first.number
