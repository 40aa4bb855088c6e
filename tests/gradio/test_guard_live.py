"""The console inside of a Gradio app: in a real browser, and behind a real proxy."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.testing import until

from ..browser.chromium import launched
from ..browser.nginx import PLAIN, nginx
from .server import GradioServer
from .speaking import DEADLINE_S, Session

APP = """
import os
import fastapi, gradio as gr, uvicorn

def app():
    with gr.Blocks() as demo:
        said, words, chat, table = gr.Textbox(), gr.Textbox(), gr.Chatbot(), gr.JSON()

        def talk(said):
            for end in ("Well", "Well, yes."):
                turns = [{"role": "user", "content": said}, {"role": "assistant", "content": end}]
                yield end, turns, {"n": len(end)}

        def fail():
            raise gr.Error("The river is dry.")

        gr.Button().click(talk, said, [words, chat, table], api_name="talk")
        gr.Button().click(fail, None, words, api_name="fail")
    return demo

server = fastapi.FastAPI()
gr.mount_gradio_app(server, app(), path="/seen")
gr.mount_gradio_app(server, app(), path="/proxied")
uvicorn.run(server, port=int(os.environ["GRADIO_SERVER_PORT"]))
"""

TALK, FAIL = 0, 1


@pytest.fixture(scope="module")
def server() -> Iterator[GradioServer]:
    with GradioServer("newest", APP) as started:
        yield started


async def test_a_run_shows_what_its_components_were_given_as_people_read_it(
    server: GradioServer, needs: Callable[[str], str], tmp_path: Path
) -> None:
    async with Session(f"{server.url}/seen") as session:
        event = await session.join(TALK, "Does it flow?")
        await session.read()
        failed = await session.join(FAIL)
        await session.read()
    async with launched(needs("chromium"), tmp_path) as chromium:
        tab = await chromium.open(f"{server.url}/seen/penstock/#/runs/{event}")
        await tab.page.set_viewport_size({"width": 1200, "height": 900})  # sessions have a column
        await tab.until("document.querySelector('#outcome .ended')")
        assert await tab.page.locator(".output > .text").all_inner_texts() == ["Well, yes."]
        assert await tab.page.locator(".turn > .speaker").all_inner_texts() == ["user", "assistant"]
        assert await tab.page.locator(".turn > .text").all_inner_texts() == ["Does it flow?", "Well, yes."]
        assert '"n": 10' in await tab.page.locator(".output pre").inner_text()
        await tab.page.goto(f"{server.url}/seen/penstock/#/runs/{failed}")
        await tab.until(
            "document.querySelector('#outcome .problem')?.textContent.includes('The river is dry.')"
        )
        await tab.page.goto(f"{server.url}/seen/penstock/#/runs")
        await tab.until("document.querySelectorAll('#runs .row:not(.heads)').length === 2")
        details = await tab.page.locator("#runs .row:not(.heads) .detail").all_inner_texts()
        assert sorted(details) == ['"Does it flow?"', "The river is dry."]
        await tab.page.locator("#runs a.session").first.click()
        assert tab.page.url.endswith(f"/seen/penstock/#/runs?q={session.hash}")
        assert tab.bugs == []


async def test_a_run_that_is_run_again_is_the_operators_in_a_session_of_its_own(server: GradioServer) -> None:
    async with Session(f"{server.url}/seen") as session, httpx.AsyncClient(trust_env=False) as operator:
        await session.http.get("/")  # for the cookie
        event = await session.join(TALK, "Again?")
        await session.read()
        api = f"{server.url}/seen/penstock/api/runs"
        first = (await operator.get(f"{api}/{event}")).json()
        assert first["input"]["gradio"]["owner"].startswith("cookie:")
        given = {"function": first["function"], "input": first["input"]}
        again = (await operator.post(api, json=given)).json()["run_id"]

        async def ended() -> dict[str, Any] | None:
            run: dict[str, Any] = (await operator.get(f"{api}/{again}")).json()
            return run if run["ended_at_ms"] else None

        run = await until(ended, DEADLINE_S)
        assert (run["state"], run["input"]) == ("succeeded", {"data": ["Again?"]})
        assert run["session"] != session.hash


async def test_behind_a_proxy_on_this_machine_the_console_stays_shut(
    server: GradioServer, needs: Callable[[str], str], tmp_path: Path
) -> None:
    async def console(port: int | None, **headers: str) -> int:
        url = f"http://127.0.0.1:{port}/proxied/penstock/"
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(url, headers=headers)).status_code

    assert await console(server.port) == 200
    async with nginx(needs("nginx"), tmp_path, server.port, PLAIN) as port:  # says nothing of itself
        assert await console(port, Host="localhost") == 401
        assert await console(port, Host="localhost", **{"X-Forwarded-For": "127.0.0.1"}) == 401
    assert await console(server.port) == 401  # one was there: no request is believed any more


async def test_with_what_most_proxies_add_the_console_is_shut(
    server: GradioServer, needs: Callable[[str], str], tmp_path: Path
) -> None:
    lines = "proxy_http_version 1.1; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    async with (
        nginx(needs("nginx"), tmp_path, server.port, lines) as port,
        httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}/proxied") as client,
    ):
        for path in ("/penstock/", "/penstock/api/runs", "/gradio_api/penstock/metrics"):
            assert (await client.get(path, headers={"Host": "localhost"})).status_code == 401


ROOTED = """
import gradio as gr
with gr.Blocks() as demo:
    said = gr.Textbox()
    gr.Button().click(lambda said: said, said, said, api_name="echo")
demo.launch(root_path="/tools")
"""


async def test_below_a_root_path_that_a_proxy_takes_off_the_token_and_the_cookie_work(
    needs: Callable[[str], str], tmp_path: Path
) -> None:
    with GradioServer("newest", ROOTED, options={"token": "secret"}) as server:
        lines = f"location /tools/ {{ proxy_pass http://127.0.0.1:{server.port}/; }}"
        async with nginx(needs("nginx"), tmp_path, server.port, lines) as port:
            root = f"http://127.0.0.1:{port}/tools"
            async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as operator:
                for mount in ("penstock", "gradio_api/penstock"):
                    assert (await operator.get(f"{root}/{mount}/")).status_code == 401
                    page = await operator.get(f"{root}/{mount}?token=secret")
                    assert (page.status_code, str(page.url)) == (200, f"{root}/{mount}/")
                    assert (await operator.get(f"{root}/{mount}/api/runs")).status_code == 200
                    assert (await operator.get(f"{root}/{mount}/web/console/console.js")).status_code == 200
            async with Session(root) as visitor:
                page = await visitor.http.get("/")
                assert "; Path=/tools; " in page.headers["set-cookie"]
                event = await visitor.join(0, "words")
                await visitor.read()
                own = f"/gradio_api/penstock/api/runs/{event}"
                assert (await visitor.http.get(own)).json()["state"] == "succeeded"
                async with httpx.AsyncClient(trust_env=False) as other:
                    assert (await other.get(root + own)).status_code == 404
