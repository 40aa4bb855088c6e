"""Checks of lists: newest first, in pages, of the runs that were asked for; searches look at so much at a time."""

import msgspec

from ...errors import BadRequest
from ...models import LISTED_INPUT_BYTES, RunFilter, RunState
from ...protocol.search import SEARCHED_BYTES
from ...storage.base import EVERY_RUN, Store
from .material import EPOCH, end, group, queued, raising, submit

__all__ = [
    "pages_are_newest_first",
    "pages_are_of_one_function_or_state",
    "pages_are_of_runs_by_id",
    "pages_are_of_several_states",
    "pages_continue_where_they_ended",
    "pages_refuse_a_strange_continuation",
    "pages_say_how_inputs_begin",
    "searches_find_text_anywhere_in_a_run",
    "searches_go_with_all_filters_and_pages",
    "searches_know_what_json_means",
    "searches_look_at_so_much_and_go_on",
    "searches_take_text_as_it_is",
]


async def _pages(store: Store, limit: int, sought: RunFilter = EVERY_RUN) -> list[list[str]]:
    pages: list[list[str]] = []
    before: str | None = None
    while True:
        page = await store.runs(sought, limit=limit, before=before)
        pages.append([run.id for run in page.runs])
        if (before := page.next) is None:
            return pages


async def pages_are_newest_first(store: Store) -> None:
    # Ids and times that would sort otherwise: the order is that of submission.
    for run_id, at_ms in (("m", 9), ("z", 5), ("a", 7)):
        await submit(store, run_id, created_at_ms=at_ms)
    assert await _pages(store, 10) == [["a", "z", "m"]]
    await store.claim("w", [group()], 2000, 2)
    assert await _pages(store, 10) == [["a", "z", "m"]], "a change of state moves nothing"


async def pages_continue_where_they_ended(store: Store) -> None:
    await submit(store, *"abcdef")
    assert await _pages(store, 4) == [["f", "e", "d", "c"], ["b", "a"]]
    assert await _pages(store, 3) == [["f", "e", "d"], ["c", "b", "a"]], "no empty page follows a full one"
    assert await _pages(store, 1) == [[name] for name in "fedcba"]
    page = await store.runs(limit=2)
    await submit(store, "new")
    page = await store.runs(limit=2, before=page.next)
    assert [run.id for run in page.runs] == ["d", "c"], "newer runs shift no page"


async def pages_are_of_one_function_or_state(store: Store) -> None:
    await submit(store, "a", "b", "c")
    await submit(store, "x", "y", function="other", group="h")
    await store.claim("w", [group()], 2000, 2)
    queued_ones, running = (RunState.QUEUED,), (RunState.RUNNING,)
    assert await _pages(store, 2, RunFilter("f")) == [["c", "b"], ["a"]]
    assert await _pages(store, 2, RunFilter(states=queued_ones)) == [["y", "x"], ["c"]]
    assert await _pages(store, 9, RunFilter("f", running)) == [["b", "a"]]
    assert await _pages(store, 9, RunFilter("other", running)) == [[]]
    assert await _pages(store, 9, RunFilter("nobody's")) == [[]]
    page = await store.runs(RunFilter("other"), limit=9, before="x")
    assert page.runs == []


async def pages_are_of_several_states(store: Store) -> None:
    await submit(store, *"abcdef")
    for claimed in await store.claim("w", [group()], 2000, 4):
        if claimed.run.id in "ac":
            await store.finish(claimed.lease, RunState.FAILED, None, end(1), 3000)
    going_on = RunFilter(states=(RunState.QUEUED, RunState.RUNNING))
    assert await _pages(store, 9, going_on) == [["f", "e", "d", "b"]]
    assert await _pages(store, 3, going_on) == [["f", "e", "d"], ["b"]]
    assert await _pages(store, 2, RunFilter("f", (RunState.FAILED, RunState.RUNNING))) == [
        ["d", "c"],
        ["b", "a"],
    ]


async def pages_are_of_runs_by_id(store: Store) -> None:
    await submit(store, *"abc")
    await submit(store, "x", function="other")
    sought = RunFilter(ids=("a", "x", "nobody's", "c", "a"))
    assert await _pages(store, 9, sought) == [["x", "c", "a"]], "each once, as far as there are any"
    assert await _pages(store, 2, sought) == [["x", "c"], ["a"]]
    assert await _pages(store, 9, RunFilter("f", (RunState.QUEUED,), ("x", "c"))) == [["c"]]
    assert await _pages(store, 9, RunFilter(ids=())) == [[]]


async def pages_say_how_inputs_begin(store: Store) -> None:
    given = b'{"long":"' + 100_000 * b"x" + b'"}'
    for name, length in (("short", 20), ("long", 60_000), ("huge", len(given))):
        run = queued(name, input=msgspec.Raw(given[:length]), key=name, session="s")
        await store.submit(run, EPOCH)
        (listed, *_) = (await store.runs(limit=9)).runs
        assert bytes(listed.input) == (b"" if name == "huge" else given[: min(length, LISTED_INPUT_BYTES)])
        assert listed == msgspec.structs.replace(run, input=listed.input)


async def pages_refuse_a_strange_continuation(store: Store) -> None:
    await submit(store, "r")
    for before in ("nobody's", "", "-1", "' OR 1"):
        for sought in (EVERY_RUN, RunFilter(text="r")):
            with raising(BadRequest, "a continuation that no page gave is refused"):
                await store.runs(sought, limit=1, before=before)


async def _found(store: Store, text: str) -> str:
    return "".join(*await _pages(store, 100, RunFilter(text=text)))


async def _submit_with(store: Store, run_id: str, given: str) -> None:
    await store.submit(queued(run_id, input=msgspec.Raw(given.encode())), EPOCH)


async def searches_find_text_anywhere_in_a_run(store: Store) -> None:
    await submit(store, "1", key="Key of Ada")
    await submit(store, "2", session="ada's")
    await submit(store, "3", function="adapt")
    await _submit_with(store, "4", '{"who":"ADA"}')
    await submit(store, "5")
    await submit(store, "ADA", group="h")
    (claimed,) = await store.claim("w", [group(name="h")], 2000, 1)
    assert await _found(store, "ada") == "ADA4321"
    assert await _found(store, "AdA") == "ADA4321", "case does not matter"
    error = {"code": "exception", "message": "Out of Ink", "hint": ""}
    await store.finish(claimed.lease, RunState.FAILED, error, end(1), 3000)
    assert await _found(store, "out of ink") == "ADA"
    assert await _found(store, "nowhere") == ""


async def searches_know_what_json_means(store: Store) -> None:
    await _submit_with(store, "1", '{"q":"\\u00c9t\\u00e9 \\ud83d\\udd8b"}')
    await _submit_with(store, "2", '{"q":"Été 🖋"}')
    await _submit_with(store, "3", '{"q":"say \\"hi\\"\\nagain"}')
    assert await _found(store, "été 🖋") == "21"
    assert await _found(store, 'SAY "hi"') == "3"
    assert await _found(store, 'hi"\nagain') == "3"
    assert await _found(store, '"q":"say') == "3", "as it was sent, too"


async def searches_take_text_as_it_is(store: Store) -> None:
    await _submit_with(store, "1", '{"q":"100 % of a_b"}')
    await _submit_with(store, "2", '{"q":"100 of axb\'; -- {most}"}')
    assert await _found(store, "100 %") == "1"
    assert await _found(store, "a_b") == "1"
    assert await _found(store, "'; -- {most}") == "2"
    assert await _found(store, ":number") == ""


async def searches_go_with_all_filters_and_pages(store: Store) -> None:
    for run_id in "abcdef":
        await submit(store, run_id, session="even" if run_id in "bdf" else "odd")
    await submit(store, "x", function="other", session="even")
    await store.claim("w", [group()], 2000, 4)
    assert await _pages(store, 2, RunFilter(text="even")) == [["x", "f"], ["d", "b"]]
    assert await _pages(store, 1, RunFilter("f", (RunState.RUNNING,), text="even")) == [["d"], ["b"]]
    both = (RunState.QUEUED, RunState.RUNNING)
    assert await _pages(store, 9, RunFilter("f", both, text="even")) == [["f", "d", "b"]]
    assert await _pages(store, 9, RunFilter(ids=("a", "b", "x"), text="even")) == [["x", "b"]]


async def searches_look_at_so_much_and_go_on(store: Store) -> None:
    long = msgspec.Raw(b'{"q":"%b"}' % (b"x" * (SEARCHED_BYTES * 2 // 3)))
    for run_id in "abcd":
        await store.submit(queued(run_id, input=long, session="s" if run_id == "a" else None), EPOCH)
    page = await store.runs(RunFilter(text="s"), limit=9)
    assert (page.runs, page.next) == ([], "c"), "two of them are as much as a page looks at"
    assert await _pages(store, 9, RunFilter(text="s")) in ([[], ["a"]], [[], ["a"], []])
