"""Rates as they are written, ranks, and how long runs take: the values by which a queue is planned."""

import math
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ConfigError
from penstock.models import Pace, Rate
from penstock.protocol.limits import (
    HEAD_START_MS,
    PACE_MEMORY,
    TICKS,
    Waiting,
    eta_s,
    pace_after,
    parse_rate,
    rank_ms,
    served_at,
    turn_of,
)

times = st.integers(0, 10**13)
priorities = st.integers(-100, 100)
durations = st.lists(st.floats(0, 1e7), min_size=1, max_size=PACE_MEMORY)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1/s", Rate(1, 1000)),
        ("5/sec", Rate(5, 1000)),
        ("10/min", Rate(10, 60_000)),
        (" 10 / min ", Rate(10, 60_000)),
        ("3/h", Rate(3, 3_600_000)),
        ("007/hour", Rate(7, 3_600_000)),
        ("1000/day", Rate(1000, 86_400_000)),
    ],
)
def test_rates_are_a_count_and_a_period(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "10", "10/", "/min", "0/min", "-1/min", "+1/min", "1.5/s", "1e3/s", "ten/min", "1_0/min",
        "10/minute", "10/MIN", "10/m", "10 per min", "10/min/h", "10/2min", "²/min", "\u0661/min",
    ],
)  # fmt: skip
def test_other_rates_are_refused_with_what_would_do(text: str) -> None:
    with pytest.raises(ConfigError, match="rate_limit is") as refusal:
        parse_rate(text)
    assert repr(text) in refusal.value.message
    assert "s, min, h, day" in refusal.value.hint


@given(times, priorities, st.integers(1, 5))
def test_each_step_of_priority_is_a_minute_of_waiting(created_at_ms: int, priority: int, more: int) -> None:
    assert rank_ms(created_at_ms, 0) == created_at_ms
    assert rank_ms(created_at_ms, priority + more) == rank_ms(created_at_ms, priority) - more * HEAD_START_MS
    assert rank_ms(created_at_ms + HEAD_START_MS, priority + 1) == rank_ms(created_at_ms, priority)


@given(times, priorities, times)
def test_a_turn_is_the_rank_or_what_the_lane_was_served_last(
    at_ms: int, priority: int, served_ms: int
) -> None:
    first = Waiting(rank_ms(at_ms, priority), 1, priority, at_ms)
    assert turn_of(first, 0) == max(first.rank_ms, -priority * HEAD_START_MS) * TICKS
    assert turn_of(first, served_ms * TICKS) == rank_ms(max(at_ms, served_ms), priority) * TICKS


@given(st.lists(times, min_size=1))
def test_marks_of_turns_only_grow(claims_ms: list[int]) -> None:
    """Whatever the clock does, and however many are given in one millisecond."""
    mark = 0
    for now_ms in claims_ms:
        last, mark = mark, served_at(now_ms, mark)
        assert mark > last
        assert mark > now_ms * TICKS, "after any that was submitted by now"


def pace_of(took_ms: Sequence[float]) -> Pace:
    pace = Pace()
    for one_ms in took_ms:
        pace = pace_after(pace, one_ms)
    return pace


def near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-3)


@given(durations)
def test_the_first_durations_have_a_plain_mean_and_variance(took_ms: list[float]) -> None:
    pace = pace_of(took_ms)
    assert pace.runs == len(took_ms)
    assert near(pace.mean_ms, statistics.fmean(took_ms))
    assert math.sqrt(pace.variance) == pytest.approx(statistics.pstdev(took_ms), rel=1e-3, abs=1)


@given(durations, durations)
def test_later_durations_weigh_a_twentieth(first_ms: list[float], more_ms: list[float]) -> None:
    pace = pace_of([first_ms[0]] * PACE_MEMORY)
    for one_ms in more_ms:
        before, pace = pace, pace_after(pace, one_ms)
        assert near(pace.mean_ms, before.mean_ms * (1 - 1 / PACE_MEMORY) + one_ms / PACE_MEMORY)
        assert pace.variance >= 0


def test_a_pace_follows_a_change() -> None:
    pace = pace_of([1000.0] * 1000)
    assert (pace.mean_ms, pace.variance) == (1000, 0)
    changed = pace_of([1000.0] * 1000 + [5000.0] * PACE_MEMORY)
    assert 5000 - changed.mean_ms == pytest.approx(4000 / math.e, rel=0.03), "a third of its weight is left"
    settled = pace_of([1000.0] * 1000 + [5000.0] * 10 * PACE_MEMORY)
    assert settled.mean_ms == pytest.approx(5000, rel=1e-3)
    assert settled.variance < changed.variance


PACES = {"quick": Pace(9, 1000.0, 0.0), "slow": Pace(9, 4000.0, 250_000.0)}


def test_without_a_limit_nobody_waits() -> None:
    assert eta_s(5, None, {"quick": 5}, PACES) == (0.0, 0.0)
    assert eta_s(5, None, {}, {}) == (0.0, 0.0)


def test_before_any_run_has_ended_nothing_is_known() -> None:
    assert eta_s(0, 1, {"quick": 1}, {}) is None
    assert eta_s(0, 1, {}, {}) is None
    assert eta_s(0, 0, {"quick": 1}, PACES) is None, "nor where nothing may start"


@pytest.mark.parametrize(("ahead", "limit", "seconds"), [(0, 1, 4), (3, 1, 16), (3, 2, 8), (0, 4, 1)])
def test_a_place_becomes_free_every_mean_over_the_limit(ahead: int, limit: int, seconds: float) -> None:
    likely = eta_s(ahead, limit, {"slow": 1}, PACES)
    spread_s = 0.5 * math.sqrt(ahead + 1) / limit  # of a sum, each of half a second
    assert likely == pytest.approx((seconds, spread_s))


def test_functions_weigh_as_they_stand_in_line() -> None:
    def mean_s(**waiting: int) -> float:
        likely = eta_s(0, 1, waiting, PACES)
        assert likely is not None
        return likely[0]

    assert mean_s(quick=1, slow=1) == 2.5
    assert mean_s(quick=9, slow=1) == 1.3
    assert mean_s(quick=0, slow=0) == 2.5, "none waits, but all belong to the group"
    assert mean_s(quick=2, unknown=50) == 1, "of one that has never ended nothing is known"
    assert mean_s(unknown=50) == 2.5, "then what is known of others has to do"


@given(st.integers(0, 1000), st.integers(1, 50), st.integers(0, 99), st.integers(0, 99))
def test_who_is_further_behind_waits_longer(ahead: int, limit: int, quick: int, slow: int) -> None:
    waiting = {"quick": quick, "slow": slow}
    one, next_one = eta_s(ahead, limit, waiting, PACES), eta_s(ahead + 1, limit, waiting, PACES)
    roomier = eta_s(ahead, limit + 1, waiting, PACES)
    assert one is not None
    assert next_one is not None
    assert roomier is not None
    assert next_one[0] > one[0] > roomier[0]
    assert next_one[1] > one[1] > roomier[1]
