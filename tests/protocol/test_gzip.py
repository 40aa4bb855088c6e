"""gzip of parts: what any reader of gzip makes of it."""

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.gzip import HEADER, Checksum, blocks

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


@given(TEXTS)
def test_nothing_grows_by_much(text: bytes) -> None:
    assert len(blocks(text)) <= len(text) + 5 * (len(text) // 0xFFFF + 1)


def test_a_row_of_events_shrinks() -> None:
    frames = b"".join(b'id: abcdefgh-%d\ndata: {"type":"text","seq":%d}\n\n' % (n, n) for n in range(100))
    assert len(blocks(frames)) < len(frames) / 4
