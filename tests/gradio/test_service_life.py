"""One program may serve an app more than once, and ask it in event loops of its own, as test clients do."""

from pathlib import Path

import pytest

from .server import run

APP = """
import warnings; warnings.simplefilter("ignore")
import penstock.gradio; penstock.gradio.install(grace_s=2)
import gradio as gr, httpx, logging
from starlette.testclient import TestClient

with gr.Blocks() as demo:
    text = gr.Textbox()
    gr.Button().click(lambda said: said.upper(), text, text, api_name="up")

def ask(client, name):
    body = {"data": ["x"], "fn_index": 0, "session_hash": name}
    answer = client.post("/gradio_api/queue/join", json=body)
    assert answer.status_code == 200, answer.text
    said = client.get("/gradio_api/queue/data", params={"session_hash": name}).text
    assert '"data":["X"]' in said, said
    return answer.headers.get("x-penstock")
"""

TWICE = """
for name in ("first", "second"):
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    with httpx.Client(base_url=url, trust_env=False) as client:
        print("recorded", ask(client, name))
    demo.close()
"""

LOOPS = """
app, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
with httpx.Client(base_url=url, trust_env=False) as client:
    print("recorded", ask(client, "served"))
print("recorded", TestClient(app).post("/gradio_api/run/up", json={"data": ["x"]}).json()["data"])
print("joined", TestClient(app).post("/gradio_api/queue/join",
    json={"data": ["x"], "fn_index": 0, "session_hash": "other"}).headers.get("x-penstock"))
with httpx.Client(base_url=url, trust_env=False) as client:
    print("recorded", ask(client, "again"))
demo.close()
"""


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (TWICE, ["recorded 1", "recorded 1"]),
        (LOOPS, ["recorded 1", "recorded ['X']", "joined None", "recorded 1"]),
    ],
)
async def test_an_app_is_served_twice_and_asked_in_other_loops(
    program: str, expected: list[str], tmp_path: Path
) -> None:
    said = await run("newest", APP + program, cwd=tmp_path)
    assert [line for line in said.splitlines() if line.startswith(("recorded", "joined"))] == expected
    assert "Traceback" not in said
