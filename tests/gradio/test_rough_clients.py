"""Clients that come at a bad moment, or say what nobody expects, cost others nothing and lose nothing."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import Iterator

import httpx
import pytest

from penstock.testing import until

from .server import GradioServer
from .speaking import Session, texts
from .test_log import rows

APP = """
import time, gradio as gr

def count(n, pause):
    text = ""
    for i in range(int(n)):
        text += f"{i} "
        yield text
        time.sleep(pause)

def alone(n, pause):
    yield from count(n, pause)

def large(megabytes):
    return "x" * int(megabytes * 1024 * 1024)

with gr.Blocks() as demo:
    n, pause, out = gr.Number(), gr.Number(), gr.Textbox()
    gr.Button().click(count, [n, pause], out, api_name="count", concurrency_limit=20)
    gr.Button().click(large, n, out, api_name="large", concurrency_limit=20)
    gr.Button().click(alone, [n, pause], out, api_name="one", concurrency_limit=1)
demo.launch()
"""

COUNT, LARGE, ONE = range(3)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GradioServer]:
    options = {"grace_s": 1.5, "close_grace_s": 0.2}
    with GradioServer("newest", APP, options=options, cwd=tmp_path_factory.mktemp("app")) as made:
        yield made


def state(server: GradioServer, event: str) -> str:
    return str(rows(server.folder, "SELECT state FROM runs WHERE id = ?", event)[0][0])


async def test_what_is_joined_while_somebody_reads_is_told_to_him(server: GradioServer) -> None:
    async with Session(server.url) as session:
        first = await session.join(COUNT, 30, 0.05)
        done = []
        async with contextlib.aclosing(session.messages()) as messages:
            await anext(messages)
            others = [await session.join(COUNT, 1, 0) for _ in range(10)]
            async for _, message in messages:
                done += [message["event_id"]] if message["msg"] == "process_completed" else []
    assert sorted(done) == sorted([first, *others])


async def test_a_message_of_an_event_that_is_over_holds_up_no_other(server: GradioServer) -> None:
    async with Session(server.url) as session:
        await session.join(ONE, 1000, 0.05)
        waits = await session.join(ONE, 5, 0)
        async with contextlib.aclosing(session.messages()) as messages:
            await anext(messages)
            stopped = await session.http.post(f"/gradio_api/penstock/api/runs/{waits}/cancel")
            assert stopped.status_code == 202, stopped.text
            last = asyncio.get_running_loop().time()
            longest = 0.0
            updates = 0
            async for _, message in messages:
                now = asyncio.get_running_loop().time()
                longest, last = max(longest, now - last), now
                updates += message["msg"] == "process_generating"
                if updates == 60:
                    break
    assert longest < 2.5


async def test_an_output_that_is_too_large_ends_its_event_and_no_other(server: GradioServer) -> None:
    async with Session(server.url) as session:
        event, other = await session.join(LARGE, 20), await session.join(COUNT, 20, 0.05)
        said = await session.read()
    ends = {one["event_id"]: one for one in said if one["msg"] == "process_completed"}
    assert ends[event]["success"] is False
    assert ends[other]["success"] is True
    assert state(server, event) == "failed"


async def test_a_run_of_penstocks_own_api_needs_no_page(server: GradioServer) -> None:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        given = {"function": "count", "input": {"data": [60, 0.05]}}
        posted = await http.post("/gradio_api/penstock/api/runs", json=given)
        assert posted.status_code == 202, posted.text
        run = posted.json()["run_id"]
        await until(lambda: state(server, run) not in ("queued", "running"), deadline_s=15)
        assert state(server, run) == "succeeded"


async def test_nan_and_the_like_are_taken_as_gradio_takes_them(server: GradioServer) -> None:
    async with Session(server.url) as session:
        given = {"data": [3, 0, float("nan"), "\ud800"], "fn_index": COUNT, "session_hash": session.hash}
        json_type = {"content-type": "application/json"}
        answer = await session.http.post(
            "/gradio_api/queue/join", content=json.dumps(given), headers=json_type
        )
        assert answer.status_code == 200
        assert texts(await session.read())[-1] == "0 1 2 "


async def test_head_asks_nothing(server: GradioServer) -> None:
    async with Session(server.url) as session:
        await session.join(COUNT, 3, 0)
        for route in (f"heartbeat/{session.hash}", f"queue/data?session_hash={session.hash}"):
            answer = await asyncio.wait_for(session.http.head(f"/gradio_api/{route}"), 5)
            assert answer.status_code == 405
        assert texts(await session.read())[-1] == "0 1 2 "


@pytest.mark.parametrize("name", ["a/b", "x" * 5000, "ü", "\u0000", "a b"])
async def test_odd_session_names(server: GradioServer, name: str) -> None:
    async with Session(server.url) as session:
        session.hash = name
        answer = await session.post(COUNT, 3, 0)
        assert answer.status_code == 200
        assert texts(await session.read())[-1] == "0 1 2 "


async def test_a_cursor_of_a_session_that_is_over_is_good_for_the_next(server: GradioServer) -> None:
    async with Session(server.url) as session:
        for _ in range(3):
            event = await session.join(COUNT, 1, 0)
        cursor, _ = await session.read_to(3, cursor="")
        await until(lambda: state(server, event) == "succeeded")
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:

            async def over() -> bool:
                listed = await http.get(f"/gradio_api/penstock/session/{session.hash}")
                return listed.status_code == 404

            async with asyncio.timeout(10):
                while not await over():
                    await asyncio.sleep(2)  # less would be a visit, for which it is kept
        again = await session.join(COUNT, 4, 0)
        said = await session.read(cursor=cursor)
    assert [one["event_id"] for one in said if one["msg"] == "process_completed"] == [again]


async def test_a_function_that_is_stopped_takes_no_other_with_it(server: GradioServer) -> None:
    async with Session(server.url) as session:
        stopped, other = await session.join(COUNT, 1000, 0.05), await session.join(COUNT, 20, 0.05)
        await until(lambda: state(server, stopped) == state(server, other) == "running")
        await session.http.post(f"/gradio_api/penstock/api/runs/{stopped}/cancel")
        said = await session.read()
    assert texts([one for one in said if one.get("event_id") == other])[-1].endswith(" 19 ")
    assert (state(server, stopped), state(server, other)) == ("cancelled", "succeeded")


async def test_what_gradio_cancels_beside_an_event_ends_too(server: GradioServer) -> None:
    async with Session(server.url) as session:
        events = [await session.join(COUNT, 1000, 0.05) for _ in range(3)]
        await until(lambda: all(state(server, event) == "running" for event in events))
        body = {"session_hash": session.hash, "fn_index": COUNT, "event_id": events[0]}
        assert (await session.http.post("/gradio_api/cancel", json=body)).status_code == 200
        said = await session.read()
    assert sorted(one["event_id"] for one in said if one["msg"] == "process_completed") == sorted(events)
    assert {state(server, event) for event in events} == {"cancelled"}


async def test_a_key_that_is_used_again_leaves_the_run_whose_it_was(server: GradioServer) -> None:
    async with Session(server.url) as session, Session(server.url) as other:
        await session.http.get("/")
        assert session.http.cookies
        key = uuid.uuid4().hex
        event = await session.join(COUNT, 100, 0.05, key=key)
        assert await session.join(COUNT, 100, 0.05, key=key) == event
        stolen = await other.http.get(f"/gradio_api/call/count/{event}")
        assert stolen.text.startswith("event: error")


async def test_a_page_may_come_back_in_the_moment_its_session_ends(server: GradioServer) -> None:
    async def once(pause_s: float) -> None:
        async with Session(server.url) as session:
            async with session.present():
                await session.join(COUNT, 1000, 0.05)
                await session.http.post(f"/gradio_api/penstock/session/{session.hash}/left")
            await asyncio.sleep(pause_s)  # about `close_grace_s`: it ends before, after, or now
            event = await session.join(COUNT, 3, 0.01)
            async with contextlib.aclosing(session.messages()) as messages:
                async for _, message in messages:
                    if message["msg"] == "process_completed" and message["event_id"] == event:
                        assert message["output"]["data"] == ["0 1 2 "]
                        return
            raise AssertionError("it was never told")

    await asyncio.gather(*(once(0.17 + number * 0.003) for number in range(16)))
