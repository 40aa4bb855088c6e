"""install(): one line, whatever the app is and however it is served."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from penstock.testing import until

from .server import ENDS, GradioServer, run
from .speaking import DEADLINE_S, Session

MANY = """
import contextlib, json, os, socket, sys
import fastapi, gradio, uvicorn
from gradio import mount_gradio_app  # an older reference than install()'s
from starlette.middleware import Middleware
import penstock.gradio

def free():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]

def count(text):
    for number in range(3):
        yield text * number

class Stamp:
    def __init__(self, app): self.app = app
    async def __call__(self, scope, receive, send):
        async def stamped(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stamp", b"user")]
            await send(message)
        await self.app(scope, receive, stamped)

@contextlib.asynccontextmanager
async def lifespan(app):
    open("opened", "w").close()
    yield

with gradio.Blocks(title="launched") as launched:
    text = gradio.Textbox()
    text.submit(count, text, gradio.Textbox(), api_name="count")
penstock.gradio.install(store="sqlite:///kept.db")

chat_options = {"type": "messages"} if gradio.__version__ < "6" else {}
def say(message, history):
    yield message
chat = gradio.ChatInterface(say, **chat_options)
form = gradio.Interface(count, "text", "text")
apart = {"prevent_thread_lock": True, "quiet": True}
given = {"middleware": [Middleware(Stamp)], "lifespan": lifespan}
outer = fastapi.FastAPI()
mount_gradio_app(outer, form, "/form")
with gradio.Blocks() as second:
    gradio.Textbox().submit(count, gradio.Textbox(), gradio.Textbox(), api_name="count")
gradio.mount_gradio_app(outer, second, "/second/one")
places = {
    "launched": launched.queue(max_size=10).launch(server_port=free(), app_kwargs=given, **apart)[1],
    "chat": chat.launch(server_port=free(), **apart)[1],
}
assert set(given) == {"middleware", "lifespan"} and len(given["middleware"]) == 1
penstock.gradio.install(store="sqlite:///kept.db")
with open("places", "w") as file:
    json.dump(places, file)
uvicorn.run(outer, port=int(os.environ["GRADIO_SERVER_PORT"]))
"""


async def test_each_way_of_serving_is_hardened_also_several_in_one_process(
    version: str, tmp_path: Path
) -> None:
    async with GradioServer(version, MANY, hardened=False, cwd=tmp_path) as server:
        places = json.loads((tmp_path / "places").read_text())
        urls = [places["launched"], places["chat"], f"{server.url}/form/", f"{server.url}/second/one/"]
        pages = [httpx.get(url, headers={"Accept": "text/html"}) for url in urls]
        assert [page.text.count('id="penstock-gradio"') for page in pages] == [1, 1, 1, 1]
        assert [page.headers.get("x-stamp") for page in pages] == ["user", None, None, None]
        assert (tmp_path / "opened").exists()
        for url in (urls[0], urls[2], urls[3]):
            async with Session(url) as session:
                assert await answer_of(session) == "aa"
    with sqlite3.connect(tmp_path / "kept.db") as kept:
        names = [row[0] for row in kept.execute("SELECT function FROM runs ORDER BY function")]
    kept.close()
    assert "count" in names
    assert [name for name in names if name.startswith("second.one.")] == ["second.one.count"]
    assert sum(name.startswith("form.") for name in names) == 1


TROUBLE = """
import socket
import fastapi, gradio
import penstock.gradio
from penstock.errors import ConfigError

def tell(**options):
    try:
        penstock.gradio.install(**options)
    except ConfigError as error:
        print("->", error.message, "|", error.hint)
    else:
        print("-> fine")

def make(title):
    with gradio.Blocks(title=title) as blocks:
        gradio.Textbox()
    return blocks

with socket.socket() as sock:
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
early = make("early")
early.launch(prevent_thread_lock=True, server_port=port, quiet=True)
tell()
early.close(verbose=False)
mounted = make("mounted")
gradio.mount_gradio_app(fastapi.FastAPI(), mounted, "/there")
tell()
del mounted
import gc; gc.collect()
for blocks in gradio.Blocks.get_instances():
    blocks.custom_mount_path = None
tell(grace_s=-1)
tell(operators=[1])
tell(store="nosuch:")
tell(grace_s=9)
tell(grace_s=9)
tell(grace_s=8, token="secret")
"""


@pytest.mark.parametrize("version", ENDS)
async def test_install_says_what_is_wrong(version: str) -> None:
    said = [line[3:] for line in (await run(version, TROUBLE)).splitlines() if line.startswith("-> ")]
    assert "too late: 'early', launched. | Call it before launch()" in said[0]
    assert "too late: 'mounted', mounted at /there." in said[1]
    assert said[2].startswith("grace_s is -1. | It is a number of seconds")
    assert said[3].startswith("operators is [1]. | It is the name of a login")
    assert "nosuch" in said[4]
    assert said[5:7] == ["fine", "fine"]
    assert "grace_s=8 (was 9)" in said[7]
    assert "token" in said[7]
    assert "secret" not in said[7]


RELOADED = """
import gradio
import penstock.gradio
penstock.gradio.install(store="sqlite:///kept.db")

def answer(text):
    yield text + " {word}"

with gradio.Blocks() as demo:
    text = gradio.Textbox()
    text.submit(answer, text, gradio.Textbox(), api_name="{name}")
demo.launch()
"""


async def test_reload_mode_stays_hardened(version: str, tmp_path: Path) -> None:
    before, after = (
        RELOADED.format(word=word, name=name) for word, name in (("one", "first"), ("two", "then"))
    )
    command = ["-c", "from gradio.cli import cli; cli()", "{app}"]
    async with GradioServer(version, before, command=command, cwd=tmp_path) as server:
        async with Session(server.url) as session:
            assert await answer_of(session) == "a one"
        server.app.write_text(after)

        async def changed() -> bool:
            async with Session(server.url) as session:
                return await answer_of(session) == "a two"

        await until(changed, DEADLINE_S, "the file is loaded again")
        assert "Traceback" not in server.output
    with sqlite3.connect(tmp_path / "kept.db") as kept:
        assert {row[0] for row in kept.execute("SELECT function FROM runs")} == {"first", "then"}
    kept.close()


NAMES = ("count", "predict", "first", "then")
"""The functions that are called here; Gradio's interfaces have more of their own."""


async def answer_of(session: Session) -> str:
    """What the app's function makes of an `a`, which must be recorded."""
    functions = (await session.http.get("config")).json()["dependencies"]
    index = next(one["id"] for one in functions if one["api_name"] in NAMES)
    answer = await session.post(index, "a")
    assert answer.headers["x-penstock"] == "1", answer.text
    said = {message["msg"]: message for message in await session.read()}
    return str(said["process_completed"]["output"]["data"][0])


PLAIN = """
import sys, time
import gradio

def count(text):
    for number in range(3):
        yield text * number

def work(text):
    print("begun", flush=True)
    open("begun", "w").close()
    time.sleep(2)
    yield text

with gradio.Blocks() as demo:
    text = gradio.Textbox()
    out = gradio.Textbox()
    text.submit(count, text, out, api_name="count")
    text.submit(work, text, out, api_name="work")
print(__name__, *sys.argv[1:], flush=True)
demo.launch(auth=("ada", "pw"), allowed_paths=["/usr/share"], max_threads=7, server_port=1)
print("after launch()", flush=True)
"""


@asynccontextmanager
async def logged_in(url: str) -> AsyncIterator[Session]:
    async with Session(url) as session:
        assert (await session.post(0, "a")).status_code == 401
        answer = await session.http.post("/login", data={"username": "ada", "password": "pw"})
        assert answer.status_code == 200
        for cookie in session.http.cookies.jar:
            cookie.secure = False  # one of the two that Gradio sets is for https only
        yield session


async def test_serve_takes_a_gradio_app_and_honours_its_launch(version: str, tmp_path: Path) -> None:
    command = ["-m", "penstock", "serve", "{app}", "--port", "{port}", "--store", "sqlite:///own.db"]
    async with GradioServer(version, PLAIN, command=command, cwd=tmp_path) as server:
        assert "after launch()" in server.output
        async with logged_in(server.url) as session:
            assert await answer_of(session) == "aa"
            await session.post(1, "kept")
            await until((tmp_path / "begun").exists, DEADLINE_S, "the work begins")
            code = await asyncio.to_thread(server.stop)
    assert code == 0, server.output
    assert "Leaving: readers are told" in server.output
    with sqlite3.connect(tmp_path / "own.db") as kept:
        states = dict(kept.execute("SELECT function, state FROM runs"))
    kept.close()
    assert states == {"count": "succeeded", "work": "succeeded"}


async def test_a_program_runs_as_it_is(version: str, tmp_path: Path) -> None:
    command = ["-m", "penstock", "gradio", "--store", "sqlite:///own.db", "{app}", "--store", "mine"]
    program = PLAIN.replace(", server_port=1", "")
    async with GradioServer(version, program, command=command, cwd=tmp_path) as server:
        assert "__main__ --store mine\n" in server.output
        async with logged_in(server.url) as session:
            assert await answer_of(session) == "aa"
        assert await asyncio.to_thread(server.interrupt) == 0
        assert "after launch()" in server.output
    assert (tmp_path / "own.db").exists()


LAUNCHED = """
import gradio
with gradio.Blocks() as demo:
    gradio.Textbox()
demo.queue().launch({})
"""

MOUNTED = """
import os, fastapi, gradio, logging, uvicorn
logging.basicConfig(level=logging.INFO)
with gradio.Blocks() as demo:
    gradio.Textbox()
app = gradio.mount_gradio_app(fastapi.FastAPI(), demo, path="/")
uvicorn.run(app, port=int(os.environ["GRADIO_SERVER_PORT"]))
"""

ON = "Penstock is on: runs are kept in kept.db, its console is at /penstock"


@pytest.mark.parametrize("version", ENDS)
async def test_a_launch_says_that_penstock_is_on(version: str) -> None:
    options = {"store": "sqlite:///kept.db"}
    async with GradioServer(version, LAUNCHED.format(""), options=options) as server:
        await until(lambda: "* Penstock is on" in server.output)
        assert server.output.count(f"* {ON}\n") == 1


async def test_nothing_is_printed_where_launch_prints_nothing() -> None:
    quiet = LAUNCHED.format("quiet=True, prevent_thread_lock=True")
    blocks = "print('Uvicorn running on', demo.local_url)\ndemo.block_thread()\n"
    async with GradioServer("newest", quiet + blocks) as server:
        assert "/penstock/" in httpx.get(server.url).text
        assert "Penstock is on" not in server.output
    async with GradioServer("newest", MOUNTED, options={"store": "sqlite:///kept.db"}) as server:
        await until(lambda: f"INFO:penstock:{ON}\n" in server.output)
        assert f"* {ON}" not in server.output
