"""Admission: no limit is ever exceeded, nothing waits without a reason, and everyone's turn comes."""

from collections import Counter
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.models import Group, Rate, Terms
from penstock.protocol.limits import HEAD_START_MS, SKEW_MS, admit, gathers_until, may_start_at

from .hall import BEGIN_MS, Hall

HOUR_MS = 3_600_000


# Random histories

terms = st.builds(
    Terms,
    st.sampled_from((None, 1, 1, 2, 3)),
    st.none() | st.builds(Rate, st.integers(1, 3), st.integers(20, 500)),
    st.sampled_from((1, 1, 2, 3, 4)),
    st.sampled_from((0, 0, 5, 50)),
)
limits = st.sampled_from((None, None, 1, 2, 4))
functions, lanes = st.sampled_from("ffgh"), st.sampled_from(("", "a", "a", "b", "c"))
priorities = st.sampled_from((0, 0, 0, 1, 2, -1))
some = st.integers(0, 9)
submits = st.lists(st.tuples(functions, lanes, priorities), min_size=1, max_size=6)
steps = st.one_of(
    st.tuples(st.just("submit"), submits),
    st.tuples(st.just("wait"), st.sampled_from((0, 1, 7, 60, 400, 61_000))),
    st.tuples(st.just("claim"), st.integers(1, 6)),
    st.tuples(st.sampled_from(("end", "give_back")), some),
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Hall, list[tuple[Any, ...]]]:
    said = draw(st.fixed_dictionaries(dict.fromkeys("fgh", terms)))
    hall = Hall(Group("one", ("f", "g"), draw(limits), said), Group("other", ("h",), draw(limits), said))
    length = draw(st.integers(0, 60))  # first: lists of no given length are short
    return hall, draw(st.lists(steps, min_size=length, max_size=length))


def play(hall: Hall, step: tuple[Any, ...]) -> None:
    name, *rest = step
    if name == "wait":
        hall.now_ms += rest[0]
    elif name == "submit":
        for one in rest[0]:
            hall.submit(*one)
    elif name == "claim":
        hall.claim(rest[0])
    elif hall.running:
        getattr(hall, name)(list(hall.running)[rest[0] % len(hall.running)])


@settings(max_examples=300, deadline=None)
@given(histories())
def test_no_history_breaks_a_promise(history: tuple[Hall, list[tuple[Any, ...]]]) -> None:
    """Each claim is examined by `Hall`; in the end every run was started, and nothing is left over."""
    hall, taken = history
    for step in taken:
        play(hall, step)
    hall.work_off()
    started = hall.running.keys() | hall.ended
    assert started == set(range(len(hall.jobs))), "none is lost"
    alike: dict[object, list[int]] = {}
    for job in dict.fromkeys(hall.order):
        alike.setdefault((job.line, job.waiting.priority), []).append(job.waiting.number)
    assert all(numbers == sorted(numbers) for numbers in alike.values()), "first in, first out"


back = st.sampled_from((-HOUR_MS, -400, -7, 0, 7, 400, HOUR_MS))


@settings(max_examples=200, deadline=None)
@given(histories(), st.lists(back, min_size=1, max_size=9))
def test_a_clock_that_leaps_breaks_none_either(
    history: tuple[Hall, list[tuple[Any, ...]]], leaps_ms: list[int]
) -> None:
    """But for rates: what was started in an hour to come can't be waited for."""
    hall, taken = history
    for group in hall.groups.values():
        for name, said in group.terms.items():
            group.terms[name] = msgspec.structs.replace(said, rate=None)
    for place, step in enumerate(taken):
        hall.now_ms += leaps_ms[place % len(leaps_ms)]
        play(hall, step)
    hall.work_off()
    assert hall.running.keys() | hall.ended == set(range(len(hall.jobs))), "none is lost"


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("fgh"), st.sampled_from((0, 1, 30))), max_size=30), some)
def test_plain_functions_together_are_first_in_first_out(coming: list[tuple[str, int]], most: int) -> None:
    hall = Hall(Group("one", ("f", "g"), 2), Group("other", ("h",), 2))
    for function, pause_ms in coming:
        hall.now_ms += pause_ms
        hall.submit(function)
    while hall.queued:
        hall.claim(1 + most)
        for number in list(hall.running):
            hall.end(number)
    for group in hall.groups:
        numbers = [job.waiting.number for job in hall.order if job.group == group]
        assert numbers == sorted(numbers)
    if not most:
        numbers = [job.waiting.number for job in hall.order]
        assert numbers == sorted(numbers), "over groups too, where each start could be of any"


# Turns


def shares(hall: Hall) -> Counter[str]:
    return Counter(job.lane for job in hall.order)


def keep_waiting(hall: Hall, lanes: str, least: int) -> None:
    for lane in lanes:
        waiting = sum(job.lane == lane for job in hall.queued.values())
        for _ in range(least - waiting):
            hall.submit("f", lane)


@settings(deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 2000), st.lists(lanes, max_size=3)), max_size=25),
)
def test_lanes_take_turns(limit: int, rounds: list[tuple[int, int, list[str]]]) -> None:
    """Two lanes in which somebody always waits; others come and go."""
    hall = Hall(Group("one", ("f",), limit))
    for most, pause_ms, others in rounds:
        keep_waiting(hall, "xy", 6)
        for lane in others:
            hall.submit("f", lane)
        hall.claim(most)
        assert abs(shares(hall)["x"] - shares(hall)["y"]) <= 1
        hall.now_ms += pause_ms
        for number in list(hall.running):
            hall.end(number)


def test_lanes_take_turns_within_one_millisecond() -> None:
    hall = Hall(Group("one", ("f",), None))
    keep_waiting(hall, "xy", 30)
    for _ in range(30):
        hall.claim(1)
    assert shares(hall) == {"x": 15, "y": 15}


def test_lanes_take_turns_in_a_claim_of_thousands() -> None:
    hall = Hall(Group("one", ("f",), None))
    keep_waiting(hall, "xy", 2000)
    calls, _ = admit(map(hall._lines, hall.groups.values()), hall.now_ms, 3000)
    assert Counter(hall.jobs[number].lane for (number,) in calls) == {"x": 1500, "y": 1500}


def test_lanes_take_turns_after_the_clock_was_set_back() -> None:
    hall = Hall(Group("one", ("f",), None))
    keep_waiting(hall, "xy", 30)
    hall.claim(2)
    hall.now_ms -= HOUR_MS
    for _ in range(10):
        hall.now_ms += 10
        hall.claim(1)
    assert shares(hall) == {"x": 6, "y": 6}


@settings(deadline=None)
@given(st.integers(0, 2), st.integers(0, 2), st.integers(5_000, 40_000), st.data())
def test_a_run_waits_for_newcomers_of_higher_priority_by_the_minute(
    own: int, most: int, pause_ms: int, data: st.DataObject
) -> None:
    """There are always more of them than can be started."""
    hall = Hall(Group("one", ("f", "g"), 1))
    number = hall.submit("f", priority=own)
    head_start_ms = max(0, most - own) * HEAD_START_MS
    while number in hall.queued:
        assert hall.now_ms <= BEGIN_MS + 3 * (head_start_ms + pause_ms)
        for _ in range(2):
            hall.submit(data.draw(st.sampled_from("fg")), priority=data.draw(st.integers(0, most)))
        hall.claim(1)
        hall.running.clear()
        hall.now_ms += pause_ms
    before = hall.order[:-1]
    assert all(job.waiting.created_at_ms < BEGIN_MS + head_start_ms for job in before)


@settings(deadline=None)
@given(
    st.integers(0, 2), st.integers(0, 2), st.integers(0, 3), st.integers(10_000, 40_000), st.integers(1, 4)
)
def test_a_lanes_turn_comes_whoever_waits_in_others(
    own: int, most: int, ahead: int, pause_ms: int, rivals: int
) -> None:
    """Other lanes are refilled without end, with as much priority as there is."""
    hall = Hall(Group("one", ("f",), 1))
    for _ in range(ahead + 1):
        number = hall.submit("f", "mine", own)
    turn_ms = max(0, most - own) * HEAD_START_MS + (rivals + 2) * pause_ms
    while number in hall.queued:
        assert hall.now_ms <= BEGIN_MS + (ahead + 1) * turn_ms
        for lane in "abcd"[:rivals]:
            hall.submit("f", lane, most)
        hall.claim(1)
        hall.running.clear()
        hall.now_ms += pause_ms


# Batches


def batching(size: int, wait_ms: int, **more: Any) -> Hall:
    return Hall(Group("one", ("f",), 1, {"f": Terms(batch_size=size, batch_wait_ms=wait_ms, **more)}))


@given(st.integers(2, 9), st.integers(1, 1000), st.data())
def test_a_batch_starts_at_once_when_it_is_full(size: int, wait_ms: int, data: st.DataObject) -> None:
    hall = batching(size, wait_ms)
    for _ in range(size - 1):
        hall.submit("f", data.draw(lanes))
        assert hall.claim() == BEGIN_MS + wait_ms
        assert not hall.running
    hall.submit("f", data.draw(lanes))
    assert hall.claim() is None
    assert len(hall.running) == size
    assert hall.calls == 1


@given(st.integers(2, 9), st.integers(1, 1000), st.data())
def test_a_smaller_batch_waits_for_its_time_only(size: int, wait_ms: int, data: st.DataObject) -> None:
    hall = batching(size, wait_ms)
    for _ in range(data.draw(st.integers(1, size - 1))):
        hall.submit("f", data.draw(lanes))
    hall.now_ms += wait_ms - 1
    assert hall.claim() == BEGIN_MS + wait_ms
    assert not hall.running
    hall.now_ms += 1
    hall.claim()
    assert not hall.queued
    assert hall.calls == 1


def test_what_a_batch_leaves_gathers_anew() -> None:
    hall = batching(3, 100)
    for _ in range(4):
        hall.submit("f")
        hall.now_ms += 10
    hall.claim()
    assert list(hall.queued) == [3]
    hall.running.clear()
    assert hall.claim() == BEGIN_MS + 130


def test_a_prioritised_run_makes_no_other_wait_longer_for_company() -> None:
    hall = batching(4, 100)
    first = hall.submit("f")
    hall.now_ms += 90
    hall.submit("f", priority=1)
    hall.now_ms += 10
    hall.claim()
    assert first in hall.running


def test_a_batch_that_found_company_is_not_looked_for_again() -> None:
    hall = batching(3, 100)
    hall.submit("f", "a")
    hall.now_ms += 60
    hall.submit("f", "b", priority=1)
    hall.now_ms += 40
    assert hall.claim() is None
    assert len(hall.running) == 2, "the first has waited long enough, the other goes with it"


def test_a_batch_does_not_wait_for_a_clock_that_was_set_back() -> None:
    hall = batching(3, 100)
    hall.submit("f")
    hall.now_ms -= HOUR_MS
    hall.claim()
    assert not hall.queued


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 1000), st.integers(0, 3000))
def test_a_batch_gathers_until_it_is_full_or_its_time_has_come(
    size: int, waiting: int, wait_ms: int, passed_ms: int
) -> None:
    said = Terms(batch_size=size, batch_wait_ms=wait_ms)
    until_ms = gathers_until(said, BEGIN_MS, waiting, BEGIN_MS + passed_ms)
    assert until_ms == (0 if waiting >= size else BEGIN_MS + wait_ms)


# Rates


def test_a_rate_counts_in_any_window() -> None:
    hall = Hall(Group("one", ("f",), None, {"f": Terms(rate=Rate(2, 1000))}))
    for _ in range(5):
        hall.submit("f")
    seen = []
    for _ in range(3):
        again_at_ms = hall.claim(1)
        hall.now_ms += 400
        again_at_ms = hall.claim()
        assert again_at_ms is not None or not hall.queued
        seen.append((len(hall.order), again_at_ms and again_at_ms - BEGIN_MS))
        hall.now_ms = again_at_ms or 0
    assert seen == [(2, 1000), (4, 2000), (5, None)]


def test_each_lane_has_a_rate_of_its_own() -> None:
    hall = Hall(Group("one", ("f", "g"), None, {"f": Terms(rate=Rate(1, 1000))}))
    for function, lane in ("fa", "fa", "fb", "ga", "ga", "f-", "f-"):
        hall.submit(function, lane.strip("-"))
    assert hall.claim() == BEGIN_MS + 1000
    assert [(job.function, job.lane) for job in hall.queued.values()] == [("f", "a"), ("f", "")]


rates = st.builds(Rate, st.integers(1, 9), st.integers(1, 10**8))
times = st.integers(0, 10**9)


@given(rates, times, times)
def test_a_rate_lets_another_start_once_its_period_is_over(
    rate: Rate, oldest_ms: int, passed_ms: int
) -> None:
    now_ms = oldest_ms + passed_ms
    assert may_start_at(rate, None, now_ms) <= now_ms, "there were not as many yet"
    at_ms = may_start_at(rate, oldest_ms, now_ms)
    assert (at_ms <= now_ms) == (passed_ms >= rate.period_ms)
    assert at_ms <= oldest_ms + rate.period_ms


@given(rates, times, times)
def test_a_clock_that_was_set_back_shuts_no_line_for_longer_than_the_period(
    rate: Rate, oldest_ms: int, now_ms: int
) -> None:
    at_ms = max(now_ms, may_start_at(rate, oldest_ms, now_ms))
    assert at_ms <= now_ms + rate.period_ms + SKEW_MS
    assert may_start_at(rate, oldest_ms, at_ms) <= at_ms, "asked again at that time, it holds"


@given(rates, times, st.integers(1, SKEW_MS))
def test_a_start_of_another_process_a_little_ahead_counts(rate: Rate, now_ms: int, ahead_ms: int) -> None:
    """Claims reach the store in another order than their clocks were read in."""
    assert may_start_at(rate, now_ms + ahead_ms, now_ms) == now_ms + ahead_ms + rate.period_ms
