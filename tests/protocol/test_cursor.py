"""Cursors, and readers that neither skip nor repeat, in whatever order things arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import BadCursor, ProtocolError
from penstock.models import Cursor, Stream
from penstock.protocol.cursor import Position, Start, join_cursors, parse_cursor, parse_cursors, start_reading

EPOCHS = st.text("abcXYZ0189", min_size=8, max_size=32)
STREAM = Stream("r1", "abcd1234", tail=10, ended=False)

Span = tuple[int, int]


@given(EPOCHS, st.integers(0, 10**18 - 1))
def test_text_and_back(epoch: str, seq: int) -> None:
    cursor = Cursor(epoch, seq)
    assert parse_cursor(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text",
    [
        "", "-", "abcd1234", "abcd1234-", "-5", "abcd123-5", "a" * 33 + "-5", "abcd1234-05", "abcd1234--5",
        "abcd1234-1.0", "abcd1234-5\n", " abcd1234-5", "abcd_234-5", "äbcd1234-5", "abcd1234-\u0665",
        "abcd1234-0x5", "abcd1234-" + "9" * 19, "abcd1234-5,abcd1234-6",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadCursor) as caught:
        parse_cursor(text)
    assert caught.value.field == "after"


def test_a_long_one_is_not_repeated_in_full() -> None:
    with pytest.raises(BadCursor) as caught:
        parse_cursor("x" * 100_000)
    assert len(str(caught.value)) < 100


@given(st.text())
def test_a_cursor_is_what_its_own_text_says_or_refused(text: str) -> None:
    try:
        cursor = parse_cursor(text)
    except BadCursor:
        return
    assert str(cursor) == text


@pytest.mark.parametrize(
    ("cursor", "start"),
    [
        (None, Start(0)),
        (Cursor("abcd1234", 0), Start(0)),
        (Cursor("abcd1234", 4), Start(4)),
        (Cursor("abcd1234", 10), Start(10)),
        (Cursor("abcd1234", 11), Start(0, "the cursor is ahead of the stored stream")),
        (Cursor("wxyz9876", 4), Start(0, "the cursor belongs to another stream")),
    ],
)
def test_where_a_reader_starts(cursor: Cursor | None, start: Start) -> None:
    assert start_reading(cursor, STREAM) == start


@given(st.none() | st.builds(Cursor, EPOCHS | st.just("abcd1234"), st.integers(0, 20)), st.integers(0, 15))
def test_a_reader_never_starts_elsewhere_in_silence(cursor: Cursor | None, tail: int) -> None:
    start = start_reading(cursor, Stream("r1", "abcd1234", tail, ended=True))
    assert start.after <= tail
    if cursor is not None and Cursor("abcd1234", start.after) != cursor:
        assert start.reset


# --- Position: a model of readers that fetch overlapping, merged and late pieces of one stream ---


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[int, list[Span]]:
    """A stream's length, and spans (seq, n) of it in any order: retries, overlaps, merges, gaps."""
    tail = draw(st.integers(1, 30))
    ends = st.integers(1, tail)
    span = ends.flatmap(lambda seq: st.tuples(st.just(seq), st.integers(1, seq)))
    return tail, draw(st.lists(span, max_size=60))


def take(position: Position, span: Span) -> range | None:
    """The events that are newly seen, none if nothing is, or None for a gap."""
    before = position.seq
    try:
        return range(before + 1, span[0] + 1) if position.accept(*span) else range(0)
    except ProtocolError:
        assert position.seq == before, "a refusal moves nothing"
        return None


@given(deliveries())
def test_a_position_never_skips_or_repeats(given_: tuple[int, list[Span]]) -> None:
    _, spans = given_
    position = Position()
    seen: list[int] = []
    for seq, n in spans:
        new = take(position, (seq, n))
        if new is None:
            assert seq - n > len(seen), "only a gap is refused"
        else:
            seen += new
        assert seen == list(range(1, position.seq + 1))


@given(deliveries(), st.integers(1, 5))
def test_a_reader_that_reconnects_at_each_gap_gets_everything(given_: tuple[int, list[Span]], n: int) -> None:
    tail, spans = given_
    position = Position()
    for span in spans:
        take(position, span)
    for seq in range(position.seq + 1, tail + 1):  # the server replays from the cursor, merged as it likes
        assert position.accept(seq, min(n, seq))
    assert position.seq == tail


def test_what_is_missing_is_named() -> None:
    position = Position(3)
    with pytest.raises(ProtocolError, match="Events 4 to 6 are missing"):
        position.accept(9, 3)


def test_a_merge_over_what_was_seen_is_new() -> None:
    position = Position(3)
    assert position.accept(5, 4)
    assert not position.accept(5, 1)
    assert position.seq == 5


@given(st.lists(st.tuples(EPOCHS, st.integers(0, 10**18 - 1)), min_size=1, max_size=10))
def test_cursors_of_several_streams_and_back(pairs: list[tuple[str, int]]) -> None:
    cursors = [Cursor(epoch, seq) for epoch, seq in pairs]
    text = join_cursors(map(str, cursors))
    assert parse_cursors(text, len(cursors)) == cursors
    for count in (len(cursors) - 1, len(cursors) + 1):
        with pytest.raises(BadCursor):
            parse_cursors(text, count)
