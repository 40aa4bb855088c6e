"""Which yields are merged, and into what: nothing is lost that a page would still show."""

import dataclasses
import pathlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.integrations.gradio.merging.latest import Latest
from penstock.integrations.gradio.merging.outputs import Outputs, Parts
from penstock.integrations.gradio.merging.snapshots import DEPTH, Unfixable, snapshot

from .merging_world import Component, World

RATE = 20
PAUSE_S = 1 / RATE

TEXT, OTHER, STATE = Component(1), Component(2), Component(3, stateful=True)

times = st.sampled_from((0.0, 0.0, 0.001, 0.01, 0.04, 0.05, 0.07, 0.3))


def world(yields: list[Callable[[], Any]], runs_s: list[float], **more: Any) -> World:
    return World(Latest(Outputs([TEXT]), RATE), yields, runs_s, **more)


def said(*values: Any) -> list[Callable[[], Any]]:
    return [lambda value=value: value for value in values]  # type: ignore[misc]


# When a value is given


def test_the_first_value_is_given_at_once() -> None:
    played = world(said("a", "b"), [0.01, 1.0])
    played.play()
    assert [one.at_s for one in played.given] == [0.01, 1.01]


def test_values_within_a_pause_are_merged_and_the_latest_is_given_when_it_is_over() -> None:
    played = world(said(*"abcde"), [0.0, 0.01, 0.01, 0.01, 1.0])
    played.play()
    assert [(one.value, one.at_s) for one in played.given] == [
        ("a", 0.0),
        ("d", 0.05),
        ("e", pytest.approx(1.03)),
    ]


def test_what_is_held_is_given_at_the_end_without_delay() -> None:
    played = world(said("a", "b"), [0.0, 0.001])
    assert isinstance(played.play(), StopAsyncIteration)
    assert [(one.value, one.at_s) for one in played.given] == [("a", 0.0), ("b", 0.001)]


def test_what_is_held_is_given_before_the_error() -> None:
    played = world(said("a", "b"), [0.0, 0.001], error=ValueError("boom"))
    assert str(played.play()) == "boom"
    assert [one.value for one in played.given] == ["a", "b"]
    with pytest.raises(StopAsyncIteration):
        played.latest.take(0)


def test_a_slow_generator_is_not_delayed() -> None:
    played = world(said(*range(10)), [0.06] * 10, prepares_s=0.001)
    played.play()
    assert [one.at_s for one in played.given] == [one.at_s for one in played.yielded]


def test_a_generator_runs_as_long_as_gradio_takes_over_a_value() -> None:
    played = world(said(*range(1000)), [0.001] * 1000, prepares_s=0.2)
    played.play()
    assert len(played.given) == pytest.approx(1000 * 0.001 / 0.2 + 2, abs=1)


def test_without_hold_each_value_is_given() -> None:
    latest = Latest(Outputs([TEXT]), RATE)
    for value in "abc":
        latest.ask(0.0)
        assert not latest.offer(value, 0.0, hold=False)
        assert latest.take(0.0) == value


def test_after_a_stop_nothing_is_taken_any_more() -> None:
    latest = Latest(Outputs([TEXT]), RATE)
    latest.ask(0.0)
    latest.offer("a", 0.0)
    latest.stop()
    assert not latest.offer("b", 0.0)
    assert not latest.runs_on
    with pytest.raises(StopAsyncIteration):
        latest.take(0.0)


@given(st.lists(times, min_size=1, max_size=40), st.sampled_from((0.0, 0.001, 0.03, 0.2)))
def test_any_rhythm_ends_with_the_latest_and_keeps_the_pace(runs_s: list[float], prepares_s: float) -> None:
    played = world(said(*range(len(runs_s))), runs_s, prepares_s=prepares_s)
    played.play()
    values = [one.value for one in played.given]
    assert values == sorted(set(values)), "in order, none twice"
    assert values[0] == 0
    assert values[-1] == len(runs_s) - 1
    for before, one in zip(played.given, played.given[1:-1], strict=False):
        assert one.at_s >= before.at_s + PAUSE_S - 1e-9
    held_s = [one.at_s - played.yielded[one.value].at_s for one in played.given]
    assert max(held_s) <= 2 * prepares_s + PAUSE_S + 1e-9


@given(st.lists(times, min_size=1, max_size=40), st.sampled_from((0.0, 0.001, 0.03, 0.2)))
def test_a_list_that_the_generator_goes_on_changing_is_never_torn(
    runs_s: list[float], prepares_s: float
) -> None:
    history: list[dict[str, Any]] = []

    def grow() -> list[dict[str, Any]]:
        history.append({"content": ""})
        history[-1]["content"] += str(len(history))
        history[0]["content"] += "!"
        return history

    played = world([grow] * len(runs_s), runs_s, prepares_s=prepares_s)
    played.play()
    yielded = [one.value for one in played.yielded]
    for one in played.given:
        assert one.value in yielded
        assert one.meanwhile == one.value
    assert played.given[-1].value == yielded[-1]


def test_what_can_not_be_copied_is_given_at_once_with_the_generator_paused() -> None:
    figure, latest = object(), Latest(Outputs([TEXT]), RATE)
    latest.ask(0.0)
    latest.offer("a", 0.0)
    latest.take(0.0)
    latest.ask(0.0)
    assert not latest.offer(figure, 0.001)
    assert latest.ready(0.001)
    assert latest.take(0.001) is figure


# How one yield replaces another

plain = st.sampled_from(("a", "b", 1, None)) | st.lists(st.integers(0, 3), max_size=2)
props = st.sampled_from(("value", "visible", "label"))
updates = st.dictionaries(props, st.sampled_from(("x", "y", None, False)), max_size=2).map(
    lambda props: {**props, "__type__": "update"}
)
shapes = [
    st.tuples(plain | updates, plain | updates, plain | updates),
    st.dictionaries(st.sampled_from((TEXT, OTHER, STATE)), plain | updates, min_size=1),
    st.just({"__type__": "update"}),
]


def page(given: list[Any]) -> list[dict[str, Any]]:
    """What is on a page with these three outputs after these yields, by Gradio's own rule."""
    shown: list[dict[str, Any]] = [{}, {}, {}]
    for one in given:
        for place, part in enumerate(_three(one)):
            if not (isinstance(part, dict) and "__type__" in part):
                shown[place]["value"] = part
            elif place == 2:
                shown[place] |= {"value": part["value"]} if "value" in part else {}
            else:
                said = {name: value for name, value in part.items() if name == "value" or value is not None}
                shown[place] |= {name: value for name, value in said.items() if name != "__type__"}
    return shown


def _three(one: Any) -> list[Any]:
    skip = {"__type__": "update"}
    if one == skip:
        return [skip] * 3
    return [one.get(output, skip) for output in (TEXT, OTHER, STATE)] if isinstance(one, dict) else list(one)


@given(st.data(), st.lists(times, min_size=1, max_size=20))
def test_a_page_ends_as_if_it_had_had_every_yield(data: st.DataObject, runs_s: list[float]) -> None:
    yields = [data.draw(st.one_of(shapes)) for _ in runs_s]
    played = World(Latest(Outputs([TEXT, OTHER, STATE]), RATE), said(*yields), runs_s)
    played.play()
    assert page([one.value for one in played.given]) == page(yields)


def parts_of(value: Any, *outputs: Component) -> Parts | None:
    return Outputs(outputs).parts(value)


def test_a_state_gets_the_very_object_that_was_yielded() -> None:
    outputs, mine = Outputs([TEXT, STATE]), {"mutable": []}  # type: ignore[var-annotated]
    parts = outputs.parts(("text", mine))
    assert parts is not None
    fixed = outputs.fixed(parts)
    assert fixed is not None
    assert fixed[1] is mine


def test_a_component_in_the_place_of_a_value_is_an_update() -> None:
    box = SimpleNamespace(constructor_args={"label": "L"}, _id=9)
    parts = parts_of((box, "x"), TEXT, OTHER)
    assert parts == ({"label": "L", "__type__": "update"}, "x")
    plain_now = parts_of(("new", "y"), TEXT, OTHER)
    assert parts is not None
    assert plain_now is not None
    assert Outputs([TEXT, OTHER]).replaced(parts, plain_now) is None, "the label would be lost"


@pytest.mark.parametrize(
    "value", [("a",), "ab", ("a", "b", "c"), {TEXT: 1, "x": 2}, {Component(99): 1}, None]
)
def test_a_shape_that_only_gradio_can_judge_is_left_to_it(value: Any) -> None:
    assert parts_of(value, TEXT, OTHER) is None


def test_two_updates_are_one() -> None:
    was, now = {"visible": True, "__type__": "update"}, {"value": "x", "label": None, "__type__": "update"}
    assert Outputs([TEXT]).replaced((was,), (now,)) == (
        {"visible": True, "value": "x", "__type__": "update"},
    )


# Copies


@dataclasses.dataclass(frozen=True)
class Message:
    content: list[str]


def test_a_copy_is_equal_and_shares_nothing_that_changes() -> None:
    value = {"a": [1, (2, {"b": "c"})], "d": Message(["x"]), "e": {1, 2}, "f": pathlib.Path("g")}
    fixed = snapshot(value)
    assert fixed == value
    value["a"][1][1]["b"] = "changed"  # type: ignore[index]
    value["d"].content.append("changed")  # type: ignore[attr-defined]
    value["e"].add(3)  # type: ignore[attr-defined]
    assert fixed == {"a": [1, (2, {"b": "c"})], "d": Message(["x"]), "e": {1, 2}, "f": pathlib.Path("g")}


@pytest.mark.parametrize("value", [object(), iter([]), lambda: None, [object()], type("Text", (list,), {})()])
def test_what_is_of_an_unknown_kind_is_refused(value: Any) -> None:
    with pytest.raises(Unfixable):
        snapshot(value)


def test_what_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(Unfixable):
        snapshot(value)
    assert DEPTH > 10
