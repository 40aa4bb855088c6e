"""The console inside of a Gradio app: in a real browser, and behind a real proxy."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ..browser.chromium import launched
from ..browser.nginx import PLAIN, nginx
from .server import GradioServer
from .speaking import Session

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
