"""Gradio's private surfaces: what is found, and what becomes of an app where one is missing."""

import re
import sqlite3
from pathlib import Path

import httpx

from penstock.integrations.gradio.seams.surfaces import NEWEST_TESTED, TABLE

from .server import ROOT, GradioServer, run
from .speaking import Session

DETECT = """
import logging
import gradio
from penstock.integrations.gradio.seams import surfaces
logging.basicConfig(format="%(message)s")

with gradio.Blocks() as demo:
    text = gradio.Textbox()
    text.submit(lambda value: value, text, text, api_name="same")
app = demo.app

def tell():
    found = surfaces.detect(app)
    print(found.mode, len(found.missing), [one.name for one in found.functions(app)])

tell()
version, gradio.__version__ = gradio.__version__, "6.999.0"
tell()
gradio.__version__ = version
kept = app.state_holder
del app.state_holder
tell()
tell()
print(surfaces.detect(app).dependency(app, "nobody", 0).name, surfaces.detect(app).dependency(app, None, 7).name)
app.state_holder = kept
del demo._queue.__dict__["cached_event_analytics_summary"]
tell()
import pathlib
from gradio import routes
source = pathlib.Path(routes.__file__).read_text(encoding="utf-8")
assert "session_hash: str" in source
source = source.replace("session_hash: str", "session_hash: str, resume_event_id: str")
pathlib.Path("routes.py").write_text(source)
routes.__file__ = "routes.py"
tell()
with surfaces.detect(app).login_as(app, "ada") as headers:
    print(len(headers), list(app.tokens.values()))
print(list(app.tokens.values()))
with surfaces.detect(app).login_as(app, None) as headers:
    print(headers)
app.auth_dependency = lambda request: "ada"
with surfaces.detect(app).login_as(app, "ada") as headers:
    print(headers)
"""


async def test_what_is_missing_is_found_and_never_raises(version: str, tmp_path: Path) -> None:
    said = (await run(version, DETECT, cwd=tmp_path, warns=True)).splitlines()
    assert said[:6] == [
        "full 0 ['same']",
        "reconnect 0 ['same']",
        "reconnect 1 ['same']",
        "reconnect 1 ['same']",
        "same function_7",
        "reconnect 1 ['same']",
    ]
    assert said[6] == "aside 0 ['same']"
    assert said[7:11] == ["1 ['ada']", "[]", "[]", "None"]
    lines = said[11:]
    assert [line for line in lines if "6.999.0 is not among the tested versions (5.50 to" in line] == lines[
        :1
    ]
    assert ["state_holder" in lines[1], "summary" in lines[2], "stands aside" in lines[3]] == [True] * 3
    assert len(lines) == 4, lines


RENDERED = """
import gradio

with gradio.Blocks() as demo:
    text = gradio.Textbox("a")

    @gradio.render(inputs=text, triggers=[demo.load])
    def show(value):
        button = gradio.Button()
        def inner():
            yield value * 2
        button.click(inner, None, gradio.Textbox(), api_name="inner")
demo.launch()
"""


async def test_functions_that_are_rendered_for_a_session_are_found(version: str, tmp_path: Path) -> None:
    options = {"store": "sqlite:///kept.db"}
    async with (
        GradioServer(version, RENDERED, options=options, cwd=tmp_path) as server,
        Session(server.url) as session,
    ):
        functions = (await session.http.get("config")).json()["dependencies"]
        await session.post(functions[0]["id"], "a")
        said = {message["msg"]: message for message in await session.read()}
        rendered = said["process_completed"]["output"]["render_config"]["dependencies"]
        await session.post(rendered[0]["id"])
        said = {message["msg"]: message for message in await session.read()}
        assert said["process_completed"]["output"]["data"] == ["aa"]
    with sqlite3.connect(tmp_path / "kept.db") as kept:
        assert "inner" in {row[0] for row in kept.execute("SELECT function FROM runs")}
    kept.close()


BROKEN = """
import gradio, penstock.gradio
gradio.__version__ = "6.999.0"
with gradio.Blocks() as demo:
    text = gradio.Textbox()
    text.submit(lambda value: value * 2, text, text)
penstock.gradio.install()
demo.launch()
"""


async def test_an_app_of_an_unknown_version_works_and_says_so_once() -> None:
    async with GradioServer("newest", BROKEN, hardened=False) as server, Session(server.url) as session:
        answer = await session.post(0, "a")
        assert answer.headers["x-penstock"] == "1"
        said = {message["msg"]: message for message in await session.read()}
        assert said["process_completed"]["output"]["data"] == ["aa"]
        page = httpx.get(server.url).text
        assert re.search(r'id="penstock-gradio">[^<]*"mode": ?"reconnect"', page)
        assert server.output.count("not among the tested versions") == 1


NATIVE = """
import pathlib
import gradio, penstock.gradio
from gradio import routes
pathlib.Path("routes.py").write_text("resume_event_id: str | None = None")
routes.__file__ = "routes.py"
with gradio.Blocks() as demo:
    text = gradio.Textbox()
    text.submit(lambda value: value * 2, text, text)
penstock.gradio.install()
demo.launch()
"""


async def test_where_gradio_resumes_by_itself_it_is_left_alone(tmp_path: Path) -> None:
    async with (
        GradioServer("newest", NATIVE, hardened=False, cwd=tmp_path) as server,
        Session(server.url) as session,
    ):
        answer = await session.post(0, "a")
        assert "x-penstock" not in answer.headers
        said = {message["msg"]: message for message in await session.read()}
        assert said["process_completed"]["output"]["data"] == ["aa"]
        assert "penstock" not in httpx.get(server.url).text
        assert server.output.count("stands aside") == 1


async def test_the_newest_tested_version_is_the_one_that_is_tested() -> None:
    said = await run("newest", "import gradio; print(gradio.__version__)")
    assert tuple(map(int, said.split(".")[:2])) == NEWEST_TESTED


GONE = """
import gradio
from gradio.routes import App
import penstock.gradio
made = App.create_app
del App.create_app
penstock.gradio.install(store="memory:")
penstock.gradio.install(store="memory:")
App.create_app = made
with gradio.Blocks() as demo:
    gradio.Textbox()
print(type(demo.app).__name__, demo.app.user_middleware[-1].cls.__name__)
"""


async def test_a_gradio_without_the_seam_is_left_as_it_is() -> None:
    said = (await run("newest", GONE, warns=True)).splitlines()
    assert "Penstock" not in said[0]
    assert all("left as it is" in line for line in said[1:]), said


PRIVATE = (
    "_queue", "pending_messages_per_session", "pending_event_ids_session", "start_progress_updates", "create_app",
    "compute_analytics_summary", "cached_event_analytics_summary", "state_holder", "cookie_id", "start_server",
    "custom_mount_path", "get_heartbeat_rate", "default_concurrency_limit", "call_function", "block_thread",
    "state_data", "_state_ttl", "session_data",
)  # fmt: skip

DOORS = {
    "surfaces.py", "line.py", "launching.py", "install.py", "functions.py", "merging.py", "room.py", "direct.py",
    "stateful.py",
}  # fmt: skip
"""The modules that touch what is private of Gradio."""


def test_what_is_private_is_named_in_the_table_and_touched_behind_it_only() -> None:
    named = " ".join(surface.name for surface in TABLE)
    assert [name for name in PRIVATE if name not in named] == []
    package = ROOT / "src" / "penstock"
    for path in [
        *(package / "integrations" / "gradio").glob("*.py"),
        package / "gradio.py",
        package / "hosting.py",
    ]:
        if path.name not in DOORS:
            code = re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
            assert [name for name in PRIVATE if re.search(rf"[.\"]{name}\b", code)] == [], path
