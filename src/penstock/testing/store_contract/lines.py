"""Checks of lines: whose turn it is, of those that may start."""

from collections import Counter

from ...models import RunState
from ...storage.base import Store
from .material import end, finish, group, ids, submit

__all__ = [
    "lanes_are_each_groups_own",
    "lanes_take_turns",
    "lanes_take_turns_after_the_clock_was_set_back",
    "lanes_take_turns_over_many_claims_of_one_moment",
    "lanes_take_turns_with_all_their_functions",
    "lanes_that_come_later_wait_for_no_backlog",
    "plain_lines_are_first_in_first_out",
    "priority_is_a_head_start",
    "priority_within_lanes_is_a_head_start",
    "regrouped_lanes_keep_their_order",
    "requeued_runs_go_back_to_their_place_in_line",
    "requeued_runs_wait_for_their_lanes_turn",
    "withdrawn_runs_leave_their_line",
]


async def plain_lines_are_first_in_first_out(store: Store) -> None:
    for place, name in enumerate("abcdef"):
        await submit(store, name, function="fg"[place % 2], created_at_ms=1000 + place // 3)
    both = group(functions=("f", "g"))
    assert ids(await store.claim("w", [both], 2000, 4)) == list("abcd")
    assert ids(await store.claim("w", [both], 2000, 9)) == list("ef")


async def priority_is_a_head_start(store: Store) -> None:
    await submit(store, "old", created_at_ms=1_000_000)
    await submit(store, "plain", created_at_ms=1_050_000)
    await submit(store, "late", created_at_ms=1_060_000, priority=1)  # as if it had come with the oldest
    await submit(store, "urgent", created_at_ms=1_060_000, priority=2)
    await submit(store, "soon", created_at_ms=1_059_999, priority=1, function="g")
    await submit(store, "behind", created_at_ms=1_000_000, priority=-1)
    both = [group(functions=("f", "g"))]
    assert ids(await store.claim("w", both, 2_000_000, 2)) == ["urgent", "soon"]
    assert ids(await store.claim("w", both, 2_000_000, 9)) == ["old", "late", "plain", "behind"]


async def _claimed_one_by_one(store: Store, count: int, now_ms: int = 2000, limit: int | None = None) -> str:
    found = [await store.claim("w", [group(limit, functions=("f", "g"))], now_ms, 1) for _ in range(count)]
    return "".join(ids(claimed)[0][0] for claimed in found)


async def lanes_take_turns(store: Store) -> None:
    for name, lane in (("a", "=a"), ("b", "=b"), ("c", "=c")):
        await submit(store, *(f"{name}{number}" for number in range(3)), lane=lane)
    assert ids(await store.claim("w", [group()], 2000, 4)) == ["a0", "b0", "c0", "a1"]
    assert ids(await store.claim("other", [group()], 2001, 1)) == ["b1"], "whoever claims"
    assert ids(await store.claim("w", [group()], 2002, 9)) == ["c1", "a2", "b2", "c2"]


async def lanes_take_turns_over_many_claims_of_one_moment(store: Store) -> None:
    for lane in ("a", "b"):
        await submit(store, *(f"{lane}{number}" for number in range(8)), lane=lane, created_at_ms=2000)
    assert await _claimed_one_by_one(store, 16) == "ab" * 8


async def lanes_take_turns_after_the_clock_was_set_back(store: Store) -> None:
    for lane in ("a", "b"):
        await submit(store, *(f"{lane}{number}" for number in range(8)), lane=lane)
    assert await _claimed_one_by_one(store, 3, 9_000_000) == "aba"
    assert await _claimed_one_by_one(store, 10, 2_000_000) == "bababababa"


async def lanes_that_come_later_wait_for_no_backlog(store: Store) -> None:
    await submit(store, *(f"a{number}" for number in range(20)), lane="=a")
    assert await _claimed_one_by_one(store, 3, 2000) == "aaa"
    await submit(store, "b0", "b1", lane="=b", created_at_ms=2500)
    await submit(store, "plain", created_at_ms=2600)
    assert await _claimed_one_by_one(store, 1, 2700) == "a", "it was served before they came"
    assert await _claimed_one_by_one(store, 5, 2700) == "bpaba"


async def lanes_take_turns_with_all_their_functions(store: Store) -> None:
    await submit(store, "a0", "a1", lane="=a")
    await submit(store, "A0", "A1", lane="=a", function="g")
    await submit(store, "b0", "b1", lane="=b", function="g")
    found = await _claimed_one_by_one(store, 6)
    assert found.lower() == "ababaa", "what a lane was served through one function counts for the other"


async def lanes_are_each_groups_own(store: Store) -> None:
    await submit(store, "a0", "a1", "a2", lane="=a")
    await submit(store, "x0", "x1", lane="=a", function="h", group="other")
    groups = [group(), group(name="other", functions=("h",))]
    assert ids(await store.claim("w", groups, 2000, 2)) == ["a0", "x0"]
    assert Counter(run_id[0] for run_id in ids(await store.claim("w", groups, 2000, 2))) == {"a": 1, "x": 1}


async def priority_within_lanes_is_a_head_start(store: Store) -> None:
    await submit(store, *(f"a{number}" for number in range(4)), lane="=a", created_at_ms=1_000_000)
    await submit(
        store, *(f"b{number}" for number in range(9)), lane="=b", created_at_ms=1_000_000, priority=1
    )
    assert await _claimed_one_by_one(store, 3, 1_010_000) == "bbb", "for a minute"
    assert await _claimed_one_by_one(store, 2, 1_061_000) == "ba", "then the other's turn comes too"
    assert await _claimed_one_by_one(store, 2, 1_122_000) == "ba"


async def requeued_runs_go_back_to_their_place_in_line(store: Store) -> None:
    await submit(store, "a0", "a1", "a2", lane="=a")
    await submit(store, "b0", "b1", lane="=b")
    a0, b0 = await store.claim("w", [group()], 2000, 2)
    await store.requeue(b0.lease, 0)
    await store.requeue(a0.lease, 0)
    assert ids(await store.claim("w", [group()], 3000, 9)) == ["a0", "b0", "a1", "b1", "a2"]


async def requeued_runs_wait_for_their_lanes_turn(store: Store) -> None:
    await submit(store, "a0", "a1", lane="=a")
    await submit(store, "b0", "b1", lane="=b")
    (a0,) = await store.claim("w", [group()], 2000, 1)
    await store.requeue(a0.lease, 0)
    assert await _claimed_one_by_one(store, 4, 3000) == "baba", "the lane had its turn"


async def withdrawn_runs_leave_their_line(store: Store) -> None:
    await submit(store, "a0", "a1", "a2", lane="=a")
    await submit(store, "b0", lane="=b")
    for run_id in ("a0", "a2", "b0"):
        seized = await store.seize("w", run_id)
        assert seized is not None
        await store.finish(seized.lease, RunState.CANCELLED, None, end(1), 1500)
    assert ids(await store.claim("w", [group()], 2000, 9)) == ["a1"]


async def regrouped_lanes_keep_their_order(store: Store) -> None:
    await submit(store, "a0", "a1", lane="=a")
    await submit(store, "b0", lane="=b", priority=1)
    await submit(store, "later", lane="=b", not_before_ms=2500)
    await submit(store, "x0", lane="=a", function="h", group="new")
    home = group(1, name="new", functions=("f", "h"), key_limit=1)
    await store.regroup([home])
    assert await store.claim("w", [group()], 2000, 9) == []
    for wanted in ("b0", "a0", "later", "a1", "x0"):
        (claimed,) = await store.claim("w", [home], 3000, 9)
        assert claimed.run.id == wanted
        await finish(store, claimed)
