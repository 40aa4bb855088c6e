"""gzip put together of parts that readers at the same place share.

Source of the format: RFC 1952 (gzip) and RFC 1951 (deflate). A part is whole blocks that end on a byte, and looks
back at nothing but what was sent just before it, or not even at that; so a row of parts is one stream, and a
connection keeps no more than a checksum.
"""

import zlib

__all__ = ["COMPRESS_TO_BYTES", "HEADER", "SMALL_BYTES", "WINDOW_BYTES", "Checksum", "blocks"]

HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""No name, no time, no system."""

LAST_BLOCK = b"\x03\0"
"""An empty one, marked as the last."""

COMPRESS_FROM_BYTES = 64
"""Below it a part is stored as it is. An event of 130 bytes shrinks to 47 where the one before it is known, and to
116 where it is not."""

COMPRESS_TO_BYTES = 512 * 1024
"""Above it too: it would hold up all other readers for more than a few milliseconds. As much as is merged."""

SMALL_BYTES = 4 * 1024
"""A larger part looks back at nothing: it repeats itself enough, and more readers share it."""

WINDOW_BITS, SMALL_TABLES = 12, 5
WINDOW_BYTES = 1 << WINDOW_BITS
"""So far a small part looks back, in tables of zlib's that are made in 2 µs and not in 7."""

LEVEL = 3
"""Of what level 6 saves of a row of events it saves 98 %, in two thirds of the time (benchmarks)."""

STORED_BYTES = 0xFFFF
"""Most that one block holds as it is."""


def blocks(plain: bytes, before: bytes = b"") -> bytes:
    """Some bytes as a part: never more than 5 bytes longer for each 64 KiB.

    before: what is sent just before it, as it was before it was compressed; the end of that is enough.
    """
    if COMPRESS_FROM_BYTES <= len(plain) <= COMPRESS_TO_BYTES:
        packer = _packer(len(plain), before)
        packed = packer.compress(plain) + packer.flush(zlib.Z_SYNC_FLUSH)
        if len(packed) < len(plain):
            return packed
    starts = range(0, len(plain), STORED_BYTES)
    return b"".join([_stored(plain[start : start + STORED_BYTES]) for start in starts])


def _packer(size_bytes: int, before: bytes) -> "zlib._Compress":
    if size_bytes > SMALL_BYTES:
        return zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    small = LEVEL, zlib.DEFLATED, -WINDOW_BITS, SMALL_TABLES, zlib.Z_DEFAULT_STRATEGY
    return zlib.compressobj(*small, before[-WINDOW_BYTES:]) if before else zlib.compressobj(*small)


def _stored(plain: bytes) -> bytes:
    size = len(plain)
    return b"\0" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + plain


class Checksum:
    """What the end of one stream says of all of it."""

    __slots__ = ("_crc", "_size")

    def __init__(self) -> None:
        self._crc = 0
        self._size = 0

    def add(self, plain: bytes) -> None:
        """These bytes come next, as they are before they are compressed."""
        self._crc = zlib.crc32(plain, self._crc)
        self._size += len(plain)

    @property
    def end(self) -> bytes:
        """The stream's last bytes."""
        return LAST_BLOCK + self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
