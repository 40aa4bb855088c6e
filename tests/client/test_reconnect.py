"""The decision what follows a failure: pure, so every case is cheap."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.client.reconnect import (
    BASE_S,
    CAP_S,
    HINT_CAP_S,
    Action,
    Patience,
    Trouble,
    backoff_s,
    decide,
    retry_after_s,
)

NOW = 1_700_000_000.0
chances = st.floats(0, 1, exclude_max=True)
attempts = st.integers(0, 10_000)
passing = st.sampled_from([408, 425, 429, 500, 502, 503, 504, 520, *list(Trouble)[:4]])


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 405, 409, 410, 413, 422, 501, 505, 511])
def test_what_no_wait_mends_stops_at_once(status: int) -> None:
    assert decide(status, 0, 0.5, hint_s=1.0).action is Action.STOP


@pytest.mark.parametrize("trouble", [Trouble.UNTRUSTED, Trouble.UNUSABLE])
def test_a_server_that_can_not_be_spoken_to_stops(trouble: Trouble) -> None:
    assert decide(trouble, 0, 0.5).action is Action.STOP


@pytest.mark.parametrize("outcome", [408, 425, 429, 500, 502, 503, 504, *list(Trouble)[:4]])
def test_what_may_pass_is_tried_again(outcome: int | Trouble) -> None:
    assert decide(outcome, 0, 0.5) == (Action.WAIT, BASE_S / 2)


def test_204_is_the_end() -> None:
    assert decide(204, 7, 0.5, left_s=0).action is Action.FINISHED


def test_a_cursor_that_is_gone_starts_over_once() -> None:
    assert decide(410, 0, 0.5, has_cursor=True).action is Action.START_OVER
    assert decide(410, 0, 0.5, has_cursor=False).action is Action.STOP


@given(attempts, chances)
def test_a_wait_is_jittered_over_a_doubling_range_up_to_the_cap(attempt: int, chance: float) -> None:
    assert backoff_s(attempt, chance) == min(CAP_S, BASE_S * 2 ** min(attempt, 50)) * chance


@given(passing, attempts, chances, st.floats(-10, 1e9))
def test_no_try_comes_before_the_hint(outcome: int, attempt: int, chance: float, hint_s: float) -> None:
    decision = decide(outcome, attempt, chance, hint_s=hint_s)
    assert decision.action is Action.WAIT
    assert min(hint_s, HINT_CAP_S) <= decision.wait_s <= max(hint_s, 0) + CAP_S


@given(passing, attempts, chances, st.floats(0, 1e4), st.floats(-10, 1e4))
def test_nothing_is_waited_for_beyond_the_time_given(
    outcome: int, attempt: int, chance: float, hint_s: float, left_s: float
) -> None:
    decision = decide(outcome, attempt, chance, hint_s=hint_s, left_s=left_s)
    hopeless = left_s <= 0 or min(hint_s, HINT_CAP_S) > left_s
    assert decision.action is (Action.STOP if hopeless else Action.WAIT)
    assert decision.wait_s <= max(left_s, 0)


@given(st.floats(0, 1000), st.lists(st.floats(0, 100), max_size=200))
def test_patience_ends_and_not_before_its_time(retry_for_s: float, gaps_s: list[float]) -> None:
    patience, now = Patience(retry_for_s), 0.0
    for gap_s in gaps_s:
        decision = patience.decide(503, now, 0.5)
        assert (decision.action is Action.STOP) == (now >= retry_for_s)
        now += decision.wait_s + gap_s


def test_a_stream_without_progress_is_given_up_after_a_bounded_number_of_tries() -> None:
    patience, now, tries = Patience(60.0), 0.0, 0
    while (decision := patience.decide(Trouble.ENDED, now, 0.5)).action is Action.WAIT:
        now, tries = now + decision.wait_s, tries + 1
    assert now == 60.0
    assert tries < 20


def test_without_a_limit_the_waits_stay_at_the_cap() -> None:
    patience = Patience(None)
    waits = [patience.decide(Trouble.CUT, attempt * 1e6, 0.999).wait_s for attempt in range(100)]
    assert waits == sorted(waits)
    assert math.isclose(waits[-1], CAP_S, rel_tol=0.01)


def test_progress_begins_the_count_anew() -> None:
    patience = Patience(10.0)
    first = patience.decide(503, 0.0, 0.5)
    patience.decide(503, 5.0, 0.5)
    patience.progressed()
    assert patience.attempt == 0
    assert patience.decide(503, 1000.0, 0.5) == first


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("9" * 5000, HINT_CAP_S),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:30 -0000", 10.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


@given(st.text())
def test_any_retry_after_is_survived(value: str) -> None:
    result = retry_after_s(value, NOW)
    assert result is None or result >= 0
