"""What Gradio's queue says is stored before it is sent, and is read in the old form or by cursor."""

import asyncio
import json
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.testing import until

from .server import GradioServer
from .speaking import Session, texts

APP = """
import time, gradio as gr

def count(n, pause):
    text = ""
    for i in range(int(n)):
        text += f"{i} "
        yield text
        time.sleep(pause)

def plain(text):
    return text.upper()

def fail(text):
    yield text
    raise gr.Error("No luck")

def length(text, key):
    return f"{text} {len(key)}"

with gr.Blocks() as demo:
    n, pause, text, out = gr.Number(), gr.Number(), gr.Textbox(), gr.Textbox()
    gr.Button().click(count, [n, pause], out, api_name="count", concurrency_limit=2)
    gr.Button().click(plain, text, out, api_name="plain", concurrency_limit=None)
    gr.Button().click(fail, text, out, api_name="fail")
    key = gr.Textbox(type="password")
    gr.Button().click(length, [text, key], out, api_name="length")
demo.launch()
"""

COUNT, PLAIN, FAIL, LENGTH = range(4)
TEN = "".join(f"{number} " for number in range(10))


def rows(folder: Path, query: str, *values: object) -> list[Any]:
    with sqlite3.connect(f"file:{folder / 'penstock.db'}?mode=ro", uri=True) as store:
        return store.execute(query, values).fetchall()


@pytest.fixture(scope="module", params=("5.50", "6.0", "newest"))
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GradioServer]:
    options = {"grace_s": 2, "close_grace_s": 0.5}
    with GradioServer(request.param, APP, options=options, cwd=tmp_path_factory.mktemp("app")) as made:
        yield made


async def test_a_client_without_a_cursor_reads_the_old_form(server: GradioServer) -> None:
    async with Session(server.url) as session:
        event = await session.join(COUNT, 10, 0.01)
        said = await session.read()
    kinds = [message["msg"] for message in said if message["msg"] != "estimation"]
    assert kinds[0] == "process_starts"
    assert kinds[-2:] == ["process_completed", "close_stream"]
    assert set(kinds[1:-2]) == {"process_generating"}
    assert {message["event_id"] for message in said[:-1]} == {event}
    assert texts(said)[-1] == TEN
    assert said[-2]["output"]["data"] == [TEN]


async def test_its_run_is_in_the_store(server: GradioServer) -> None:
    async with Session(server.url) as session:
        event = await session.join(PLAIN, "loud")
        assert texts(await session.read()) == ["LOUD"]
        found = rows(server.folder, "SELECT function, state, session FROM runs WHERE id = ?", event)
        assert found == [("plain", "succeeded", session.hash)]


async def test_a_cursor_goes_on_where_its_client_stood(server: GradioServer) -> None:
    async with Session(server.url) as session:
        await session.join(COUNT, 10, 0.1)
        heard = []
        cursor, said = await session.read_to(1, cursor="")
        heard += said
        for _ in range(3):
            cursor, said = await session.read_to(2, cursor=cursor)
            assert not any(message["msg"] == "process_starts" for message in said)
            heard += said
        heard += await session.read(cursor=cursor)
    assert texts(heard) == ["".join(f"{number} " for number in range(to + 1)) for to in range(10)] + [TEN]


async def test_a_client_that_reads_again_without_a_cursor_begins_anew(server: GradioServer) -> None:
    async with Session(server.url) as session:
        await session.join(COUNT, 10, 0.05)
        await session.read_to(3)
        assert texts(await session.read())[-1] == TEN


async def test_events_of_one_session_come_over_one_connection(server: GradioServer) -> None:
    async with Session(server.url) as session:
        events = [
            await session.join(COUNT, 5, 0.02),
            await session.join(PLAIN, "a"),
            await session.join(COUNT, 5, 0.02),
        ]
        said = await session.read()
        done = [message["event_id"] for message in said if message["msg"] == "process_completed"]
        assert sorted(done) == sorted(events)
        for event in (events[0], events[2]):
            assert texts([one for one in said if one.get("event_id") == event])[-1] == "0 1 2 3 4 "


async def test_an_error_is_told_and_kept(server: GradioServer) -> None:
    async with Session(server.url) as session:
        event = await session.join(FAIL, "text")
        said = await session.read()
    assert said[-2]["msg"] == "process_completed"
    assert said[-2]["success"] is False
    assert said[-2]["output"]["error"] == "No luck"
    assert rows(server.folder, "SELECT state FROM runs WHERE id = ?", event) == [("failed",)]


async def test_a_join_with_a_key_is_one_event(server: GradioServer) -> None:
    async with Session(server.url) as session:
        key = uuid.uuid4().hex
        events = await asyncio.gather(*(session.join(PLAIN, "once", key=key) for _ in range(3)))
        assert len(set(events)) == 1
        assert texts(await session.read()) == ["ONCE"]
        assert await session.join(PLAIN, "once", key=key) == events[0]


async def test_what_gradio_refuses_is_its_own_answer(server: GradioServer) -> None:
    for key in (None, uuid.uuid4().hex):
        async with Session(server.url) as session:
            answer = await session.post(99, "x", key=key)
            assert answer.status_code >= 400, answer.text
            assert "x-penstock" not in answer.headers
            left = [("failed",)] if key else []
            await until(lambda: rows(server.folder, "SELECT state FROM runs WHERE key = ?", key) == left)  # noqa: B023


async def test_nobody_coming_back_stops_the_run(server: GradioServer) -> None:
    async with Session(server.url) as session:
        event = await session.join(COUNT, 1000, 0.05)
        await session.read_to(1)

        def state() -> Any:
            return rows(server.folder, "SELECT state, error FROM runs WHERE id = ?", event)[0]

        assert state()[0] == "running"
        await until(lambda: state()[0] == "cancelled", deadline_s=15)
        assert "abandoned" in str(state()[1])


async def test_a_page_that_was_closed_is_not_waited_for_as_long(server: GradioServer) -> None:
    async with Session(server.url) as session:
        async with session.present():
            event = await session.join(COUNT, 1000, 0.05)
            left = await session.http.post(f"/gradio_api/penstock/session/{session.hash}/left")
            assert left.status_code == 204
        await until(
            lambda: rows(server.folder, "SELECT state FROM runs WHERE id = ?", event) == [("cancelled",)]
        )


async def test_a_page_that_is_there_keeps_its_run(server: GradioServer) -> None:
    async with Session(server.url) as session, session.present():
        event = await session.join(COUNT, 30, 0.1)
        await session.read_to(1)
        await until(
            lambda: rows(server.folder, "SELECT state FROM runs WHERE id = ?", event) == [("succeeded",)]
        )
        assert texts(await session.read())[-1].endswith("29 ")


async def test_a_cancelled_event_ends(server: GradioServer) -> None:
    async with Session(server.url) as session:
        event = await session.join(COUNT, 1000, 0.05)
        await session.read_to(2)
        body = {"session_hash": session.hash, "fn_index": COUNT, "event_id": event}
        assert (await session.http.post("/gradio_api/cancel", json=body)).status_code == 200
        said = await session.read()
        assert said[-2]["msg"] == "process_completed"
        assert rows(server.folder, "SELECT state FROM runs WHERE id = ?", event) == [("cancelled",)]


async def test_simple_calls_are_read_by_their_id(server: GradioServer) -> None:
    async with Session(server.url) as session:
        posted = await session.http.post("/gradio_api/call/count", json={"data": [5, 0.02]})
        event = posted.json()["event_id"]
        read = await session.http.get(f"/gradio_api/call/count/{event}")
    events = [block.split("\n", 1) for block in read.text.strip().split("\n\n")]
    names = [name.removeprefix("event: ") for name, _ in events]
    assert names[-1] == "complete"
    assert set(names[:-1]) <= {"generating", "heartbeat"}
    assert events[-1][1] == 'data: ["0 1 2 3 4 "]'


async def test_a_password_is_written_nowhere(server: GradioServer) -> None:
    async with Session(server.url) as session:
        event = await session.join(LENGTH, "said", "hunter2")
        assert texts(await session.read())[-1] == "said 7"
        simple = await session.http.post("/gradio_api/call/length", json={"data": ["said", "hunter2"]})
        told = await session.http.get(f"/gradio_api/call/length/{simple.json()['event_id']}")
        assert "said 7" in told.text
        empty = await session.join(LENGTH, "said", "")
        await session.read()
    kept = {run: json.loads(given) for run, given in rows(server.folder, "SELECT id, input FROM runs")}
    assert kept[event]["data"] == ["said", None]
    assert kept[event]["gradio"]["again"] is False, "without it, it can't be asked for again"
    assert kept[simple.json()["event_id"]].get("data", []) == []
    assert "again" not in kept[empty]["gradio"]
    for path in server.folder.glob("penstock.db*"):
        assert b"hunter2" not in path.read_bytes(), path
