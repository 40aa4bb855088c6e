"""What only a WebSocket has: closes, a pace that changes, readers that stall, pages of other sites."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

import penstock
from penstock.server import delivery
from penstock.server.outlet import HIGH_WATER_BYTES
from penstock.testing import until

from .transports import Item, Refused, WebSockets, Wish, fold_of, open_socket

if TYPE_CHECKING:
    from tests.conftest import Api
    from tests.server.conftest import Gate, MakeApp, Served

STALL_TIMEOUT_S = 0.4
LINE = "x" * 20_000
PIECES = 400  # 8 MB: more than sockets hold
WHOLE = "".join(f"{number} {LINE}" for number in range(PIECES))
VIEWS = WebSockets()


@pytest.fixture
def app(make_app: "MakeApp") -> penstock.App:
    app = make_app(stall_timeout_s=STALL_TIMEOUT_S, heartbeat_s=0.2)

    @app.function(concurrency_limit=None)
    async def writes(pieces: int = PIECES) -> AsyncIterator[str]:
        for number in range(pieces):
            yield f"{number} {LINE}"
            if number % 50 == 0:
                await asyncio.sleep(0)

    return app


@contextlib.asynccontextmanager
async def opened(
    api: "Api", run_id: str, *, options: dict[str, Any] | None = None, **query: Any
) -> AsyncIterator[ClientConnection]:
    async with open_socket(Wish(api, run_id, query, {}, ""), **(options or {})) as connection:
        yield connection


async def closed(connection: ClientConnection) -> tuple[list[dict[str, Any]], int | None, str | None]:
    """What still comes, and how it ends: code and reason."""
    found = []
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(30):
            while True:
                found.append(msgspec.json.decode(await connection.recv()))
    return found, connection.close_code, connection.close_reason


# --- Form ---


async def test_the_form_of_a_stream(api: "Api") -> None:
    run_id = await api.submit("count", to=2)
    async with opened(api, run_id, rate=0) as connection:
        messages, code, reason = await closed(connection)
        assert connection.subprotocol is None
    stored = [message for message in messages if message["type"] != "status"]
    epoch = stored[0]["cursor"].partition("-")[0]
    assert [message["cursor"] for message in stored] == [f"{epoch}-{seq}" for seq in (1, 2, 3)]
    assert [message["type"] for message in stored] == ["text", "text", "end"]
    assert (code, reason) == (1000, "The run has ended.")


async def test_heartbeats_come_in_silence(api: "Api", gate: "Gate") -> None:
    run_id = await api.submit("silent")
    async with opened(api, run_id) as connection:
        async with asyncio.timeout(30):
            assert msgspec.json.decode(await connection.recv())["type"] == "status"
            for _ in range(3):
                assert await connection.recv() == '{"type":"heartbeat"}'
        gate.open.set()
        messages, code, _ = await closed(connection)
        assert (messages[-1]["type"], code) == ("end", 1000)


async def test_without_a_handshake_it_says_what_is_missing(api: "Api") -> None:
    run_id = await api.submit("count")
    answer = await api.get(f"/api/runs/{run_id}/ws")
    assert (answer.status_code, answer.json()["error"]["code"]) == (426, "upgrade_required")
    assert answer.headers["upgrade"] == "websocket"
    assert "proxy" in answer.json()["error"]["hint"]


@pytest.mark.parametrize("path", ["x/ws/y", "x", ""])
async def test_other_paths_have_none(api: "Api", path: str) -> None:
    with pytest.raises(Refused) as refused:
        async with opened(api, f"{path}?"):
            pass
    assert (refused.value.status, refused.value.error["code"]) == (404, "not_found")


async def test_a_store_that_cannot_be_read_is_503(
    make_app: "MakeApp", connect: "type[Api]", served: "Served", tmp_path: Any
) -> None:
    app = make_app(store=f"sqlite:///{tmp_path}/nowhere/runs.db")

    async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await app(scope, receive, send)

    async with served(mounted) as url, connect(url) as api:
        with pytest.raises(Refused) as refused:
            async with opened(api, "run_x"):
                pass
    assert (refused.value.status, refused.value.error["code"]) == (503, "store_unavailable")


async def test_a_server_that_cannot_answer_handshakes_refuses_all_the_same(
    app: penstock.App, connect: "type[Api]", served: "Served"
) -> None:
    async def older(scope: Scope, receive: Receive, send: Send) -> None:
        poorer: dict[str, Any] = {"extensions": {}} if scope["type"] == "websocket" else {}
        await app(dict(scope) | poorer, receive, send)

    async with served(older) as url, connect(url) as api:
        run_id = await api.submit("count")
        assert fold_of(await VIEWS.read(api, run_id)).end is not None
        with pytest.raises(Refused) as refused:
            async with opened(api, "run_nowhere"):
                pass
        assert (refused.value.status, refused.value.error) == (403, {})


async def test_what_wraps_send_is_not_passed_by(
    app: penstock.App, connect: "type[Api]", served: "Served"
) -> None:
    seen: list[str] = []

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            seen.append(message["type"])
            await send(message)

        await app(scope, receive, noted if scope["type"] == "websocket" else send)

    async with served(wrapped) as url, connect(url) as api:
        run_id = await api.submit("count", to=3)
        assert fold_of(await VIEWS.read(api, run_id, rate=0)).text == "1 2 3 "
    assert seen[0] == "websocket.accept"
    assert seen.count("websocket.send") >= 4
    assert seen[-1] == "websocket.close"


# --- What a reader says ---


async def test_a_page_that_is_seen_again_catches_up_at_once(
    api: "Api", monkeypatch: pytest.MonkeyPatch
) -> None:
    # So slow that it would never come by itself.
    monkeypatch.setattr(delivery, "_interval_s", lambda rate: 1000.0 if rate == 1 else 1 / rate)
    run_id = await api.submit("chatter")
    items = []
    async with opened(api, run_id, rate=1) as connection:

        async def until_told(kind: str) -> None:
            async with asyncio.timeout(30):
                while True:
                    body = msgspec.json.decode(await connection.recv())
                    items.append(Item(body, None))
                    if body["type"] == kind:
                        return

        await until_told("text")
        for _ in range(3):
            await connection.send('{"rate": 1}')
            await until_told("heartbeat")
            before = max(item.seq for item in items)
            await connection.send('{"rate": 20}')
            await until_told("text")
            assert items[-1].seq > before + 50, "all that was written meanwhile"
            assert items[-1].body["n"] > 1
    assert fold_of(items).text == "x" * items[-1].seq


async def test_a_pace_may_change_at_any_time(api: "Api") -> None:
    run_id = await api.submit("count", to=20_000)
    items = []
    async with VIEWS.open(api, run_id, rate=1) as view, opened(api, run_id, rate=1) as connection:
        for rate in (0, 60, 1, 0, 1, 20, 0):
            await connection.send(msgspec.json.encode({"rate": rate}).decode())
            items.append(msgspec.json.decode(await connection.recv()))
        messages, code, _ = await closed(connection)
        await view.rest()
    items = [Item(body, None) for body in items + messages]
    assert fold_of(items).text == "".join(f"{number} " for number in range(1, 20_001))
    assert code == 1000


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        ("hello", 1008, '{"rate": NUMBER}'), ("{}", 1008, '{"rate": NUMBER}'), (b"\0", 1008, '{"rate": NUMBER}'),
        ('{"rate":99}', 1008, "1 to 60"), ('{"rate":0.5}', 1008, "1 to 60"), ('{"rate":-1}', 1008, "1 to 60"),
    ],
)  # fmt: skip
async def test_what_is_not_understood_ends_it(
    api: "Api", app: penstock.App, said: str | bytes, code: int, reason: str
) -> None:
    run_id = await api.submit("chatter")
    async with opened(api, run_id) as connection:
        await connection.send(said)
        await connection.send(said)
        _, came, why = await closed(connection)
    assert came == code
    assert reason in str(why)
    hub = (await app.start()).hub
    await until(lambda: hub.subscribers == 0)


# --- Readers that take nothing ---


@contextlib.asynccontextmanager
async def slow(api: "Api", run_id: str, **query: Any) -> AsyncIterator[ClientConnection]:
    """A reader that takes little ahead of what the test asks it for."""
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HIGH_WATER_BYTES)
    link.setblocking(False)
    await asyncio.get_running_loop().sock_connect(link, (api.base_url.host, api.base_url.port))
    options = {"sock": link, "host": None, "port": None, "max_queue": 1, "compression": None}
    async with opened(api, run_id, options=options, **query) as connection:
        yield connection
        connection.transport.abort()


async def test_a_stalled_reader_is_cut_off_and_goes_on_from_its_cursor(
    api: "Api", app: penstock.App, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = await api.submit("writes")
    await api.ended(run_id)
    services = await app.start()
    with caplog.at_level(logging.INFO, "penstock"):
        async with slow(api, run_id, rate=0) as connection:
            await until(lambda: services.pulse.flow.stalled == 1, 10, "it is cut off")
            await until(lambda: services.hub.subscribers == 0)
            messages, _, _ = await closed(connection)
    assert "has taken nothing for 0.4 s" in caplog.text
    items = [Item(body, body["cursor"]) for body in messages]
    assert 0 < len(items) < PIECES
    assert fold_of(items + await VIEWS.read(api, run_id, items[-1].cursor)).text == WHOLE


async def test_a_stalled_reader_holds_less_than_a_megabyte(api: "Api", app: penstock.App) -> None:
    run_id = await api.submit("writes")
    await api.ended(run_id)
    pulse = (await app.start()).pulse
    held: list[int] = []

    def is_cut() -> bool:
        held.extend(one._outlet.buffered_bytes for one in pulse._members)
        return pulse.flow.stalled == 1

    async with slow(api, run_id):
        await until(is_cut)
    assert 0 < max(held) < 512 * 1024
    await until(lambda: not pulse._members)


async def test_one_that_stalls_at_the_end_is_cut_off_too(api: "Api", app: penstock.App) -> None:
    run_id = await api.submit("writes", pieces=60)
    await api.ended(run_id)
    pulse = (await app.start()).pulse
    async with slow(api, run_id):
        await until(lambda: pulse.flow.stalled == 1 or not pulse._members)
    await until(lambda: not pulse._members)


# --- Pages of other sites ---

ORIGINS = [
    ("http://localhost:8000", "localhost:8000", True), ("http://LOCALHOST:8000", "localhost:8000", True),
    ("http://localhost", "localhost:80", True), ("https://box.lan", "box.lan:443", True),
    ("https://box.lan", "box.lan", True), ("https://front.lan", "box.lan", True),
    ("https://front.lan:3000", "box.lan", True), ("http://localhost:3000", "localhost:8000", False),
    ("http://localhost", "localhost:8000", False), ("https://evil.example", "box.lan", False),
    ("https://box.lan.evil.example", "box.lan", False), ("https://box.lan@evil.example", "box.lan", False),
    ("null", "box.lan", False), ("file://", "box.lan", False), ("https://", "box.lan", False),
    ("ws://box.lan", "box.lan", False), ("https://front.lan/path", "box.lan", False),
]  # fmt: skip


async def test_pages_of_other_sites_are_refused(
    make_app: "MakeApp", connect: "type[Api]", served: "Served"
) -> None:
    app = make_app(token="s3cret", allowed_hosts="front.lan, other.lan")
    async with served(app) as url, connect(url) as api:
        cookie = (await api.get("/", params={"token": "s3cret"})).cookies["penstock"]
        run_id = await api.submit("count")
        for origin, host, let_in in ORIGINS:
            headers = {"Origin": origin, "Cookie": f"penstock={cookie}"}
            if let_in:
                async with VIEWS.open(api, run_id, host=host, headers=headers) as view:
                    assert fold_of(await view.rest()).end is not None, origin
                continue
            with pytest.raises(Refused) as refused:
                async with VIEWS.open(api, run_id, host=host, headers=headers):
                    pass
            code = refused.value.error["code"]
            assert (refused.value.status, code) == (403, "forbidden_origin"), origin
