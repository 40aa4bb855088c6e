"""Merging and folding: however events are merged, cut, delayed or repeated, they lead to the same state."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from penstock.errors import ProtocolError
from penstock.events import (
    AnyEvent,
    Bytes,
    End,
    Json,
    Log,
    Progress,
    Replace,
    Reset,
    SpanEnd,
    SpanStart,
    Text,
)
from penstock.protocol import coalesce as module
from penstock.protocol.coalesce import Fold, coalesce
from penstock.protocol.delta import apply

SPANS = st.sampled_from([None, "a", "b"])
MERGING = Text | Progress | Replace
WORDS = st.text("aé😀\n", max_size=4)


class History:
    """Writes a valid stream the way a worker does, and knows where a reset may go back to."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.lengths: dict[str | None, int] = {}
        self.values: dict[str | None, str] = {}  # that a delta may follow
        # Ends of what can't merge, each with the lengths of all texts there: no merge crosses them.
        self.boundaries: list[tuple[int, dict[str | None, int]]] = [(0, {})]

    def add(self, event: AnyEvent) -> None:
        event.seq = event.at_ms = len(self.events) + 1
        self.events.append(event)
        if not isinstance(event, MERGING):
            self.boundaries.append((event.seq, dict(self.lengths)))

    def text(self, text: str, span: str | None) -> None:
        pos = self.lengths.get(span, 0)
        self.lengths[span] = pos + len(text)
        self.add(Text(pos, text, span=span))

    def replace(self, value: int, span: str | None) -> None:
        self.values.pop(span, None)
        self.add(Replace(value, span=span))

    def grow(self, text: str, span: str | None) -> None:
        """A cumulative text: the first is a key frame, the next ones say what was added."""
        if span in self.values:
            self.add(Replace(delta=[["append", [], text]] if text else [], span=span))
        else:
            self.add(Replace(text, span=span))
        self.values[span] = self.values.get(span, "") + text

    def reset(self, which: int) -> None:
        place = which % len(self.boundaries)
        to, lengths = self.boundaries[place]
        del self.boundaries[place + 1 :]
        self.lengths = dict(lengths)
        self.values = {}
        self.add(Reset(to))


EDGES: dict[str, Callable[[int, str | None], AnyEvent]] = {
    "json": lambda value, span: Json(value, span=span),
    "bytes": lambda value, span: Bytes(bytes([value]), span=span),
    "log": lambda value, _: Log(str(value)),
    "span-start": lambda value, span: SpanStart(str(value), span=span),
    "span-end": lambda _, span: SpanEnd(span=span),
}
RUNS = ["text", "text", "progress", "replace", "grown", "grown"]
STEPS = st.tuples(
    st.sampled_from(RUNS * 2 + ["reset", "reset", *EDGES]),
    st.lists(st.integers(0, 9), min_size=1, max_size=4),
    SPANS,
    WORDS,
)


def write(history: History, kind: str, values: list[int], span: str | None, word: str) -> None:
    """One step: a few events of a kind that merges, or one of another."""
    if kind == "reset":
        history.reset(values[0])
    elif kind in EDGES:
        history.add(EDGES[kind](values[0], span))
    else:
        for value in values:
            if kind == "text":
                history.text(word[: value % 5], span)
            elif kind == "grown":
                history.grow(word[: value % 5], span)
            elif kind == "replace":
                history.replace(value, span)
            else:
                history.add(Progress(float(value), span=span))


@st.composite
def histories(draw: st.DrawFn, max_size: int = 15) -> list[AnyEvent]:
    history = History()
    for step in draw(st.lists(STEPS, max_size=max_size)):
        write(history, *step)
    if draw(st.booleans()):
        history.add(End("succeeded", draw(st.integers(0, 9))))
    return history.events


def fold(row: Sequence[AnyEvent]) -> Fold:
    made = Fold()
    for event in row:
        made.apply(event)
    return made


def state(made: Fold) -> dict[str, Any]:
    """All that a reader can see of a fold."""
    texts = {span: made.text_of(span) for span in (None, "a", "b")}
    return {
        "seq": made.seq, "text": made.text, "texts": texts, "values": made.values, "data": made.data,
        "value": made.value, "values_of": {span: made.value_of(span) for span in (None, "a", "b")},
        "progress": made.progress and made.progress.done, "end": made.end,
    }  # fmt: skip


def is_gap_free(row: Sequence[AnyEvent], first: int = 1) -> bool:
    """Whether each event begins where the one before it ended."""
    firsts = [event.seq - event.n + 1 for event in row]
    return firsts == [first, *(event.seq + 1 for event in row)][: len(row)]


def merged_in_batches(row: list[AnyEvent], sizes: list[int]) -> list[AnyEvent]:
    """As a writer's appends would merge them."""
    out: list[AnyEvent] = []
    for size in sizes:
        out += coalesce(row[:size])
        row = row[size:]
    return out + coalesce(row)


SIZES = st.lists(st.integers(1, 8), max_size=20)


# --- Merging ---


@given(histories())
def test_a_merge_leads_to_the_same_state(row: list[AnyEvent]) -> None:
    merged = coalesce(row)
    assert state(fold(merged)) == state(fold(row))
    assert fold(merged).events == fold(row).events


@given(histories(), SIZES, SIZES)
def test_merging_what_was_merged_leads_to_the_same_state(
    row: list[AnyEvent], sizes: list[int], more: list[int]
) -> None:
    once = merged_in_batches(row, sizes)
    assert state(fold(merged_in_batches(once, more))) == state(fold(row))
    assert coalesce(once) == coalesce(row)


@given(histories(), SIZES)
def test_a_merge_leaves_no_gap_and_counts_all(row: list[AnyEvent], sizes: list[int]) -> None:
    merged = merged_in_batches(row, sizes)
    assert is_gap_free(merged)
    assert sum(event.n for event in merged) == len(row)


@given(histories())
def test_no_merge_crosses_an_edge(row: list[AnyEvent]) -> None:
    edges = [event for event in row if not isinstance(event, MERGING)]
    merged = coalesce(row)
    assert [event for event in merged if not isinstance(event, MERGING)] == edges
    for event in merged:
        replaced = row[event.seq - event.n : event.seq]
        assert {(type(one), one.span) for one in replaced} == {(type(event), event.span)}


@given(histories())
def test_merging_changes_none_of_its_input(row: list[AnyEvent]) -> None:
    before = [msgspec.structs.replace(event) for event in row]
    coalesce(row)
    assert row == before


def test_text_of_one_span_is_one_event() -> None:
    row = [Text(i, c, seq=i + 1, at_ms=i, span="a") for i, c in enumerate("hello")]
    assert coalesce(row) == [Text(0, "hello", seq=5, at_ms=4, span="a", n=5)]


def test_the_latest_progress_and_replace_win() -> None:
    row: list[AnyEvent] = [
        Progress(1, 9, "rows", seq=1),
        Progress(2, 9, "rows", seq=2),
        Replace("x", seq=3),
        Replace("y", seq=4),
    ]
    assert coalesce(row) == [Progress(2, 9, "rows", seq=2, n=2), Replace("y", seq=4, n=2)]


@pytest.mark.parametrize(
    "row",
    [
        [Text(0, "a", seq=1), Text(0, "b", seq=2, span="s")],  # another span
        [Text(0, "a", seq=1), Text(1, "b", seq=3)],  # an event between them
        [Text(0, "a", seq=1), Text(2, "b", seq=2)],  # text between them
        [Json(1, seq=1), Json(2, seq=2)],
        [Log("a", seq=1), Log("a", seq=2)],
        [Bytes(b"a", seq=1), Bytes(b"b", seq=2)],
    ],
)
def test_what_does_not_merge(row: list[AnyEvent]) -> None:
    assert coalesce(row) == row


@given(histories(), st.integers(1, 9), SIZES)
def test_long_texts_travel_in_pieces(row: list[AnyEvent], limit: int, sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MERGED_TEXT", limit)
        merged = merged_in_batches(row, sizes)
        assert state(fold(merged)) == state(fold(row))
        longest = max((len(event.text) for event in row if isinstance(event, Text)), default=0)
        assert all(
            len(event.text) < limit + longest for event in merged if isinstance(event, Text) and event.n > 1
        )


# --- Folding ---


@given(histories(), st.integers(0, 40), st.integers(0, 40), SIZES)
def test_applying_again_changes_nothing(row: list[AnyEvent], start: int, stop: int, sizes: list[int]) -> None:
    made = fold(row)
    before, events = state(made), made.events
    for event in [*row[start:stop], *merged_in_batches(row, sizes), *row]:
        made.apply(event)
    assert state(made) == before
    assert made.events == events


@given(histories(), SIZES, st.integers(0, 40))
def test_a_replay_that_overlaps_by_a_part_of_a_merge(
    row: list[AnyEvent], sizes: list[int], seen: int
) -> None:
    made = fold(row[: seen % (len(row) + 1)])
    for event in merged_in_batches(row, sizes):
        made.apply(event)
    assert state(made) == state(fold(row))
    assert made.events == fold(row).events


@given(histories())
def test_the_events_of_a_fold_lead_to_its_state(row: list[AnyEvent]) -> None:
    made = fold(row)
    again = fold(made.events)
    assert again.events == made.events
    assert state(again) | {"seq": made.seq} == state(made)


@given(histories(), st.integers(1, 4))
def test_compacting_on_the_way_changes_nothing(row: list[AnyEvent], often: int) -> None:
    made = Fold()
    for event in row:
        made._compact_at = often
        made.apply(event)
    assert state(made) == state(fold(row))
    assert made.events == fold(row).events


@given(histories(max_size=6), histories(max_size=6))
def test_a_reset_about_the_cursor_starts_anew(lost: list[AnyEvent], row: list[AnyEvent]) -> None:
    assert state(fold([*lost, Reset(0, "wiped"), *row])) == state(fold(row))


def latest(row: Sequence[Replace], span: str | None) -> Any:
    value = None
    for event in row:
        if event.span == span:
            value = event.value if event.delta is UNSET else apply(value, event.delta)
    return value


@given(histories())
def test_a_fold_is_what_came_and_was_not_withdrawn(row: list[AnyEvent]) -> None:
    alive: list[AnyEvent] = []
    for event in row:
        alive = [one for one in alive if one.seq <= event.to] if isinstance(event, Reset) else [*alive, event]
    made = fold(row)
    assert made.seq == len(row)
    assert made.text == "".join(event.text for event in alive if isinstance(event, Text))
    assert made.values == [event.value for event in alive if isinstance(event, Json)]
    assert made.data == b"".join(event.data for event in alive if isinstance(event, Bytes))
    replaced = [event for event in alive if isinstance(event, Replace)]
    assert made.value == (latest(replaced, replaced[-1].span) if replaced else None)
    assert all(made.value_of(span) == latest(replaced, span) for span in (None, "a", "b"))
    assert made.progress == next((e for e in reversed(alive) if isinstance(e, Progress)), None)
    assert made.end == next((e for e in alive if isinstance(e, End)), None)


def test_a_long_answer_is_kept_merged() -> None:
    made = fold([Text(i, "x", seq=i + 1) for i in range(10_000)])
    assert len(made._events) <= 64
    assert made.text == "x" * 10_000


def test_what_can_not_merge_is_not_merged_again_and_again() -> None:
    made = fold([Json(i, seq=i + 1) for i in range(200)])
    assert made.values == list(range(200))
    assert made._compact_at > 200


def test_text_that_begins_beyond_what_came_is_refused() -> None:
    made = fold([Text(0, "abc", seq=1)])
    with pytest.raises(ProtocolError, match="begins at 4, but only 3"):
        made.apply(Text(4, "x", seq=2))


def test_a_reset_keeps_the_event_it_goes_back_to() -> None:
    made = fold([Json("kept", seq=1), Json("gone", seq=2), Reset(1, seq=3), Text(0, "x", seq=4)])
    assert made.events == [Json("kept", seq=1), Text(0, "x", seq=4)]


def test_what_a_merge_repeats_is_not_counted_twice() -> None:
    made = fold([Progress(1, seq=1), Progress(2, seq=2), Progress(3, seq=3, n=2)])
    assert made.events == [Progress(3, seq=3, n=3)]


def test_an_empty_fold() -> None:
    made = Fold()
    assert (made.seq, made.text, made.value, made.progress, made.end, made.events) == (
        0,
        "",
        None,
        None,
        None,
        [],
    )
