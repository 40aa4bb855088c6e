"""Events: objects to JSON and back, with defaults left out and later versions' fields let through."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import events
from penstock.events import (
    AnyEvent,
    Bytes,
    End,
    Json,
    Log,
    Piece,
    Progress,
    Replace,
    Reset,
    SpanEnd,
    SpanStart,
    Text,
    decode,
    encode,
)  # fmt: skip

# 64 bits and finite: what JSON readers in every language agree on.
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=10,
)
OBJECTS = st.none() | st.dictionaries(WORDS, VALUES, max_size=3)
COUNTS = st.integers(0, 2**53)
COMMON: dict[str, Any] = {
    "seq": COUNTS, "at_ms": COUNTS, "span": st.none() | WORDS, "n": st.integers(1, 2**31),
}  # fmt: skip
ANY_EVENT: st.SearchStrategy[AnyEvent] = st.one_of(
    st.builds(Text, COUNTS, WORDS, **COMMON),
    st.builds(Json, VALUES, **COMMON),
    st.builds(Replace, VALUES, **COMMON),
    st.builds(Replace, delta=st.lists(VALUES, max_size=3), **COMMON),
    st.builds(Bytes, st.binary(max_size=100), **COMMON),
    st.builds(Progress, FLOATS, st.none() | FLOATS, WORDS, **COMMON),
    st.builds(Log, WORDS, WORDS, OBJECTS, **COMMON),
    st.builds(SpanStart, WORDS, WORDS, st.none() | WORDS, VALUES, **COMMON),
    st.builds(SpanEnd, VALUES, OBJECTS, **COMMON),
    st.builds(Reset, COUNTS, WORDS, **COMMON),
    st.builds(
        End, st.sampled_from(["succeeded", "failed", "cancelled", "interrupted"]), VALUES, OBJECTS, **COMMON
    ),
)

WIRE: list[tuple[AnyEvent, dict[str, Any]]] = [
    (Text(0, "é\n"), {"pos": 0, "text": "é\n"}),
    (Json(0, seq=1, at_ms=2, span="s", n=3), {"seq": 1, "at_ms": 2, "span": "s", "n": 3, "value": 0}),
    (Json(None), {"value": None}),
    (Replace([1, {"a": 2}]), {"value": [1, {"a": 2}]}),
    (Replace(None), {"value": None}),
    (Replace(delta=[["append", [], "x"]]), {"delta": [["append", [], "x"]]}),
    (Replace(delta=[]), {"delta": []}),
    (Bytes(b"\x00\xff"), {"data": "AP8="}),
    (Progress(1, 2, "rows"), {"done": 1, "total": 2, "unit": "rows"}),
    (Progress(0.5), {"done": 0.5}),
    (Log("hello"), {"message": "hello"}),
    (Log("hello", "error", {"a": 1}), {"message": "hello", "level": "error", "fields": {"a": 1}}),
    (SpanStart("search", span="s1"), {"span": "s1", "name": "search"}),
    (SpanStart("find", "tool", "s0", "q"), {"name": "find", "kind": "tool", "parent": "s0", "input": "q"}),
    (SpanEnd(span="s1"), {"span": "s1"}),
    (SpanEnd(3, {"code": "exception"}), {"output": 3, "error": {"code": "exception"}}),
    (Reset(0), {"to": 0}),
    (Reset(4, "retry"), {"to": 4, "reason": "retry"}),
    (Piece(0, 2, '{"type"'), {"part": 0, "parts": 2, "data": '{"type"'}),
    (End("succeeded"), {"state": "succeeded"}),
    (End("failed", None, {"code": "x"}), {"state": "failed", "error": {"code": "x"}}),
]  # fmt: skip


@given(ANY_EVENT)
def test_decode_undoes_encode(event: AnyEvent) -> None:
    line = encode(event)
    assert b"\n" not in line
    assert b"\r" not in line
    again = decode(line)
    assert again == event
    assert type(again) is type(event)
    assert encode(again) == line


@pytest.mark.parametrize(("event", "fields"), WIRE)
def test_the_wire_form(event: AnyEvent, fields: dict[str, Any]) -> None:
    wire = msgspec.json.decode(encode(event))
    assert wire == {"type": event.__struct_config__.tag} | fields
    assert decode(encode(event).decode()) == event


def test_every_type_has_a_case() -> None:
    assert {type(event) for event, _ in WIRE} == set(AnyEvent.__args__)


def test_the_names_on_the_wire() -> None:
    tags = {kind.__struct_config__.tag for kind in AnyEvent.__args__}
    assert tags == {
        "text", "json", "replace", "bytes", "progress", "log", "span-start", "span-end", "reset", "end",
        "piece",
    }  # fmt: skip


def test_fields_of_later_versions_are_ignored() -> None:
    assert decode('{"type":"text","pos":0,"text":"a","colour":"red"}') == Text(0, "a")


@pytest.mark.parametrize(
    "line",
    [
        '{"type":"hologram"}',
        '{"pos":0}',
        '{"type":"end","state":"running"}',
        "{",
        "",
        '{"type":"replace"}',
        '{"type":"replace","value":null,"delta":[]}',
        '{"type":"replace","delta":{}}',
    ],
)
def test_what_is_not_an_event_is_refused(line: str) -> None:
    with pytest.raises(msgspec.DecodeError):  # ValidationError is one too
        decode(line)


def test_limits_fit_each_other() -> None:
    assert events.BYTES_PIECE * 4 // 3 < events.MAX_EVENT_BYTES
