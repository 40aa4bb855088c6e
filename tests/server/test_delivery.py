"""What reaches readers that are fast, slow or stalled, over both kinds of connection."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import penstock
from penstock.events import End, Text, decode
from penstock.hub import Frames, Hub, Merge, make_frames
from penstock.models import Chunk
from penstock.protocol.coalesce import Fold
from penstock.protocol.sse import Decoder, Message
from penstock.server.connection import Connection
from penstock.server.outlet import HIGH_WATER_BYTES
from penstock.testing import live_server, until

from .transports import whole_events

if TYPE_CHECKING:
    from tests.conftest import Api
    from tests.server.conftest import Gate, MakeApp, Reading

PIECES = 5000
STALL_TIMEOUT_S = 0.4
LINE = (
    "one hundred characters of text, as a model might well say them in an answer of some length, so it is\n"
)


@pytest.fixture
def app(make_app: "MakeApp", gate: "Gate") -> penstock.App:
    app = make_app(stall_timeout_s=STALL_TIMEOUT_S, heartbeat_s=0.2)

    @app.function(concurrency_limit=None)
    async def writes(pieces: int = PIECES, size: int = 1) -> AsyncIterator[str]:
        for number in range(pieces):
            yield f"{number} {LINE * size}"
            if number % 500 == 0:
                await asyncio.sleep(0)

    @app.function
    async def writes_at_once(pieces: int, size: int) -> AsyncIterator[str]:
        yield LINE * pieces * size

    @app.function
    async def writes_in_values(pieces: int, size: int) -> AsyncIterator[list[str]]:
        yield [LINE] * pieces * size

    @app.function(concurrency_limit=None)
    async def steps() -> AsyncIterator[str]:
        for number in range(20):
            yield f"{number} "
            await asyncio.sleep(0.02)

    return app


async def hub_of(app: penstock.App) -> Hub:
    return (await app.start()).hub


class Slow:
    """A reader that takes bytes only when the test says so."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.messages: list[Message] = []
        self._decoder = Decoder()

    async def ask(self, run_id: str, cursor: str = "", query: str = "") -> None:
        last = f"Last-Event-ID: {cursor}\r\n" if cursor else ""
        self.writer.write(
            f"GET /api/runs/{run_id}/events{query} HTTP/1.1\r\nHost: localhost\r\n{last}\r\n".encode()
        )
        await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> list[dict[str, Any]]:
        async with asyncio.timeout(30):
            return self.take(await self._body())

    def take(self, raw: bytes) -> list[dict[str, Any]]:
        """The events in a body as it came."""
        return events_of(self._decoder.feed(unchunked(raw)))

    async def _body(self) -> bytes:
        raw = b""
        with contextlib.suppress(ConnectionResetError):
            while not raw.endswith(b"0\r\n\r\n"):
                piece = await self.reader.read(HIGH_WATER_BYTES)
                if not piece:
                    break
                raw += piece
        return raw

    @property
    def cursor(self) -> str:
        return self._decoder.last_id


def unchunked(raw: bytes) -> bytes:
    """The body in HTTP's chunks; the last of them may be cut short."""
    body = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        length = int(size or b"0", 16)
        body, raw = body + raw[:length], raw[length + 2 :]
    return body


@contextlib.asynccontextmanager
async def connected(api: "Api") -> AsyncIterator[Slow]:
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HIGH_WATER_BYTES)  # so that little is on the way
    link.setblocking(False)
    await asyncio.get_running_loop().sock_connect(link, (api.base_url.host, api.base_url.port))
    reader, writer = await asyncio.open_connection(sock=link, limit=HIGH_WATER_BYTES)
    try:
        yield Slow(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def events_of(messages: list[Message]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(one.data) for one in messages if one.event == "message"]


def text_of(events: list[dict[str, Any]]) -> str:
    fold = Fold()
    for event in events:
        fold.apply(decode(msgspec.json.encode(event)))
    return fold.text


WHOLE = "".join(f"{number} {LINE}" for number in range(PIECES))


async def test_a_stalled_reader_is_cut_off_and_goes_on_from_its_cursor(
    api: "Api", app: penstock.App, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = await api.submit("writes", pieces=400, size=200)  # 8 MB: more than sockets hold
    await api.ended(run_id)
    whole = "".join(f"{number} {LINE * 200}" for number in range(400))
    pulse = (await app.start()).pulse
    async with connected(api) as slow, connected(api) as again:
        with caplog.at_level(logging.INFO, "penstock"):
            await slow.ask(run_id)
            await until(lambda: pulse.flow.stalled == 1, 10, "it is cut off")
        assert "has taken nothing for 0.4 s" in caplog.text
        events = await slow.rest()
        assert len(text_of(events)) < len(whole)
        await again.ask(run_id, slow.cursor)
        assert text_of(events + await again.rest()) == whole


# Under another server the kernel takes megabytes, for as long as which it can't be told from one that is stalled.
@pytest.mark.parametrize("http", [Connection])
async def test_one_that_takes_a_little_is_not_cut_off(api: "Api", app: penstock.App) -> None:
    run_id = await api.submit("writes", pieces=400, size=200)
    await api.ended(run_id)
    hub, loop = await hub_of(app), asyncio.get_running_loop()
    async with connected(api) as slow:
        await slow.ask(run_id)
        deadline = loop.time() + 3 * STALL_TIMEOUT_S
        while loop.time() < deadline:
            await slow.reader.read(HIGH_WATER_BYTES)
            await asyncio.sleep(STALL_TIMEOUT_S / 10)
        assert hub.subscribers == 1
    await until(lambda: hub.subscribers == 0)


@pytest.mark.parametrize("function", ["writes", "writes_at_once", "writes_in_values"])
async def test_a_stalled_reader_holds_less_than_a_megabyte(
    api: "Api", app: penstock.App, function: str
) -> None:
    run_id = await api.submit(function, pieces=400, size=200)
    await api.ended(run_id)
    deliveries = (await app.start()).pulse._members
    async with connected(api) as slow:
        await slow.ask(run_id)
        await until(lambda: any(one._outlet.full for one in deliveries))
        assert all(one._outlet.buffered_bytes < 512 * 1024 for one in deliveries)
    await until(lambda: not deliveries)


async def test_live_readers_of_one_rate_are_sent_the_same_bytes(
    api: "Api", app: penstock.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(chunks: list[Chunk], after: int, merge: Merge) -> Frames:
        made.append(after)
        return make_frames(chunks, after, merge)

    monkeypatch.setattr("penstock.hub.recent.make_frames", counted)
    run_id = await api.submit("steps")
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(api.messages(run_id)) for _ in range(50)]
    texts = {text_of(events_of(reader.result())) for reader in readers}
    assert texts == {"".join(f"{number} " for number in range(20))}
    assert len(made) < 200, "not once for each of fifty readers and twenty updates"


async def test_a_fault_at_one_reader_is_not_the_others(
    api: "Api", app: penstock.App, gate: "Gate", reading: "Reading", monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await api.submit("wait")
    hub = await hub_of(app)
    async with reading(api, run_id) as first, reading(api, run_id) as second:
        await first.until(b"before")
        await second.until(b"before")

        def fail() -> None:
            raise RuntimeError("a fault of ours")

        beat = hub._tails[run_id]._beats[1 / 20]
        beat.members = {fail: None} | beat.members
        gate.open.set()
        for reader in (first, second):
            assert "succeeded" in (await reader.rest())[-1].data


async def test_a_server_of_another_kind_is_served_too(make_app: "MakeApp", connect: "type[Api]") -> None:
    """What wraps `send` is not passed by, even over our own connection."""
    seen: list[str] = []
    app = make_app()

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            seen.append(message["type"])
            await send(message)

        await app(scope, receive, noted if scope["type"] == "http" else send)

    async with live_server(wrapped, http=Connection) as url, connect(url) as api:
        run_id = await api.submit("count", to=3)
        messages = await api.messages(run_id)
    assert "succeeded" in messages[-1].data
    assert seen.count("http.response.body") >= 2


@pytest.mark.parametrize("http", [Connection])
async def test_a_slow_reader_of_like_events_gets_to_the_end(api: "Api", app: penstock.App) -> None:
    """Its buffer looks the same at each look, though it takes all the time, for longer than the stall timeout."""
    run_id = await api.submit("writes", pieces=300, size=200)
    await api.ended(run_id)
    loop = asyncio.get_running_loop()
    async with connected(api) as slow:
        await slow.ask(run_id)
        begun, raw = loop.time(), b""
        async with asyncio.timeout(30):
            while not raw.endswith(b"0\r\n\r\n"):
                raw += await slow.reader.readexactly(1) + await slow.reader.read(HIGH_WATER_BYTES)
                if loop.time() - begun < 4 * STALL_TIMEOUT_S:
                    await asyncio.sleep(0.02)
        assert text_of(slow.take(raw)).endswith(f"299 {LINE * 200}")
    assert (await app.start()).pulse.flow.stalled == 0


async def test_a_reader_is_served_what_another_process_has_written_before_it_came(
    tmp_path: Path, make_app: "MakeApp", connect: "type[Api]", http: Any
) -> None:
    """The run was submitted here, and everything about it was heard of while nobody read it."""
    settings = {"store": f"sqlite:///{tmp_path / 'runs.db'}", "heartbeat_s": 60}
    here, there = make_app(**settings), make_app(**settings)
    async with live_server(here, http=http) as url, live_server(there), connect(url) as api:
        here.hold()
        run_id = await api.submit("count")
        await api.ended(run_id)
        async with asyncio.timeout(30):
            messages = await api.messages(run_id)
    assert text_of(events_of(messages)) == "1 2 3 4 5 "


async def test_after_a_fault_of_ours_the_reader_comes_back_and_misses_nothing(
    api: "Api",
    gate: "Gate",
    reading: "Reading",
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run_id = await api.submit("wait")
    async with reading(api, run_id) as reader:
        await reader.until(b"before")
        with monkeypatch.context() as broken:
            broken.setattr("penstock.hub.recent.make_frames", lambda *_: 1 // 0)
            gate.open.set()
            messages = await reader.rest()
    assert [event["seq"] for event in events_of(messages)] == [1]
    assert "could not be served" in caplog.text
    rest = await api.messages(run_id, messages[-1].id)
    assert text_of(events_of([*messages, *rest])) == "before after"


async def test_a_warm_tail_keeps_no_frames_that_were_made(api: "Api", app: penstock.App) -> None:
    run_id = await api.submit("wait")
    hub = await hub_of(app)
    async with api.stream("GET", f"/api/runs/{run_id}/events") as response:
        await anext(response.aiter_raw())
        await until(lambda: hub.subscribers == 1)
    await until(lambda: hub.subscribers == 0)
    assert hub._tails[run_id].recent._made == {}


@pytest.mark.parametrize("http", ["httptools"])
async def test_a_server_whose_send_fails_once_the_reader_has_gone(
    app: penstock.App, gate: "Gate", connect: "type[Api]", http: str, caplog: pytest.LogCaptureFixture
) -> None:
    """ASGI allows it from 2.4 on."""
    failed = asyncio.Event()

    async def fickle(scope: Any, receive: Any, send: Any) -> None:
        async def refusing(message: Any) -> None:
            if message["type"] == "http.response.body" and b"after" in message["body"]:
                failed.set()
                raise OSError("the reader has gone")
            await send(message)

        await app(scope, receive, refusing if scope["type"] == "http" else send)

    async with live_server(fickle, http=http) as url, connect(url) as api:
        run_id = await api.submit("wait")
        async with api.stream("GET", f"/api/runs/{run_id}/events") as response:
            await anext(response.aiter_raw())
            gate.open.set()
            async with asyncio.timeout(30):
                await failed.wait()
        hub = await hub_of(app)
        await until(lambda: hub.subscribers == 0)
    assert "penstock" not in {record.name for record in caplog.records if record.levelno >= logging.ERROR}


@pytest.mark.parametrize("http", [Connection])
async def test_a_fold_that_takes_longer_than_a_response_may_last_gets_through(
    make_app: "MakeApp", connect: "type[Api]", http: Any
) -> None:
    app = make_app(max_age_s=0.2)

    @app.function
    async def bulk() -> AsyncIterator[str]:
        yield "x" * 3_000_000

    async with live_server(app, http=http) as url, connect(url) as api:
        run_id = await api.submit("bulk")
        await api.ended(run_id)
        async with connected(api) as slow:
            await slow.ask(run_id, query="?fold=1")
            raw = b""
            async with asyncio.timeout(30):
                while not raw.endswith(b"0\r\n\r\n"):
                    raw += await slow.reader.readexactly(1) + await slow.reader.read(HIGH_WATER_BYTES)
                    await asyncio.sleep(0.01)
            *texts, end = whole_events(slow.take(raw))
            assert sum(len(text.text) for text in texts if isinstance(text, Text)) == 3_000_000
            assert isinstance(end, End)
