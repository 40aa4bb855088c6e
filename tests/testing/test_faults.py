"""The fault filters alone: bytes in, bytes out."""

from random import Random

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.testing import Answer, Cut, End, NoUpgrade, Swallow
from penstock.testing.faults import Fault

HEAD = b"HTTP/1.1 200 Very Good\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
PLAIN = b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nabc"
PLACES = st.lists(st.integers(0, 10_000), max_size=20)


class Seen:
    """A client: what bodies it was given, and whether each was complete."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.complete = 0

    def on_message_begin(self) -> None:
        self.bodies.append(b"")

    def on_body(self, part: bytes) -> None:
        self.bodies[-1] += part

    def on_message_complete(self) -> None:
        self.complete += 1


def chunked(parts: list[bytes]) -> bytes:
    return HEAD + b"".join(b"%X\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[edges[i] : edges[i + 1]] for i in range(len(edges) - 1)]


def through(fault: Fault, pieces: list[bytes]) -> tuple[bytes, bool]:
    chosen, out = fault.filter(Random(0)), b""
    for piece in pieces:
        out += chosen.feed(piece)
        if chosen.over:
            break
    return out, chosen.over


def receive(data: bytes) -> Seen:
    seen = Seen()
    httptools.HttpResponseParser(seen).feed_data(data)
    return seen


PARTS = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=8)


@given(PARTS, st.integers(0, 300), PLACES)
def test_an_end_is_a_complete_prefix(parts: list[bytes], place: int, places: list[int]) -> None:
    whole = b"".join(parts)
    out, over = through(End(place), cut(PLAIN + chunked(parts), places))
    seen = receive(out)
    assert seen.bodies == [b"abc", whole[:place]]
    assert seen.complete == 2
    assert over == (place <= len(whole))


@given(PARTS, st.integers(0, 300), PLACES)
def test_an_end_after_a_whole_chunk(parts: list[bytes], place: int, places: list[int]) -> None:
    out, _ = through(End(place, whole_chunks=True), cut(chunked(parts), places))
    ends = [len(b"".join(parts[: count + 1])) for count in range(len(parts))]
    wanted = next((end for end in ends if end >= place), ends[-1])
    seen = receive(out)
    assert seen.bodies == [b"".join(parts)[:wanted]]
    assert seen.complete == 1


@given(PARTS, st.integers(1, 300), PLACES)
def test_a_cut_is_exact(parts: list[bytes], place: int, places: list[int]) -> None:
    data = chunked(parts)
    out, over = through(Cut(place), cut(data, places))
    assert out == data[:place]
    assert over == (place <= len(data))


def test_the_head_stays_as_it_was() -> None:
    out, _ = through(End(100), [bytes([byte]) for byte in chunked([b"abc"])])
    assert out.startswith(HEAD)


@given(st.integers(0, 9), st.integers(0, 9))
def test_places_are_within_their_bounds(low: int, more: int) -> None:
    data = b"x" * 20
    out, _ = through(Cut(low, low + more), [data])
    assert low <= len(out) <= low + more


@pytest.mark.parametrize("fault", [End(0), Swallow()], ids=["end", "swallow"])
@pytest.mark.parametrize("pieces", [1, 2])
def test_after_a_protocol_switch_bytes_pass_as_they_are(pieces: int, fault: Fault) -> None:
    tail = b"\x81\x05hello"
    out, over = through(fault, [SWITCH + tail] if pieces == 1 else [SWITCH, tail])
    assert out == SWITCH + tail
    assert not over


@given(PARTS, PLACES)
def test_what_is_swallowed_comes_whole_at_the_end(parts: list[bytes], places: list[int]) -> None:
    data = chunked(parts)
    assert through(Swallow(), [data[:-1]]) == (HEAD, False)
    out, over = through(Swallow(), cut(PLAIN + data, places))
    assert receive(out).bodies == [b"abc", b"".join(parts)]
    assert not over


@given(PARTS, PLACES)
def test_an_answer_is_put_in_the_place_of_another(parts: list[bytes], places: list[int]) -> None:
    answer = Answer(503, {"Retry-After": "2"}, b"{}")
    out, over = through(answer, cut(chunked(parts), places))
    head = b"Retry-After: 2\r\nContent-Length: 2\r\nConnection: close"
    assert out == b"HTTP/1.1 503 Service Unavailable\r\n" + head + b"\r\n\r\n{}"
    assert over


@given(PARTS, PLACES)
def test_only_upgrades_are_refused(parts: list[bytes], places: list[int]) -> None:
    out, over = through(NoUpgrade(), cut(PLAIN + chunked(parts), places))
    assert (receive(out).bodies, over) == ([b"abc", b"".join(parts)], False)
    for fault in (NoUpgrade(), Swallow(upgrades=False)):
        out, over = through(fault, cut(SWITCH, places))
        assert out.startswith(b"HTTP/1.1 502 ")
        assert over
