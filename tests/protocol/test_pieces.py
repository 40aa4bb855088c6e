"""Large events in pieces: whatever is cut, and wherever a reader stands, the same events come together."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import events as ev
from penstock.errors import ProtocolError
from penstock.events import AnyEvent, Bytes, End, Folded, Json, Log, Piece, Replace, Reset, Text
from penstock.protocol import pieces as module
from penstock.protocol.coalesce import Fold
from penstock.protocol.pieces import MAX_WHOLE_BYTES, WHOLE_BYTES, Begun, Pieces, cut, pieces_of
from penstock.protocol.sse import CHUNK_BYTES, encode_chunks, encode_event, encode_fold, events_in

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pieces.json").read_text(encoding="utf-8"))
EPOCH = "k3j9x0q2ab"
SMALL_BYTES = 200
"""In place of `WHOLE_BYTES`, so that examples are quick."""

TEXTS = st.text('ab"\\é😀\n\x01', max_size=300)
SPANS = st.sampled_from([None, "a"])


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterable[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WHOLE_BYTES", SMALL_BYTES)
        patch.setattr(module, "TEXT_POINTS", 40)
        patch.setattr("penstock.protocol.sse.WHOLE_BYTES", SMALL_BYTES)
        patch.setattr("penstock.protocol.sse.CHUNK_BYTES", 3 * SMALL_BYTES)
        yield


@st.composite
def rows(draw: st.DrawFn) -> list[AnyEvent]:
    """Consecutive events, some of them merged, as a run emits them."""
    found: list[AnyEvent] = []
    length = seq = 0
    for text in draw(st.lists(TEXTS, min_size=1, max_size=6)):
        kind = draw(st.sampled_from([Text, Json, Replace, Log, Bytes]))
        event: AnyEvent
        if kind is Text:
            event, length = Text(length, text), length + len(text)
        elif kind is Bytes:
            event = Bytes(text.encode())
        else:
            event = kind(text)
        event.n = draw(st.integers(1, 3))
        event.at_ms, event.edge = draw(st.integers(1, 9)), draw(st.booleans())
        event.span = None if kind is Text else draw(SPANS)
        seq += event.n
        event.seq = seq
        found.append(event)
    return found


def copies(row: Sequence[AnyEvent]) -> list[AnyEvent]:
    return [msgspec.structs.replace(event) for event in row]


def pieces_in(row: Iterable[AnyEvent]) -> list[AnyEvent]:
    events = list(row)
    return list(cut([(event, len(encode_event(event, EPOCH))) for event in events]))


def put_together(row: Iterable[AnyEvent | Folded], pieces: Pieces | None = None) -> list[AnyEvent | Folded]:
    pieces = pieces or Pieces()
    return [whole for event in row if (whole := pieces.add(event)) is not None]


def meaning(row: Iterable[AnyEvent | Folded]) -> list[bytes]:
    """What events say, wherever they stand; a text by its characters."""
    said: list[bytes] = []
    for event in row:
        if isinstance(event, Text):
            said += [repr((event.pos + i, letter)).encode() for i, letter in enumerate(event.text)]
        else:
            said.append(ev.encode(msgspec.structs.replace(event, seq=0, n=1)))
    return said


def assert_unbroken(row: Sequence[AnyEvent | Folded], after: int = 0) -> None:
    for event in row:
        assert event.seq - event.n == after
        after = event.seq


def decoded(row: list[dict[str, Any]]) -> list[AnyEvent | Folded]:
    return [ev.decode_message(json.dumps(event)) for event in row]


@pytest.mark.parametrize("case", VECTORS["together"], ids=lambda case: case["name"])
def test_vectors(case: dict[str, Any]) -> None:
    assert put_together(decoded(case["events"])) == decoded(case["whole"])


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["name"])
def test_vectors_that_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises((ProtocolError, msgspec.DecodeError)):
        put_together(decoded(case["events"]))


@given(rows())
def test_what_is_cut_comes_together_again(row: list[AnyEvent]) -> None:
    whole = put_together(pieces_in(copies(row)))
    assert meaning(whole) == meaning(row)
    assert_unbroken(whole)


@given(rows())
def test_pieces_are_small_and_stand_in_an_unbroken_row(row: list[AnyEvent]) -> None:
    parts = pieces_in(copies(row))
    assert_unbroken(parts)
    for part in parts:
        if isinstance(part, Piece):
            assert len(part.data.encode()) <= SMALL_BYTES
        elif not isinstance(part, Bytes | Text):
            assert len(ev.encode(part)) <= SMALL_BYTES
    assert [part.edge for part in parts if part.edge] == [event.edge for event in row if event.edge]


@given(rows())
def test_a_piece_says_when_and_in_which_span_its_event_was_yielded(row: list[AnyEvent]) -> None:
    for event in row:
        for part in pieces_in(copies([event])):
            assert (part.at_ms, part.span) == (event.at_ms, event.span)


@given(rows())
def test_a_fold_of_the_pieces_put_together_is_that_of_the_events(row: list[AnyEvent]) -> None:
    one, other = Fold(), Fold()
    for event in row:
        one.apply(event)
    for whole in put_together(pieces_in(copies(row))):
        assert not isinstance(whole, Folded)
        other.apply(whole)
    assert (one.text, one.values, one.value, one.data) == (other.text, other.values, other.value, other.data)


@given(rows(), st.data())
def test_an_event_that_was_never_completed_is_passed_over_without_a_gap(
    row: list[AnyEvent], data: st.DataObject
) -> None:
    parts = pieces_in(copies(row))
    kept = data.draw(st.integers(0, len(parts)))
    tail = 0 if kept == 0 else parts[kept - 1].seq
    reset = Reset(0, "again", seq=tail + 1)
    whole = put_together([*parts[:kept], reset])
    assert_unbroken(whole)
    assert isinstance(whole[-1], Reset)
    assert whole[-1].seq == tail + 1
    assert not any(isinstance(event, Piece) for event in whole)


@given(rows())
def test_a_reading_that_begins_between_pieces_is_told_where_to_begin(row: list[AnyEvent]) -> None:
    parts = pieces_in(copies(row))
    for place, part in enumerate(parts):
        if not (isinstance(part, Piece) and part.part):
            continue
        with pytest.raises(Begun) as caught:
            Pieces().add(part)
        first = next(event for event in parts if event.seq == caught.value.after + 1)
        assert isinstance(first, Piece)
        assert (first.part, first.parts) == (0, part.parts)
        assert parts.index(first) + part.part == place


@given(rows())
def test_chunks_are_bounded_and_hold_all_pieces_in_order(row: list[AnyEvent]) -> None:
    chunks = encode_chunks(copies(row), EPOCH)
    parts = [event for chunk in chunks for event in events_in(chunk.data)]
    assert meaning(put_together(parts)) == meaning(row)
    after = 0
    for chunk in chunks:
        assert chunk.first_seq == after + 1
        after = chunk.last_seq
        assert len(chunk.data) <= 3 * SMALL_BYTES or len(list(events_in(chunk.data))) == 1
    assert after == parts[-1].seq
    assert not any(chunk.final for chunk in chunks)


@pytest.mark.parametrize("size", [1, SMALL_BYTES, 10 * SMALL_BYTES])
def test_only_the_last_chunk_of_an_end_is_final(size: int) -> None:
    chunks = encode_chunks([Json(1, seq=1), End("succeeded", "x" * size, seq=2)], EPOCH)
    assert [chunk.final for chunk in chunks] == [*[False] * (len(chunks) - 1), True]


@given(rows())
def test_a_large_fold_comes_in_pieces_of_which_the_last_has_the_cursor(row: list[AnyEvent]) -> None:
    fold = Folded(row, seq=row[-1].seq)
    frames = encode_fold(ev.encode(fold), fold.seq, EPOCH)
    assert [frame.startswith(b"id: ") for frame in frames] == [*[False] * (len(frames) - 1), True]
    pieces = Pieces()
    found = [pieces.add(ev.decode_message(frame.split(b"data: ", 1)[1])) for frame in frames]
    assert found == [*[None] * (len(frames) - 1), fold]


def test_a_fold_that_was_cut_off_leaves_nothing_behind() -> None:
    first, *_ = pieces_of(ev.encode(Folded([Json("x" * 500, seq=1)], seq=1)))
    pieces = Pieces()
    assert pieces.add(first) is None
    assert pieces.add(Json(1, seq=1)) == Json(1, seq=1)
    assert pieces.add(first) is None


def test_text_is_cut_into_texts_that_anybody_can_read() -> None:
    parts = pieces_in([Text(7, "é" * 150, seq=3, n=2, at_ms=5, span="s", edge=True)])
    assert all(isinstance(part, Text) for part in parts)
    assert [(part.pos, len(part.text)) for part in parts if isinstance(part, Text)] == [
        (7, 40), (47, 40), (87, 40), (127, 30),
    ]  # fmt: skip
    assert [(part.seq, part.n, part.edge) for part in parts] == [
        (3, 2, True), (4, 1, False), (5, 1, False), (6, 1, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([Piece(2, 2, "x", seq=1)], "Piece 2 of 2 can't be"),
        ([Piece(-1, 2, "x", seq=1)], "Piece -1 of 2 can't be"),
        ([Piece(0, 3, "x", seq=1), Piece(2, 3, "x", seq=2)], "Piece 2 came in the place of piece 1"),
    ],
)
def test_pieces_that_fit_nowhere_break_the_protocol(row: list[AnyEvent], says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        put_together(row)


def test_a_reader_holds_no_more_than_an_event_may_have() -> None:
    pieces = Pieces()
    part = "x" * (1 << 16)
    fit = MAX_WHOLE_BYTES // len(part)
    for place in range(fit):
        assert pieces.add(Piece(place, 1000, part, seq=place + 1)) is None
    with pytest.raises(ProtocolError, match="longer than"):
        pieces.add(Piece(fit, 1000, part, seq=fit + 1))


def test_pieces_of_what_is_no_event_are_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        put_together([Piece(0, 2, '{"type":', seq=1), Piece(1, 2, "}", seq=2)])


def test_a_character_is_never_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHOLE_BYTES", 10)
    texts = [piece.data for piece in pieces_of("a😀é😀😀bé".encode())]
    assert "".join(texts) == "a😀é😀😀bé"
    assert all(len(text.encode()) <= 10 for text in texts)


def test_sizes_fit_together() -> None:
    assert 4 * module.__dict__["TEXT_POINTS"] <= WHOLE_BYTES
    assert 2 * WHOLE_BYTES < CHUNK_BYTES
    assert ev.MAX_EVENT_BYTES < MAX_WHOLE_BYTES
