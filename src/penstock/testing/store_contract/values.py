"""Checks of values by name: the latest counts, until its time is over."""

from ...storage.base import Store
from .material import started

__all__ = [
    "values_are_kept_by_name",
    "values_give_way_to_later_ones",
    "values_go_when_their_time_is_over",
    "values_of_names_and_runs_are_apart",
]

NOW_MS, LATER_MS = 1_000, 2_000


async def values_are_kept_by_name(store: Store) -> None:
    assert await store.kept("a", NOW_MS) is None
    await store.keep("a", b"\x00\xff" * 50_000, LATER_MS, NOW_MS)
    await store.keep("b", b"", LATER_MS, NOW_MS)
    assert await store.kept("a", NOW_MS) == b"\x00\xff" * 50_000
    assert await store.kept("b", NOW_MS) == b"", "an empty one is one too"
    assert await store.kept("c", NOW_MS) is None


async def values_give_way_to_later_ones(store: Store) -> None:
    for value in (b"one", b"two"):
        await store.keep("a", value, LATER_MS, NOW_MS)
        assert await store.kept("a", NOW_MS) == value
    await store.keep("a", None, LATER_MS, NOW_MS)
    assert await store.kept("a", NOW_MS) is None
    await store.keep("a", None, LATER_MS, NOW_MS)  # nothing to drop, and no error
    await store.keep("a", b"three", LATER_MS, NOW_MS)
    assert await store.kept("a", NOW_MS) == b"three"


async def values_go_when_their_time_is_over(store: Store) -> None:
    await store.keep("a", b"short", LATER_MS, NOW_MS)
    await store.keep("b", b"long", LATER_MS + 1, NOW_MS)
    assert await store.kept("a", LATER_MS - 1) == b"short"
    assert await store.kept("a", LATER_MS) is None
    await store.keep("c", b"other", LATER_MS + 1, LATER_MS)
    assert await store.kept("a", NOW_MS) is None, "it was dropped, whatever the clock says"
    assert await store.kept("b", LATER_MS) == b"long"


async def values_of_names_and_runs_are_apart(store: Store) -> None:
    claimed = await started(store)
    await store.keep(claimed.run.id, b"value", LATER_MS, NOW_MS)
    await store.keep(claimed.run.id, None, LATER_MS, NOW_MS)
    assert await store.run(claimed.run.id) is not None
