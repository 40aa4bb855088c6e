"""How many runs are to start before one, in plain values; a store may find the same answer by indexes.

It is counted as if nobody came or left, nothing were held up by a rate or a key's limit, and places became free
one by one: then it is the order in which `protocol.limits.admit` starts them. Runs without a lane start by rank,
and lanes take turns: before the run of a lane come a run of each other lane in every round before its own, and in
its own round those whose turn comes first. (A later run's priority is not counted in: it is served in its round.)
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from .limits import TICKS, Line, Waiting, turn_of

__all__ = ["ROUNDS_APART", "Places"]

ROUNDS_APART = 8
"""Rounds of which it is counted who has a turn in them; in later ones it is taken to be who has one in this."""

Turn = tuple[int, int]
"""When a line's first run, or a run without a lane, may start: the time, and the run's number."""


class Places:
    """One look at a group's lines: what is to be counted is put in order once, for all runs that are asked for.

    lines: none empty, each in the order of its runs; a lane may have one of each function.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        self._plain = [line for line in lines if not line.lane]
        self._laned = [line for line in lines if line.lane]
        self._by_round: dict[int, list[Turn]] = {}

    def ahead(self, own: Waiting, line: Line) -> int:
        """How many are to start before a run that stands in this line."""
        if not line.lane:
            turn = (own.rank_ms * TICKS, own.number)
            return bisect_left(self._plain_turns, turn) + bisect_left(self._turns(0), turn)
        round_, turn = bisect_left(line.runs, own), _turn(line)
        before = bisect_left(self._turns(min(round_, ROUNDS_APART)), turn)
        if round_ == 0:
            return bisect_left(self._plain_turns, turn) + before
        return len(self._plain_turns) + self._in_rounds_before(round_) + min(before, self._others_in(round_))

    def _in_rounds_before(self, round_: int) -> int:
        return sum(min(size, round_) * count for size, count in self._sizes.items())  # its own line's too

    def _others_in(self, round_: int) -> int:
        return sum(count for size, count in self._sizes.items() if size > round_) - 1

    @cached_property
    def _plain_turns(self) -> list[Turn]:
        return sorted((run.rank_ms * TICKS, run.number) for line in self._plain for run in line.runs)

    def _turns(self, round_: int) -> list[Turn]:
        """Of the lines with lanes that have a turn in this round."""
        if round_ not in self._by_round:
            self._by_round[round_] = sorted(_turn(line) for line in self._laned if len(line.runs) > round_)
        return self._by_round[round_]

    @cached_property
    def _sizes(self) -> Counter[int]:
        return Counter(len(line.runs) for line in self._laned)


def _turn(line: Line) -> Turn:
    first = line.runs[0]
    return turn_of(first, line.served), first.number
