"""Streams in a content coding: whole, at once, and the same bytes for all."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

import penstock
from penstock.events import End, Json
from penstock.hub import Frames
from penstock.protocol.coalesce import Fold
from penstock.protocol.sse import Decoder
from penstock.server.compressed import coding_for
from penstock.testing import live_server, until

from .transports import whole_events

if TYPE_CHECKING:
    from tests.conftest import Api
    from tests.server.conftest import Gate, MakeApp


Decompress = Callable[[bytes], bytes]


def gunzipping() -> Decompress:
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress


def zstd_reading() -> Decompress:
    readers = [zstd.ZstdDecompressor()]

    def decompress(data: bytes) -> bytes:
        plain = b""
        while data:
            plain += readers[-1].decompress(data)
            data = readers[-1].unused_data if readers[-1].eof else b""
            if readers[-1].eof:
                readers.append(zstd.ZstdDecompressor())
        return plain

    return decompress


READERS: dict[str, Callable[[], Decompress]] = {"gzip": gunzipping, "zstd": zstd_reading}


@pytest.fixture
def app(make_app: "MakeApp") -> penstock.App:
    app = make_app()

    @app.function(concurrency_limit=None)
    async def rows(count: int = 300, size: int = 40) -> AsyncIterator[dict[str, Any]]:
        for number in range(count):
            yield {"row": f"{number} ".ljust(size, "x")}

    return app


async def raw(api: "Api", run_id: str, accepted: str, **query: Any) -> tuple[str, bytes]:
    """The answer's coding, and its bytes as they came."""
    headers = {"Accept-Encoding": accepted}
    async with api.stream("GET", f"/api/runs/{run_id}/events", headers=headers, params=query) as answer:
        data = b"".join([piece async for piece in answer.aiter_raw()])
        return answer.headers.get("Content-Encoding", ""), data


def events(plain: bytes) -> list[str]:
    return [message.data for message in Decoder().feed(plain) if message.event == "message"]


@pytest.mark.parametrize("coding", READERS)
@pytest.mark.parametrize("query", [{}, {"fold": 1}, {"poll": 1}])
async def test_what_comes_is_the_same(api: "Api", coding: str, query: dict[str, int]) -> None:
    run_id = await api.submit("rows")
    await api.ended(run_id)
    _, plain = await raw(api, run_id, "identity", **query)
    name, packed = await raw(api, run_id, coding, **query)
    unpacked = READERS[coding]()(packed)
    assert name == coding
    assert events(unpacked) == events(plain)
    assert len(packed) < len(plain) / 4
    if coding == "gzip":
        assert gzip.decompress(packed) == unpacked, "to its end, with a checksum that fits"


def whole_text(plain: bytes) -> str:
    fold = Fold()
    for event in whole_events(map(msgspec.json.decode, events(plain))):
        fold.apply(event)
    return fold.text


@pytest.mark.parametrize("coding", READERS)
async def test_each_update_can_be_read_at_once(api: "Api", gate: "Gate", coding: str) -> None:
    run_id = await api.submit("wait")
    decompress, plain = READERS[coding](), b""
    headers = {"Accept-Encoding": coding}
    async with (
        api.stream("GET", f"/api/runs/{run_id}/events", headers=headers) as answer,
        asyncio.timeout(30),
    ):
        async for piece in answer.aiter_raw():
            plain += decompress(piece)
            if b"before" in plain:
                gate.open.set()
    assert b"succeeded" in plain


@pytest.mark.parametrize("coding", READERS)
async def test_events_of_megabytes_come_whole(api: "Api", coding: str) -> None:
    run_id = await api.submit("rows", count=3, size=3_000_000)
    _, packed = await raw(api, run_id, coding)
    bodies = map(msgspec.json.decode, events(READERS[coding]()(packed)))
    assert [type(event) for event in whole_events(bodies)] == [Json, Json, Json, End]


async def test_several_streams_and_browsers_by_httpx(api: "Api") -> None:
    names = [await api.submit("rows") for _ in range(3)]
    headers = {"Accept-Encoding": "gzip"}
    answer = await api.get("/api/events", params={"stream": names}, headers=headers)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(events(answer.content)) == 3 * 301


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0"])
async def test_who_offers_none_of_ours_gets_plain_bytes(api: "Api", accepted: str) -> None:
    run_id = await api.submit("rows", count=3)
    coding, plain = await raw(api, run_id, accepted)
    assert (coding, len(events(plain))) == ("", 4)


async def test_small_answers_are_left_alone(api: "Api") -> None:
    run_id = await api.submit("rows", count=3)
    await api.ended(run_id)
    assert (await raw(api, run_id, "gzip", poll=1))[0] == ""


async def test_it_can_be_turned_off(make_app: "MakeApp", connect: "type[Api]", http: Any) -> None:
    async with live_server(make_app(compression="off"), http=http) as url, connect(url) as api:
        run_id = await api.submit("count")
        assert (await raw(api, run_id, "gzip"))[0] == ""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each part that is compressed."""
    made: list[int] = []
    real = zlib.compressobj

    def counted(*args: Any) -> Any:
        made.append(1)
        return real(*args)

    monkeypatch.setattr("penstock.protocol.gzip.zlib.compressobj", counted)
    return made


async def test_readers_at_one_place_share_what_was_compressed(api: "Api", made: list[int]) -> None:
    run_id = await api.submit("rows")
    await api.ended(run_id)
    answers = await asyncio.gather(*[raw(api, run_id, "gzip", fold=1) for _ in range(20)])
    assert len({len(packed) for _, packed in answers}) <= 2, (
        "the wait before a next try has three or four digits"
    )
    assert len(made) == 1


@given(st.lists(st.tuples(st.sampled_from([1, 20, 130, 5_000, 600_000]), st.integers(0, 3)), max_size=12))
def test_whatever_is_written_a_reader_of_gzip_gets_it_at_once(writes: list[tuple[int, int]]) -> None:
    """Large and small in any order, the same frames again, and the first ones large."""
    known = {(size, kind): Frames([random_text(size, kind)] * 2) for size, kind in writes}
    coding = coding_for("gzip")
    assert coding is not None
    reader, checksum = gunzipping(), b""
    assert reader(coding.begin) == b""
    for key in writes:
        assert reader(coding.encode(known[key]).data) == known[key].data
        checksum += known[key].data
    packed = coding_for("gzip")
    assert packed is not None
    whole_stream = packed.begin + b"".join([packed.encode(known[key]).data for key in writes]) + packed.end
    assert gzip.decompress(whole_stream) == checksum


def random_text(size: int, kind: int) -> bytes:
    text = Random(kind).randbytes(size // 2).hex().encode()
    return b'id: %d\ndata: {"type":"text","text":"%b"}\n\n' % (kind, text)


async def test_live_readers_share_updates_that_look_back_at_the_one_before(
    api: "Api", app: penstock.App, gate: "Gate", made: list[int]
) -> None:
    @app.function(concurrency_limit=None)
    async def tokens() -> AsyncIterator[str]:
        await gate.open.wait()
        for number in range(40):
            yield f"token {number} "
            await asyncio.sleep(0.02)

    run_id = await api.submit("tokens")
    reading = [asyncio.create_task(raw(api, run_id, "gzip", rate=60)) for _ in range(10)]
    hub = (await app.start()).hub
    await until(lambda: hub.subscribers == 10)
    gate.open.set()
    packed = [data for _, data in await asyncio.gather(*reading)]
    plain = [gzip.decompress(data) for data in packed]
    assert all(len(small) < len(large) / 2 for small, large in zip(packed, plain, strict=True))
    assert {whole_text(data) for data in plain} == {"".join(f"token {number} " for number in range(40))}
    assert len(made) < 100, "not once for each of ten readers and forty updates"
