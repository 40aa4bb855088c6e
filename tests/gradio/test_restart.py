"""A restart takes nothing that was stored: what waited goes on under its id, what ran is ended with a reason."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from penstock.testing import until

from .server import GradioServer
from .speaking import Session, texts
from .test_log import rows

APP = """
import pathlib, time, gradio as gr
import penstock.gradio

def count(n, gate):
    text = ""
    for i in range(int(n)):
        text += f"{i} "
        yield text
        while i == 3 and gate and not pathlib.Path(gate).exists():
            time.sleep(0.02)
        time.sleep(0.01)

again = penstock.gradio.idempotent(count) if GUARDED else count

with gr.Blocks() as demo:
    n, gate, out = gr.Number(), gr.Textbox(), gr.Textbox()
    gr.Button().click(again, [n, gate], out, api_name="count", concurrency_limit=1)
demo.launch()
"""

EACH = {"rate": 0}
"""No two updates become one: tests count them."""

TEN = "".join(f"{number} " for number in range(10))


def program(*, idempotent: bool) -> str:
    return APP.replace("GUARDED", str(idempotent))


@pytest.mark.parametrize("way", ["kill", "terminate"])
async def test_what_waited_goes_on_and_what_ran_is_interrupted(
    version: str, way: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with (
        GradioServer(version, program(idempotent=False), options=EACH, cwd=tmp_path) as server,
        Session(server.url) as session,
    ):
        began = await session.join(0, 10, str(gate))
        waits = await session.join(0, 10, "")
        cursor, said = await session.read_to(3, cursor="")
        getattr(server, way)()
        await asyncio.to_thread(server.start)
        rest = await session.read(cursor=cursor)
    ends = {one["event_id"]: one for one in rest if one["msg"] == "process_completed"}
    assert ends[began]["success"] is False
    assert "restart" in str(ends[began]["output"]["error"])
    assert ends[waits]["output"]["data"] == [TEN]
    assert rows(tmp_path, "SELECT state FROM runs WHERE id = ?", began) == [("interrupted",)]
    heard = texts([one for one in [*said, *rest] if one.get("event_id") == began])
    assert heard[:4] == ["0 ", "0 1 ", "0 1 2 ", "0 1 2 3 "][: len(heard)]


async def test_an_idempotent_function_runs_again(version: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with (
        GradioServer(version, program(idempotent=True), options=EACH, cwd=tmp_path) as server,
        Session(server.url) as session,
    ):
        event = await session.join(0, 10, str(gate))
        cursor, _ = await session.read_to(3, cursor="")
        server.kill()
        gate.touch()
        await asyncio.to_thread(server.start)
        rest = await session.read(cursor=cursor)
    assert rest[-2]["event_id"] == event
    assert rest[-2]["output"]["data"] == [TEN]


async def test_a_finished_event_is_still_told_after_a_restart(version: str, tmp_path: Path) -> None:
    async with (
        GradioServer(version, program(idempotent=False), options=EACH, cwd=tmp_path) as server,
        Session(server.url) as session,
    ):
        async with session.present():
            event = await session.join(0, 10, "")
            cursor, _ = await session.read_to(3, cursor="")
            await until(
                lambda: rows(tmp_path, "SELECT state FROM runs WHERE id = ?", event) == [("succeeded",)]
            )
        server.kill()
        await asyncio.to_thread(server.start)
        rest = await session.read(cursor=cursor)
    assert rest[-2]["output"]["data"] == [TEN]


async def test_what_nobody_owns_and_ended_long_ago_is_not_read_again_after_a_restart(tmp_path: Path) -> None:
    async with (
        GradioServer("newest", program(idempotent=False), cwd=tmp_path) as server,
        Session(server.url) as session,
    ):
        events = [await session.join(0, 10, "") for _ in range(2)]
        assert [
            one["event_id"] for one in await session.read() if one["msg"] == "process_completed"
        ] == events
        server.kill()
        an_hour = "UPDATE runs SET ended_at_ms = ended_at_ms - 3600000 WHERE id = ?"
        with contextlib.closing(sqlite3.connect(tmp_path / "penstock.db")) as store, store:
            store.execute(an_hour, [events[0]])
        await asyncio.to_thread(server.start)
        said = [(await session.http.get(f"/gradio_api/call/count/{one}")).text for one in events]
    assert TEN not in said[0]
    assert TEN in said[1]


async def test_what_was_called_by_the_names_of_its_parameters_goes_on(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with (
        GradioServer("newest", program(idempotent=False), cwd=tmp_path) as server,
        Session(server.url) as session,
    ):
        await session.join(0, 10, str(gate))
        given = {"n": 10, "gate": ""}
        waits = (await session.http.post("/gradio_api/call/v2/count", json=given)).json()["event_id"]
        server.kill()
        await asyncio.to_thread(server.start)
        said = (await session.http.get(f"/gradio_api/call/count/{waits}")).text
    assert said.endswith(f'event: complete\ndata: ["{TEN}"]\n\n')


TWO = """
import pathlib, time, gradio as gr

def work(gate):
    while gate and not pathlib.Path(gate).exists():
        time.sleep(0.02)
    return "NAME"

with gr.Blocks() as demo:
    gate, out = gr.Textbox(), gr.Textbox()
    gr.Button().click(work, gate, out, api_name="work", concurrency_limit=1)
demo.launch()
"""


async def test_what_waits_for_one_program_is_not_begun_by_another(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(TWO.replace("NAME", name), encoding="utf-8")
    async with GradioServer("newest", tmp_path / "one.py", cwd=tmp_path) as one, Session(one.url) as session:
        await session.join(0, str(tmp_path / "gate"))
        waits = await session.join(0, "")
        one.kill()
        async with GradioServer("newest", tmp_path / "two.py", cwd=tmp_path) as two:
            await until(lambda: waits in two.output, deadline_s=30)
            assert rows(tmp_path, "SELECT state FROM runs WHERE id = ?", waits) == [("queued",)]
        await asyncio.to_thread(one.start)
        said = await session.read(cursor="", event=waits)
    assert texts([message for message in said if message.get("event_id") == waits])[-1] == "one"


GUARDED = """
import os, pathlib, time
import fastapi, gradio as gr, uvicorn

def work(said, gate):
    while gate and not pathlib.Path(gate).exists():
        time.sleep(0.02)
    return said

with gr.Blocks() as demo:
    said, gate, out = gr.Textbox(), gr.Textbox(), gr.Textbox()
    gr.Button().click(work, [said, gate], out, api_name="work", concurrency_limit=1)
app = fastapi.FastAPI()
gr.mount_gradio_app(app, demo, path="", auth_dependency=lambda request: request.headers.get("x-user"))
uvicorn.run(app, port=int(os.environ["GRADIO_SERVER_PORT"]))
"""


@pytest.mark.parametrize("first", ["ann", "bob"])
async def test_what_waits_goes_on_when_its_person_is_back_whoever_comes_first(
    first: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with GradioServer("newest", GUARDED, cwd=tmp_path) as server:
        ann = Session(server.url, headers={"X-User": "ann"})
        bob = Session(server.url, ann.hash, headers={"X-User": "bob"})
        async with ann, bob:
            await ann.join(0, "first", str(gate))
            waits = await ann.join(0, "second", "")
            server.kill()
            await asyncio.to_thread(server.start)
            if first == "bob":
                path = f"/gradio_api/heartbeat/{ann.hash}"
                async with bob.http.stream("GET", path) as answer:
                    assert answer.status_code == 404
                assert (await bob.post(0, "mine", "")).status_code == 404
            gate.touch()
            said = await ann.read(cursor="", event=waits)
    assert texts([message for message in said if message.get("event_id") == waits])[-1] == "second"
