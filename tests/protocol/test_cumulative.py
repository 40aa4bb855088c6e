"""Key frames and deltas, merged and folded: what leads to a cumulative value."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from penstock.errors import ProtocolError
from penstock.events import AnyEvent, Json, Replace, Reset, Text
from penstock.protocol import coalesce as module
from penstock.protocol.coalesce import Fold, coalesce
from penstock.protocol.delta import apply


def fold(row: Sequence[AnyEvent]) -> Fold:
    made = Fold()
    for event in row:
        made.apply(event)
    return made


def grown(count: int, first: int = 1) -> list[AnyEvent]:
    """A cumulative text of `count` pieces: one key frame and deltas."""
    pieces: list[AnyEvent] = [Replace(delta=[["append", [], "x"]], seq=first + i) for i in range(1, count)]
    return [Replace("x", seq=first), *pieces]


def test_a_cumulative_run_is_kept_as_one_value() -> None:
    made = fold(grown(10_000))
    assert len(made._events) <= 64
    assert made.events == [Replace("x" * 10_000, seq=10_000, n=10_000)]
    assert made.value == "x" * 10_000


def test_deltas_without_their_key_frame_compose() -> None:
    row = grown(1000)[1:]
    assert coalesce(row) == [Replace(delta=[["append", [], "x" * 999]], seq=1000, n=999)]


def test_many_deltas_of_a_long_text_cost_what_they_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[int] = []

    def counted(value: Any, delta: Any) -> Any:
        applied.append(len(delta))
        return apply(value, delta)

    monkeypatch.setattr(module, "apply", counted)
    row = grown(1001)
    row[0] = Replace("x" * 100_000, seq=1)
    assert coalesce(row) == [Replace("x" * 101_000, seq=1001, n=1001)]
    assert applied == [1]


def test_a_value_that_ready_json_brought_is_read_where_a_delta_meets_it() -> None:
    row: list[AnyEvent] = [
        Replace(msgspec.Raw(b'{"a":"x"}'), seq=1),
        Replace(delta=[["append", ["a"], "y"]], seq=2),
    ]
    assert coalesce(row) == [Replace({"a": "xy"}, seq=2, n=2)]
    assert fold(row).value == {"a": "xy"}


def test_the_value_is_found_anew_after_a_reset() -> None:
    made = fold([*grown(3), Json(0, seq=4), *grown(2, 5)])
    assert made.value == "xx"
    made.apply(Reset(3, seq=7))
    assert made.value == "xxx"
    made.apply(Replace(delta=[["append", [], "y"]], seq=8))
    assert made.value == "xxxy"
    made.apply(Reset(0))
    assert made.value is None


def test_a_delta_without_the_value_before_it_is_refused() -> None:
    made = fold([Replace("x", seq=1, span="a"), Text(0, "t", seq=2)])
    with pytest.raises(ProtocolError, match="has not come"):
        made.apply(Replace(delta=[], seq=3))
    assert (made.seq, made.value) == (2, "x")
    made.apply(Replace("y", seq=3))
    with pytest.raises(ProtocolError, match="has not come"):
        fold([Replace("xy", seq=2, n=2)]).apply(Replace(delta=[["append", [], "yz"]], seq=3, n=2))


def test_a_delta_that_fits_nowhere_is_refused_when_the_value_is_asked_for() -> None:
    made = fold([Replace("x", seq=1), Replace(delta=[["remove", ["a"], None]], seq=2)])
    for ask in (lambda: made.value, lambda: made.events):
        with pytest.raises(ProtocolError):
            ask()
