"""What the tests of uploads share: functions that take files, and a client of tus."""

import base64
import random
from typing import TYPE_CHECKING, Any

import httpx

import penstock

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
