"""`penstock.gradio.Client`, with the gradio_client of each version, over a bad network."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from penstock.testing import Cut, End, FaultProxy, until

from .server import ROOT, VERSIONS, GradioServer, find_python

APP = """
import pathlib, time, gradio as gr
import penstock.gradio

HERE = pathlib.Path(__file__).parent

def count(n, gate):
    with open(HERE / "begun", "a") as begun:
        begun.write(f"{int(n)} ")
    try:
        text = ""
        for i in range(int(n)):
            text += f"{i} "
            yield text
            time.sleep(0.05 if n > 9 else 0)
    except GeneratorExit:
        (HERE / "stopped").touch()
        raise

@penstock.gradio.idempotent
def again(n, gate):
    yield from count(n, gate)

def fail(n, gate):
    raise gr.Error("It does not work.")

def visit(visits):
    return visits + 1, visits + 1

with gr.Blocks() as demo:
    n, gate, out, visits = gr.Number(), gr.Textbox(), gr.Textbox(), gr.State(0)
    gr.Button().click(count, [n, gate], out, api_name="count", concurrency_limit=1)
    gr.Button().click(again, [n, gate], out, api_name="again")
    gr.Button().click(fail, [gate, gate], out, api_name="fail")
    gr.Button().click(visit, visits, [out, visits], api_name="visits")
demo.launch()
"""

STORY = Path(__file__).parent / "client_story.py"

Line = dict[str, Any]


class Story:
    """A client at work."""

    def __init__(self, version: str, url: str, kind: str, *story: str) -> None:
        path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [find_python(version), str(STORY), url, kind, *story],
            env={**os.environ, "PYTHONPATH": path, "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def __iter__(self) -> Iterator[Line]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield json.loads(line)

    def until(self, kind: str) -> Line:
        """The next line of this kind."""
        for line in self:
            if line["kind"] == kind:
                return line
        raise AssertionError(f"It never came to {kind}: {self._process.communicate()}")


def told(version: str, url: str, kind: str, *story: str) -> list[Line]:
    with Story(version, url, kind, *story) as lines:
        return list(lines)


def counted(steps: int) -> str:
    return "".join(f"{step} " for step in range(steps))


def is_growing(outputs: list[str]) -> bool:
    """Whether each is more of the same than the one before."""
    return all(later.startswith(text) and text != later for text, later in itertools.pairwise(outputs))


@pytest.fixture(scope="module", params=VERSIONS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GradioServer]:
    with GradioServer(request.param, APP, cwd=tmp_path_factory.mktemp("app")) as server:
        yield server


@pytest.fixture
def proxy(server: GradioServer) -> Iterator[FaultProxy]:
    with FaultProxy(server.port, seed=1) as proxy:
        yield proxy


def test_a_job_survives_five_cuts(server: GradioServer, proxy: FaultProxy) -> None:
    outputs: list[str] = []
    cuts = 0
    with Story(server.version, proxy.url, "penstock", "count", "60") as story:
        for line in story:
            if line["kind"] == "output":
                outputs.append(line["value"])
                if len(outputs) % 6 == 5 and cuts < 5:
                    cuts += bool(proxy.cut_all())
            elif line["kind"] == "result":
                assert line["value"] == counted(60)
                break
            else:
                assert line["kind"] in ("ready", "submitted"), line
    assert cuts == 5
    assert outputs[-1] == counted(60)
    assert is_growing(outputs)
    assert (server.folder / "begun").read_text().split().count("60") == 1


def test_streams_that_end_cleanly_and_early_are_gone_on_with(server: GradioServer, proxy: FaultProxy) -> None:
    with Story(server.version, proxy.url, "penstock", "count", "40") as story:
        story.until("ready")
        proxy.fault = End(300, 1500)
        assert story.until("result")["value"] == counted(40)
    assert proxy.ends


def test_a_job_whose_answer_was_lost_is_submitted_once(server: GradioServer, proxy: FaultProxy) -> None:
    with Story(server.version, proxy.url, "penstock", "count", "17") as story:
        story.until("ready")
        proxy.fault = Cut(0, 1)
        until_cut(proxy, 2)
        proxy.fault = None
        assert story.until("result")["value"] == counted(17)
    assert (server.folder / "begun").read_text().split().count("17") == 1


def until_cut(proxy: FaultProxy, times: int) -> None:
    import asyncio

    asyncio.run(until(lambda: proxy.cuts >= times))


def test_a_job_is_fetched_by_another_process(server: GradioServer) -> None:
    with Story(server.version, server.url, "penstock", "count", "30") as story:
        event_id = story.until("submitted")["event_id"]
        lines = told(server.version, server.url, "penstock", "fetch", event_id)
        assert story.until("result")["value"] == counted(30)
    assert [line["value"] for line in lines if line["kind"] == "result"] == [counted(30)]
    outputs = [line["value"] for line in lines if line["kind"] == "output"]
    assert is_growing(outputs)
    assert lines[-1] == {"kind": "status", "code": "FINISHED", "success": True}
    after = told(server.version, server.url, "penstock", "fetch", event_id)
    assert [line["value"] for line in after if line["kind"] == "result"] == [counted(30)]
    unknown = told(server.version, server.url, "penstock", "fetch", "0" * 32)
    assert unknown[-1]["type"] == "UnknownRun"


def test_a_cancelled_job_stops(server: GradioServer, proxy: FaultProxy) -> None:
    (server.folder / "stopped").unlink(missing_ok=True)
    with Story(server.version, proxy.url, "penstock", "cancel") as story:
        story.until("cancelled")
        assert story.until("error")["type"] == "CancelledError"
        assert story.until("next")["value"] == counted(3)
    assert (server.folder / "stopped").exists()


@pytest.mark.parametrize("kind", ["penstock", "stock"])
def test_jobs_one_by_one_are_as_with_the_stock_client(server: GradioServer, kind: str) -> None:
    lines = {line["kind"]: line for line in told(server.version, server.url, kind, "one_by_one", "6")}
    assert lines["results"]["value"] == [counted(n) for n in range(1, 6)]
    assert (lines["error"]["type"], lines["error"]["message"]) == ("AppError", "It does not work.")
    assert lines["state"]["value"] == ["1", "2", "3"]


def test_jobs_survive_a_server_that_is_killed(server: GradioServer) -> None:
    with Story(server.version, server.url, "penstock", "several", "60") as story:
        had = story.until("running")["outputs"]
        server.kill()
        server.start()
        ends = [line for line in story if line["kind"] in ("result", "error")]
    assert len(had) > 2
    assert ends[0]["type"] == "AppError"
    assert "restart" in ends[0]["message"]
    assert [line["value"] for line in ends[1:]] == [counted(60), counted(60)]


def test_a_server_without_penstock_is_met_as_the_stock_client_does(tmp_path: Path) -> None:
    plain = APP.replace("import penstock.gradio", "").replace("@penstock.gradio.idempotent", "")
    with (
        GradioServer("newest", plain, hardened=False, cwd=tmp_path) as server,
        FaultProxy(server.port) as proxy,
    ):
        lines = {line["kind"]: line for line in told("newest", server.url, "penstock", "one_by_one", "4")}
        assert lines["results"]["value"] == [counted(n) for n in range(1, 4)]
        for kind in ("stock", "penstock"):
            with Story("newest", proxy.url, kind, "count", "40") as story:
                story.until("output")
                proxy.cut_all()
                assert story.until("error")["type"] == "CancelledError"


def test_the_module_is_had_without_gradio_client() -> None:
    program = "import sys; sys.modules['gradio_client'] = None; import penstock.gradio"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
