"""Counting: what falls into which bucket, how counts are added, and what is no append."""

import pytest

from penstock.meters import Appends, Moments, Spells, added


@pytest.mark.parametrize("kind", [Moments, Spells])
def test_durations_fall_into_their_buckets(kind: type[Moments | Spells]) -> None:
    timings = kind()
    assert list(kind.BOUNDS_S) == sorted(set(kind.BOUNDS_S))
    for seconds in (-1.0, 0.0, kind.BOUNDS_S[0], kind.BOUNDS_S[0] * 1.01, 1e9):
        timings.add(seconds)
    assert (timings.counts[0], timings.counts[1], timings.counts[-1]) == (3, 1, 1)
    assert timings.total_s == pytest.approx(1e9 + kind.BOUNDS_S[0] * 2.01)


def test_counts_of_different_versions_are_added() -> None:
    one = {"a": 1, "only": 2, "list": [1, 2], "deep": {"x": 1}}
    other = {"a": 2, "new": 5, "list": [1, 1, 7], "deep": {"y": 2}}
    whole = {"a": 3, "only": 2, "new": 5, "list": [2, 3, 7], "deep": {"x": 1, "y": 2}}
    assert added(one, other) == added(other, one) == whole
    assert added({}, one) == one


def test_a_hint_that_something_was_appended_elsewhere_is_no_append() -> None:
    appends = Appends()
    appends.heard("r", None)
    appends.heard(None, None)
    assert appends == Appends()
