"""Run states: the table is closed, and nothing leaves an ended state."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.models import RunState
from penstock.protocol.runs import RETRY_CAP_S, TRANSITIONS, may_become, retry_delay_s, sources_of

ENDED = {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.INTERRUPTED}
ALLOWED = {
    "queued": {"running", "cancelled", "interrupted", "failed"},
    "running": {"queued", "succeeded", "failed", "cancelled", "interrupted"},
}
CHANCES = st.floats(0, 1, exclude_max=True)


def reachable(state: RunState) -> set[RunState]:
    found: set[RunState] = set()
    todo = [state]
    while todo:
        fresh = TRANSITIONS[todo.pop()] - found
        found |= fresh
        todo += fresh
    return found


def test_the_table_knows_every_state() -> None:
    assert set(TRANSITIONS) == set(RunState)
    assert set().union(*TRANSITIONS.values()) <= set(RunState)


@pytest.mark.parametrize("state", RunState)
def test_nothing_leaves_an_ended_state(state: RunState) -> None:
    assert state.ended == (state in ENDED) == (not TRANSITIONS[state])


@pytest.mark.parametrize("state", RunState)
def test_nothing_becomes_itself(state: RunState) -> None:
    assert not may_become(state, state)


def test_a_run_that_has_not_ended_can_end_in_every_way() -> None:
    assert reachable(RunState.QUEUED) >= ENDED
    assert TRANSITIONS[RunState.RUNNING] >= ENDED


@pytest.mark.parametrize(("state", "wanted"), list(product(RunState, RunState)))
def test_the_allowed_changes(state: RunState, wanted: RunState) -> None:
    allowed = wanted in ALLOWED.get(state, set())
    assert may_become(state, wanted) is allowed
    assert (state in sources_of(wanted)) is allowed


@given(CHANCES)
def test_the_first_retry_is_at_once(chance: float) -> None:
    assert retry_delay_s(0, chance) == retry_delay_s(1, chance) == 0


@given(st.integers(2, 10**9), CHANCES)
def test_later_ones_wait_within_the_cap(attempt: int, chance: float) -> None:
    assert 0 <= retry_delay_s(attempt, chance) < RETRY_CAP_S


@given(st.integers(2, 100), CHANCES)
def test_the_wait_grows_with_the_attempt(attempt: int, chance: float) -> None:
    assert retry_delay_s(attempt, chance) <= retry_delay_s(attempt + 1, chance)


def test_the_wait_doubles_until_the_cap() -> None:
    assert [retry_delay_s(attempt, 0.5) for attempt in range(2, 9)] == [1, 2, 4, 8, 16, 30, 30]
