"""What is sent of stored chunks: as it is where nothing merges, merged where that pays, and counted either way."""

from penstock import events as ev
from penstock.events import AnyEvent, Json, Text
from penstock.hub import Frames, Merge, make_frames
from penstock.hub.frames import SAMPLED_FROM_BYTES
from penstock.models import Chunk
from penstock.protocol.coalesce import Fold
from penstock.protocol.sse import encode_chunk, events_in

EPOCH = "epoch00000"
CHUNKS, IN_EACH = 3, 400


def chunks_of(events: list[AnyEvent]) -> list[Chunk]:
    for seq, event in enumerate(events, start=1):
        event.seq, event.at_ms = seq, 1
    size = len(events) // CHUNKS
    return [encode_chunk(events[start : start + size], EPOCH) for start in range(0, len(events), size)]


def rows() -> list[AnyEvent]:
    return [Json({"row": "x" * 100}) for _ in range(CHUNKS * IN_EACH)]


def texts() -> list[AnyEvent]:
    return [Text(pos * 10, "0123456789") for pos in range(CHUNKS * IN_EACH)]


def text_of(frames: Frames) -> str:
    fold = Fold()
    for event in events_in(frames.data):
        fold.apply(event)
    return "".join(event.text for event in fold.events if isinstance(event, Text))


def test_what_never_merges_is_sent_without_a_copy() -> None:
    chunks = chunks_of(rows())
    for merge in Merge:
        frames = make_frames(chunks, 0, merge)
        assert frames.size_bytes > SAMPLED_FROM_BYTES
        assert all(part is chunk.data for part, chunk in zip(frames.parts, chunks, strict=True)), merge
        assert (frames.count, frames.events, frames.last_seq) == (CHUNKS * IN_EACH,) * 3


def test_a_reader_in_the_middle_of_a_chunk_is_sent_the_rest() -> None:
    chunks = chunks_of(rows())
    frames = make_frames(chunks, IN_EACH // 2, Merge.MANY)
    assert [event.seq for event in events_in(frames.data)] == list(
        range(IN_EACH // 2 + 1, CHUNKS * IN_EACH + 1)
    )
    assert frames.count == frames.events == CHUNKS * IN_EACH - IN_EACH // 2


def test_a_large_piece_of_text_is_merged() -> None:
    chunks = chunks_of(texts())
    assert sum(len(chunk.data) for chunk in chunks) > SAMPLED_FROM_BYTES
    for merge in (Merge.MANY, Merge.ALL):
        frames = make_frames(chunks, 0, merge)
        assert frames.count == len(list(events_in(frames.data))) < 10
        assert frames.events == CHUNKS * IN_EACH
        assert text_of(frames) == "0123456789" * (CHUNKS * IN_EACH)


def test_what_was_merged_before_it_was_stored_counts_as_merged() -> None:
    """With `rate=0` a reader is sent what is stored, in which neighbours may have been merged."""
    for of_how_many in (1, 4):
        events = texts()[::of_how_many]
        for place, event in enumerate(events, start=1):
            event.seq, event.at_ms, event.n = place * of_how_many, 1, of_how_many
        frames = make_frames([encode_chunk(events, EPOCH)], 0, Merge.NONE)
        assert (frames.count, frames.events) == (len(events), len(events) * of_how_many)


def test_frames_are_the_same_bytes_in_whatever_form() -> None:
    chunks = chunks_of(rows())
    plain = b"".join(chunk.data for chunk in chunks)
    for frames in (make_frames(chunks, 0, Merge.NONE), Frames(plain)):
        whole = b"%x\r\n%b\r\n" % (len(plain), plain)
        assert b"".join(frames.chunk_parts) == whole
        assert frames.chunked == whole
        assert frames.data == plain
        assert b"".join(frames.chunk_parts) == whole
    assert Frames(b"").chunk_parts == []
    assert Frames(b"").chunked == b""


def test_an_end_is_final_whatever_the_size() -> None:
    events = [*rows()[:-1], ev.End("succeeded", None, None)]
    assert make_frames(chunks_of(events), 0, Merge.MANY).final


def test_text_beside_a_large_value_is_merged() -> None:
    large = Json({"row": "x" * (SAMPLED_FROM_BYTES * 3 // 4)})
    for events in ([*texts()[:200], large], [large, *texts()[:200]]):
        for seq, event in enumerate(events, start=1):
            event.seq, event.at_ms = seq, 1
        frames = make_frames([encode_chunk(events, EPOCH)], 0, Merge.ALL)
        assert (frames.count, frames.events) == (2, 201)
