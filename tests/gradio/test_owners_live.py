"""What somebody gets who has another's session hash, event id or address: on real servers, of each version."""

import asyncio
import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from penstock.testing import until

from .server import VERSIONS, GradioServer
from .speaking import DEADLINE_S, Session

APP = """
import os, time
import fastapi, gradio as gr, uvicorn
from gradio.route_utils import MediaStream

def app(demo):
    def slow(secret, request: gr.Request):
        stream = MediaStream()
        stream.segments.append({"id": "1", "duration": 1, "extension": ".aac", "data": secret.encode()})
        for run in (1, "1"):  # of 5 and 6.0, and of later ones
            demo.pending_streams[request.session_hash].setdefault(run, {})[7] = stream
        for number in range(3000):
            yield f"{secret} {number}"
            time.sleep(0.02)

    def keep(said, state):
        return said, (state or "") + said, state

    with demo:
        said, shown, state = gr.Textbox(), gr.Textbox(), gr.State()
        gr.Button().click(slow, said, shown, api_name="slow", concurrency_limit=None)
        gr.Button().click(keep, [said, state], [shown, state, gr.Textbox()], api_name="keep", queue=True)
        gr.Button().click(keep, [said, state], [shown, state, gr.Textbox()], api_name="direct", queue=False)
    return demo

server = fastapi.FastAPI()
gr.mount_gradio_app(server, app(gr.Blocks()), path="/open")
gr.mount_gradio_app(server, app(gr.Blocks()), path="/here")
gr.mount_gradio_app(server, app(gr.Blocks()), path="/closed", auth=[("ann", "pass"), ("bob", "word")])
uvicorn.run(server, port=int(os.environ["GRADIO_SERVER_PORT"]))
"""

SLOW, KEEP, DIRECT = 0, 1, 2

ELSEWHERE = {"X-Forwarded-For": "203.0.113.9"}
"""What a proxy says of somebody who does not sit at this machine, who may see everything."""

SECRET = "only-for-ann"


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[GradioServer]:
    with GradioServer(request.param, APP) as started:
        yield started


async def browser(server: GradioServer) -> Session:
    """Somebody who has fetched the page of the app without a login."""
    session = Session(f"{server.url}/open", headers=ELSEWHERE)
    page = await session.http.get("/")
    assert page.status_code == 200
    assert "penstock-gradio" in session.http.cookies
    return session


async def user(server: GradioServer, name: str) -> Session:
    """Somebody who has logged in to the other app."""
    session = Session(f"{server.url}/closed")
    given = {"username": name, "password": {"ann": "pass", "bob": "word"}[name]}
    assert (await session.http.post("/login", data=given)).status_code == 200
    return session


@contextlib.asynccontextmanager
async def two(server: GradioServer, kind: str) -> AsyncIterator[tuple[Session, Session]]:
    """The owner of a session, and somebody else with its hash: another browser, another user, or nobody at all."""
    ann = await (user(server, "ann") if kind == "user" else browser(server))
    if kind == "user":
        other = await user(server, "bob")
    else:
        other = (
            await browser(server) if kind == "browser" else Session(f"{server.url}/open", headers=ELSEWHERE)
        )
    other.hash = ann.hash
    async with ann, other:
        yield ann, other


KINDS = pytest.mark.parametrize("kind", ["browser", "nobody", "user"])


async def first_words(session: Session, event_id: str) -> None:
    """Wait until something of an event is stored, without which there would be nothing to steal."""

    async def told() -> bool:
        answer = await session.http.get(f"/gradio_api/penstock/api/runs/{event_id}/events?poll=1")
        return answer.status_code == 200 and SECRET in answer.text

    await until(told, 15)


async def heard(session: Session, path: str) -> str:
    """What a stream says within a second: all there is to steal was said before."""
    text = ""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1), session.http.stream("GET", path) as answer:
            async for piece in answer.aiter_text():
                text += piece
    return text


async def state_of(session: Session, event_id: str) -> str:
    answer = await session.http.get(f"/gradio_api/penstock/api/runs/{event_id}")
    return str(answer.json()["state"])


@KINDS
async def test_the_right_hash_and_the_right_ids_read_nothing_of_anothers(
    server: GradioServer, kind: str
) -> None:
    async with two(server, kind) as (ann, other):
        event = await ann.join(SLOW, SECRET)
        await first_words(ann, event)
        unknown = await other.read()
        assert [one["msg"] for one in unknown] == ["unexpected_error"]
        assert unknown[0]["session_not_found"]
        for path in (
            f"/gradio_api/queue/data?session_hash={ann.hash}",
            f"/gradio_api/queue/data?session_hash={ann.hash}&cursor=&event={event}",
            f"/gradio_api/queue/data?session_hash={uuid.uuid4().hex}&cursor=&event={event}",
            f"/gradio_api/call/slow/{event}",
            f"/gradio_api/penstock/api/runs/{event}",
            f"/gradio_api/penstock/api/runs/{event}/events",
            f"/gradio_api/penstock/api/runs/{event}/events?poll=1",
            f"/gradio_api/penstock/api/events?stream={event}",
            f"/gradio_api/penstock/session/{ann.hash}",
            f"/gradio_api/stream/{ann.hash}/1/7/playlist.m3u8",
            f"/gradio_api/stream/{ann.hash}/1/7/1.aac",
            f"/gradio_api/stream/{ann.hash}/1/7/playlist-file",
            f"/gradio_api/stream//{ann.hash}/1/7/1.aac",
            f"/gradio_api/heartbeat/{ann.hash}",
        ):
            said = await heard(other, path)
            assert SECRET not in said, path
            assert "ALIVE" not in said, path
        assert (await ann.http.get(f"/gradio_api/stream/{ann.hash}/1/7/1.aac")).text == SECRET
        assert (await ann.http.get(f"/gradio_api/penstock/session/{ann.hash}")).status_code == 200
        assert await state_of(ann, event) == "running"
        await ann.http.post(f"/gradio_api/penstock/api/runs/{event}/cancel")
        await until(lambda: ended(ann, event), DEADLINE_S)
        for path in (f"/gradio_api/penstock/api/runs/{event}/events", f"/gradio_api/call/slow/{event}"):
            assert SECRET not in await heard(other, path), path  # stored
        assert SECRET in await heard(ann, f"/gradio_api/penstock/api/runs/{event}/events")


async def ended(session: Session, event_id: str) -> bool:
    return await state_of(session, event_id) not in ("queued", "running")


@KINDS
async def test_what_is_asked_of_anothers_session_is_answered_as_for_one_that_does_not_exist(
    server: GradioServer, kind: str
) -> None:
    async with two(server, kind) as (ann, other):
        event = await ann.join(SLOW, SECRET)
        await first_words(ann, event)
        for path in (
            "/gradio_api/queue/data?session_hash={hash}",
            "/gradio_api/queue/data?session_hash={hash}&cursor=&event={event}",
            "/gradio_api/call/slow/{event}",
            "/gradio_api/penstock/api/runs/{event}",
            "/gradio_api/penstock/session/{hash}",
        ):
            real, none = [
                await other.http.get(path.format(hash=name, event=run))
                for name, run in ((ann.hash, event), (ann.hash[::-1], event[::-1]))
            ]
            assert real.status_code == none.status_code, path
            assert real.text.replace(event, "").replace(ann.hash, "") == none.text.replace(
                event[::-1], ""
            ).replace(ann.hash[::-1], ""), path


@KINDS
async def test_nobody_joins_anothers_session_feeds_it_stops_it_or_says_that_it_is_closed(
    server: GradioServer, kind: str
) -> None:
    async with two(server, kind) as (ann, other), ann.present():
        event = await ann.join(SLOW, SECRET)
        await first_words(ann, event)
        own = uuid.uuid4().hex
        join = {"data": ["x"], "fn_index": KEEP, "session_hash": ann.hash}
        stop = {"session_hash": ann.hash, "fn_index": SLOW, "event_id": event}
        for path, body in (
            ("queue/join", join),
            ("call/keep", {**join, "data": ["x"]}),
            ("run/direct", {**join, "fn_index": DIRECT}),
            ("api/direct", {**join, "fn_index": DIRECT}),
            ("run/slow", {"data": [""], "session_hash": own, "event_id": event}),  # its next value
            ("component_server", {"data": 1, "component_id": 1, "fn_name": "x", "session_hash": ann.hash}),
            ("cancel", stop),
            ("cancel", stop | {"session_hash": own}),
            (f"stream/{event}", join),
            (f"stream/{event}/close", {}),
            (f"penstock/api/runs/{event}/cancel", {}),
            (f"penstock/session/{ann.hash}/left", {}),
        ):
            answer = await other.http.post(f"/gradio_api/{path}", json=body)
            assert answer.status_code == 404, (path, answer.text)
        assert await state_of(ann, event) == "running"
        cancelled = await ann.http.post("/gradio_api/cancel", json=stop)
        assert cancelled.status_code == 200
        await until(lambda: ended(ann, event), DEADLINE_S)


async def test_a_session_state_is_its_owners_only(server: GradioServer) -> None:
    async with two(server, "browser") as (ann, other):
        await ann.join(KEEP, SECRET)
        assert SECRET in json.dumps(await ann.read())
        for path in ("queue/join", "run/direct", "run/keep"):
            body = {"data": ["x", None], "fn_index": DIRECT, "session_hash": ann.hash}
            answer = await other.http.post(f"/gradio_api/{path}", json=body)
            assert SECRET not in answer.text
            assert answer.status_code == 404


@pytest.mark.parametrize("then", [("run/direct", DIRECT), ("queue/join", KEEP)])
async def test_a_session_that_is_begun_past_the_queue_is_its_owners(
    server: GradioServer, then: tuple[str, int]
) -> None:
    async with two(server, "browser") as (ann, other):
        body = {"data": [SECRET, None], "fn_index": DIRECT, "session_hash": ann.hash}
        assert SECRET in (await ann.http.post("/gradio_api/run/direct", json=body)).text
        path, fn_index = then
        answer = await other.http.post(f"/gradio_api/{path}", json=body | {"fn_index": fn_index})
        assert answer.status_code == 404, answer.text


async def test_what_only_gradios_parser_takes_is_looked_at_as_well(server: GradioServer) -> None:
    async with two(server, "browser") as (ann, other):
        await ann.join(KEEP, SECRET)
        assert SECRET in json.dumps(await ann.read())
        body = {"data": ["x", float("nan")], "fn_index": DIRECT, "session_hash": ann.hash}
        text = json.dumps(body)
        json_kind, form = ("Content-Type", "application/json"), ("Content-Type", "multipart/form-data")
        for path in ("run/direct", "queue/join"):
            for raw in (
                text.encode(),
                text.encode("utf-16"),
                text.replace("NaN", "null").encode("utf-8-sig"),
            ):
                for kinds in ([json_kind], [json_kind, form]):
                    headers = [*kinds, *ELSEWHERE.items()]
                    answer = await other.http.post(f"/gradio_api/{path}", content=raw, headers=headers)
                    assert answer.status_code == 404, (path, raw, answer.text)


async def test_json_that_calls_itself_a_form_is_looked_at_as_well(server: GradioServer) -> None:
    async with two(server, "browser") as (ann, other), ann.present():
        body = {"data": 1, "component_id": 1, "fn_name": "x", "session_hash": ann.hash}
        for kind in ("application/json", "Multipart/Form-Data", "MULTIPART/FORM-DATA; boundary=x"):
            headers = {"Content-Type": kind}
            answer = await other.http.post("/gradio_api/component_server", json=body, headers=headers)
            assert answer.json() == {"detail": "Session not found."}, kind


async def test_a_form_with_files_names_no_session_of_somebody_elses(server: GradioServer) -> None:
    async with two(server, "browser") as (ann, other), ann.present():
        for name, said in ((ann.hash, "Session not found."), (uuid.uuid4().hex, "Function not found.")):
            fields = {"component_id": "1", "fn_name": "x", "session_hash": name}
            parts: list[Any] = [("file", ("a.txt", b"x" * 200_000, "text/plain"))]
            parts += [(field, (None, value.encode())) for field, value in fields.items()]  # as the page does
            answer = await other.http.post("/gradio_api/component_server", files=parts)
            assert (answer.status_code, answer.json()) == (404, {"detail": said})
        mine = await ann.http.post(
            "/gradio_api/component_server", files={"file": b"x"}, data=fields | {"session_hash": ann.hash}
        )
        assert mine.json() == {"detail": "Function not found."}


async def test_without_a_login_nothing_of_an_app_with_one_is_answered_or_done(server: GradioServer) -> None:
    async with await user(server, "ann") as ann, Session(f"{server.url}/closed", ann.hash) as nobody:
        await nobody.http.get("/")  # the page to log in, with a cookie
        event = await ann.join(SLOW, SECRET)
        await first_words(ann, event)
        own = await nobody.http.get("/gradio_api/login_check")
        for path in (
            f"queue/data?session_hash={ann.hash}", f"call/slow/{event}", f"heartbeat/{ann.hash}",
            f"stream/{ann.hash}/1/7/1.aac", f"penstock/api/runs/{event}", f"penstock/session/{ann.hash}",
            "penstock/", "penstock/api/runs",
        ):  # fmt: skip
            refused = await nobody.http.get(f"/gradio_api/{path}")
            assert (refused.status_code, refused.text) == (401, own.text), path
        stop = {"session_hash": ann.hash, "fn_index": SLOW, "event_id": event}
        for path, body in (
            ("cancel", stop),
            (f"stream/{event}/close", {}),
            ("queue/join", stop | {"data": [""]}),
        ):
            assert (await nobody.http.post(f"/gradio_api/{path}", json=body)).status_code == 401, path
        assert await state_of(ann, event) == "running"


async def test_a_session_begun_without_a_cookie_is_read_by_its_hash(server: GradioServer) -> None:
    async with Session(f"{server.url}/open") as program, await browser(server) as other:
        await program.join(KEEP, "words")
        other.hash = program.hash
        assert "words" in json.dumps(await other.read())


async def test_a_join_from_a_page_of_another_site_is_nobodys(server: GradioServer) -> None:
    # A browser adds cookies that are SameSite=None, as Gradio's own over https.
    async with await user(server, "ann") as ann:
        await ann.join(KEEP, SECRET)
        cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
        said = await ann.http.get(f"/gradio_api/queue/data?session_hash={ann.hash}", headers=cross)
        assert SECRET not in said.text
        body = {"data": ["x", None], "fn_index": KEEP, "session_hash": ann.hash}
        joined = await ann.http.post("/gradio_api/queue/join", json=body, headers=cross)
        assert joined.status_code == 404


async def test_each_app_on_a_host_has_a_cookie_of_its_own(server: GradioServer) -> None:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        values = set()
        for path in ("/open", "/closed"):
            page = await client.get(f"{path}/")
            cookie = page.headers["set-cookie"]
            assert f"; Path={path}; " in cookie
            assert {"HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
            values.add(re.match(r"penstock-gradio=([^;]{43});", cookie)[1])  # type: ignore[index]
        assert len(values) == 2


async def test_the_console_is_open_here_behind_the_apps_login_and_its_addresses_work(
    server: GradioServer,
) -> None:
    async with await user(server, "bob") as bob, httpx.AsyncClient(trust_env=False) as here:
        await bob.join(KEEP, "words")
        for mount in ("/penstock", "/gradio_api/penstock"):
            for client, root in ((here, f"{server.url}/here"), (bob.http, f"{server.url}/closed")):
                page = await client.get(f"{root}{mount}", follow_redirects=True)
                assert str(page.url) == f"{root}{mount}/"
                script = re.search(r'src="([^"]*console\.js)"', page.text)
                assert script is not None
                assert (await client.get(str(page.url.join(script[1])))).status_code == 200
                assert (await client.get(str(page.url.join("api/runs")))).status_code == 200
            assert (await here.get(f"{server.url}/closed{mount}/")).status_code == 401
        listed = (await bob.http.get("/penstock/api/runs")).json()["runs"]
        assert {one["session"] for one in listed} == {bob.hash}


@KINDS
async def test_a_websocket_is_opened_to_ones_own_runs_only(server: GradioServer, kind: str) -> None:
    async with two(server, kind) as (ann, other):
        event = await ann.join(SLOW, SECRET)
        root = str(ann.http.base_url).replace("http", "ws", 1) + "gradio_api"
        url = f"{root}/penstock/api/runs/{event}/ws"
        for address in (url, f"{root}/stream/{event}"):  # the second feeds an event, in Gradio 5
            with pytest.raises(InvalidStatus) as refused:
                await connect(address, additional_headers=ELSEWHERE | _cookies(other), proxy=None)
            assert refused.value.response.status_code in (403, 404)
        evil: dict[str, Any] = {**ELSEWHERE, **_cookies(ann), "Origin": "https://evil.example"}
        with pytest.raises(InvalidStatus):
            await connect(url, additional_headers=evil, proxy=None)
        async with (
            connect(url, additional_headers=ELSEWHERE | _cookies(ann), proxy=None) as socket,
            asyncio.timeout(DEADLINE_S),
        ):
            while SECRET not in str(await socket.recv()):
                pass


def _cookies(session: Session) -> dict[str, str]:
    pairs = [f"{name}={value}" for name, value in session.http.cookies.items()]
    return {"Cookie": "; ".join(pairs)} if pairs else {}
