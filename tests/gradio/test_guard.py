"""Who gets what of Penstock's own server inside a Gradio app."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

import penstock
from penstock.integrations.gradio.access import local
from penstock.integrations.gradio.access.guard import Guard
from penstock.integrations.gradio.access.owners import Owners

from .apps import gradio_app

HERE = "http://127.0.0.1:7860"
ANN, BOB = "a" * 43, "b" * 43
ACCOUNTS = [("ann", "pass"), ("bob", "word"), ("eve", "none")]


class Place:
    """A Gradio app with a guarded server below `/penstock` and `/gradio_api/penstock`, and runs with owners."""

    def __init__(self, auth: Any = None, root_path: str = "", **options: Any) -> None:
        self.owners: dict[str, str | None] = {}
        self._options = options
        self._guard: Guard | None = None
        self._penstock = penstock.App(store="memory:", token="", rate=0)
        self._penstock.function(_echo)
        self.gradio = gradio_app([Middleware(_Mounted, place=self)], auth=auth, root_path=root_path)

    async def start(self) -> None:
        self._services = await self._penstock.start()

    async def stop(self) -> None:
        await self._penstock.stop()

    async def run(self, owner: str | None, text: str = "words") -> str:
        receipt = await self._services.queue.submit("echo", b'{"text": "%s"}' % text.encode())
        self.owners[receipt.run.id] = owner
        return str(receipt.run.id)

    async def whose(self, run_id: str) -> tuple[bool, str | None]:
        return run_id in self.owners, self.owners.get(run_id)

    def guard(self, gradio: Any, inner: ASGIApp) -> Guard:
        if self._guard is None:
            self._guard = Guard(Owners(gradio, inner), self.whose, self._services.server, **self._options)
        return self._guard

    def forget(self) -> None:
        self._guard = None

    def client(self, cookie: str = "", *, address: str = "127.0.0.1", base: str = HERE) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.gradio, client=(address, 50000))
        headers = {"Cookie": f"penstock-gradio={cookie}"} if cookie else {}
        return httpx.AsyncClient(transport=transport, base_url=base, headers=headers)

    @asynccontextmanager
    async def logged_in(self, name: str, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with self.client(**more) as client:
            given = {"username": name, "password": dict(ACCOUNTS)[name]}
            assert (await client.post("/login", data=given)).status_code == 200
            yield client


async def _echo(text: str) -> AsyncIterator[str]:
    yield text


_echo.__name__ = "echo"


class _Mounted:
    def __init__(self, app: ASGIApp, place: Place) -> None:
        self._app, self._place = app, place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        route = scope["path"].removeprefix(root)
        for mount in ("/gradio_api/penstock", "/penstock"):
            if route.startswith(mount):
                below = {**scope, "root_path": root + mount, "path": root + route}
                await self._place.guard(scope["app"], self._app)(below, receive, send)
                return
        await self._app(scope, receive, send)


@asynccontextmanager
async def place(**options: Any) -> AsyncIterator[Place]:
    made = Place(**options)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def digest(cookie: str) -> str:
    import hashlib

    return f"cookie:{hashlib.sha256(cookie.encode()).hexdigest()[:32]}"


API = "/gradio_api/penstock/api"
CONSOLE = ("/penstock/", "/gradio_api/penstock/")
OPERATORS_ONLY = [
    ("GET", "/"), ("GET", "/api/runs"), ("POST", "/api/runs"), ("GET", "/api/queue"), ("GET", "/api/functions"),
    ("GET", "/metrics"), ("GET", "/healthz"), ("GET", "/readyz"), ("POST", "/api/uploads"), ("GET", "/nothing"),
    ("OPTIONS", "/api/uploads"), ("GET", "/api/events"), ("GET", "/api/runs/x/y"), ("GET", "/api/runs/x/events/"),
]  # fmt: skip


async def status(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> int:
    return (await client.request(method, path, **more)).status_code


# A page's own


async def test_a_page_reads_and_stops_the_runs_of_its_own() -> None:
    async with place() as app, app.client(ANN, address="203.0.113.5", base="http://app.example") as ann:
        run = await app.run(digest(ANN))
        for path in (
            f"/runs/{run}",
            f"/runs/{run}/events",
            f"/runs/{run}/events?poll=1",
            f"/events?stream={run}",
        ):
            assert await status(ann, "GET", API + path) == 200, path
        assert await status(ann, "POST", f"{API}/runs/{run}/cancel") == 202


@pytest.mark.parametrize("cookie", [BOB, ""], ids=["other", "none"])
async def test_anybody_elses_run_is_as_if_it_did_not_exist(cookie: str) -> None:
    async with place() as app, app.client(cookie, address="203.0.113.5", base="http://app.example") as other:
        run, none = await app.run(digest(ANN)), "0" * 32
        for method, path in (
            ("GET", "/runs/{}"), ("GET", "/runs/{}/events"), ("GET", "/runs/{}/events?poll=1"),
            ("GET", "/events?stream={}"), ("POST", "/runs/{}/cancel"), ("HEAD", "/runs/{}"),
            ("GET", "/runs/{}/ws"),
        ):  # fmt: skip
            answers = [await other.request(method, API + path.format(name)) for name in (run, none)]
            texts = [answer.text.replace(run, none) for answer in answers]
            assert [answer.status_code for answer in answers] == [404, 404], path
            assert texts[0] == texts[1]
            assert answers[0].headers == answers[1].headers
        assert (await app._services.queue.get(run)).cancel is False


async def test_of_several_streams_all_have_to_be_ones_own() -> None:
    async with place() as app, app.client(ANN, address="203.0.113.5") as ann:
        own, other = await app.run(digest(ANN)), await app.run(digest(BOB))
        assert await status(ann, "GET", f"{API}/events?stream={own}&stream={other}") == 404
        assert await status(ann, "GET", f"{API}/events?stream={own}&stream={other}@abcdefgh-1") == 404
        assert await status(ann, "GET", f"{API}/events?stream={own}&str%65am={other}") == 404
        assert await status(ann, "GET", f"{API}/events?stream={own};stream={other}") == 404


async def test_what_nobody_owns_is_read_by_its_id() -> None:
    async with place() as app, app.client(BOB, address="203.0.113.5") as bob:
        run = await app.run(None)
        assert await status(bob, "GET", f"{API}/runs/{run}/events") == 200


async def test_a_page_may_not_change_the_place_of_its_run_nor_submit_one() -> None:
    async with place() as app, app.client(ANN, address="203.0.113.5") as ann:
        run = await app.run(digest(ANN))
        assert await status(ann, "POST", f"{API}/runs/{run}/priority", json={"priority": 9}) == 401
        assert await status(ann, "POST", f"{API}/runs", json={"function": "echo"}) == 401


async def test_a_page_of_another_site_gets_nothing_with_the_visitors_cookies() -> None:
    foreign = [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
    ]
    async with place(token="secret") as app, app.client(ANN) as ann:
        run = await app.run(digest(ANN))
        for headers in foreign:
            assert await status(ann, "POST", f"{API}/runs/{run}/cancel", headers=headers) == 403, headers
            headers["Authorization"] = "Bearer secret"
            assert await status(ann, "POST", f"{API}/runs/{run}/cancel", headers=headers) == 403, headers
        assert await status(ann, "GET", f"{API}/runs", headers=foreign[0]) == 403
        same = {"Origin": "https://app.example", "Sec-Fetch-Site": "same-origin"}  # a proxy that changes Host
        assert await status(ann, "GET", f"{API}/runs/{run}", headers=same) == 200


async def test_a_link_on_another_site_leads_to_the_console() -> None:
    async with place() as app, app.client() as here:
        follows = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert await status(here, "GET", "/penstock/", headers=follows) == 200


async def test_the_modules_of_the_page_are_open_and_its_script_brings_a_cookie_to_whoever_has_none() -> None:
    async with place(auth=ACCOUNTS, root_path="/tools") as app, app.client(address="203.0.113.5") as client:
        first = await client.get("/gradio_api/penstock/web/client/index.js")
        assert first.status_code == 200
        assert "set-cookie" not in first.headers
        script = await client.get("/gradio_api/penstock/web/gradio/page.js")
        assert script.headers["set-cookie"].startswith("penstock-gradio=")
        assert "; Path=/tools; " in script.headers["set-cookie"]
        again = await client.get(
            "/gradio_api/penstock/web/gradio/page.js", headers={"Cookie": f"penstock-gradio={ANN}"}
        )
        assert "set-cookie" not in again.headers
        for path in ("/web/../auth.py", "/web/%2e%2e/%2e%2e/auth.py", "/web//etc/passwd"):
            assert (await client.get(f"/gradio_api/penstock{path}")).status_code in (401, 404)


# The console, without a login


async def test_from_elsewhere_the_console_is_closed() -> None:
    async with place() as app, app.client(ANN, address="203.0.113.5") as client:
        for mount in ("/penstock", "/gradio_api/penstock"):
            for method, path in OPERATORS_ONLY:
                assert await status(client, method, mount + path) == 401, (mount, method, path)


async def test_whoever_sits_at_this_machine_has_all_of_it() -> None:
    async with place() as app, app.client() as here:
        run = await app.run(digest(ANN))
        for path in CONSOLE:
            page = await here.get(path)
            assert page.status_code == 200
            assert "default-src 'self'" in page.headers["content-security-policy"]
        listed = (await here.get(f"{API}/runs")).json()["runs"]
        assert [one["run_id"] for one in listed] == [run]
        assert await status(here, "GET", f"{API}/runs/{run}/events") == 200
        assert (
            await status(here, "POST", f"{API}/runs", json={"function": "echo", "input": {"text": "a"}})
            == 202
        )


async def test_what_an_operator_runs_again_is_not_run_as_its_user() -> None:
    async with place() as app, app.client() as here:
        given = {"text": "a", "gradio": {"session_hash": "anns", "owner": "user:ann", "username": "ann"}}
        answer = await here.post(f"{API}/runs", json={"function": "echo", "input": given})
        assert answer.status_code == 202
        run = (await here.get(f"{API}/runs/{answer.json()['run_id']}")).json()
        assert run["input"] == {"text": "a"}
        assert await status(here, "POST", f"{API}/runs", content=b"no JSON") == 415


async def test_the_console_is_found_without_the_slash_that_its_addresses_need() -> None:
    async with place() as app, app.client() as here:
        for mount in ("/penstock", "/gradio_api/penstock"):
            answer = await here.get(f"{mount}?a=1")
            assert (answer.status_code, answer.headers["location"]) == (307, "penstock/?a=1")


FORWARDED = [
    {"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-For": "203.0.113.5"}, {"Forwarded": "for=127.0.0.1"},
    {"X-Forwarded-Host": "localhost"}, {"X-Forwarded-Proto": "http"}, {"X-Real-IP": "127.0.0.1"},
    {"Via": "1.1 me"},
    {"CF-Connecting-IP": "127.0.0.1"}, {"Host": "app.example"}, {"Host": "localhost.evil.example"}, {"Host": ""},
    {"Host": "[::1"},
    {"Origin": "https://app.example", "Sec-Fetch-Site": "same-origin"},
    {"Referer": "http://app.example/page"},
]  # fmt: skip
"""What shows that a request was passed on, whatever it claims."""


async def test_what_a_proxy_passes_on_does_not_open_it_and_after_it_nothing_does() -> None:
    async with place() as app, app.client() as here:
        for headers in FORWARDED:
            app.forget()  # as in an app of its own
            assert await status(here, "GET", "/penstock/") == 200
            assert await status(here, "GET", "/penstock/", headers=headers) == 401, headers
            assert await status(here, "GET", f"{API}/runs") == 401, headers


async def test_what_speaks_the_oldest_http_is_a_proxy_that_was_told_nothing() -> None:
    async with place() as app:
        transport = httpx.ASGITransport(_OldHttp(app.gradio), client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as nginx:
            assert await status(nginx, "GET", "/penstock/") == 401


class _OldHttp:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "http_version": "1.0"}, receive, send)


@pytest.mark.parametrize("address", ["203.0.113.5", "192.168.1.7", "::ffff:10.0.0.1"])
async def test_forged_headers_from_elsewhere_neither_open_nor_close_it(address: str) -> None:
    async with place() as app, app.client() as here, app.client(address=address) as away:
        for headers in FORWARDED[:8]:
            assert await status(away, "GET", "/penstock/", headers={"Host": "127.0.0.1", **headers}) == 401
        assert await status(here, "GET", "/penstock/") == 200


async def test_another_site_that_asks_from_this_machines_browser_does_not_close_it() -> None:
    async with place() as app, app.client() as here:
        headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
        assert await status(here, "GET", "/penstock/", headers=headers) == 403
        assert await status(here, "GET", "/penstock/") == 200


async def test_an_address_that_uvicorn_took_from_a_proxy_closes_it() -> None:
    async with place() as app, app.client() as here:
        transport = httpx.ASGITransport(app.gradio, client=("203.0.113.5", 0))
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as passed_on:
            headers = {"X-Forwarded-For": "203.0.113.5"}
            assert await status(passed_on, "GET", "/penstock/", headers=headers) == 401
        assert await status(here, "GET", "/penstock/") == 401


@pytest.mark.parametrize("setting", ["ssr_mode", "share"])
async def test_behind_gradios_own_proxies_only_the_token_opens_it(setting: str) -> None:
    async with place(token="secret") as app, app.client() as here:
        setattr(app.gradio.blocks, setting, True)
        assert await status(here, "GET", "/penstock/") == 401
        assert await status(here, "GET", "/penstock/", headers={"Authorization": "Bearer secret"}) == 200


async def test_a_process_of_another_user_of_this_machine_is_somebody_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    table = tmp_path / "tcp"
    monkeypatch.setattr(local, "SOCKETS", (tmp_path / "missing", table))
    lines = ["head", "0: 0100007F:C350 0100007F:1EB4 01 0:0 0:0 0 {} 0 1"]
    for user, answered in ((os.geteuid(), 200), (0, 200), (33, 401 if os.geteuid() != 33 else 200)):
        table.write_text("\n".join(lines).format(user))
        async with place() as app, app.client() as here:
            assert await status(here, "GET", "/penstock/") == answered, user


# The token


async def test_the_token_opens_it_from_anywhere_as_a_bearer_or_by_its_cookie() -> None:
    elsewhere = {"address": "203.0.113.5", "base": "https://app.example"}
    async with place(token="secret", root_path="/tools") as app, app.client(**elsewhere) as client:
        run = await app.run(digest(ANN))
        assert await status(client, "GET", f"{API}/runs", headers={"Authorization": "Bearer secret"}) == 200
        assert await status(client, "GET", f"{API}/runs", headers={"Authorization": "Bearer wrong"}) == 401
        assert await status(client, "GET", "/penstock/?token=wrong") == 401
        for mount in ("/tools/penstock/", "/tools/gradio_api/penstock/"):
            entered = await client.get(f"{mount}?token=secret")
            assert (entered.status_code, entered.headers["location"]) == (303, mount)
            cookie = entered.headers["set-cookie"]
            assert f"Path={mount}" in cookie
            assert "SameSite=strict" in cookie
            assert await status(client, "GET", mount) == 200
            assert await status(client, "GET", f"{mount}api/runs/{run}") == 200


# The app's login


async def test_without_the_login_of_the_app_there_is_only_gradios_refusal() -> None:
    async with place(auth=ACCOUNTS) as app, app.client(ANN) as nobody:
        run = await app.run("user:ann")
        own = await nobody.get("/gradio_api/login_check")
        for path in (
            "/penstock/",
            f"{API}/runs",
            f"{API}/runs/{run}",
            f"{API}/runs/none",
            "/penstock/metrics",
        ):
            refused = await nobody.get(path)
            assert (refused.status_code, refused.text) == (401, own.text), path


async def test_a_user_has_the_console_with_his_own_runs_and_nobody_elses() -> None:
    async with place(auth=ACCOUNTS) as app, app.logged_in("ann") as ann:
        runs = [await app.run(owner) for owner in ("user:ann", "user:bob", None, "user:ann")]
        assert await status(ann, "GET", "/penstock/") == 200
        assert await status(ann, "GET", "/penstock/api/queue") == 200
        listed = (await ann.get("/penstock/api/runs")).json()
        assert [one["run_id"] for one in listed["runs"]] == [runs[3], runs[0]]
        assert listed["next"] is None
        assert await status(ann, "GET", f"/penstock/api/runs/{runs[0]}") == 200
        assert await status(ann, "GET", f"/penstock/api/runs/{runs[1]}") == 404
        assert await status(ann, "GET", f"/penstock/api/runs/{runs[1]}/events") == 404
        assert await status(ann, "POST", "/penstock/api/runs", json={"function": "echo"}) == 403
        assert await status(ann, "POST", "/penstock/api/uploads") == 403
        found = (await ann.get("/penstock/api/runs?q=words&ids=" + ",".join(runs))).json()["runs"]
        assert [one["run_id"] for one in found] == [runs[3], runs[0]]


async def test_a_users_list_goes_on_page_by_page_over_everybodys_runs() -> None:
    async with place(auth=ACCOUNTS) as app, app.logged_in("ann") as ann:
        runs = [await app.run("user:ann" if number % 3 == 0 else "user:bob") for number in range(30)]
        found: list[str] = []
        page = (await ann.get(f"{API}/runs?limit=4")).json()
        while page["next"]:
            found += [one["run_id"] for one in page["runs"]]
            page = (await ann.get(f"{API}/runs?limit=4&before={page['next']}")).json()
            assert len(page["runs"]) <= 4
        assert [*found, *(one["run_id"] for one in page["runs"])] == runs[::3][::-1]
        assert await status(ann, "GET", f"{API}/runs?limit=no") == 400
        assert await status(ann, "GET", f"{API}/runs?before=nowhere") == 400


async def test_where_operators_are_named_they_see_everything_and_others_no_console() -> None:
    async with place(auth=ACCOUNTS, operators=frozenset({"ann"})) as app:
        run = await app.run("user:bob")
        async with app.logged_in("ann", address="203.0.113.5") as ann, app.logged_in("eve") as eve:
            assert await status(ann, "GET", "/penstock/") == 200
            assert await status(ann, "GET", f"{API}/runs/{run}/events") == 200
            assert len((await ann.get(f"{API}/runs")).json()["runs"]) == 1
            for path in ("/penstock/", f"{API}/runs", f"{API}/queue"):
                assert await status(eve, "GET", path) == 403
            assert await status(eve, "GET", f"{API}/runs/{run}/events") == 404
        async with app.logged_in("bob") as bob:
            assert await status(bob, "GET", f"{API}/runs/{run}/events") == 200


async def test_with_a_login_this_machine_opens_nothing_but_the_token_does() -> None:
    async with place(auth=ACCOUNTS, token="secret") as app, app.client() as here:
        assert await status(here, "GET", "/penstock/") == 401
        assert await status(here, "GET", f"{API}/runs", headers={"Authorization": "Bearer secret"}) == 200


async def test_a_console_that_was_left_out_is_not_there_for_anybody() -> None:
    async with place(console=False, token="secret") as app, app.client(ANN) as ann:
        run, other = await app.run(digest(ANN)), await app.run(digest(BOB))
        bearer = {"Authorization": "Bearer secret"}
        assert await status(ann, "GET", f"{API}/runs/{run}/events") == 200
        assert await status(ann, "GET", f"{API}/runs/{other}") == 404
        for path in ("/penstock/", f"{API}/runs", "/penstock/metrics"):
            assert await status(ann, "GET", path, headers=bearer) == 404
