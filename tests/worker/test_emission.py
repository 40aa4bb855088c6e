"""The table of yields: what becomes which event, and that it is a snapshot."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pydantic
import pytest

import penstock
from penstock.errors import BadYield, EventTooLarge
from penstock.events import (
    BYTES_PIECE,
    MAX_EVENT_BYTES,
    AnyEvent,
    Bytes,
    Json,
    Log,
    Progress,
    Replace,
    Text,
    decode,
    encode,
)
from penstock.worker.emission import Emission
from penstock.worker.frames import Frames

if TYPE_CHECKING:
    from tests.conftest import Bench


class Colour(enum.StrEnum):
    RED = "red"


class Markup(str):
    __slots__ = ()


class Point(NamedTuple):
    x: int


@dataclasses.dataclass
class Data:
    x: int
    when: dt.date = dt.date(2026, 1, 2)


class Struct(msgspec.Struct):
    x: int


class Model(pydantic.BaseModel):
    x: int
    when: dt.date = dt.date(2026, 1, 2)


class Array:
    """As NumPy's arrays and scalars do it."""

    def tolist(self) -> list[int]:
        return [1, 2]


def make(*, cumulative: bool = False) -> Emission:
    return Emission(cumulative=cumulative, frame=Frames().of, lengths={})


def events_of(*values: Any, cumulative: bool = False, span: str | None = None) -> list[AnyEvent]:
    """What a reader decodes of these yields."""
    emission = make(cumulative=cumulative)
    return [decode(encode(event)) for value in values for event, _ in emission.events(value, span)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, None, True]}, {"a": [1, None, True]}),
        ([1.5, "x"], [1.5, "x"]),
        ((1, 2), [1, 2]),
        ({1}, [1]),
        (collections.defaultdict(int, a=1), {"a": 1}),
        ({Markup("k"): Markup("v")}, {"k": "v"}),
        (7, 7),
        (2.5, 2.5),
        (True, True),
        (None, None),
        (10**30, 10**30),
        (Data(1), {"x": 1, "when": "2026-01-02"}),
        (Struct(1), {"x": 1}),
        (Model(x=1), {"x": 1, "when": "2026-01-02"}),
        ({"deep": [Model(x=1), Struct(2), Array()]}, {"deep": [{"x": 1, "when": "2026-01-02"}, {"x": 2}, [1, 2]]}),
        (Array(), [1, 2]),
        (Point(3), [3]),
        (decimal.Decimal("1.10"), "1.10"),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00Z"),
        (uuid.UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (msgspec.Raw(b'{"ready":\n\n[1]}'), {"ready": [1]}),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_values_become_json(value: object, expected: object) -> None:
    (event,) = events_of(value)
    assert isinstance(event, Json)
    assert event.value == expected


def test_no_event_has_a_line_break_in_its_json() -> None:
    """Frames end at blank lines: one inside an event would tear it."""
    for value in (msgspec.Raw(b'{"a":\n\n1}'), "a\n\nb\r\n", {"a": "\n\n"}, Model(x=1)):
        for event, _ in make().events(value, None):
            assert b"\n" not in encode(event)
            assert b"\r" not in encode(event)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {"a": object()},
        {1j},
        lambda: 1,
        float,
        msgspec.Raw(b"{nonsense\n"),
        {"a": msgspec.Raw(b"{broken")},
        msgspec.Raw(b'"\xff"'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_json_form(value: object) -> None:
    with pytest.raises(BadYield, match="can't be stored") as caught:
        events_of(value)
    assert "pydantic" in caught.value.hint


@pytest.mark.parametrize("data", [b"{nonsense", b'{"a": 1', b"1 2", b"", b"[1,]", b'"\xff"'])
def test_ready_json_is_not_taken_at_its_word(data: bytes) -> None:
    for value in (msgspec.Raw(data), penstock.Replace(msgspec.Raw(data))):
        with pytest.raises(BadYield, match="can't be stored"):
            events_of(value)


def test_a_value_that_holds_itself() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(BadYield):
        events_of(loop)


def test_text_has_positions_in_code_points() -> None:
    events = events_of("ab", "", "😀é", "c")
    assert [(event.pos, event.text) for event in events if isinstance(event, Text)] == [
        (0, "ab"), (2, ""), (2, "😀é"), (4, "c"),
    ]  # fmt: skip


def test_each_span_counts_its_own_text() -> None:
    emission = make()
    spans = [None, "a", "b", "a", None]
    events = [event for span in spans for event, _ in emission.events("xy", span)]
    assert [(event.span, event.pos) for event in events if isinstance(event, Text)] == [
        (None, 0), ("a", 0), ("b", 0), ("a", 2), (None, 2),
    ]  # fmt: skip


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    events = events_of("a\ud83d", "\ude00b", "\ud83d\ude00", "c")
    assert [(event.pos, event.text) for event in events if isinstance(event, Text)] == [
        (0, "a\ufffd"), (2, "\ufffdb"), (4, "😀"), (5, "c"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", [Markup("<b>"), Colour.RED])
def test_kinds_of_str_are_text(text: str) -> None:
    (event,) = events_of(text)
    assert isinstance(event, Text)
    assert event.text == str(text)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_cut_into_pieces(kind: type) -> None:
    data = bytes(range(256)) * (BYTES_PIECE // 256 * 2) + b"rest"
    events = events_of(kind(data))
    pieces = [event.data for event in events if isinstance(event, Bytes)]
    assert [len(piece) for piece in pieces] == [BYTES_PIECE, BYTES_PIECE, 4]
    assert b"".join(pieces) == data
    assert events_of(b"") == []


def test_replace_and_cumulative() -> None:
    (event,) = events_of(penstock.Replace({"a": Model(x=1)}))
    assert event == Replace({"a": {"x": 1, "when": "2026-01-02"}})
    assert events_of("text", [1], penstock.Replace(3), cumulative=True, span="s") == [
        Replace("text", span="s"),
        Replace([1], span="s"),
        Replace(3, span="s"),
    ]


@pytest.mark.parametrize(
    "value", ["x", "é", ["x"], penstock.Replace("x")], ids=["ascii", "utf-8", "json", "replace"]
)
def test_an_event_has_a_largest_size(value: Any) -> None:
    def grown(size: int) -> Any:
        if isinstance(value, str):
            return value * (size // len(value.encode()))
        return ["x" * (size - 4)] if isinstance(value, list) else penstock.Replace("x" * (size - 2))

    assert len(events_of(grown(MAX_EVENT_BYTES))) == 1
    with pytest.raises(EventTooLarge, match=str(MAX_EVENT_BYTES)) as caught:
        events_of(grown(MAX_EVENT_BYTES + 2))
    assert "pieces" in caught.value.hint


# --- On a worker ---


async def test_a_yield_is_a_snapshot(bench: "Bench") -> None:
    """What the function does to an object afterwards changes nothing that was yielded."""

    async def function(run: penstock.Run) -> AsyncIterator[Any]:
        value: dict[str, Any] = {"items": [1]}
        data = bytearray(b"before")
        yield value
        yield penstock.Replace(value)
        yield data
        run.log("said", fields_=value)
        with run.span("s", input=value) as span:
            span.output = value
        value["items"].append(2)
        data[:] = b"after!"

    events = await (await bench.start(function)).events()
    shown = msgspec.json.encode(events).decode()
    assert shown.count('{"items":[1]}') == 5
    assert "[1,2]" not in shown
    assert [event.data for event in events if isinstance(event, Bytes)] == [b"before"]


async def test_whatever_is_said_can_be_stored(bench: "Bench") -> None:
    """A word that has no UTF-8 or no JSON form must not take the other runs' events with it."""

    class Number:
        def __float__(self) -> float:
            return 2.5

    def function(run: penstock.Run) -> Iterator[Any]:
        run.log("half \ud800", Markup("warn"), name="x")
        run.log(Markup("m"))
        run.log(ValueError("an object"))
        run.progress(Number(), Number(), Markup("items"))  # type: ignore[arg-type]
        run.progress(1, unit="\ud800")
        with run.span("half \ud800", Markup("kind")):
            yield Markup("text")
        for wrong in (float("nan"), float("inf"), "many"):
            with pytest.raises(BadYield):
                run.progress(wrong)  # type: ignore[arg-type]
        with pytest.raises(BadYield):
            run.log("x", bad=object())
        yield Colour.RED

    run = await bench.start(function, rate=0)
    events = await run.events()
    assert await run.outcome() == ("succeeded", "")
    assert [(event.message, event.level) for event in events if isinstance(event, Log)] == [
        ("half \ufffd", "warn"), ("m", "info"), ("an object", "info"),
    ]  # fmt: skip
    first = next(event for event in events if isinstance(event, Progress))
    assert (first.done, first.total, first.unit) == (2.5, 2.5, "items")
    assert (await run.fold()).text == "textred"


async def test_progress_and_tqdm(bench: "Bench") -> None:
    def function(run: penstock.Run) -> list[int]:
        run.progress(1, 3, "files")
        return list(run.tqdm([1, 2, 3])) + list(run.tqdm(iter([4]), unit="B"))

    run = await bench.start(function, rate=0)
    events = await run.events()
    shown = [(event.done, event.total, event.unit) for event in events if isinstance(event, Progress)]
    assert shown == [
        (1, 3, "files"), (0, 3, "it"), (1, 3, "it"), (2, 3, "it"), (3, 3, "it"), (0, None, "B"), (1, None, "B"),
    ]  # fmt: skip
    assert (await run.end()).result == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["async_generator", "generator"])
async def test_more_bytes_than_may_wait(kind: str, bench: "Bench") -> None:
    """One yield may be larger than what a run may have waiting: it goes in pieces, and the function waits."""
    data = bytes(range(256)) * (18 * 1024 * 1024 // 256)

    async def async_generator() -> AsyncIterator[bytes]:
        yield data

    def generator() -> Iterator[bytes]:
        yield data

    fold = await (await bench.start(locals()[kind])).fold()
    assert fold.end is not None
    assert fold.end.state == "succeeded"
    assert fold.data == data
