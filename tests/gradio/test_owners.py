"""Who asks, as the real Gradio knows it, and whose a session is then."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from penstock.integrations.gradio.access.owners import Owners, may_read, owner_after, username_of

from .apps import gradio_app

HERE = "http://127.0.0.1:7860"


class Asked:
    """Tells who asks, where a middleware of a Gradio app would answer; `/page` with what a page is given."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or path not in ("/who", "/page"):
            await self._app(scope, receive, send)
            return
        owners = scope["app"].state.owners = getattr(scope["app"].state, "owners", None) or Owners(
            scope["app"], self._app
        )
        if not await owners.admits(scope):
            await owners.refuse(scope, receive, send)
            return
        headers = owners.page_headers(scope) if path == "/page" else []
        body = msgspec.json.encode(await owners.of(scope))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


Build = Callable[..., Any]


def client_of(app: ASGIApp, base: str = HERE) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50000))
    return httpx.AsyncClient(transport=transport, base_url=base)


def app_with(**auth: Any) -> Any:
    return gradio_app(middleware=[Middleware(Asked)], **auth)


async def test_without_a_login_whoever_has_no_cookie_is_nobody() -> None:
    async with client_of(app_with()) as client:
        assert (await client.get("/who")).json() is None


async def test_a_page_brings_a_cookie_and_from_then_on_the_browser_is_known() -> None:
    app = app_with()
    async with client_of(app) as one, client_of(app) as other:
        page = await one.get("/page")
        await other.get("/page")
        cookie = page.headers["set-cookie"]
        value = cookie.partition("=")[2].partition(";")[0]
        assert len(value) == 43
        assert {"Path=/", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        assert page.headers["cache-control"] == "private"
        known = (await one.get("/who")).json()
        assert known.startswith("cookie:")
        assert value not in known
        assert (await one.get("/who")).json() == known
        assert (await other.get("/who")).json() != known


async def test_the_cookie_stays_the_same_from_page_to_page() -> None:
    async with client_of(app_with()) as client:
        await client.get("/page")
        first = (await client.get("/who")).json()
        await client.get("/page")
        assert (await client.get("/who")).json() == first


@pytest.mark.parametrize("header", ["https", "https,http"])
async def test_over_https_the_cookie_is_secure_behind_a_proxy_too(header: str) -> None:
    async with client_of(app_with(), "https://app.example") as client:
        assert "Secure" in (await client.get("/page")).headers["set-cookie"]
    async with client_of(app_with()) as client:
        page = await client.get("/page", headers={"X-Forwarded-Proto": header})
        assert "Secure" in page.headers["set-cookie"]


@pytest.mark.parametrize(
    ("root_path", "path"),
    [("/tools/app", "/tools/app"), ("https://a.example/tools/", "/tools"), ("/a;b c", "/a%3Bb%20c")],
)
async def test_the_cookie_is_for_the_root_path_of_the_app_only(root_path: str, path: str) -> None:
    app = app_with(root_path=root_path)
    async with client_of(app) as client:
        assert f"; Path={path}; " in (await client.get("/page")).headers["set-cookie"]


@pytest.mark.parametrize(
    "cookies", ["penstock-gradio=short", "penstock-gradio=", "xpenstock-gradio=" + "a" * 43, "a=b; ;;=;"]
)
async def test_a_cookie_that_is_not_of_our_making_is_none(cookies: str) -> None:
    async with client_of(app_with()) as client:
        assert (await client.get("/who", headers={"Cookie": cookies})).json() is None
        assert "a" * 43 not in (await client.get("/page", headers={"Cookie": cookies})).headers["set-cookie"]


async def test_of_two_cookies_that_of_the_longer_path_counts_which_comes_first() -> None:
    async with client_of(app_with()) as client:
        one, two = "penstock-gradio=" + "a" * 43, "penstock-gradio=" + "b" * 43
        first = (await client.get("/who", headers={"Cookie": f"x=1; {one}; y=%; {two}"})).json()
        assert (await client.get("/who", headers={"Cookie": one})).json() == first
        assert (await client.get("/who", headers={"Cookie": two})).json() != first


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_page_of_another_address_speaks_for_nobody(site: str) -> None:
    async with client_of(app_with()) as client:
        await client.get("/page")
        for mode in ("cors", "no-cors"):
            headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
            assert (await client.get("/who", headers=headers)).json() is None
        followed = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
        assert (await client.get("/who", headers=followed)).json() is not None
        assert (await client.get("/who", headers={"Sec-Fetch-Site": "same-origin"})).json() is not None


async def test_a_login_of_gradios_is_who_asks_and_without_one_the_refusal_is_gradios() -> None:
    app = app_with(auth=[("ann e", "pass"), ("bob", "word")])
    async with client_of(app) as ann, client_of(app) as bob, client_of(app) as nobody:
        for client, name, password in ((ann, "ann e", "pass"), (bob, "bob", "word")):
            login = await client.post("/login", data={"username": name, "password": password})
            assert login.status_code == 200
        assert (await ann.get("/who")).json() == "user:ann%20e"
        assert (await bob.get("/who")).json() == "user:bob"
        refused, own = await nobody.get("/who"), await nobody.get("/gradio_api/login_check")
        assert (refused.status_code, refused.json()) == (own.status_code, own.json()) == (401, own.json())
        forged = await nobody.get("/who", headers={"Cookie": "access-token-x=ann; user=ann"})
        assert forged.status_code == 401


async def test_a_login_beats_the_cookie_of_the_browser() -> None:
    async with client_of(app_with(auth=("ann", "pass"))) as client:
        await client.post("/login", data={"username": "ann", "password": "pass"})
        await client.get("/page")
        assert (await client.get("/who")).json() == "user:ann"


async def test_a_logout_counts_within_a_moment() -> None:
    app = app_with(auth=("ann", "pass"))
    async with client_of(app) as client:
        await client.post("/login", data={"username": "ann", "password": "pass"})
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
        assert (await client.get("/who")).json() == "user:ann"
        await client.get("/logout")
        async with client_of(app) as thief:  # who has kept the cookies
            deadline = time.monotonic() + 10
            while (await thief.get("/who", headers=cookies)).status_code != 401:
                assert time.monotonic() < deadline


async def test_a_login_that_gradio_leaves_to_others_is_asked_for_each_request() -> None:
    calls = []

    def name_in(request: Request) -> str | None:
        calls.append(request.url.path)
        return request.headers.get("x-user")

    async with client_of(app_with(auth_dependency=name_in)) as client:
        assert (await client.get("/who", headers={"X-User": "ann"})).json() == "user:ann"
        assert len(calls) == 1
        assert (await client.get("/who", headers={"X-User": "bob"})).json() == "user:bob"
        assert (await client.get("/who")).status_code == 401


async def test_a_dependency_may_use_the_session_of_the_outer_application() -> None:
    def name_in(request: Request) -> str | None:
        name: str | None = request.session.get("user")
        return name

    app, session = app_with(auth_dependency=name_in), {"user": "ann"}

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:  # like a SessionMiddleware
        await app({**scope, "session": session}, receive, send)

    async with client_of(outer) as client:
        assert (await client.get("/who")).json() == "user:ann"
        session.clear()
        assert (await client.get("/who")).status_code == 401


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_dependency_that_refuses_in_its_own_way_is_heard() -> None:
    from fastapi import HTTPException

    def refuses(_: Request) -> str | None:
        raise HTTPException(418, "Bring a cup.")

    async with client_of(app_with(auth_dependency=refuses)) as client:
        refused = await client.get("/who")
        assert (refused.status_code, refused.json()) == (418, {"detail": "Bring a cup."})


async def test_where_nobody_can_be_asked_whether_a_login_is_required_gradio_is_asked() -> None:
    class Unknown:
        pass

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        name = dict(scope["headers"]).get(b"x-user")
        body = msgspec.json.encode(name.decode() if name else None)
        status = 200 if scope["path"] == "/gradio_api/user" or name else 401
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    owners = Owners(Unknown(), inner)
    scope = {"type": "http", "method": "GET", "path": "/who", "root_path": "", "headers": []}
    assert not await owners.admits(dict(scope))
    assert await owners.of(scope | {"headers": [(b"x-user", b"ann")]}) == "user:ann"


def oauth_scope(gradio: Any, **account: Any) -> Scope:
    info = {"userinfo": account, "expires_at": time.time() + 60}
    return {"type": "http", "method": "GET", "headers": [], "session": {"oauth_info": info}, "app": gradio}


class WithButton:
    """What is looked at of a Gradio app that has a login button."""

    class blocks:  # noqa: N801
        expects_oauth = True

    auth = None
    auth_dependency = None


@pytest.fixture
def on_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    import gradio.oauth

    monkeypatch.setattr(gradio.oauth, "OAUTH_CLIENT_SECRET", "secret")
    monkeypatch.setenv("SPACE_ID", "someone/space")
    monkeypatch.setenv("SYSTEM", "spaces")


async def nothing(*_: object) -> None:
    raise AssertionError("not to be asked")


@pytest.mark.usefixtures("on_spaces")
async def test_an_account_elsewhere_owns_what_it_begins_and_reads_on_what_its_browser_began() -> None:
    owners, cookie = Owners(WithButton, nothing), (b"cookie", b"penstock-gradio=" + b"a" * 43)
    before: Scope = {"type": "http", "method": "GET", "headers": [cookie]}
    browser = await owners.of(before)
    scope = oauth_scope(WithButton, sub="42", preferred_username="ann")
    scope["headers"] = [cookie]
    after = await owners.of(scope)
    assert after == f"oauth:42 {browser}"
    assert may_read(after, browser)
    assert not may_read(browser, after)
    assert may_read("oauth:42 cookie:other", after)
    assert not may_read("oauth:43 " + str(browser), after)
    assert owner_after(after, browser) == after
    assert owner_after(browser, browser) == browser
    assert owner_after(after, None) is None
    assert owner_after("oauth:43 x", "oauth:42") == "oauth:42"


@pytest.mark.usefixtures("on_spaces")
async def test_an_account_whose_login_has_run_out_is_nobody() -> None:
    scope = oauth_scope(WithButton, sub="42")
    scope["session"]["oauth_info"]["expires_at"] = 1
    assert await Owners(WithButton, nothing).of(scope) is None


async def test_the_pretended_account_of_gradio_elsewhere_than_on_spaces_is_nobody() -> None:
    # Everybody who presses the button there is the same, and the key of its cookie is known to all.
    assert await Owners(WithButton, nothing).of(oauth_scope(WithButton, sub="42")) is None


@pytest.mark.parametrize(
    ("asking", "owner", "may"),
    [
        (None, None, True),
        ("user:ann", None, True),
        (None, "cookie:1", False),
        ("cookie:2", "cookie:1", False),
        ("cookie:1", "user:ann", False),
        ("user:ann", "user:ann", True),
        ("user:an", "user:ann", False),
        ("", "cookie:1", False),
        ("oauth:1 cookie:1", "cookie:1", True),
        ("cookie:1", "oauth:1 cookie:1", False),
    ],
)
def test_who_may_read_what(asking: str | None, owner: str | None, may: bool) -> None:
    assert may_read(asking, owner) == may


def test_a_users_name_is_found_in_an_owner() -> None:
    assert username_of("user:ann%20e") == "ann e"
    assert username_of("oauth:1 cookie:2") is None
    assert username_of(None) is None


async def test_without_a_login_nothing_is_asked_of_gradio() -> None:
    class Open:
        auth = None
        auth_dependency = None

    owners: Owners = Owners(Open, nothing)
    asking: Awaitable[str | None] = owners.of({"type": "http", "headers": []})
    assert await asking is None
