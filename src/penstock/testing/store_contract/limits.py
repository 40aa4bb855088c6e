"""Checks of limits beside a group's own: of lanes, in time, and of what one call serves."""

from ...models import Rate, Terms
from ...storage.base import Store
from .material import calls, finish, group, ids, record, submit

__all__ = [
    "batches_are_one_call_and_take_one_place",
    "batches_start_at_once_when_full",
    "batches_wait_for_company",
    "changed_terms_hold_at_once",
    "due_time_is_of_what_waits_for_its_time",
    "due_time_lies_ahead_once_it_was_looked_at",
    "lanes_have_a_limit_of_their_own",
    "lanes_limits_count_all_functions_and_workers",
    "lanes_make_room_however_a_run_leaves",
    "rates_are_each_lanes_own",
    "rates_count_starts_in_any_window",
    "rates_do_not_wait_for_a_clock_that_was_set_back",
    "requeued_runs_of_a_batch_take_places_of_their_own",
    "what_a_batch_leaves_starts_with_the_next",
]


async def lanes_have_a_limit_of_their_own(store: Store) -> None:
    await submit(store, *(f"a{number}" for number in range(4)), lane="=a")
    await submit(store, "b0", lane="=b")
    await submit(store, "p0", "p1", "p2")
    laned = [group(key_limit=2)]
    claimed = {one.run.id: one for one in await store.claim("w", laned, 2000, 9)}
    assert sorted(claimed) == ["a0", "a1", "b0", "p0", "p1", "p2"], "without a lane there is no such limit"
    assert await store.claim("w", laned, 2000, 9) == []
    await finish(store, claimed["b0"])
    assert await store.claim("w", laned, 2000, 9) == [], "another lane's end makes no room"
    await finish(store, claimed["a0"])
    assert ids(await store.claim("w", laned, 2000, 9)) == ["a2"]


async def lanes_limits_count_all_functions_and_workers(store: Store) -> None:
    await submit(store, "a0", "a1", lane="=a")
    await submit(store, "A0", "A1", lane="=a", function="g")
    await submit(store, "x0", lane="=a", function="h", group="other")
    terms = {"f": Terms(key_limit=2)}
    both = group(functions=("f", "g"), terms=terms)
    assert ids(await store.claim("one", [group(functions=("g",), terms=terms)], 2000, 1)) == ["A0"]
    assert ids(await store.claim("other", [group(terms=terms)], 2000, 9)) == ["a0"]
    assert ids(await store.claim("one", [both], 2000, 9)) == ["A1"], "to g lanes mean nothing"
    other = group(name="other", functions=("h",), key_limit=1)
    assert ids(await store.claim("one", [both, other], 2000, 9)) == ["x0"], "a lane is its group's"


async def lanes_make_room_however_a_run_leaves(store: Store) -> None:
    laned = [group(key_limit=1)]
    await submit(store, *(f"a{number}" for number in range(5)), lane="=a")
    (first,) = await store.claim("w", laned, 2000, 9)
    await store.requeue(first.lease, 9000)
    (second,) = await store.claim("w", laned, 2000, 9)
    await finish(store, second, lingers=True)
    assert await store.claim("w", laned, 2000, 9) == [], "its call goes on"
    await store.returned("a1")
    (third,) = await store.claim("w", laned, 2000, 9)
    await finish(store, third, lingers=True)
    assert await store.claim("w", laned, 2000, 9) == []
    await store.leave("w")
    (fourth,) = await store.claim("lost", laned, 2000, 9)
    (sign,) = await store.workers()
    (moved,) = await store.take_over("w", sign)
    assert await store.claim("w", laned, 2000, 9) == [], "it runs on in another's name"
    await store.requeue(moved.lease, 0, lost=True)
    assert ids(await store.claim("w", laned, 2000, 9)) == [fourth.run.id]


async def rates_count_starts_in_any_window(store: Store) -> None:
    await submit(store, *"abcdefg")
    rated = [group(rate=Rate(2, 1000))]
    assert ids(await store.claim("w", rated, 10_000, 1)) == ["a"]
    assert ids(await store.claim("w", rated, 10_400, 9)) == ["b"]
    assert await store.claim("w", rated, 10_999, 9) == []
    assert ids(await store.claim("w", rated, 11_000, 9)) == ["c"]
    assert await store.claim("w", rated, 11_399, 9) == [], "b and c lie in one window"
    (d,) = await store.claim("w", rated, 11_400, 9)
    await finish(store, d)
    assert await store.claim("w", rated, 11_900, 9) == [], "ended or not"
    assert ids(await store.claim("w", rated, 30_000, 9)) == ["e", "f"]


async def rates_are_each_lanes_own(store: Store) -> None:
    await submit(store, "a0", "a1", lane="=a")
    await submit(store, "b0", "b1", lane="=b")
    await submit(store, "p0", "p1")
    await submit(store, "A0", "A1", lane="=a", function="g")
    rated = [group(functions=("f", "g"), terms={"f": Terms(rate=Rate(1, 1000))})]
    found = ids(await store.claim("w", rated, 10_000, 9))
    assert sorted(found) == ["A0", "A1", "a0", "b0", "p0"], "and each function's own"
    assert sorted(ids(await store.claim("w", rated, 11_000, 9))) == ["a1", "b1", "p1"]


async def rates_do_not_wait_for_a_clock_that_was_set_back(store: Store) -> None:
    await submit(store, *"abcd")
    rated = [group(rate=Rate(1, 1000))]
    assert ids(await store.claim("w", rated, 9_000_000, 9)) == ["a"]
    assert await store.claim("w", rated, 9_000_500, 9) == []
    await store.claim("w", rated, 5_000_000, 9)
    await store.claim("w", rated, 5_001_000, 9)
    assert (await record(store, "b")).attempt == 1, "a period after the leap at the latest"
    assert (await record(store, "d")).attempt == 0, "and no flood of them"


async def changed_terms_hold_at_once(store: Store) -> None:
    """As after a start with another setting."""
    day = Rate(1, 86_400_000)
    await submit(store, "a", "b", "c")
    assert ids(await store.claim("w", [group(rate=day)], 10_000, 9)) == ["a"]
    assert await store.claim("w", [group(rate=day)], 10_500, 9) == []
    assert ids(await store.claim("w", [group(rate=Rate(1, 1000))], 11_000, 9)) == ["b"], "a shorter period"
    assert await store.claim("w", [group(batch_size=2, batch_wait_ms=60_000_000)], 12_000, 9) == []
    assert ids(await store.claim("w", [group()], 12_001, 9)) == ["c"], "and no batch any more"
    await submit(store, "d", "e", "f", function="g", lane="=x", group="h")
    laned = Terms(key_limit=1)
    assert ids(await store.claim("w", [group(name="h", functions=("g",), terms={"g": laned})], 2000, 9)) == [
        "d"
    ]
    assert ids(await store.claim("w", [group(name="h", functions=("g",))], 2000, 9)) == ["e", "f"]


async def due_time_is_of_what_waits_for_its_time(store: Store) -> None:
    assert await store.due_at_ms() is None
    await submit(store, "plain", function="g")
    await submit(store, "later", not_before_ms=60_000)
    await submit(store, "sooner", not_before_ms=50_000)
    groups = [group(functions=("f", "g", "h"), terms={"h": Terms(rate=Rate(1, 5000))})]
    assert ids(await store.claim("w", groups, 10_000, 9)) == ["plain"]
    assert await store.due_at_ms() == 50_000
    await submit(store, "first", "second", function="h")
    assert ids(await store.claim("w", groups, 20_000, 9)) == ["first"]
    assert await store.due_at_ms() == 25_000
    assert ids(await store.claim("w", groups, 25_000, 9)) == ["second"]
    assert await store.due_at_ms() == 50_000
    assert ids(await store.claim("w", groups, 60_000, 9)) == ["later", "sooner"]
    assert await store.due_at_ms() is None
    await submit(store, "alone", created_at_ms=70_000)
    assert await store.claim("w", [group(batch_size=2, batch_wait_ms=500)], 70_100, 9) == []
    assert await store.due_at_ms() == 70_500


async def due_time_lies_ahead_once_it_was_looked_at(store: Store) -> None:
    """Whoever waits for it would otherwise look again and again."""
    batch = Terms(batch_size=9, batch_wait_ms=100)
    await submit(store, "batch", function="b", created_at_ms=10_000)
    await submit(store, "rated", "too soon", function="r", created_at_ms=10_000)
    await submit(store, "parked", not_before_ms=10_050)
    await submit(store, "late", start_by_ms=10_050, not_before_ms=10_020)
    terms = {"b": batch, "r": Terms(rate=Rate(1, 50))}
    full = group(1, functions=("b", "r", "f"), terms=terms)
    assert ids(await store.claim("w", [full], 10_000, 9)) == ["rated"], "the only place is taken"
    for of in (full, group(functions=("f",)), group(name="other")):
        for now_ms in (10_030, 10_050, 10_100, 10_101, 20_000):
            await store.claim("w", [of], now_ms, 9)
            due_at_ms = await store.due_at_ms()
            assert due_at_ms is None or due_at_ms > now_ms, (of, now_ms)


async def batches_are_one_call_and_take_one_place(store: Store) -> None:
    await submit(store, *"abcdefgh")
    batched = [group(2, batch_size=3)]
    claimed = await store.claim("w", batched, 2000, 1)
    assert calls(claimed) == [["a", "b", "c"]], "at most `limit` calls, not runs"
    assert [await store.run(name) for name in "abc"] == [one.run for one in claimed]
    more = await store.claim("w", batched, 2000, 9)
    assert calls(more) == [["d", "e", "f"]]
    assert await store.claim("w", batched, 2000, 9) == [], "two calls are two places"
    for one in claimed[:2]:
        await finish(store, one)
    assert await store.claim("w", batched, 2000, 9) == [], "the call goes on for one of its runs"
    await finish(store, claimed[2])
    assert calls(await store.claim("w", batched, 2000, 9)) == [["g", "h"]]


async def batches_start_at_once_when_full(store: Store) -> None:
    batched = [group(batch_size=3, batch_wait_ms=10_000)]
    await submit(store, "a", lane="=x", created_at_ms=2000)
    await submit(store, "b", lane="=y", created_at_ms=2000)
    assert await store.claim("w", batched, 2001, 9) == []
    await submit(store, "c", created_at_ms=2002)
    assert calls(await store.claim("w", batched, 2003, 9)) == [["a", "b", "c"]], "from any lanes"


async def batches_wait_for_company(store: Store) -> None:
    batched = [group(batch_size=3, batch_wait_ms=100)]
    await submit(store, "a", created_at_ms=2000)
    assert await store.claim("w", batched, 2010, 9) == []
    await submit(store, "b", created_at_ms=2090, priority=1)
    assert await store.claim("w", batched, 2099, 9) == []
    assert sorted(ids(await store.claim("w", batched, 2100, 9))) == ["a", "b"], "no longer than the first may"


async def what_a_batch_leaves_starts_with_the_next(store: Store) -> None:
    batched = [group(batch_size=2, batch_wait_ms=100, key_limit=1)]
    await submit(store, "a0", "a1", "a2", lane="=a", created_at_ms=2000)
    await submit(store, "b0", lane="=b", created_at_ms=2000)
    (a0, b0) = await store.claim("w", batched, 2000, 9)
    assert calls([a0, b0]) == [["a0", "b0"]], "one run of each lane"
    await finish(store, a0)
    assert calls(await store.claim("w", batched, 2200, 9)) == [["a1"]]


async def requeued_runs_of_a_batch_take_places_of_their_own(store: Store) -> None:
    batched = [group(2, batch_size=2)]
    await submit(store, "a", "b")
    a, b = await store.claim("w", batched, 2000, 9)
    await store.requeue(a.lease, 0)
    (again,) = await store.claim("w", batched, 2000, 9)
    assert again.run.id == "a"
    await submit(store, "c")
    assert await store.claim("w", batched, 2000, 9) == [], "b's call goes on, and a's is another"
    await finish(store, b)
    assert ids(await store.claim("w", batched, 2000, 9)) == ["c"]
