"""The short way into Gradio: taken where nothing else has a say, and its answers are Gradio's."""

import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from .server import GradioServer, find_python

LOOK = """
import json, warnings
warnings.simplefilter("ignore")
import fastapi
import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from penstock.integrations.gradio.seams.direct import direct

def refuse():
    raise fastapi.HTTPException(403)

def ways(**kwargs):
    with gr.Blocks() as demo:
        gr.Textbox()
    inner = []
    class Own:
        def __init__(self, app):
            inner.append(app)
        async def __call__(self, scope, receive, send):
            raise NotImplementedError
    kwargs.setdefault("middleware", []).insert(0, Middleware(Own))
    app = gr.routes.App.create_app(demo, app_kwargs=kwargs)
    app.middleware_stack = app.build_middleware_stack()
    return app, direct(app, inner[-1])

found = {}
app, short = ways()
found["plain"] = short is not None and short.is_open
app.auth = {"me": "secret"}
found["auth"] = short.is_open
app.auth, app.auth_dependency = None, lambda request: "me"
found["auth_dependency"] = short.is_open
app.auth_dependency = None
app.dependency_overrides[refuse] = refuse
found["overrides"] = short.is_open
found["dependencies"] = ways(dependencies=[fastapi.Depends(refuse)])[1] is not None
found["middleware"] = ways(middleware=[Middleware(GZipMiddleware)])[1] is not None
print(json.dumps(found))
"""

APP = """
import time, gradio as gr

def slow(text):
    time.sleep(0.5)
    return text

with gr.Blocks() as demo:
    text = gr.Textbox()
    gr.Button().click(slow, text, text, api_name="slow")
demo.queue(max_size=1).launch()
"""


def test_it_is_open_only_where_nothing_else_has_a_say(version: str, tmp_path: Path) -> None:
    src = str(Path(__file__).parents[2] / "src")
    environment = os.environ | {"PYTHONPATH": src, "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    argv = [find_python(version), "-c", LOOK]
    looked = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=90)
    assert looked.returncode == 0, looked.stderr
    found = json.loads(looked.stdout.splitlines()[-1])
    assert found.pop("plain"), "the short way is there"
    assert not any(found.values()), found


@pytest.fixture(scope="module", params=[True, False], ids=["hardened", "stock"])
def url(request: pytest.FixtureRequest) -> object:
    with GradioServer("newest", APP, hardened=request.param) as server:
        yield server.url


REFUSED = {
    "not JSON": (b"{", 422),
    "no data": (b'{"fn_index": 0, "session_hash": "a"}', 422),
    "no session": (b'{"data": ["x"], "fn_index": 0}', 400),
    "no function": (b'{"data": ["x"], "fn_index": 99, "session_hash": "a"}', 500),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_refused_as_ever(url: str, case: str) -> None:
    body, status = REFUSED[case]
    answer = httpx.post(
        f"{url}/gradio_api/queue/join", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == status
    if status < 500:
        assert "detail" in answer.json()


def test_a_full_queue_is_told_as_ever(url: str) -> None:
    body = {"data": ["x"], "fn_index": 0, "session_hash": "full"}
    answers = [httpx.post(f"{url}/gradio_api/queue/join", json=body) for _ in range(4)]
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert refused.status_code == 503
    assert "full" in refused.json()["detail"]
