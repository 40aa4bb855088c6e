"""The fault proxy between a real client and a small real server."""

import asyncio
import gc
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from random import Random

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from penstock.testing import Cut, End, FaultProxy, live_server, until

FRAME = b"id: %04d\ndata: x\n\n"
FRAMES = [FRAME % n for n in range(200)]
WHOLE = b"".join(FRAMES)


async def stream(_: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        for frame in FRAMES:
            yield frame
            await asyncio.sleep(0)

    return StreamingResponse(body(), media_type="text/event-stream")


async def endless(request: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        request.app.state.readers += 1
        try:
            while True:
                yield FRAMES[0]
                await asyncio.sleep(0.005)
        finally:
            request.app.state.readers -= 1

    return StreamingResponse(body())


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body(), headers={"x-seen": "yes"})


@pytest.fixture
def app() -> Starlette:
    routes = [Route("/stream", stream), Route("/endless", endless), Route("/echo", echo, methods=["POST"])]
    made = Starlette(routes=routes)
    made.state.readers = 0
    return made


@pytest.fixture
async def proxy(app: Starlette) -> AsyncIterator[FaultProxy]:
    async with live_server(app) as url, FaultProxy(httpx.URL(url).port or 0) as proxy:
        yield proxy


@pytest.fixture
async def http(proxy: FaultProxy) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=proxy.url, timeout=10) as client:
        yield client


async def read_on(http: httpx.AsyncClient, path: str = "/stream") -> tuple[bytes, Exception | None]:
    """A body as far as it came, and what ended it early."""
    got = b""
    try:
        async with http.stream("GET", path) as response:
            async for part in response.aiter_raw():
                got += part
    except httpx.TransportError as error:
        return got, error
    return got, None


async def raw_bytes(proxy: FaultProxy) -> bytes:
    """All the bytes of one answer, heads and framing included."""
    return await asyncio.to_thread(_raw_bytes, proxy.port)


def _raw_bytes(port: int) -> bytes:
    # A plain socket: asyncio's streams drop what they hold when a reset comes.
    got = b""
    with socket.create_connection(("127.0.0.1", port)) as sock, suppress(ConnectionResetError):
        sock.sendall(b"GET /stream HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        while part := sock.recv(1 << 16):
            got += part
    return got


async def test_without_a_fault_everything_passes(http: httpx.AsyncClient, proxy: FaultProxy) -> None:
    assert await read_on(http) == (WHOLE, None)
    body = Random(1).randbytes(1_000_000)
    answer = await http.post("/echo", content=body)
    assert answer.content == body
    assert (proxy.connections, proxy.cuts, proxy.ends) == (1, 0, 0)


async def test_cut_after_so_many_bytes(proxy: FaultProxy) -> None:
    whole = await raw_bytes(proxy)
    for place in (1, 50, 500, 2000):
        proxy.fault = Cut(place)
        assert await raw_bytes(proxy) == whole[:place]
    assert proxy.cuts == 4


async def test_a_cut_is_a_reset(http: httpx.AsyncClient, proxy: FaultProxy) -> None:
    proxy.fault = Cut(1000)
    got, error = await read_on(http)
    assert isinstance(error, httpx.ReadError)
    assert got == WHOLE[: len(got)]
    assert 0 < len(got) < 1000


async def test_the_seed_decides_where_it_cuts(app: Starlette) -> None:
    lengths: list[list[int]] = []
    async with live_server(app) as url:
        for seed in (1, 1, 2):
            async with FaultProxy(httpx.URL(url).port or 0, seed=seed) as proxy:
                proxy.fault = Cut(1, 3000)
                lengths.append([len(await raw_bytes(proxy)) for _ in range(4)])
    assert lengths[0] == lengths[1] != lengths[2]
    assert len(set(lengths[0])) > 1


@pytest.mark.parametrize("place", [0, 1, len(FRAMES[0]), len(FRAMES[0]) * 3 + 7, len(WHOLE) - 1])
@pytest.mark.parametrize("keep_alive", [False, True])
async def test_a_body_ends_cleanly_at_any_byte(proxy: FaultProxy, place: int, keep_alive: bool) -> None:
    proxy.fault = End(place, keep_alive=keep_alive)
    limits = httpx.Limits(max_keepalive_connections=int(keep_alive))
    async with httpx.AsyncClient(base_url=proxy.url, limits=limits) as http:
        for _ in range(2):
            assert await read_on(http) == (WHOLE[:place], None)
    assert proxy.ends == 2
    assert proxy.connections == (1 if keep_alive else 2)


async def test_a_body_ends_cleanly_between_the_servers_chunks(
    http: httpx.AsyncClient, proxy: FaultProxy
) -> None:
    proxy.fault = End(len(FRAMES[0]) * 2 + 5, whole_chunks=True)
    assert await read_on(http) == (b"".join(FRAMES[:3]), None)


async def test_random_ends_are_prefixes(http: httpx.AsyncClient, proxy: FaultProxy) -> None:
    proxy.fault = End(1, len(WHOLE) - 1, keep_alive=True)
    lengths = set()
    for _ in range(10):
        got, error = await read_on(http)
        assert error is None
        assert got == WHOLE[: len(got)]
        lengths.add(len(got))
    assert len(lengths) > 1
    assert proxy.ends == 10


async def test_other_answers_pass_an_end_untouched(http: httpx.AsyncClient, proxy: FaultProxy) -> None:
    proxy.fault = End(10**9, keep_alive=True)
    answer = await http.post("/echo", content=b"x" * 200_000)
    assert (answer.content, answer.headers["x-seen"]) == (b"x" * 200_000, "yes")
    assert await read_on(http) == (WHOLE, None)
    assert (await http.get("/nothing")).status_code == 404
    assert (proxy.ends, proxy.connections) == (0, 1)


async def test_stalled_bytes_wait_and_are_not_lost(http: httpx.AsyncClient, proxy: FaultProxy) -> None:
    proxy.stall()
    reading = asyncio.create_task(read_on(http))
    await until(lambda: proxy.connections == 1)
    done, _ = await asyncio.wait({reading}, timeout=0.1)
    assert not done
    proxy.flow()
    assert await reading == (WHOLE, None)


async def test_offline_refuses_and_online_is_the_same_port(
    http: httpx.AsyncClient, proxy: FaultProxy
) -> None:
    for _ in range(2):
        proxy.offline()
        with pytest.raises(httpx.ConnectError):
            await http.get("/stream")
        proxy.online()
        assert await read_on(http) == (WHOLE, None)


async def test_cut_all_resets_who_is_connected(
    http: httpx.AsyncClient, proxy: FaultProxy, app: Starlette
) -> None:
    readers = [asyncio.create_task(read_on(http, "/endless")) for _ in range(5)]
    await until(lambda: app.state.readers == 5)
    assert proxy.cut_all() == 5
    for _, error in await asyncio.gather(*readers):
        assert isinstance(error, httpx.TransportError)
    assert proxy.cuts == 5
    await until(lambda: app.state.readers == 0, what="the server notices")


async def test_the_server_notices_a_client_that_leaves(
    http: httpx.AsyncClient, proxy: FaultProxy, app: Starlette
) -> None:
    async with http.stream("GET", "/endless") as response:
        await anext(response.aiter_raw())
        assert app.state.readers == 1
    await until(lambda: app.state.readers == 0)


async def test_latency(http: httpx.AsyncClient, proxy: FaultProxy) -> None:
    proxy.latency_s = 0.05
    loop = asyncio.get_running_loop()
    start = loop.time()
    await http.post("/echo", content=b"x")
    assert loop.time() - start >= 0.1  # once in each direction


async def test_a_server_that_is_away_resets_the_client() -> None:
    with socket.socket() as away:
        away.bind(("127.0.0.1", 0))
        async with FaultProxy(away.getsockname()[1]) as proxy, httpx.AsyncClient() as http:
            with pytest.raises(httpx.TransportError):
                await http.get(proxy.url)


async def test_nothing_is_left_behind(app: Starlette) -> None:
    async with live_server(app) as url:
        with FaultProxy(httpx.URL(url).port or 0) as proxy:  # the plain form blocks only for moments
            async with httpx.AsyncClient(base_url=proxy.url) as http:
                reading = asyncio.create_task(read_on(http, "/endless"))
                await until(lambda: app.state.readers == 1)
        await reading
        assert proxy.cuts == 0, "the end of the proxy is no fault"
        assert "fault-proxy" not in {thread.name for thread in threading.enumerate()}
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)


def test_nothing_is_left_of_connections_that_come_as_it_closes() -> None:
    for _ in range(20):
        with FaultProxy(1) as proxy:
            clients = [socket.socket() for _ in range(3)]
            for client in clients:
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", proxy.port))
        gc.collect()  # a socket that is still open is a warning now
        for client in clients:
            client.close()
