"""Frames: whatever is written is read again, however the bytes are cut on the way."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import events
from penstock.errors import ProtocolError
from penstock.events import AnyEvent, Bytes, End, Json, Log, Progress, Replace, Reset, Text
from penstock.models import Chunk
from penstock.protocol import sse
from penstock.protocol.sse import (
    Decoder,
    Message,
    draining,
    encode_chunk,
    encode_event,
    events_in,
    frames_after,
    status,
)  # fmt: skip

EPOCH = "abcd1234"
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sse.json").read_text(encoding="utf-8"))[
    "cases"
]

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["\n\n", "\r\ndata: x", "id: 1"]
)
BODIES: st.SearchStrategy[AnyEvent] = st.one_of(
    st.builds(Text, st.integers(0, 9), WORDS),
    st.builds(Json, st.dictionaries(WORDS, WORDS | st.none() | st.integers(0, 9), max_size=3)),
    st.builds(Replace, st.lists(WORDS, max_size=3)),
    st.builds(Bytes, st.binary(max_size=20)),
    st.builds(Progress, st.floats(0, 1e9)),
    st.builds(Log, WORDS),
    st.builds(Reset, st.just(0), WORDS),
)
# Pieces that are likely to be cut in an interesting place, and anything at all.
PIECES = st.sampled_from(
    [
        b"\n",
        b"\r",
        b"\r\n",
        b"data: ",
        b"data",
        b"id: x",
        b"event: e",
        b"retry: 5",
        b":",
        b"\0",
        "€\ufeff".encode(),
    ]
) | st.binary(max_size=8)
STREAMS = st.lists(PIECES, max_size=30).map(b"".join)


@st.composite
def rows(draw: st.DrawFn) -> list[AnyEvent]:
    """Consecutive events, some of which stand for several."""
    seq = draw(st.integers(0, 1000))
    row = draw(st.lists(BODIES, min_size=1, max_size=8))
    for event in row:
        event.n = draw(st.integers(1, 4))
        seq += event.n
        event.seq, event.at_ms = seq, draw(st.integers(0, 2**42))
    return row


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def read(chunks: list[bytes]) -> tuple[list[Message], str, int | None]:
    decoder = Decoder()
    messages = [message for chunk in chunks for message in decoder.feed(chunk)]
    return messages, decoder.last_id, decoder.retry_ms


def chunk_bytes(chunk: Any) -> bytes:
    return chunk.encode() if isinstance(chunk, str) else bytes.fromhex(chunk["hex"])


# --- Reading ---


@pytest.mark.parametrize("case", VECTORS, ids=[case["name"] for case in VECTORS])
def test_vectors(case: dict[str, Any]) -> None:
    chunks = [chunk_bytes(chunk) for chunk in case["chunks"]]
    for cutting in (chunks, [b"".join(chunks)], [bytes([byte]) for byte in b"".join(chunks)]):
        messages, last_id, retry_ms = read(cutting)
        assert [{"event": m.event, "data": m.data, "id": m.id} for m in messages] == case["messages"]
        assert last_id == case.get("last_id", last_id)
        assert retry_ms == case.get("retry_ms", retry_ms)


@given(STREAMS, st.lists(st.integers(0, 10_000), max_size=20))
def test_any_cutting_reads_the_same(data: bytes, places: list[int]) -> None:
    whole = read([data])
    assert read(cut(data, places)) == whole
    assert read([bytes([byte]) for byte in data]) == whole


@given(STREAMS)
def test_line_ends_are_all_alike(data: bytes) -> None:
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert read([lines.replace(b"\n", b"\r\n")]) == read([lines]) == read([lines.replace(b"\n", b"\r")])


def test_a_message_says_whether_the_id_is_its_own() -> None:
    decoder = Decoder()
    one, other = decoder.feed(b"id: a\ndata: 1\n\ndata: 2\n\n")
    assert (one.own_id, other.own_id) == (True, False)
    assert other.id == "a"


@pytest.mark.parametrize("line", [b"data: ", b"", b"id: ", b": "])
def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    monkeypatch.setattr(sse, "MAX_LINE_BYTES", 100)
    decoder = Decoder()
    decoder.feed(line + b"x" * (100 - len(line)))
    with pytest.raises(ProtocolError, match="longer than 100 bytes"):
        decoder.feed(b"x")


def test_a_message_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_LINE_BYTES", 100)
    decoder = Decoder()
    for _ in range(10):
        decoder.feed(b"data: 0123456789\n")
    with pytest.raises(ProtocolError):
        decoder.feed(b"data: 0\n")


def test_what_is_delivered_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_LINE_BYTES", 20)
    decoder = Decoder()
    frame = b"event: e\n: comment\ndata: 012345\ndata: 6789\n\n"
    assert len(decoder.feed(frame * 20)) == 20
    assert sum(len(decoder.feed(bytes([byte]))) for byte in frame * 20) == 20


# --- Writing and reading again ---


@given(rows(), st.lists(st.integers(0, 10_000), max_size=10))
def test_every_event_comes_back_whole(row: list[AnyEvent], places: list[int]) -> None:
    chunk = encode_chunk(row, EPOCH)
    messages, last_id, _ = read(cut(chunk.data, places))
    assert [events.decode(message.data) for message in messages] == row
    assert [message.id for message in messages] == [f"{EPOCH}-{event.seq}" for event in row]
    assert last_id == f"{EPOCH}-{chunk.last_seq}"
    assert list(events_in(chunk.data)) == row


@given(rows())
def test_a_chunk_knows_its_ends(row: list[AnyEvent]) -> None:
    chunk = encode_chunk(row, EPOCH)
    assert chunk.last_seq - chunk.first_seq + 1 == sum(event.n for event in row)
    assert not chunk.final


def test_a_chunk_that_ends_the_stream_says_so() -> None:
    assert encode_chunk([Text(0, "a", seq=1), End("succeeded", seq=2)], EPOCH).final


@given(rows(), st.data())
def test_frames_after_gives_what_is_past_and_splits_nothing(row: list[AnyEvent], data: st.DataObject) -> None:
    chunk = encode_chunk(row, EPOCH)
    after = data.draw(st.integers(max(0, chunk.first_seq - 2), chunk.last_seq + 2))
    frames = frames_after(chunk, EPOCH, after)
    assert list(events_in(frames)) == [event for event in row if event.seq > after]
    assert chunk.data.endswith(frames)


def test_frames_after_copies_nothing_where_all_is_new() -> None:
    chunk = encode_chunk([Text(0, "a", seq=5)], EPOCH)
    assert frames_after(chunk, EPOCH, 4) is chunk.data
    assert frames_after(Chunk(5, 4, b""), EPOCH, 5) == b""


def test_the_bytes_of_a_frame() -> None:
    event = Text(0, "a", seq=5, at_ms=9)
    line = b'{"type":"text","pos":0,"text":"a","seq":5,"at_ms":9}'
    assert encode_event(event, EPOCH) == b"id: abcd1234-5\ndata: " + line + b"\n\n"


def test_a_reset_about_a_cursor_moves_no_cursor() -> None:
    frame = encode_event(Reset(0, "wiped"), EPOCH)
    assert frame == b'data: {"type":"reset","to":0,"reason":"wiped"}\n\n'
    assert list(events_in(frame)) == [Reset(0, "wiped")]
    (message,) = Decoder().feed(frame)
    assert not message.own_id


def test_status_has_a_name_and_no_id() -> None:
    frame = status("status", {"state": "queued", "position": 3, "eta_s": None})
    assert frame == b'event: status\ndata: {"state":"queued","position":3,"eta_s":null}\n\n'


def test_draining_sets_the_retry() -> None:
    messages, _, retry_ms = read([draining(1500)])
    assert retry_ms == 1500
    assert [(m.event, m.data, m.own_id) for m in messages] == [("draining", '{"retry_ms":1500}', False)]


def test_heartbeats_are_no_messages() -> None:
    assert read([sse.first_bytes(15.0), sse.HEARTBEAT]) == ([], "", None)


@pytest.mark.parametrize(("heartbeat_s", "text"), [(15.0, b"15"), (0.25, b"0.25"), (3600, b"3600")])
def test_the_first_comment_says_how_often_one_comes(heartbeat_s: float, text: bytes) -> None:
    assert sse.first_bytes(heartbeat_s) == b": heartbeat " + text + b"\n\n"
