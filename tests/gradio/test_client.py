"""`penstock.gradio.Client`, with the gradio_client of each version, over a bad network."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
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

def large(n, gate):
    yield {"text": "a"}
    yield {"text": "b" * int(n)}

with gr.Blocks() as demo:
    n, gate, out, visits = gr.Number(), gr.Textbox(), gr.Textbox(), gr.State(0)
    gr.Button().click(count, [n, gate], out, api_name="count", concurrency_limit=1)
    gr.Button().click(again, [n, gate], out, api_name="again")
    gr.Button().click(fail, [gate, gate], out, api_name="fail")
    gr.Button().click(large, [n, gate], gr.JSON(), api_name="large")
    gr.Button().click(visit, visits, [out, visits], api_name="visits")
demo.launch()
"""

STORY = Path(__file__).parent / "client_story.py"

Line = dict[str, Any]


class Teller:
    """A client in a process of its own, with the gradio_client of a version."""

    def __init__(self, version: str, url: str, kind: str = "penstock") -> None:
        path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [find_python(version), str(STORY), url, kind],
            env={**os.environ, "PYTHONPATH": path, "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        assert not list(self._until("ready"))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def play(self, story: str, argument: object = "") -> Iterator[Line]:
        """What happens in a story, to its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([story, argument]) + "\n")
        self._process.stdin.flush()
        return self._until("done")

    def told(self, story: str, argument: object = "") -> list[Line]:
        """The whole story."""
        return list(self.play(story, argument))

    def _until(self, kind: str) -> Iterator[Line]:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            line = json.loads(text)
            if line["kind"] == kind:
                return
            yield line
        raise AssertionError("The client has died.")


def find(lines: Iterable[Line], kind: str) -> Line:
    """The next line of this kind."""
    return next(line for line in lines if line["kind"] == kind)


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


@pytest.fixture(scope="module")
def proxy(server: GradioServer) -> Iterator[FaultProxy]:
    with FaultProxy(server.port, seed=1) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def client(server: GradioServer, proxy: FaultProxy) -> Iterator[Teller]:
    """One for all of these, as in a program that runs for long."""
    with Teller(server.version, proxy.url) as client:
        yield client


def begun(server: GradioServer, steps: int) -> int:
    """How often the function has begun to count that far."""
    return (server.folder / "begun").read_text().split().count(str(steps))


def test_a_job_survives_five_cuts(server: GradioServer, proxy: FaultProxy, client: Teller) -> None:
    outputs: list[str] = []
    cuts, since = 0, 0
    for line in client.play("count", 50):
        if line["kind"] == "output":
            outputs.append(line["value"])
            since += 1
            if since >= 3 and cuts < 5 and proxy.cut_all():
                cuts, since = cuts + 1, 0
    assert cuts == 5, line
    assert line == {"kind": "result", "value": counted(50)}
    assert outputs[-1] == counted(50)
    assert is_growing(outputs)
    assert begun(server, 50) == 1


def test_streams_that_end_cleanly_and_early_are_gone_on_with(proxy: FaultProxy, client: Teller) -> None:
    proxy.cut_all()
    proxy.fault = End(500, 4000)
    story = client.play("count", 30)
    try:
        assert find(story, "result")["value"] == counted(30)
    finally:
        proxy.fault = None
    assert list(story) == []
    assert proxy.ends


async def test_a_job_whose_answer_was_lost_is_submitted_once(
    server: GradioServer, proxy: FaultProxy, client: Teller
) -> None:
    proxy.fault = Cut(0, 1)
    before = proxy.cuts
    story = client.play("count", 17)
    await until(lambda: proxy.cuts > before + 1)
    proxy.fault = None
    assert find(story, "result")["value"] == counted(17)
    assert list(story) == []
    assert begun(server, 17) == 1


def test_a_job_is_fetched_by_another_process(server: GradioServer, client: Teller) -> None:
    with Teller(server.version, server.url) as other:
        story = client.play("count", 25)
        event_id = find(story, "submitted")["event_id"]
        now, later = other.told("fetch", event_id), list(story)[-1]
        after, unknown = other.told("fetch", event_id), other.told("fetch", "0" * 32)
    assert later["value"] == counted(25)
    assert [line["value"] for line in now if line["kind"] == "result"] == [counted(25)]
    assert is_growing([line["value"] for line in now if line["kind"] == "output"])
    assert now[-1] == {"kind": "status", "code": "FINISHED", "success": True}
    assert [line["value"] for line in after if line["kind"] == "result"] == [counted(25)]
    assert unknown[-1]["type"] == "UnknownRun"


def test_an_output_of_any_size_arrives(client: Teller) -> None:
    megabytes = [1, 18]
    assert [client.told("size", count)[0]["value"] for count in megabytes] == [
        count * 1_000_000 for count in megabytes
    ]


def test_a_cancelled_job_stops(server: GradioServer, client: Teller) -> None:
    (server.folder / "stopped").unlink(missing_ok=True)
    story = client.play("cancel")
    assert (ended := find(story, "error"))["type"] == "CancelledError", ended
    assert list(story) == [{"kind": "next", "value": counted(3)}], "the only place is free again"
    assert (server.folder / "stopped").exists()


def test_jobs_one_by_one_are_as_with_the_stock_client(server: GradioServer, client: Teller) -> None:
    with Teller(server.version, server.url, "stock") as stock:
        ours, theirs = client.told("one_by_one", 6), stock.told("one_by_one", 6)
    assert ours == theirs
    lines = {line["kind"]: line for line in ours}
    assert lines["results"]["value"] == [counted(n) for n in range(1, 6)]
    assert (lines["error"]["type"], lines["error"]["message"]) == ("AppError", "It does not work.")
    assert lines["state"]["value"] == ["1", "2", "3"]


def test_jobs_survive_a_server_that_is_killed(server: GradioServer, client: Teller) -> None:
    story = client.play("several", 24)
    had = find(story, "running")["outputs"]
    server.kill()
    server.start()
    ran, *others = [line for line in story if line["kind"] in ("result", "error")]
    assert len(had) > 2
    assert ran["type"] == "AppError"
    assert "restart" in ran["message"]
    assert [line.get("value") for line in others] == [counted(24), counted(24)]


def test_a_server_without_penstock_is_met_as_the_stock_client_does(tmp_path: Path) -> None:
    plain = APP.replace("import penstock.gradio", "").replace("@penstock.gradio.idempotent", "")
    with (
        GradioServer("newest", plain, hardened=False, cwd=tmp_path) as server,
        FaultProxy(server.port) as proxy,
        Teller("newest", proxy.url) as client,
    ):
        lines = {line["kind"]: line for line in client.told("one_by_one", 4)}
        story = client.play("count", 30)
        find(story, "output")
        proxy.cut_all()
        assert (ended := find(story, "error"))["type"] == "CancelledError", ended
    assert lines["results"]["value"] == [counted(n) for n in range(1, 4)]


def test_a_login_is_made_again_after_a_restart(tmp_path: Path) -> None:
    app = APP.replace("demo.launch()", "demo.launch(auth=('ada', 'lovelace'))")
    with (
        GradioServer("newest", app, cwd=tmp_path) as server,
        Teller("newest", server.url, "ada:lovelace") as client,
    ):
        story = client.play("several", 24)
        find(story, "running")
        server.kill()
        server.start()
        assert [line["value"] for line in story if line["kind"] == "result"] == [counted(24), counted(24)]


def test_the_module_is_had_without_gradio_client() -> None:
    program = "import sys; sys.modules['gradio_client'] = None; import penstock.gradio"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
