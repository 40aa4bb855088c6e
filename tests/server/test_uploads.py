"""Uploads over HTTP: whole ones, cut ones that go on, refused ones, and the functions that read them."""

import asyncio
import base64
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

import penstock
from penstock.storage.uploads import Writing, make_uploads
from penstock.testing import live_server, until

if TYPE_CHECKING:
    from tests.conftest import Api

TUS = {"Tus-Resumable": "1.0.0"}
PART = TUS | {"Content-Type": "application/offset+octet-stream"}
CONTENT = random.Random(7).randbytes(3_000_000)


def make_app(store: str = "memory:", **settings: Any) -> penstock.App:
    app = penstock.App(**({"store": store, "grace_s": 0} | settings))

    @app.function
    def read(file: penstock.File) -> dict[str, Any]:
        with file.open() as content:
            start = content.read(5).decode(errors="replace")
        told = {"name": file.name, "type": file.media_type, "size": file.size, "ending": file.path.suffix}
        return told | {"start": start, "same": file.path.read_bytes() == CONTENT}

    @app.function
    async def read_some(files: list[penstock.File], cover: penstock.File | None = None) -> list[str]:
        return [file.name for file in files] + ([cover.name] if cover else [])

    return app


@pytest.fixture
async def api(connect: "type[Api]", tmp_path: Path) -> "AsyncIterator[Api]":
    app = make_app(f"sqlite:///{tmp_path / 'runs.db'}", max_upload_bytes=4_000_000)
    async with live_server(app) as url, connect(url) as api:
        yield api


def metadata(**given: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in given.items())


async def begin(api: "Api", size: int, **given: str) -> str:
    """An upload's path."""
    headers = TUS | {"Upload-Length": str(size), "Upload-Metadata": metadata(**given)}
    answer = await api.post("/api/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def send(api: "Api", path: str, data: bytes, offset: int) -> httpx.Response:
    return await api.patch(path, content=data, headers=PART | {"Upload-Offset": str(offset)})


async def offset_of(api: "Api", path: str) -> int:
    answer = await api.head(path, headers=TUS)
    assert answer.status_code == 200
    return int(answer.headers["upload-offset"])


async def upload(api: "Api", data: bytes, **given: str) -> str:
    """A finished upload's id."""
    path = await begin(api, len(data), **given)
    assert (await send(api, path, data, 0)).status_code == 204
    return path.rpartition("/")[2]


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    assert error["message"]
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-resumable"] == "1.0.0"
    return answer.status_code, error["code"], error.get("field")


async def test_the_server_says_what_it_can(api: "Api") -> None:
    answer = await api.options("/api/uploads")
    assert answer.status_code == 204
    told = {name: answer.headers[name] for name in ("tus-version", "tus-extension", "tus-max-size")}
    assert told == {
        "tus-version": "1.0.0",
        "tus-extension": "creation,expiration,termination",
        "tus-max-size": "4000000",
    }


async def test_an_upload_in_parts_is_a_function_s_file(api: "Api") -> None:
    path = await begin(api, len(CONTENT), filename="Ä.tar.GZ", filetype="application/gzip")
    assert await offset_of(api, path) == 0
    for start in range(0, len(CONTENT), 1_000_000):
        answer = await send(api, path, CONTENT[start : start + 1_000_000], start)
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(start + 1_000_000))
    answer = await api.head(path, headers=TUS)
    assert (answer.headers["upload-length"], answer.headers["cache-control"]) == ("3000000", "no-store")
    given = metadata(filename="Ä.tar.GZ", filetype="application/gzip")
    assert answer.headers["upload-metadata"] == given, "as it was sent"
    run = await api.ended(await api.submit("read", file=path.rpartition("/")[2]))
    expected = {
        "name": "Ä.tar.GZ",
        "type": "application/gzip",
        "size": 3_000_000,
        "ending": ".gz",
        "same": True,
    }
    assert run["result"] == expected | {"start": CONTENT[:5].decode(errors="replace")}
    told = (await api.get(path)).json()
    assert (told["name"], told["size"], told["offset"]) == ("Ä.tar.GZ", 3_000_000, 3_000_000)


async def test_lists_of_files_and_optional_ones(api: "Api") -> None:
    ids = [await upload(api, b"x", filename=name) for name in ("a", "b", "c")]
    run = await api.ended(await api.submit("read_some", files=ids[:2], cover=ids[2]))
    assert run["result"] == ["a", "b", "c"]
    run = await api.ended(await api.submit("read_some", files=[]))
    assert run["result"] == []


async def test_schemas_say_what_a_file_is(api: "Api") -> None:
    by_name = {one["name"]: one for one in (await api.get("/api/functions")).json()["functions"]}
    file = {"type": "string", "format": "penstock-file"}
    assert by_name["read"]["input_schema"]["properties"]["file"] == file
    some = by_name["read_some"]["input_schema"]["properties"]
    assert some["files"] == {"type": "array", "items": file}
    assert file in some["cover"]["anyOf"]


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
        async with asyncio.timeout(10):
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
        async with asyncio.timeout(10):
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


async def test_another_offset_is_refused_and_changes_nothing(api: "Api") -> None:
    path = await begin(api, 10, filename="data")
    assert (await send(api, path, b"01234", 0)).status_code == 204
    for offset in (0, 4, 6):
        assert refusal(await send(api, path, b"xx", offset)) == (409, "upload_moved", None)
    assert await offset_of(api, path) == 5


async def test_more_than_was_announced_is_refused(api: "Api") -> None:
    path = await begin(api, 5, filename="data")
    assert refusal(await send(api, path, b"0123456789", 0))[:2] == (413, "body_too_large")
    assert await offset_of(api, path) == 0, "it was known before anything was written"

    async def pieces() -> AsyncIterator[bytes]:
        yield b"0123456789"

    answer = await api.patch(path, content=pieces(), headers=PART | {"Upload-Offset": "0"})
    assert refusal(answer)[:2] == (413, "body_too_large")
    assert answer.headers["upload-offset"] == "5"


async def test_what_no_upload_can_begin_with(api: "Api") -> None:
    async def tried(**headers: str) -> tuple[int, str, str | None]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return refusal(await api.post("/api/uploads", headers=given))

    assert await tried(Upload_Length="5") == (412, "unsupported_tus_version", None)
    assert await tried(**TUS) == (400, "bad_request", "Upload-Length")
    assert await tried(**TUS, Upload_Length="-1") == (400, "bad_request", "Upload-Length")
    assert await tried(**TUS, Upload_Length="4000001") == (413, "body_too_large", "Upload-Length")
    wrong = await tried(**TUS, Upload_Length="5", Upload_Metadata="filename %%%")
    assert wrong == (400, "bad_request", "Upload-Metadata")


async def test_what_no_part_can_be(api: "Api") -> None:
    path = await begin(api, 5)
    answer = await api.patch(path, content=b"01234", headers=TUS | {"Upload-Offset": "0"})
    assert refusal(answer)[:2] == (415, "unsupported_media_type")
    assert refusal(await api.patch(path, content=b"01234", headers=PART)) == (
        400,
        "bad_request",
        "Upload-Offset",
    )
    answer = await api.put(path, content=b"01234")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    "name", ["upload_" + "0" * 32, "..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "upload_", "x" * 5000, "%00"]
)
async def test_an_unknown_upload_is_not_found_whatever_its_name(
    api: "Api", name: str, tmp_path: Path
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    for answer in (await api.get(f"/api/uploads/{name}"), await send(api, f"/api/uploads/{name}", b"x", 0)):
        assert answer.status_code in (404, 405)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


async def test_names_of_files_lead_nowhere(api: "Api", tmp_path: Path) -> None:
    for name, kept in (
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\a.txt", "a.txt"),
        ("..", "file"),
        ("a\0b\n", "ab"),
    ):
        path = await begin(api, 0, filename=name, filetype="text/html\r\nx")
        told = (await api.get(path)).json()
        assert (told["name"], told["media_type"]) == (kept, "application/octet-stream")
    assert {path.name for path in tmp_path.iterdir()} <= {
        "runs.db", "runs.db-wal", "runs.db-shm", "runs.db-uploads"
    }  # fmt: skip


async def test_a_run_needs_finished_uploads(api: "Api") -> None:
    path = await begin(api, 5)
    for file in (path.rpartition("/")[2], "upload_" + "0" * 32, "../runs.db", 7):
        answer = await api.post("/api/runs", json={"function": "read", "input": {"file": file}})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["field"]) == (422, "invalid_input", "file")
    answer = await api.post("/api/runs", json={"function": "read_some", "input": {"files": ["x"]}})
    assert answer.json()["error"]["field"].startswith("files")


async def test_an_empty_file_is_finished_at_once(api: "Api") -> None:
    path = await begin(api, 0, filename="empty")
    run = await api.ended(await api.submit("read", file=path.rpartition("/")[2]))
    assert (run["result"]["size"], run["result"]["start"]) == (0, "")


async def test_an_upload_can_be_removed_unless_a_run_has_it(api: "Api") -> None:
    unused, used = await upload(api, b"x"), await upload(api, b"x")
    await api.ended(await api.submit("read", file=used))
    assert (await api.delete(f"/api/uploads/{unused}", headers=TUS)).status_code == 204
    assert refusal(await api.get(f"/api/uploads/{unused}"))[:2] == (404, "unknown_upload")
    assert refusal(await api.delete(f"/api/uploads/{used}", headers=TUS))[:2] == (409, "upload_in_use")
    assert await offset_of(api, f"/api/uploads/{used}") == 1


async def test_where_only_post_gets_through(api: "Api") -> None:
    path = await begin(api, 2)
    headers = PART | {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert (await api.post(path, content=b"xy", headers=headers)).status_code == 204
    assert await offset_of(api, path) == 2


async def test_uploads_need_the_token(connect: "type[Api]") -> None:
    async with live_server(make_app(token="secret")) as url:
        async with connect(url) as api:
            answer = await api.post("/api/uploads", headers=TUS | {"Upload-Length": "1"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
        async with connect(url, headers={"Authorization": "Bearer secret"}) as api:
            await api.ended(await api.submit("read", file=await upload(api, b"x")))


async def test_uploads_below_the_path_of_a_mounted_app(connect: "type[Api]") -> None:
    app = make_app()
    outer = Starlette(routes=[Mount("/below", app)], lifespan=app.lifespan)
    async with live_server(outer) as url, connect(f"{url}/below") as api:
        answer = await api.post("/api/uploads", headers=TUS | {"Upload-Length": "1"})
        place = answer.headers["location"]
        assert place == f"/below/api/uploads/{answer.json()['upload_id']}"
        answer = await api.patch(f"{url}{place}", content=b"x", headers=PART | {"Upload-Offset": "0"})
        assert answer.status_code == 204
        run = await api.ended(await api.submit("read", file=place.rpartition("/")[2]))
        assert run["result"]["size"] == 1


async def test_where_no_files_are_taken_not_even_empty_ones_are(connect: "type[Api]") -> None:
    async with live_server(make_app(max_upload_bytes=0)) as url, connect(url) as api:
        answer = await api.post("/api/uploads", headers=TUS | {"Upload-Length": "0"})
        assert refusal(answer) == (413, "body_too_large", "Upload-Length")


async def test_uploads_of_a_store_in_memory_go_with_it(connect: "type[Api]") -> None:
    app = make_app()
    async with live_server(app) as url, connect(url) as api:
        upload_id = await upload(api, b"x")
        folder = (await app.start()).uploads.folder
        assert (folder / upload_id).is_dir()
    assert not folder.exists()


async def test_an_upload_outlives_its_server(connect: "type[Api]", tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    async with live_server(make_app(store)) as url, connect(url) as api:
        path = await begin(api, 10, filename="data.txt")
        await send(api, path, b"01234", 0)
    async with live_server(make_app(store)) as url, connect(url) as api:
        offset = await offset_of(api, path)
        assert offset == 5
        await send(api, path, b"56789", offset)
        run = await api.ended(await api.submit("read", file=path.rpartition("/")[2]))
        assert (run["result"]["start"], run["result"]["name"]) == ("01234", "data.txt")


async def test_a_large_body_is_not_held_in_memory(api: "Api", monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = Writing.write

    def measured(writing: Writing, data: bytes) -> None:
        sizes.append(len(data))
        write(writing, data)

    monkeypatch.setattr(Writing, "write", measured)
    await upload(api, CONTENT)
    assert sum(sizes) == len(CONTENT)
    assert max(sizes) <= 512 * 1024


async def test_the_same_key_uses_no_second_file(api: "Api") -> None:
    first, second = await upload(api, b"1"), await upload(api, b"2")
    for file in (first, second):
        body = {"function": "read", "input": {"file": file}, "key": "once"}
        run_id = (await api.post("/api/runs", json=body)).json()["run_id"]
    run = await api.ended(run_id)
    assert msgspec.convert(run["input"], dict[str, str]) == {"file": first}
    assert (await api.delete(f"/api/uploads/{second}", headers=TUS)).status_code == 204
