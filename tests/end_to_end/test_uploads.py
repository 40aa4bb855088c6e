"""Uploads to a service of real processes: it is killed midway, serves from several, and isolates functions."""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.testing import ServerProcess, until

if TYPE_CHECKING:
    from tests.conftest import Api

SOURCE = """
import hashlib, os

@app.function
def digest(file: penstock.File) -> list:
    return [file.name, hashlib.sha256(file.path.read_bytes()).hexdigest()]

@app.function(isolation="process")
def apart(files: list[penstock.File]) -> list:
    return [os.getppid() != 1, [file.open().read(3).decode() for file in files]]
"""

TUS = {"Tus-Resumable": "1.0.0"}
PART = TUS | {"Content-Type": "application/offset+octet-stream"}
CONTENT = random.Random(3).randbytes(6_000_000)


async def begin(api: "Api", size: int) -> str:
    headers = TUS | {"Upload-Length": str(size), "Upload-Metadata": "filename ZGF0YS5iaW4="}
    answer = await api.post("/api/uploads", headers=headers)
    assert answer.status_code == 201
    return answer.headers["location"]


async def go_on(api: "Api", path: str, data: bytes) -> int:
    """Ask where to go on, send the rest, and ask again where that was refused; where it began last."""

    async def rest() -> list[int]:
        offset = int((await api.head(path, headers=TUS)).headers["upload-offset"])
        headers = PART | {"Upload-Offset": str(offset)}
        answer = await api.patch(path, content=data[offset:], headers=headers)
        assert answer.status_code in (204, 409, 423)
        return [offset] if answer.status_code == 204 else []

    return (await until(rest, what="the rest is taken"))[0]


async def test_an_upload_goes_on_after_its_server_was_killed(
    write_app: Callable[[str], Path], connect: "type[Api]", tmp_path: Path
) -> None:
    write_app(SOURCE)
    async with ServerProcess("app.py", cwd=tmp_path) as server:
        async with connect(server.url) as api:
            path = await begin(api, len(CONTENT))
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = "".join(f"{name}: {value}\r\n" for name, value in (PART | {"Upload-Offset": "0"}).items())
        length = f"Content-Length: {len(CONTENT)}"
        writer.write(f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n{head}\r\n".encode())
        writer.write(CONTENT[:3_000_000])
        content = tmp_path / "penstock.db-uploads" / path.rpartition("/")[2] / "content.bin"
        await until(lambda: content.stat().st_size > 1_000_000, what="a part has come")
        await asyncio.to_thread(server.kill)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await asyncio.to_thread(server.restart)
        async with connect(server.url) as api:
            assert await go_on(api, path, CONTENT) > 1_000_000
            run = await api.ended(await api.submit("digest", file=path.rpartition("/")[2]))
    assert run["result"] == ["data.bin", digest_of(CONTENT)]


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_any_process_of_a_service_goes_on_with_an_upload(
    write_app: Callable[[str], Path], connect: "type[Api]", tmp_path: Path
) -> None:
    write_app(SOURCE)
    async with ServerProcess("app.py", "--workers", "2", cwd=tmp_path) as server:
        path = ""
        for start in range(0, 30, 3):
            async with connect(server.url) as api:  # a connection of its own, to whichever process takes it
                path = path or await begin(api, 30)
                offset = int((await api.head(path, headers=TUS)).headers["upload-offset"])
                assert offset == start
                headers = PART | {"Upload-Offset": str(offset)}
                assert (await api.patch(path, content=b"abc", headers=headers)).status_code == 204
        upload_id = path.rpartition("/")[2]
        for _ in range(4):
            async with connect(server.url) as api:
                run = await api.ended(await api.submit("digest", file=upload_id))
                assert run["result"] == ["data.bin", digest_of(b"abc" * 10)]
        async with connect(server.url) as api:
            run = await api.ended(await api.submit("apart", files=[upload_id, upload_id]))
            assert run["result"] == [True, ["abc", "abc"]]
