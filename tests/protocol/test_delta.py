"""Deltas: exact for any JSON value, the same composed as one after the other, and strict with junk."""

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolError
from penstock.protocol.compose import Composer, compose
from penstock.protocol.delta import MAX_DEPTH, Delta, apply, diff

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "delta.json").read_text(encoding="utf-8"))

# Few letters and numbers, so that two values have much in common.
TEXTS = st.text("ab😀é", max_size=8)
LEAVES = st.sampled_from([None, True, False, 0, 1, 1.0, 0.0, -0.0, 2**60]) | TEXTS
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=15,
)
ROWS = st.lists(VALUES, min_size=2, max_size=6) | st.lists(TEXTS, min_size=2, max_size=8)


@st.composite
def edited(draw: st.DrawFn) -> list[Any]:
    """Values of which each is the one before with something changed in it, as functions yield them."""
    row = [draw(VALUES)]
    for _ in range(draw(st.integers(1, 6))):
        row.append(edit(draw, msgspec.json.decode(msgspec.json.encode(row[-1]))))
    return row


def edit(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, str):
        at = draw(st.integers(max(0, len(value) - 3), len(value)))
        return value[:at] + draw(TEXTS) + value[at + draw(st.integers(0, 2)) :]
    if isinstance(value, dict) and draw(st.booleans()):
        return value | {draw(st.sampled_from("abc")): draw(VALUES)}
    if isinstance(value, list) and draw(st.booleans()):
        at = draw(st.integers(0, len(value)))
        return value[:at] + draw(st.lists(VALUES, max_size=2)) + value[at + draw(st.integers(0, 2)) :]
    if isinstance(value, dict | list) and value:
        key: Any = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        value[key] = edit(draw, value[key])
        return value
    return draw(VALUES)


def exact(value: Any) -> str:
    """Tells 1 from 1.0 and True, and 0.0 from -0.0; keys have no order."""
    return json.dumps(value, sort_keys=True)


def is_wire(delta: Delta) -> bool:
    decoded = json.loads(msgspec.json.encode(delta))
    return bool(exact(decoded) == exact(delta))


# --- Making and applying


@given(ROWS | edited())
def test_a_delta_makes_the_new_value_of_the_old(row: list[Any]) -> None:
    old, new = row[0], row[-1]
    before = exact(old)
    delta = diff(old, new)
    assert is_wire(delta)
    assert exact(apply(old, delta)) == exact(new)
    assert exact(old) == before
    assert (delta == []) == (exact(old) == exact(new))


@pytest.mark.parametrize("case", VECTORS["apply"], ids=lambda case: case["name"])
def test_vectors(case: dict[str, Any]) -> None:
    before = exact([case["old"], case["delta"]])
    assert exact(apply(case["old"], case["delta"])) == exact(case["new"])
    assert exact([case["old"], case["delta"]]) == before
    assert exact(apply(case["old"], compose(case["delta"]))) == exact(case["new"])


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["name"])
def test_what_fits_nowhere_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        apply(case["old"], case["delta"])


@pytest.mark.parametrize(
    ("old", "new", "delta"),
    [
        ("one", "one two", [["append", [], " two"]]),
        ("same", "same", []),
        ("", "a", [["append", [], "a"]]),
        ("x" * 50 + "▌", "x" * 50 + " and▌", [["insert", [50], " and"]]),
        ("x" * 50 + "▌", "x" * 50, [["remove", [[50, 51]], None]]),
        ("x" * 50 + "|", "x" * 50 + "y/", [["remove", [[50, 51]], None], ["insert", [50], "y/"]]),
        ("abc", "xyz", [["set", [], "xyz"]]),
        ([1, 2], [1, 2, 3, 4], [["append", [], [3, 4]]]),
        ([1, 2, 3], [3], [["remove", [[0, 2]], None]]),
        ([1, 9], [1, 2, 3, 9], [["insert", [1], [2, 3]]]),
        ([1, 1], [1, 1.0], [["set", [1], 1.0]]),
        ({"n": 1}, {"n": True}, [["set", ["n"], True]]),
        ({"a": 1, "b": 2}, {"b": 2, "c": 3}, [["remove", ["a"], None], ["set", ["c"], 3]]),
        (
            [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Be"}],
            [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because"}],
            [["append", [1, "content"], "cause"]],
        ),
        ([[["a"]], 1], [[["ab"]], 1], [["append", [0, 0, 0], "b"]]),
        ({"a": []}, {"a": {}}, [["set", ["a"], {}]]),
    ],
)
def test_what_changed_is_said_briefly(old: Any, new: Any, delta: Delta) -> None:
    assert diff(old, new) == delta


def test_what_lies_too_deep_is_set_whole() -> None:
    def nested(leaf: Any) -> Any:
        for _ in range(3 * MAX_DEPTH):
            leaf = [leaf]
        return leaf

    delta = diff(nested("a"), nested("ab"))
    assert [(op, len(path)) for op, path, _ in delta] == [("set", MAX_DEPTH)]
    assert apply(nested("a"), delta) == nested("ab")


# --- Composing


@given(ROWS | edited())
def test_composed_deltas_do_what_they_do_one_after_the_other(row: list[Any]) -> None:
    deltas = [diff(old, new) for old, new in itertools.pairwise(row)]
    before = exact(deltas)
    whole = compose(*deltas)
    assert is_wire(whole)
    assert exact(apply(row[0], whole)) == exact(row[-1])
    assert exact(deltas) == before


@given(ROWS | edited(), st.data())
def test_it_does_not_matter_in_which_order_they_are_composed(row: list[Any], data: st.DataObject) -> None:
    deltas = [diff(old, new) for old, new in itertools.pairwise(row)]
    while len(deltas) > 1:
        at = data.draw(st.integers(0, len(deltas) - 2))
        deltas[at : at + 2] = [compose(deltas[at], deltas[at + 1])]
    assert exact(apply(row[0], deltas[0])) == exact(row[-1])


def row_of(texts: list[str]) -> Delta:
    return compose(*[diff(old, new) for old, new in itertools.pairwise(texts)])


def test_a_run_of_pieces_is_one_append() -> None:
    assert row_of(["word " * n for n in range(1, 100)]) == [["append", [], "word " * 98]]


def test_a_run_of_pieces_with_a_cursor_mark_is_one_insertion() -> None:
    assert row_of(["x" * n + "▌" for n in range(100, 300)]) == [["insert", [100], "x" * 199]]


def test_a_run_of_pieces_with_a_changing_mark_is_one_change() -> None:
    texts = [f"{'x' * n}{'|/-'[n % 3]}" for n in range(99, 300)]
    assert row_of(texts) == [["remove", [[99, 100]], None], ["insert", [99], "x" * 200 + "-"]]


def test_growth_in_several_places_is_one_append_each() -> None:
    row = [{"a": "x" * n, "log": list(range(n)), "n": n, "c": [{"d": "y" * n}]} for n in range(1, 50)]
    deltas = [diff(old, new) for old, new in itertools.pairwise(row)]
    assert compose(*deltas) == [
        ["append", ["a"], "x" * 48],
        ["append", ["log"], list(range(1, 49))],
        ["append", ["c", 0, "d"], "y" * 48],
        ["set", ["n"], 49],
    ]


def test_a_value_that_is_set_makes_what_was_done_to_it_void() -> None:
    assert compose([["append", ["a"], "x"], ["set", ["a", "b"], 1], ["set", ["c"], 1]], [["set", ["a"], 2]]) == [
        ["set", ["c"], 1], ["set", ["a"], 2],
    ]  # fmt: skip
    assert compose([["append", [], "x"]], [["insert", [0], "y"]], [["set", [], 0]]) == [["set", [], 0]]


# --- Junk


PARTS: st.SearchStrategy[Any] = st.sampled_from(
    ["a", 0, 1, -1, True, None, 0.5, [0, 1], [1, 0], [0], {}, 10**30, [0, 10**30]]
)
JUNK_VALUES = VALUES | st.floats() | st.text(max_size=2)
JUNK = st.recursive(
    JUNK_VALUES
    | st.tuples(
        st.sampled_from(["append", "set", "insert", "remove", "move", "", 1, None]),
        st.lists(PARTS, max_size=4) | JUNK_VALUES,
        JUNK_VALUES,
    ).map(list),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@given(VALUES, JUNK)
def test_junk_is_refused_or_applied_and_nothing_else(value: Any, junk: Any) -> None:
    before = exact(value)
    with contextlib.suppress(ProtocolError):
        apply(value, junk)
    assert exact(value) == before


@given(st.lists(JUNK, min_size=1, max_size=3), VALUES)
def test_junk_is_composed_or_refused_and_nothing_else(junk: list[Any], value: Any) -> None:
    with contextlib.suppress(ProtocolError):
        apply(value, compose(*junk))


def test_junk_that_is_deep_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for junk in (deep, [deep], [["set", deep, 1]], [["set", [deep], 1]]):
        with pytest.raises(ProtocolError):
            apply({}, junk)
    with pytest.raises(ProtocolError):
        apply([], [["set", [0] * 100_000, 1]])


def test_a_composer_takes_all_of_a_delta_or_nothing() -> None:
    composer = Composer()
    composer.add([["append", [], "a"]])
    with pytest.raises(ProtocolError):
        composer.add([["append", [], "b"], ["move", [], "c"]])
    assert composer.delta == [["append", [], "a"]]
