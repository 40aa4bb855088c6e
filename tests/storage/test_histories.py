"""Any history of calls gets the same answers from every store: memory is simple enough to be the measure."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.models import Intake, Rate, RunState, Terms
from penstock.storage.base import Store
from penstock.storage.memory import MemoryStore
from penstock.storage.sqlite import SqliteStore

from .player import FUNCTIONS, GROUPS, WORKERS, Player, Step


def step(name: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), *parts)


places, small, shifts = st.integers(0, 5), st.integers(0, 3), st.sampled_from((0, 0, 0, 0, 1, -1))
workers, states = st.sampled_from(WORKERS), st.sampled_from(RunState)
limits, functions = st.sampled_from((None, None, 0, 1, 2, 3)), st.sampled_from("ffgh")
checkpoints = st.sampled_from((b"1", b"2"))
items = st.tuples(
    small,
    shifts,
    st.sampled_from((0, 1, 1, 3)),
    st.sampled_from((False,) * 5 + (True,)),
    st.none() | checkpoints,
).filter(lambda item: item[2] > 0 or not item[3])
later = st.integers(1, 9)
more = st.fixed_dictionaries(
    {},
    optional={
        "key": st.sampled_from(("k", "l")),
        "session": st.sampled_from(("s", "t")),
        "lane": st.sampled_from(("=a", "=a", "=b")),
        "priority": st.integers(-1, 2),
        "start_by_ms": later,
        "abandon_grace_ms": later,
        "worker": workers,
    },
)
terms = st.builds(
    Terms,
    st.sampled_from((None, 1, 1, 2)),
    st.none() | st.builds(Rate, st.integers(1, 2), st.integers(1, 9)),
    st.sampled_from((1, 1, 2, 3)),
    st.sampled_from((0, 2, 5)),
)
intakes = st.just(Intake()) | st.builds(
    Intake,
    st.none() | small,
    st.none() | small,
    st.sampled_from(("enqueue", "reject", "replace", "interrupt")),
    st.booleans(),
    st.just(Terms()) | terms,
)
laned = st.fixed_dictionaries(
    {"lane": st.sampled_from(("", "=a", "=a", "=b")), "priority": st.sampled_from((0, 0, 0, 1))}
)
busy_limits = st.sampled_from((None, None, None, 1, 2, 3))
submits = step("submit", functions, st.sampled_from((0, 0, 0, 0, 1, 3)), more, intakes)
claims = step(
    "claim",
    workers,
    st.tuples(limits, limits),
    st.sampled_from(("", "", "", *GROUPS)),
    st.sampled_from((9, 0, 1, 2)),
)
appends = step("append", st.lists(items, max_size=4))
ended = states.filter(lambda state: state.ended)
ends = st.tuples(small, ended, shifts, st.sampled_from((False, False, True)))
waits = step("wait", st.sampled_from((1, 1, 2, 5, -4)))
agreed: st.SearchStrategy[dict[str, Terms]]
agreed = st.just({}) | st.fixed_dictionaries(dict.fromkeys(FUNCTIONS, terms))
starts = step("start", workers, places)
others = st.one_of(
    starts,
    step("adopt", workers, st.sampled_from(("", "f", "fgh")), st.integers(0, 3)),
    step("submit_again", places, functions, st.sampled_from((None, "k"))),
    step("seize", workers, places),
    ends.map(lambda end: ("finish", *end)),
    step("finish_all", st.lists(ends, max_size=3)),
    step("requeue", small, small, st.booleans(), st.booleans()),
    step("keep", small, shifts, checkpoints),
    step("agree", agreed),
    step("overdue"),
    step("returned", places),
    step("acknowledge", st.lists(places, max_size=3)),
    step("watch", workers, st.dictionaries(places, st.booleans(), max_size=3)),
    step("abandoned", st.integers(0, 9)),
    step("regroup", functions, st.sampled_from(GROUPS)),
    step("held", workers),
    step("prioritize", places, st.integers(-2, 3)),
    step("request_cancel", places, st.sampled_from(("cancelled", "abandoned"))),
    step("sign", workers, small),
    step("leave", workers),
    step("look_at_workers"),
    step("take_over", workers, small),
    step(
        "runs",
        st.none() | st.sampled_from(FUNCTIONS),
        st.none() | states,
        st.integers(1, 3),
        st.none() | places,
    ),
    step("read", places, small, st.integers(0, 20)),
)


def histories_of(kinds: Sequence[st.SearchStrategy[Step]]) -> st.SearchStrategy[list[Step]]:
    """Of steps of these kinds, each as often as it is named; first of all the functions' terms."""
    steps = st.integers(0, len(kinds) - 1).flatmap(lambda kind: kinds[kind])
    # A length first: lists of no given length hold five steps on average, too few for anything to meet.
    later = st.integers(0, 60).flatmap(lambda length: st.lists(steps, min_size=length, max_size=length))
    return st.tuples(step("agree", agreed), later).map(lambda parts: [parts[0], *parts[1]])


histories = histories_of([*[submits] * 5, *[claims] * 4, *[waits] * 2, *[appends] * 2, *[others] * 7])
"""Of all that can be called; little of it moves the queue."""

busy_histories = histories_of(
    [
        *[step("submit", functions, st.sampled_from((0, 0, 0, 3)), laned, st.just(Intake()))] * 6,
        *[
            step(
                "claim",
                workers,
                st.tuples(busy_limits, busy_limits),
                st.just(""),
                st.sampled_from((9, 9, 1, 2)),
            )
        ]
        * 5,
        *[waits] * 3,
        *[starts] * 2,
        *[ends.map(lambda end: ("finish", *end))] * 4,
        step("requeue", small, small, st.booleans(), st.booleans()),
        step("returned", places),
        step("prioritize", places, st.integers(-2, 3)),
        step("leave", workers),
        step("regroup", functions, st.sampled_from(GROUPS)),
        step("agree", agreed),
    ]
)
"""Of what decides which runs start."""


async def answers(store: Store, history: list[Step]) -> tuple[list[object], list[tuple[int, int]]]:
    """And what was told of when next something is due, as `Player.due_ms` keeps it."""
    await store.open()
    try:
        player = Player(store)
        return [await player.play(one) for one in (*history, ("everything",))], player.due_ms
    finally:
        await store.close()


def compare(history: list[Step]) -> None:
    wanted, due_ms = asyncio.run(answers(MemoryStore(), history))
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder, "store.db"), synchronous="normal")
        got, found_due_ms = asyncio.run(answers(store, history))
    for one, ours, measure in zip((*history, "everything"), got, wanted, strict=True):
        assert ours == measure, one
    for (now_ms, ours_ms), (_, measure_ms) in zip(found_due_ms, due_ms, strict=True):
        assert now_ms < ours_ms <= measure_ms, "one may look too early, but not at once, nor too late"


@settings(max_examples=80, deadline=None)
@given(histories)
def test_stores_give_the_same_answers(history: list[Step]) -> None:
    compare(history)


@settings(max_examples=100, deadline=None)
@given(busy_histories)
def test_stores_start_the_same_runs(history: list[Step]) -> None:
    compare(history)
