"""What leads past the owner of a session, in an app that is launched and not mounted."""

import json
from collections.abc import Iterator

import pytest

from .server import VERSIONS, GradioServer
from .speaking import Session
from .test_owners_live import ELSEWHERE, SECRET, first_words, heard, state_of

APP = """
import time
import gradio as gr
from gradio.route_utils import MediaStream

def slow(secret, request: gr.Request):
    stream = MediaStream()
    stream.segments.append({"id": "1", "duration": 1, "extension": ".aac", "data": secret.encode()})
    for run in (1, "1"):  # of 5 and 6.0, and of later ones
        demo.pending_streams[request.session_hash].setdefault(run, {})[7] = stream
    for number in range(3000):
        yield f"{secret} {number}"
        time.sleep(0.02)

with gr.Blocks() as demo:
    said, shown = gr.Textbox(), gr.Textbox()
    gr.Button().click(slow, said, shown, api_name="slow", concurrency_limit=None)
    gr.Button().click(lambda said: said + "!", said, shown, api_name="loud")
    gr.DeepLinkButton()

demo.launch()
"""

SLOW, LOUD = 0, 1


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[GradioServer]:
    with GradioServer(request.param, APP) as started:
        yield started


async def visitor(server: GradioServer) -> Session:
    session = Session(server.url, headers=ELSEWHERE)
    assert (await session.http.get("/")).status_code == 200
    return session


async def test_no_end_of_line_leads_past_us(server: GradioServer) -> None:
    # The routes of Starlette end before one: such an address is Gradio's, and was none of ours.
    async with await visitor(server) as ann, await visitor(server) as other:
        event = await ann.join(SLOW, SECRET)
        await first_words(ann, event)
        for path in (
            f"queue/data%0A?session_hash={ann.hash}",
            f"stream/{ann.hash}/1/7/playlist.m3u8%0A",
            f"stream/{ann.hash}/1/%0A7/1.aac",
            f"heartbeat/{ann.hash}%0A",
            f"call/slow/{event}%0A",
        ):
            said = await heard(other, f"/gradio_api/{path}")
            assert not any(word in said for word in (SECRET, "#EXTM3U", "ALIVE")), (path, said)
        join = {"data": ["x"], "fn_index": LOUD, "session_hash": ann.hash, "event_id": event}
        for path in ("cancel%0A", "queue/join%0A", "call/loud%0A", "run/%0Aloud", f"stream/{event}/close%0A"):
            answer = await other.http.post(f"/gradio_api/{path}", json=join)
            assert answer.status_code == 404, path
        assert await state_of(ann, event) == "running"
        await ann.http.post(f"/gradio_api/penstock/api/runs/{event}/cancel")


async def test_nobody_makes_a_link_to_what_anothers_page_shows(server: GradioServer) -> None:
    async with await visitor(server) as ann, await visitor(server) as other:
        await ann.join(LOUD, SECRET)
        assert f"{SECRET}!" in json.dumps(await ann.read())
        address = f"/gradio_api/deep_link?session_hash={ann.hash}"
        twice = f"/gradio_api/deep_link?session_hash={other.hash}&session_hash={ann.hash}"
        for told in (address, twice):
            link = (await other.http.get(told)).json()
            assert link == ""
        link = (await ann.http.get(address)).json()
        assert SECRET in (await other.http.get(f"/?deep_link={link}")).text  # she gave it to somebody
