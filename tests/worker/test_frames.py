"""Cumulative yields: key frames and deltas that lead a reader to exactly what was yielded."""

import dataclasses
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import penstock
from penstock.errors import BadYield, EventTooLarge
from penstock.events import MAX_EVENT_BYTES, AnyEvent, Replace, Reset, decode, encode
from penstock.protocol.coalesce import Fold, coalesce
from penstock.worker.frames import Frames

if TYPE_CHECKING:
    from tests.conftest import Bench

LONG = "The mill stands by the river, and the river turns the wheel. " * 10


def seen(values: list[Any], span: str | None = None) -> list[Replace]:
    """What a reader decodes of these yields."""
    frames = Frames()
    events = []
    for seq, value in enumerate(values, start=1):
        event, size = frames.of(value, span)
        event.seq = seq
        line = encode(event)
        assert abs(len(line) - size) < 100
        events.append(decode(line))
    return [event for event in events if isinstance(event, Replace)]


def kinds(events: list[Replace]) -> str:
    return "".join("k" if event.delta is msgspec.UNSET else "d" for event in events)


def states(events: list[Any]) -> list[Any]:
    """The value after each event."""
    fold, found = Fold(), []
    for event in events:
        fold.apply(event)
        found.append(fold.value)
    return found


@dataclasses.dataclass
class Message:
    role: str
    content: str


TEXTS = st.text("ab😀é▌\ud83d\ude00\n\x00", max_size=6)
PIECES = st.lists(st.tuples(TEXTS, st.integers(0, 3), st.booleans()), max_size=12)


@given(PIECES, st.booleans())
def test_texts_come_out_as_they_went_in(pieces: list[tuple[str, int, bool]], marked: bool) -> None:
    text, yielded = LONG, []
    for piece, taken, whole in pieces:
        text = ("" if whole else text[: len(text) - taken]) + piece
        yielded.append(text + "▌" if marked else text)
    expected = [one.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for one in yielded]
    events = seen(yielded)
    assert states(events) == expected
    merged = coalesce(events)
    assert len(merged) <= 1
    assert states(merged) == expected[-1:]


VALUES = st.recursive(
    st.none() | st.booleans() | st.sampled_from([0, 1, 1.0, -0.0, LONG]) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=6))
def test_values_come_out_as_they_went_in(values: list[Any]) -> None:
    exact = [msgspec.json.encode(value, order="sorted") for value in values]
    found = states(seen([penstock.Replace(value) for value in values]))
    assert [msgspec.json.encode(value, order="sorted") for value in found] == exact


def test_the_first_is_a_key_frame_and_what_grows_is_sent_as_what_was_added() -> None:
    events = seen([LONG, LONG + " And", LONG + " And on", LONG + " And on"])
    assert [event.delta for event in events[1:]] == [[["append", [], " And"]], [["append", [], " on"]], []]
    assert events[0] == Replace(LONG, seq=1)


def test_a_cursor_mark_at_the_end_costs_no_more() -> None:
    events = seen([LONG + "▌", LONG + " And▌", LONG + " And on▌", LONG + " And on"])
    assert kinds(events) == "kddd"
    assert all(len(encode(event)) < 120 for event in events[1:])
    assert states(events)[-1] == LONG + " And on"


def test_the_last_element_of_a_conversation_grows() -> None:
    told = [{"role": "user", "content": LONG}]
    events = seen([[*told, Message("assistant", LONG[:n])] for n in (10, 20, 30)])
    assert [event.delta for event in events[1:]] == [
        [["append", [1, "content"], LONG[10:20]]], [["append", [1, "content"], LONG[20:30]]],
    ]  # fmt: skip


def test_what_is_hardly_smaller_than_the_value_is_a_key_frame() -> None:
    assert kinds(seen(["a", "ab", "abc"])) == "kkk"
    assert kinds(seen([{"a": 1}, {"a": 2}])) == "kk"
    assert kinds(seen([LONG, LONG[::-1], LONG, LONG[:-1]])) == "kkkd"


def test_an_object_is_compared_by_its_json_as_it_was() -> None:
    message = Message("assistant", LONG)
    frames = Frames()
    first, _ = frames.of(message, None)
    message.content += " And on."
    same, _ = frames.of({"role": "assistant", "content": LONG}, None)
    second, _ = frames.of(message, None)
    assert msgspec.json.decode(first.value) == {"role": "assistant", "content": LONG}
    assert (same.delta, second.delta) == ([], [["append", ["content"], " And on."]])


def test_each_span_has_values_of_its_own_until_it_ends() -> None:
    frames = Frames()
    spans = [None, "a", None, "a", "b"]
    assert kinds([frames.of(LONG, span)[0] for span in spans]) == "kkddk"
    frames.forget("a")
    assert kinds([frames.of(LONG, span)[0] for span in spans]) == "dkddd"
    frames.restart()
    assert kinds([frames.of(LONG, span)[0] for span in spans]) == "kkddk"


def test_ready_json_that_can_not_be_compared_goes_whole() -> None:
    data = b'{"a":1e999,"b":"%b"}' % LONG.encode()
    frames = Frames()
    for _ in range(2):
        event, _ = frames.of(msgspec.Raw(data), None)
        assert event.delta is msgspec.UNSET
        assert bytes(event.value) == data


def test_a_text_may_not_grow_beyond_an_event() -> None:
    frames = Frames()
    text = "x" * (MAX_EVENT_BYTES - 2)
    frames.of(text[:-1], None)
    frames.of(text, None)
    for longer in (text + "x", text + "x▌", "é" + text):
        with pytest.raises(EventTooLarge):
            frames.of(longer, None)


def test_a_delta_is_not_for_functions_to_make() -> None:
    with pytest.raises(BadYield):
        Frames().of(penstock.Replace(delta=[]), None)


# --- On a worker


async def growing(run: penstock.Run) -> AsyncIterator[str]:
    text = ""
    for number in range(200):
        text += f"{number} "
        yield text


async def test_a_run_is_stored_in_about_what_its_pieces_take(bench: "Bench") -> None:
    async def pieces() -> AsyncIterator[str]:
        for number in range(200):
            yield f"{number} "

    whole = await bench.start(growing, cumulative=True, rate=0)
    bit_by_bit = await bench.start(pieces, rate=0)
    sizes = [sum(len(encode(event)) for event in await run.events()) for run in (whole, bit_by_bit)]
    assert (await whole.fold()).value == (await bit_by_bit.fold()).text
    assert sizes[0] < 1.2 * sizes[1]


async def test_what_follows_a_checkpoint_is_a_key_frame(bench: "Bench") -> None:
    def function(run: penstock.Run) -> Iterator[Any]:
        yield LONG
        yield LONG + "a"
        run.checkpoint(1)
        yield LONG + "ab"
        yield LONG + "abc"

    run = await bench.start(function, cumulative=True, rate=0)
    events = [event for event in await run.events() if isinstance(event, Replace)]
    assert (kinds(events), [event.edge for event in events]) == ("kdkd", [False, False, True, False])
    assert (await run.fold()).value == LONG + "abc"


async def test_another_attempt_begins_with_a_key_frame(bench: "Bench") -> None:
    def function(run: penstock.Run) -> Iterator[Any]:
        if run.attempt == 1:
            yield LONG
            run.checkpoint(1)
            yield LONG + "lost"
            raise ValueError("once")
        yield LONG + "a"
        yield LONG + "ab"

    run = await bench.start(function, cumulative=True, rate=0, retries=1)
    events: list[AnyEvent] = await run.events()
    place = next(place for place, event in enumerate(events) if isinstance(event, Reset))
    assert kinds([event for event in events[place:] if isinstance(event, Replace)]) == "kd"
    fold = await run.fold()
    assert fold.value == LONG + "ab"


async def test_what_a_function_does_to_its_value_later_changes_nothing(bench: "Bench") -> None:
    def function() -> Iterator[Any]:
        value: dict[str, Any] = {"text": LONG, "items": []}
        for number in range(5):
            value["items"].append(number)
            yield value
            value["text"] = "spoiled"
            value["items"].append("spoiled")
            value["items"].pop()
            value["text"] = LONG

    run = await bench.start(function, cumulative=True, rate=0)
    events = [event for event in await run.events() if isinstance(event, Replace)]
    assert kinds(events) == "kdddd"
    assert states(events) == [{"text": LONG, "items": list(range(n))} for n in range(1, 6)]
