"""Uploads over connections that break, hang, or come several at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from starlette.requests import Request

from penstock.storage.uploads import make_uploads
from penstock.testing import live_server, until

from .tus import CONTENT, PART, begin, make_app, offset_of, send

if TYPE_CHECKING:
    from tests.conftest import Api


@pytest.fixture
async def api(connect: "type[Api]", tmp_path: Path) -> "AsyncIterator[Api]":
    app = make_app(f"sqlite:///{tmp_path / 'runs.db'}", max_upload_bytes=4_000_000)
    async with live_server(app) as url, connect(url) as api:
        yield api


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def hang(api: "Api", path: str, data: bytes, *, length: int, offset: int = 0) -> Connection:
    """Announce `length` bytes, send `data`, and then nothing: the connection is dead, and nobody knows yet."""
    reader, writer = await asyncio.open_connection(api.base_url.host, api.base_url.port)
    given = PART | {"Upload-Offset": str(offset), "Content-Length": str(length)}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    writer.write(f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode() + data)
    await writer.drain()
    return reader, writer


async def cut(api: "Api", path: str, data: bytes, *, sent: int, offset: int = 0) -> None:
    """Announce all of `data`, send `sent` bytes of it, and let the connection go."""
    _, writer = await hang(api, path, data[:sent], length=len(data), offset=offset)
    if sent % 2:
        writer.transport.abort()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def go_on(api: "Api", path: str, data: bytes) -> None:
    """As any tus client: ask where to go on, send the rest, and ask again where that was refused."""

    async def rest() -> bool:
        offset = await offset_of(api, path)
        answer = await send(api, path, data[offset:], offset)
        assert answer.status_code in (204, 409, 423)
        return answer.status_code == 204

    await until(rest, what="the rest is taken")


@pytest.mark.parametrize("step", [100_001, 654_320])
async def test_a_cut_upload_goes_on_where_it_was_kept(api: "Api", step: int) -> None:
    path = await begin(api, len(CONTENT), filename="data")
    offset, cuts = 0, 0
    while offset < len(CONTENT) and cuts < 8:
        await cut(api, path, CONTENT[offset:], sent=step, offset=offset)
        cuts += 1
        fresh = await offset_of(api, path)
        assert offset <= fresh <= offset + step, "never more than was sent, never less than was acknowledged"
        offset = fresh
    await go_on(api, path, CONTENT)
    run = await api.ended(await api.submit("read", file=path.rpartition("/")[2]))
    assert run["result"]["same"] is True


async def test_a_client_that_comes_back_takes_over_from_its_dead_connection(api: "Api") -> None:
    path = await begin(api, 1000, filename="data")
    _, writer = await hang(api, path, CONTENT[:400], length=1000)
    await go_on(api, path, CONTENT[:1000])
    assert await offset_of(api, path) == 1000
    writer.close()
    await writer.wait_closed()


async def test_what_came_over_connections_that_hang_is_kept(
    api: "Api", monkeypatch: pytest.MonkeyPatch
) -> None:
    came = asyncio.Event()
    stream = Request.stream

    async def seen(request: Request) -> AsyncIterator[bytes]:
        async for piece in stream(request):
            yield piece
            came.set()  # it has been taken

    monkeypatch.setattr(Request, "stream", seen)
    path = await begin(api, len(CONTENT), filename="data")
    offset = 0
    for _ in range(3):  # each dies before as much has come as is written at once
        came.clear()
        _, writer = await hang(
            api, path, CONTENT[offset : offset + 1000], length=len(CONTENT) - offset, offset=offset
        )
        async with asyncio.timeout(30):
            await came.wait()
        fresh = await offset_of(api, path)
        writer.close()
        assert fresh == offset + 1000
        offset = fresh
    await go_on(api, path, CONTENT)
    run = await api.ended(await api.submit("read", file=path.rpartition("/")[2]))
    assert run["result"]["same"] is True


async def test_a_connection_that_hangs_does_not_hold_the_upload(connect: "type[Api]", tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    app = make_app(store, stall_timeout_s=0.3)
    async with live_server(app) as url, connect(url) as api:
        path = await begin(api, len(CONTENT), filename="data")
        reader, writer = await hang(api, path, CONTENT[:400], length=1000)
        async with asyncio.timeout(30):
            answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 409 ")
        assert b"upload-offset: 400\r\n" in answer.lower()
        writing = make_uploads(store).write(path.rpartition("/")[2], 400)  # as another process of the service
        writing.finish()
        writer.close()


async def test_of_many_that_send_at_once_the_last_is_not_locked_out(api: "Api") -> None:
    for _ in range(5):
        path = await begin(api, 1000, filename="data")
        answers = await asyncio.gather(*(send(api, path, CONTENT[:1000], 0) for _ in range(8)))
        codes = [answer.status_code for answer in answers]
        assert set(codes) <= {204, 409, 423}, codes
        assert set(codes) != {423}, "the last waits for the others, and finds the upload free"
        assert await offset_of(api, path) == 1000
