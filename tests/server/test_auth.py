"""Who is let in: tokens as bearer and as cookie, host names, applications mounted in others."""

import asyncio
import http.cookies
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

import penstock
from penstock.server.auth import is_loopback, require_known_host
from penstock.testing import live_server

if TYPE_CHECKING:
    from tests.conftest import Api

TOKEN = "s3cret/+=token"


def make_app(**settings: Any) -> penstock.App:
    app = penstock.App(**({"store": "memory:"} | settings))

    @app.function
    def add(a: int) -> int:
        return a + 1

    return app


@pytest.fixture
async def api(connect: "type[Api]") -> "AsyncIterator[Api]":
    async with live_server(make_app(token=TOKEN)) as url, connect(url) as api:
        yield api


@pytest.mark.parametrize(
    "path",
    ["/", "/?token=wrong", "/?token=", "/api/functions", f"/api/functions?token={TOKEN}", "/web/x", "/x"],
)
async def test_without_the_token_there_is_nothing(api: "Api", path: str) -> None:
    answer = await api.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert "token" in answer.json()["error"]["hint"].lower()
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_bearer_is_let_in(api: "Api") -> None:
    for scheme in ("Bearer", "bearer"):
        assert (
            await api.get("/api/functions", headers={"Authorization": f"{scheme} {TOKEN}"})
        ).status_code == 200
    for wrong in (f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", TOKEN, "Bearer \xe4"):
        headers = {b"Authorization": wrong.encode("latin-1")}
        assert (await api.get("/api/functions", headers=headers)).status_code == 401


async def test_the_page_turns_the_token_into_a_cookie(api: "Api") -> None:
    answer = await api.get("/", params={"run": "run_1", "token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/?run=run_1")
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    assert (await api.get("/api/functions")).status_code == 200  # the client keeps cookies
    run_id = await api.submit("add", a=1)
    assert (await api.messages(run_id))[-1].event == "message"


async def test_other_cookies_are_not_in_the_way(api: "Api") -> None:
    cookie = http.cookies.SimpleCookie((await api.get("/", params={"token": TOKEN})).headers["set-cookie"])
    ours = f"penstock={cookie['penstock'].value}"
    api.cookies.clear()
    for others in ("a=b; {}", 'prefs={{"x": [1]}}; {}', "no-value; {}", "ümlaut=x; {}", "{}; x"):
        headers = {b"Cookie": others.format(ours).encode()}
        assert (await api.get("/api/functions", headers=headers)).status_code == 200, others
    assert (await api.get("/api/functions", headers={"Cookie": "penstock=0"})).status_code == 401


async def test_health_is_for_everyone(api: "Api") -> None:
    assert (await api.get("/healthz")).status_code == 200
    assert (await api.get("/readyz")).status_code == 401


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost", True), ("LOCALHOST", True), ("app.localhost", True), ("127.0.0.1", True),
        ("127.8.9.1", True), ("[::1]", True), ("::1", True), ("example.com", False), ("10.0.0.1", False),
        ("127.0.0.1.example.com", False), ("localhost.example.com", False), ("", False), ("0.0.0.0", False),
    ],
)  # fmt: skip
def test_names_of_this_machine(host: str, ours: bool) -> None:
    assert is_loopback(host) is ours


async def test_strange_names_are_refused(connect: "type[Api]") -> None:
    app = make_app()
    guarded = require_known_host(app, frozenset({"box.lan"}))
    async with live_server(guarded) as url, connect(url) as api:
        for host in ("localhost:1", "127.0.0.1", "[::1]:80", "box.lan", "BOX.lan:8000"):
            assert (await api.get("/api/functions", headers={"Host": host})).status_code == 200, host
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::2]:80", ""):
            answer = await api.get("/api/functions", headers={"Host": host})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden_host"), host
        assert "--allowed-hosts" in answer.json()["error"]["hint"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Host: localhost:80\r\n", 200), (b"Host: [::1]\r\n", 200), (b"Host: [::1]evil.com\r\n", 403),
        (b"Host: localhost:80:80\r\n", 403), (b"Host: [::1]:80:80\r\n", 403), (b"Host: localhost:x\r\n", 403),
        (b"Host: evil.com:80@localhost\r\n", 403), (b"Host: \xff\r\n", 403), (b"Host:\r\n", 403), (b"", 403),
    ],
)  # fmt: skip
async def test_names_that_only_look_like_ours(header: bytes, status: int) -> None:
    async with live_server(require_known_host(make_app(), frozenset())) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"GET /api/functions HTTP/1.1\r\n%bConnection: close\r\n\r\n" % header)
        async with asyncio.timeout(30):
            answer = await reader.read()
        assert int(answer.split()[1]) == status
        assert (b"forbidden_host" in answer) is (status == 403)
        writer.close()


# --- Mounted in another application ---


async def root(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("the outer page")(scope, receive, send)


async def test_mounted_without_a_lifespan(connect: "type[Api]") -> None:
    app = make_app(grace_s=0)
    outer = Starlette(routes=[Mount("/deep/penstock", app), Mount("/", root)])
    async with live_server(outer) as url, connect(url) as api:
        assert (await api.get("/")).text == "the outer page"
        answer = await api.post("/deep/penstock/api/runs", json={"function": "add", "input": {"a": 1}})
        path = answer.json()["events"]
        assert path == f"/deep/penstock/api/runs/{answer.json()['run_id']}/events"
        assert b'"result":2' in (await api.get(path)).content
        run = (await api.get(path.removesuffix("/events"))).json()
        assert run["events"] == path
        assert (await api.get("/deep/penstock/")).headers["content-type"].startswith("text/html")
        assert (await api.get("/deep/penstock/nothing")).json()["error"]["code"] == "not_found"
    await app.stop()


async def test_many_first_requests_start_it_once(connect: "type[Api]") -> None:
    app = make_app(grace_s=0)
    async with live_server(Starlette(routes=[Mount("/p", app)])) as url, connect(url) as api:
        answers = await asyncio.gather(*[api.get("/p/api/functions") for _ in range(20)])
        assert {answer.status_code for answer in answers} == {200}
        assert len(await (await app.start()).store.workers()) == 1
    await app.stop()


async def test_mounted_with_its_lifespan(connect: "type[Api]") -> None:
    app = make_app()
    outer = Starlette(routes=[Mount("/p", app)], lifespan=app.lifespan)
    async with live_server(outer) as url, connect(f"{url}/p") as api:
        assert app._services is not None
        run_id = await api.submit("add", a=1)
        assert (await api.ended(run_id))["result"] == 2
    assert app._services is None


async def test_mounted_with_a_token(connect: "type[Api]") -> None:
    app = make_app(token=TOKEN)
    outer = Starlette(routes=[Mount("/p", app)], lifespan=app.lifespan)
    async with live_server(outer) as url, connect(url) as api:
        assert (await api.get("/p/healthz")).status_code == 200
        assert (await api.get("/p/")).status_code == 401
        answer = await api.get("/p/", params={"token": TOKEN})
        assert answer.headers["location"] == "/p/"
        assert "path=/p/" in answer.headers["set-cookie"].lower()
        assert (await api.get("/p/api/functions")).status_code == 200
        assert (await api.get("/p/")).status_code == 200
