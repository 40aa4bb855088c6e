"""What is kept of `gr.State`, for how long, and what is not."""

import asyncio
import json
import math
import warnings
from collections import OrderedDict
from typing import Any

import pytest

from penstock.errors import StoreUnavailable
from penstock.integrations.gradio.states import states as module
from penstock.integrations.gradio.states.stateful import Stateful, Unkeepable, exact_json
from penstock.integrations.gradio.states.states import States
from penstock.storage.memory import MemoryStore

from .apps import gradio_app

MINE, YOURS = "cookie:mine", "cookie:yours"


class Store(MemoryStore):
    """Counts what it is asked, and can't be written for some times."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = self.reads = self.fails = 0

    async def keep(self, name: str, value: bytes | None, until_ms: int, now_ms: int) -> None:
        await asyncio.sleep(0)
        if self.fails:
            self.fails -= 1
            raise StoreUnavailable("on purpose")
        self.writes += 1
        await super().keep(name, value, until_ms, now_ms)

    async def kept(self, name: str, now_ms: int) -> bytes | None:
        self.reads += 1
        return await super().kept(name, now_ms)


class Life:
    """One life of a server: an app with a `gr.State` for each of these, which one of two functions uses."""

    def __init__(self, store: Store, *begin: Any, before: int = 0, **options: Any) -> None:
        import gradio

        with gradio.Blocks(analytics_enabled=False) as demo:
            for _ in range(before):
                gradio.Textbox()
            self.parts = [gradio.State(value, **options) for value in begin]
            text = gradio.Textbox()
            text.submit(lambda *given: given, self.parts, self.parts, api_name="use")
            text.change(lambda said: said, text, text, api_name="echo")
        self.gradio = gradio_app([], demo=demo)
        self.store = store
        self.states = States(self.gradio, store, "")

    async def join(self, session: str = "s", asking: str | None = MINE) -> list[Any]:
        """A join comes: what its function is given."""
        await self.states.restore(session, asking)
        held = self.gradio.state_holder[session]
        return [held[part._id] for part in self.parts]

    async def end(self, *values: Any, session: str = "s", owner: str | None = MINE, fn: int = 0) -> None:
        """Its function has set these, and is over."""
        held = self.gradio.state_holder[session]
        for part, value in zip(self.parts, values, strict=True):
            held[part._id] = value
        await self.states.save(session, owner, fn)

    def again(self, *begin: Any, **options: Any) -> "Life":
        return Life(self.store, *begin, **options)


@pytest.fixture
def store() -> Store:
    return Store()


EXACT: list[Any] = [
    None, True, 0, -(10**40), 0.1, -0.0, 1e300, "", "ü\ud83d\x00", [], {}, [[1], {"a": {"": [None, False]}}],
]  # fmt: skip


@pytest.mark.parametrize("value", EXACT, ids=repr)
def test_what_has_an_exact_form_comes_back_from_it(value: Any) -> None:
    back = json.loads(exact_json(value, 1000))
    assert (repr(back), type(back)) == (repr(value), type(value))


class Text(str):
    __slots__ = ()


ITSELF: list[Any] = []
ITSELF.append(ITSELF)
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]

INEXACT = [
    (), {1: 2}, {True: 1}, {None: 1}, set(), b"", math.nan, math.inf, 1j, Text("a"), {Text("a"): 1}, OrderedDict(),
    [(1,)], object(), ITSELF, DEEP, 10**5000, "a" * 1001, [0] * 200, ["ü" * 300],
]  # fmt: skip


@pytest.mark.parametrize("value", INEXACT, ids=lambda value: type(value).__name__)
def test_what_has_none_is_told(value: Any) -> None:
    with pytest.raises(Unkeepable):
        exact_json(value, 1000)


async def test_the_last_values_come_back_to_their_owner_alone(store: Store) -> None:
    life = Life(store, [], None)
    assert await life.join() == [[], None]
    await life.end(["a"], 1)
    await life.end(["a", "b"], 2)
    life = life.again([], None)
    assert await life.join(asking=YOURS) == [[], None]
    life = life.again([], None)
    assert await life.join("other") == [[], None]
    assert await life.join() == [["a", "b"], 2]


async def test_a_login_finds_what_its_browser_began(store: Store) -> None:
    life = Life(store, 0)
    await life.join()
    await life.end(1)
    life = life.again(0)
    assert await life.join(asking=f"oauth:1 {MINE}") == [1]
    await life.end(2, owner=f"oauth:1 {MINE}")
    assert await life.again(0).join(asking=f"oauth:1 {MINE}") == [2]
    assert await life.again(0).join() == [1], "what was done after the login is not the browser's"


async def test_a_living_state_is_left_alone(store: Store) -> None:
    life = Life(store, 0)
    await life.join()
    await life.end(1)
    life = life.again(0)
    life.gradio.state_holder["s"][life.parts[0]._id] = 5
    assert await life.join() == [5]


async def test_a_session_is_looked_for_once_in_a_life(store: Store) -> None:
    life = Life(store, 0)
    await asyncio.gather(*(life.join() for _ in range(5)))
    assert store.reads == 1


async def test_an_app_without_states_asks_nothing(store: Store) -> None:
    life = Life(store)
    await life.join()
    await life.end()
    assert (store.reads, store.writes) == (0, 0)


async def test_only_what_has_changed_is_written(store: Store) -> None:
    life = Life(store, [])
    await life.join()
    await life.end([])
    assert store.writes == 0, "it is as it began"
    await life.end([1])
    await life.end([1])
    assert store.writes == 1
    await life.end([2], fn=1)
    assert store.writes == 1, "that function has nothing to do with it"
    await life.end([])
    assert await life.again([]).join() == [[]]
    assert await life.again(["new"]).join() == [["new"]], "it was as it began, which is something else now"


async def test_values_are_known_by_what_they_are_for(store: Store) -> None:
    life = Life(store, [], [])
    await life.join()
    await life.end(["first"], ["second"])
    assert await life.again([], [], before=3).join() == [["first"], ["second"]]
    assert await life.again({}, []).join() == [{}, ["second"]], "it begins as something else now"
    assert await life.again([]).join() == [["first"]]


async def test_a_time_to_live_goes_on(store: Store) -> None:
    life = Life(store, 0, time_to_live=1000)
    await life.join()
    await life.end(1)
    life = life.again(0, time_to_live=1000)
    assert await life.join() == [1]
    held = life.gradio.state_holder["s"]
    ttl_s, set_at = held._state_ttl[life.parts[0]._id]
    assert ttl_s == 1000
    held._state_ttl[life.parts[0]._id] = ttl_s, set_at.replace(year=2001)
    await life.states.save("s", MINE, 0)
    assert await life.again(0, time_to_live=1000).join() == [0]


async def test_what_can_not_be_kept_is_named_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    life = Life(store, 0, None, object())
    await life.join()
    await life.states.save("s", MINE, 0)
    assert not caplog.records, "nobody has set any"
    for _ in range(2):
        await life.end(1, (1,), 2)
    (line,) = [one.getMessage() for one in caplog.records]
    assert f"`use` uses (component {life.parts[1]._id}) is not kept" in line
    assert "a value of the type builtins.tuple" in line
    assert (await life.again(0, None, object()).join())[:2] == [1, None]


async def test_values_that_are_large_together_are_not_all_kept(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    life = Life(store, "", "")
    await life.join()
    await life.end("a" * 600_000, "b" * 600_000)
    assert "more than may be kept" in caplog.text
    assert await life.again("", "").join() == ["a" * 600_000, ""]


async def test_of_events_that_end_at_once_the_last_counts(store: Store) -> None:
    life = Life(store, 0)
    await life.join()
    await asyncio.gather(*(life.end(number) for number in range(1, 6)))
    assert await life.again(0).join() == [5]


async def test_a_store_that_can_not_be_written_is_tried_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.001)
    life = Life(store, 0)
    await life.join()
    store.fails = 3
    await life.end(1)
    assert await life.again(0).join() == [1]
    monkeypatch.setattr(module, "SAVE_S", 0.01)
    store.fails = 10**9
    await life.end(2)
    assert "could not be kept" in caplog.text
    store.fails = 0
    await life.end(2)
    assert await life.again(0).join() == [2]


async def test_what_a_closed_page_had_is_kept_for_an_hour(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = module._now_ms()
    monkeypatch.setattr(module, "_now_ms", lambda: now_ms)
    life = Life(store, 0)
    await life.join()
    await life.end(1)
    await life.states.over("s", MINE)
    now_ms += 3_599_000
    assert await life.again(0).join() == [1]
    now_ms += 2_000
    assert await life.again(0).join() == [0]
    await life.end(1)
    now_ms += 6 * 24 * 3_600_000
    assert await life.again(0).join() == [1], "somebody has come back to it"
    await life.end(1)
    now_ms += 6 * 24 * 3_600_000
    assert await life.again(0).join() == [1], "it is written again while it is used"


async def test_a_gradio_that_is_not_as_expected_goes_on_as_without(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    life = Life(store, 0)
    del life.gradio.state_holder
    await life.states.restore("s", MINE)
    await life.states.save("s", MINE, 0)
    assert caplog.text.count("not as expected") == 1


async def test_states_of_render_are_left_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gradio's own
        import gradio

        with gradio.Blocks(analytics_enabled=False) as demo:

            @gradio.render()  # type: ignore[untyped-decorator]
            def draw() -> None:
                gradio.State(1)

    assert Stateful(gradio_app([], demo=demo)).states == ()
