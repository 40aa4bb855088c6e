"""Which coding a reader gets: RFC 9110, section 12.5.3."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protocol.coding import choose_coding

OURS = ("gzip", "zstd")


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (None, None),
        ("", None),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("zstd, deflate", "zstd"),
        ("gzip;q=0.8, zstd", "zstd"),
        ("gzip;q=0, zstd;q=0.1", "zstd"),
        ("gzip, deflate", "gzip"),
        ("deflate, br", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("zstd;q=0, gzip", "gzip"),
        ("gzip;q=0.5", "gzip"),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0.5, identity;q=0", "gzip"),
        ("gzip ; q=1.000", "gzip"),
        ("*", "gzip"),
        ("zstd, *;q=0.5", "zstd"),
        ("zstd, *", "gzip"),
        ("*;q=0", None),
        ("zstd;q=0, *", "gzip"),
        ("gzip;q=2", None),
        ("gzip;q=", None),
        ("gzip;level=3", None),
    ],
)
def test_the_one_of_ours_that_is_liked_best(accepted: str | None, chosen: str | None) -> None:
    assert choose_coding(accepted, OURS) == chosen


@given(st.text(max_size=60))
def test_nothing_that_is_sent_is_an_error(accepted: str) -> None:
    assert choose_coding(accepted, OURS) in (None, *OURS)
