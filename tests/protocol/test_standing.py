"""Positions against the order in which runs really start, if nothing more happens."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.models import Group, Terms
from penstock.protocol.standing import ROUNDS_APART, Places

from .hall import Hall

LONG_MS = 1_000_000
"""Longer ago than any head start of these tests."""


def hall(functions: str, terms: Terms) -> Hall:
    return Hall(Group("g", tuple(functions), 1, dict.fromkeys(functions, terms)))


def told(place: Hall) -> dict[int, int]:
    """How many each waiting run is said to have before it."""
    (lines,) = map(place._lines, place.groups.values())
    waiting = [line for line in lines.lines if line.runs]
    places = Places(waiting)
    return {run.number: places.ahead(run, line) for line in waiting for run in line.runs}


def seen(place: Hall) -> dict[int, int]:
    """How many really start before each, one at a time."""
    order = []
    while place.queued:
        place.claim(1)
        (number,) = place.running
        order.append(number)
        place.end(number)
        place.now_ms += 1
    return {number: before for before, number in enumerate(order)}


pauses = st.sampled_from((0, 0, 1, 700))
coming = st.lists(st.tuples(st.sampled_from("fgh"), st.integers(-3, 3), pauses), max_size=30)


@given(coming)
def test_without_lanes_a_position_is_the_order_of_starts(runs: list[tuple[str, int, int]]) -> None:
    place = hall("fgh", Terms())
    for function, priority, pause_ms in runs:
        place.submit(function, priority=priority)
        place.now_ms += pause_ms
    place.now_ms += LONG_MS
    before = told(place)
    assert before == seen(place)


lanes = st.lists(st.tuples(st.sampled_from(("", "=a", "=b", "=c", "=d")), pauses), max_size=40)


@given(lanes, st.integers(0, 8))
def test_where_lanes_take_turns_it_is_too(runs: list[tuple[str, int]], served: int) -> None:
    place = hall("f", Terms(key_limit=1))
    for lane, pause_ms in runs:
        place.submit("f", lane)
        place.now_ms += pause_ms
    for _ in range(min(served, len(place.queued))):  # so that turns have been given already
        place.now_ms += 1
        place.claim(1)
        place.end(next(iter(place.running)))
    place.now_ms += LONG_MS
    before, after, known = told(place), seen(place), _rounds(place, served)
    assert {number: before[number] for number in known} == {number: after[number] for number in known}


def _rounds(place: Hall, served: int) -> list[int]:
    """Runs whose round is among those that are counted apart."""
    left: dict[str, list[int]] = {}
    for job in place.order[min(served, len(place.order)) :]:
        left.setdefault(job.lane, []).append(job.waiting.number)
    return [number for lane, own in left.items() for number in (own if not lane else own[: ROUNDS_APART + 1])]


@given(st.lists(st.integers(1, 3 * ROUNDS_APART), min_size=1, max_size=6))
def test_in_late_rounds_it_is_no_more_than_the_others_off(sizes: list[int]) -> None:
    place = hall("f", Terms(key_limit=1))
    for lane, size in enumerate(sizes):
        for _ in range(size):
            place.submit("f", f"={lane}")
    place.now_ms += LONG_MS
    before, after = told(place), seen(place)
    assert all(0 <= before[number] - after[number] < len(sizes) for number in before)


def test_the_example_of_the_guide() -> None:
    place = hall("f", Terms(key_limit=1))
    lanes: list[Any] = ["=u", "=u", "=u", "=u", "=a", "=b", "=c"]
    for lane in lanes:
        place.submit("f", lane)
        place.now_ms += 1
    assert list(told(place).values()) == [0, 4, 5, 6, 1, 2, 3]
