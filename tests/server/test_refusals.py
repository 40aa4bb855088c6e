"""What a server refuses: each with its status, its code and the field that is to blame."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio

import penstock
from penstock.testing import live_server

if TYPE_CHECKING:
    from tests.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


def make_app() -> penstock.App:
    app = penstock.App(store="memory:", max_body_bytes=1 << 20, grace_s=0)

    @app.function
    def add(a: int, b: int = 1) -> int:
        return a + b

    @app.function
    def take(value: Any) -> None:
        del value

    return app


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def url() -> AsyncIterator[str]:
    """One server for all of them: what is refused leaves nothing behind."""
    async with live_server(make_app()) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="module")
async def api(url: str, connect: "type[Api]") -> "AsyncIterator[Api]":
    async with connect(url) as api:
        yield api


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and field; every refusal has a message and a hint."""
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error["message"]
    assert isinstance(error["hint"], str)
    return answer.status_code, error["code"], error.get("field")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"function": "nothing"}, (404, "unknown_function", "function")),
        ({"input": {}}, (400, "bad_request", "function")),
        ({"function": 3}, (400, "bad_request", "function")),
        ({"function": "add", "more": 1}, (400, "bad_request", "more")),
        ({"function": "add", "key": ""}, (400, "bad_request", "key")),
        ({"function": "add", "session": "s" * 201}, (400, "bad_request", "session")),
        ({"function": "add", "input": [1]}, (422, "invalid_input", "input")),
        ({"function": "add", "input": {}}, (422, "invalid_input", "a")),
        ({"function": "add"}, (422, "invalid_input", "a")),
        ({"function": "add", "input": {"a": "x"}}, (422, "invalid_input", "a")),
        ({"function": "add", "input": {"a": 1, "c": 1}}, (422, "invalid_input", "c")),
        ([1], (400, "bad_request", None)),
    ],
)
async def test_what_can_not_be_submitted(api: "Api", body: object, expected: tuple[int, str, str]) -> None:
    assert refusal(await api.post("/api/runs", json=body)) == expected
    assert (await api.get("/api/runs")).json()["runs"] == []


@pytest.mark.parametrize("body", [b"", b"{", b'{"function": "add"', b"\xff\xfe", b"null"])
async def test_bodies_that_are_not_a_submission(api: "Api", body: bytes) -> None:
    answer = await api.post("/api/runs", content=body, headers={"Content-Type": "application/json"})
    assert refusal(answer)[:2] == (400, "bad_request")


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "body",
    [
        DEEP,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"function":"take","input":{"value":%b}}' % DEEP,
        b'{"function":"take","input":%b}' % (b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        b'{"function":"take\xff","input":{"value":1}}',
        b'{"function":"take","key":"\xff","input":{"value":1}}',
        b'{"function":"take","input":{"value":"\xff"}}',
        b'{"function":"take","input":{"value\xff":1}}',
        b'{"function":"take","input":{"value":"\\ud800"}}',
        b'{"function":"take","input":{"value":1}} ,',
        b'{"function":"take","input":{"value":NaN}}',
        b'\xef\xbb\xbf{"function":"take","input":{"value":1}}',
        b'{"function":"add","input":{"a":%b}}' % (b"9" * 5000),
        b'{"function":"add","input":{"a":1e999}}',
    ],
    ids=lambda body: ascii(body[:60]),
)
async def test_bodies_made_to_break_something(api: "Api", body: bytes) -> None:
    answer = await api.post("/api/runs", content=body, headers={"Content-Type": "application/json"})
    assert refusal(answer)[0] in (400, 422), answer.text
    assert (await api.get("/api/runs?function=take")).json()["runs"] == []


async def test_a_refused_method_is_told_which_are_taken(api: "Api") -> None:
    answer = await api.delete("/api/runs")
    assert refusal(answer) == (405, "method_not_allowed", None)
    assert {"GET", "POST"} <= {name.strip() for name in answer.headers["allow"].split(",")}


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_other_content_is_refused(api: "Api", media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = await api.post("/api/runs", content=b'{"function":"add"}', headers=headers)
    assert refusal(answer) == (415, "unsupported_media_type", None)


async def test_a_large_body_is_refused_as_soon_as_it_is_announced(api: "Api") -> None:
    host, port = api.base_url.host, api.base_url.port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        b"POST /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1048577\r\n\r\n"
    )
    async with asyncio.timeout(30):
        assert (await reader.readline()).split()[1] == b"413"  # not a byte of the body was sent
    writer.close()


async def test_a_large_body_is_refused_where_nothing_was_announced(api: "Api") -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 400_000

    headers = {"Content-Type": "application/json"}
    assert refusal(await api.post("/api/runs", content=pieces(), headers=headers)) == (
        413,
        "body_too_large",
        None,
    )


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/nothing", (404, "not_found", None)),
        ("GET", "/api/runs/run_nothing", (404, "unknown_run", None)),
        ("GET", "/api/runs/run_nothing/events", (404, "unknown_run", None)),
        ("GET", "/api/runs/run_nothing/events?poll=0", (404, "unknown_run", None)),
        ("POST", "/api/runs/run_nothing/cancel", (404, "unknown_run", None)),
        ("DELETE", "/api/runs", (405, "method_not_allowed", None)),
        ("GET", "/api/runs/run_nothing/cancel", (405, "method_not_allowed", None)),
        ("POST", "/api/functions", (405, "method_not_allowed", None)),
        ("GET", "/api/runs?state=lost", (400, "bad_request", "state")),
        ("GET", "/api/runs?limit=0", (400, "bad_request", "limit")),
        ("GET", "/api/runs?limit=501", (400, "bad_request", "limit")),
        ("GET", "/api/runs?limit=x", (400, "bad_request", "limit")),
        ("GET", "/api/runs?limit=", (400, "bad_request", "limit")),
        ("GET", f"/api/runs?limit={'1' * 5000}", (400, "bad_request", "limit")),
        ("GET", "/api/runs?limit=%C2%B2", (400, "bad_request", "limit")),
        ("GET", "/api/runs/%FF", (404, "unknown_run", None)),
        ("GET", "/api/runs?before=run_nothing", (400, "bad_request", "before")),
    ],
)
async def test_what_is_not_there(
    api: "Api", method: str, path: str, expected: tuple[int, str, str | None]
) -> None:
    assert refusal(await api.request(method, path)) == expected


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("after=nonsense", "bad_cursor", "after"),
        ("after=abcdefgh-01", "bad_cursor", "after"),
        ("after=abcdefgh--1", "bad_cursor", "after"),
        ("rate=x", "bad_request", "rate"),
        ("rate=-1", "bad_request", "rate"),
        ("rate=61", "bad_request", "rate"),
        ("rate=0.001", "bad_request", "rate"),
        ("rate=nan", "bad_request", "rate"),
        ("poll=x", "bad_request", "poll"),
        ("poll=-1", "bad_request", "poll"),
        ("poll=nan", "bad_request", "poll"),
        (f"poll={'9' * 5000}x", "bad_request", "poll"),
        (f"rate={'9' * 5000}", "bad_request", "rate"),
        (f"after=abcdefgh-{'9' * 5000}", "bad_cursor", "after"),
    ],
)
async def test_readings_that_can_not_be_asked_for(api: "Api", query: str, code: str, field: str) -> None:
    run_id = await api.submit("add", a=1)
    assert refusal(await api.get(f"/api/runs/{run_id}/events?{query}")) == (400, code, field)
