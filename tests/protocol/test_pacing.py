"""Pacing: the first flush at once, never more than `rate` a second after it."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.pacing import Pacer

RATES = st.floats(0.1, 1000)
WAITS_S = st.lists(st.floats(0, 3), min_size=1, max_size=100)
ROUNDING = 1e-6  # of sums of floats; a flush a microsecond early harms nobody


@given(RATES, st.floats(0, 1e6))
def test_the_first_is_at_once(rate: float, now: float) -> None:
    assert Pacer(rate).due(now) == now


@given(RATES, WAITS_S)
def test_never_more_than_the_rate(rate: float, waits_s: list[float]) -> None:
    pacer, now, flushes = Pacer(rate), 0.0, list[float]()
    for wait_s in waits_s:
        now = pacer.due(now + wait_s)
        pacer.flushed(now)
        flushes.append(now)
    for index, start in enumerate(flushes):
        in_a_second = bisect_left(flushes, start + 1 - ROUNDING) - index
        assert in_a_second <= max(1, -(-rate // 1))


@given(RATES, WAITS_S)
def test_nothing_waits_longer_than_an_interval(rate: float, waits_s: list[float]) -> None:
    pacer, now = Pacer(rate), 0.0
    for wait_s in waits_s:
        asked = now + wait_s
        now = pacer.due(asked)
        assert asked <= now <= asked + pacer.interval_s + ROUNDING
        pacer.flushed(now)


@given(RATES)
def test_after_a_pause_it_is_at_once_again(rate: float) -> None:
    pacer = Pacer(rate)
    pacer.flushed(10.0)
    later = 10.0 + pacer.interval_s
    assert pacer.due(later) == later


@given(RATES, st.floats(0, 1))
def test_a_flush_out_of_turn_counts(rate: float, part: float) -> None:
    pacer = Pacer(rate)
    pacer.flushed(0.0)
    urgent = pacer.interval_s * part
    pacer.flushed(urgent)
    assert pacer.due(urgent) == urgent + pacer.interval_s


def test_rate_zero_delays_nothing() -> None:
    pacer = Pacer(0)
    for now in (0.0, 5.0, 5.0):
        assert pacer.due(now) == now
        pacer.flushed(now)
