"""gzip of parts: what any reader of gzip makes of it."""

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.gzip import HEADER, WINDOW_BYTES, Checksum, blocks

TEXTS = st.one_of(
    st.binary(max_size=2000),
    st.builds(bytes.__mul__, st.binary(max_size=40), st.integers(0, 5000)),
    st.builds(bytes.__mul__, st.just(b'data: {"type":"text"}\n\n'), st.integers(0, 20_000)),
)


@given(st.lists(TEXTS, max_size=6))
def test_a_row_of_parts_is_one_stream(texts: list[bytes]) -> None:
    checksum, stream = Checksum(), HEADER
    for text in texts:
        checksum.add(text)
        stream += blocks(text)
    assert gzip.decompress(stream + checksum.end) == b"".join(texts)


@given(st.lists(TEXTS, max_size=6))
def test_each_part_can_be_read_as_soon_as_it_is_there(texts: list[bytes]) -> None:
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert reader.decompress(HEADER) == b""
    for text in texts:
        assert reader.decompress(blocks(text)) == text


@given(st.lists(TEXTS, max_size=8), st.data())
def test_parts_may_look_back_at_what_was_sent_just_before(texts: list[bytes], data: st.DataObject) -> None:
    reader, sent = zlib.decompressobj(zlib.MAX_WBITS | 16), b""
    assert reader.decompress(HEADER) == b""
    for text in texts:
        before = sent[-data.draw(st.integers(1, 2 * WINDOW_BYTES)) :] if data.draw(st.booleans()) else b""
        assert reader.decompress(blocks(text, before)) == text
        sent += text


def test_an_event_shrinks_by_what_the_one_before_it_has_said() -> None:
    before, event = (
        b'id: k3j9x0q2ab-%d\ndata: {"type":"text","pos":%d,"text":"pipe ","seq":%d}\n\n' % (n, 5 * n, n)
        for n in (41, 42)
    )
    assert len(blocks(event, before)) < len(event) / 2


@given(TEXTS)
def test_nothing_grows_by_much(text: bytes) -> None:
    assert len(blocks(text)) <= len(text) + 5 * (len(text) // 0xFFFF + 1)


def test_a_row_of_events_shrinks() -> None:
    frames = b"".join(b'id: abcdefgh-%d\ndata: {"type":"text","seq":%d}\n\n' % (n, n) for n in range(100))
    assert len(blocks(frames)) < len(frames) / 4
