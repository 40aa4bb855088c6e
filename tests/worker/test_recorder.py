"""What a recorder makes of what a run says: the same as if it had kept every event, in fewer."""

import asyncio
import time
from collections.abc import Iterable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.events import AnyEvent, Log, Piece, SpanEnd, Text
from penstock.models import Chunk, Claimed, Lease, RunRecord, RunState, Stream
from penstock.protocol.coalesce import MERGED_TEXT, Fold
from penstock.protocol.sse import events_in
from penstock.worker.outcome import Outcome
from penstock.worker.recorder import AT_ONCE, FLUSH_BYTES, Recorder
from penstock.worker.said import SAID_BYTES

RUN = RunRecord("r", "f", "g", RunState.RUNNING, 0)
CLAIMED = Claimed(RUN, Lease("r", "w", 1), Stream("r", "epoch678", 0, ended=False))

LARGE_BYTES = 50_000
"""Of a line that goes in two pieces."""

steps = st.one_of(
    st.tuples(st.just("say"), st.sampled_from([None, "s"]), st.text("aé", min_size=1, max_size=3)),
    st.tuples(st.just("say many"), st.none(), st.sampled_from(["x", "y"])),
    st.tuples(st.sampled_from(["log", "large log", "checkpoint", "take"]), st.none(), st.just("")),
)


async def recorded(done: Iterable[tuple[str, str | None, str]], rate: float) -> list[AnyEvent]:
    """The events of what was taken, all that was waiting at the end included."""
    recorder = Recorder(CLAIMED, rate, lambda *_: None)
    chunks: list[Chunk] = []
    lengths = dict.fromkeys([None, "s"], 0)
    for what, span, said in [*done, ("take", None, ""), ("take", None, "")]:
        text = said * (SAID_BYTES // 2) if what == "say many" else said
        if what.startswith("say"):
            recorder.say(lengths[span], text, span, len(text.encode()))
            lengths[span] += len(text)
        elif what == "log":
            recorder.emit(Log("l"))
        elif what == "large log":
            recorder.emit(Log("l" * LARGE_BYTES), LARGE_BYTES)
        elif what == "checkpoint":
            recorder.checkpoint(b"1")
        else:
            chunks += [item.chunk for item in recorder.take()]
    for before, after in pairwise(chunks):
        assert after.first_seq == before.last_seq + 1
    return [event for chunk in chunks for event in events_in(chunk.data)]


def folded(events: list[AnyEvent]) -> Fold:
    fold = Fold()
    for event in events:
        fold.apply(event)
    return fold


@given(st.lists(steps, max_size=30))
def test_what_is_said_is_the_same_merged_or_not(done: list[tuple[str, str | None, str]]) -> None:
    merged, each = asyncio.run(recorded(done, 20)), asyncio.run(recorded(done, 0))
    assert [event.n for event in each] == [1] * len(each)
    seq = 0
    for event in merged:
        assert event.seq - event.n == seq, "it stands for those after the last one"
        seq = event.seq
        assert not isinstance(event, Text) or len(event.text) <= 2 * MERGED_TEXT
    assert seq == len(each)
    for span in (None, "s"):
        assert folded(merged).text_of(span) == folded(each).text_of(span)
    edges = {event.seq for event in each if event.edge}
    assert {event.seq - event.n + 1 for event in merged if event.edge} == edges
    assert not edges & {seq for event in merged for seq in range(event.seq - event.n + 2, event.seq + 1)}


async def test_what_comes_after_large_events_stands_after_their_pieces() -> None:
    recorder = Recorder(CLAIMED, 20, lambda *_: None)
    recorder.emit(Log("l" * LARGE_BYTES), LARGE_BYTES)
    recorder.checkpoint(b"1")
    recorder.emit(Log("after"))
    (item,) = recorder.take()
    assert (item.chunk.last_seq, item.checkpoint) == (2, b"1")
    recorder.say(0, "a", None, 1)
    recorder.end(Outcome(RunState.SUCCEEDED, "r" * 5 * LARGE_BYTES))
    *before, last = recorder.take()
    assert last.chunk.first_seq == (before[-1].chunk.last_seq if before else 2) + 1
    assert not last.chunk.final, "that is for a commit in which nothing is missing before it"
    (end,) = recorder.take()
    assert end.chunk.final
    assert end.chunk.first_seq == last.chunk.last_seq + 1
    assert recorder.take() == []
    log, text, *pieces = [event for item in (*before, last, end) for event in events_in(item.chunk.data)]
    assert [log.seq, log.edge, text.seq, pieces[0].seq] == [3, True, 4, 5]
    assert [piece.part for piece in pieces if isinstance(piece, Piece)] == list(range(len(pieces)))


@pytest.mark.parametrize("text", ["", "x"])
async def test_who_says_next_to_nothing_has_to_wait_too(text: str) -> None:
    recorder = Recorder(CLAIMED, 20, lambda *_: None)
    for _ in range(FLUSH_BYTES):
        recorder.say(0, text, None, len(text))
        if recorder.full:
            return
    raise AssertionError("it was never full")


async def test_tokens_between_two_chunks_are_one_event() -> None:
    recorder = Recorder(CLAIMED, 20, lambda *_: None)
    before_ms = time.time_ns() // 1_000_000
    for place, text in enumerate("abc"):
        recorder.say(place, text, None, 1)
    (item,) = recorder.take()
    (event,) = events_in(item.chunk.data)
    assert (event.at_ms - before_ms) in range(-1, 1000)
    assert event == msgspec.structs.replace(Text(0, "abc", seq=3, n=3), at_ms=event.at_ms)


async def test_what_is_urgent_goes_at_once_though_a_chunk_is_planned() -> None:
    """Whoever plans may do it later than asked; what is urgent must not wait for that."""
    planned: list[float] = []
    recorder = Recorder(CLAIMED, 20, lambda _, due: planned.append(due))
    recorder.say(0, "a", None, 1)
    recorder.take()
    recorder.say(1, "b", None, 1)
    recorder.say(2, "c", None, 1)
    assert planned[0] <= time.monotonic() < planned[1] + 0.05
    assert len(planned) == 2, "the third comes with the second"
    recorder.emit(SpanEnd(span="s"), urgent=True)
    recorder.emit(SpanEnd(span="t"), urgent=True)
    assert AT_ONCE < planned[2] <= time.monotonic()
    assert len(planned) == 3
