"""`gr.State` over a restart, on real servers: the values that have an exact JSON form, for their owner alone."""

import asyncio
from pathlib import Path
from typing import Any

from .server import GradioServer
from .speaking import Session

APP = """
import pathlib, threading, time
import gradio as gr

def add(one, so_far):
    so_far.append(one)
    return so_far, repr(so_far)

def tell(so_far, alone):
    return repr((so_far, alone))

def put(one):
    return threading.Lock(), "put"

def grow(gate, so_far):
    for number in range(3):
        so_far = [*so_far, number]
        yield so_far, repr(so_far)
    while not pathlib.Path(gate).exists():
        time.sleep(0.02)

def fail(one, so_far):
    so_far.append(one)
    raise gr.Error("on purpose")

def respond(message, history):
    return f"{message} follows {len(history)}"

with gr.Blocks() as demo:
    for _ in range(MORE):
        gr.State(["begin"])
        gr.Textbox()
    so_far, alone = gr.State(["begin"]), gr.State(None)
    one, gate, out = gr.JSON(), gr.Textbox(), gr.Textbox()
    gr.Button().click(add, [one, so_far], [so_far, out])
    gr.Button().click(tell, [so_far, alone], out)
    gr.Button().click(put, one, [alone, out])
    gr.Button().click(grow, [gate, so_far], [so_far, out])
    gr.Button().click(fail, [one, so_far], so_far)
    gr.Button().click(add, [one, so_far], [so_far, out], queue=False, api_name="at_once")
    gr.ChatInterface(respond, **({"type": "messages"} if gr.__version__ < "6" else {}))
demo.launch()
"""

ADD, TELL, PUT, GROW, FAIL, AT_ONCE, SAVE, APPEND, SUBMIT, SYNCHRONIZE = range(10)

WHOLE = [1, -0.5, True, None, "ü", {"a": [[], {}], "": "x"}]


async def call(session: Session, fn: int, *data: Any) -> Any:
    """What an event leaves behind; None of one that failed."""
    event = await session.join(fn, *data)
    (end,) = [one for one in await session.read() if one.get("event_id") == event][-1:]
    return end["output"]["data"][-1] if end["success"] else None


async def at_once(session: Session, fn: int, *data: Any) -> Any:
    """The same of a function that does not wait in line."""
    body = {"data": list(data), "fn_index": fn, "session_hash": session.hash}
    answer = await session.http.post("/gradio_api/run/predict", json=body)
    return answer.json()["data"]


async def chat(session: Session, message: str, shown: Any) -> Any:
    """What a page of a ChatInterface does with a message; what it shows then."""
    await at_once(session, SAVE, message, None)
    (shown,) = await at_once(session, APPEND, None, shown)
    shown = await call(session, SUBMIT, None, None)
    await at_once(session, SYNCHRONIZE, shown)
    return shown


async def test_a_page_that_goes_on_finds_its_state(version: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with (
        GradioServer(version, APP.replace("MORE", "0"), cwd=tmp_path) as server,
        Session(server.url) as mine,
        Session(server.url) as nobodys,
        Session(server.url, mine.hash) as thief,
    ):
        await mine.http.get("/")  # for its cookie
        assert await call(mine, ADD, WHOLE, None) == repr(["begin", WHOLE])
        assert await call(mine, FAIL, 2, None) is None
        assert (await at_once(mine, AT_ONCE, 3, None))[-1] == repr(["begin", WHOLE, 2, 3])
        assert await call(mine, PUT, None) == "put"
        shown = await chat(mine, "one", [])
        assert await call(nobodys, ADD, "other", None) == repr(["begin", "other"])
        await mine.join(GROW, str(gate), None)
        await mine.read_to(2, cursor="")

        server.kill()
        (tmp_path / "app.py").write_text(APP.replace("MORE", "2"))  # its components have other numbers now
        await asyncio.to_thread(server.start)

        await thief.http.get("/")
        assert await call(nobodys, TELL, None, None) == repr((["begin", "other"], None))
        assert await call(mine, TELL, None, None) == repr((["begin", WHOLE, 2, 3], None))
        shown = await chat(mine, "two", shown)
        assert [turn["role"] for turn in shown] == ["user", "assistant"] * 2
        assert "two follows 2" in str(shown[-1]["content"])
        assert (await thief.post(TELL, None, None)).status_code == 404
        assert "The gr.State that `tell` uses" in server.output
