"""A generator that is faster than the store waits for it."""

import asyncio
from types import SimpleNamespace

from penstock.integrations.gradio.merging.room import MOST_WAITING, room
from penstock.testing import until

from .merging_client import begun
from .server import GradioServer

APP = """
import gradio as gr

MOST = []

def flood(count):
    mailboxes = demo._queue.pending_messages_per_session
    MOST.append(1)
    for number in range(1, int(count)):
        MOST.append(max((one.qsize() for one in mailboxes.values()), default=0))
        yield f"{number:08d}" * 1000

def most():
    return [len(MOST), max(MOST, default=0)]

with gr.Blocks() as demo:
    number, box, json = gr.Number(), gr.Textbox(), gr.JSON()
    gr.Button().click(flood, number, box, api_name="flood")
    gr.Button().click(most, None, json, api_name="most")

demo.launch()
"""

COUNT = 1000


def mailbox(session: str, waiting: int) -> tuple[SimpleNamespace, "asyncio.Queue[int]"]:
    messages: asyncio.Queue[int] = asyncio.Queue()
    for number in range(waiting):
        messages.put_nowait(number)
    return SimpleNamespace(_queue=SimpleNamespace(pending_messages_per_session={session: messages})), messages


async def test_it_waits_until_there_is_room() -> None:
    blocks, messages = mailbox("s", MOST_WAITING + 2)
    waiting = asyncio.create_task(room(blocks, "s"))
    await asyncio.sleep(0)
    assert not waiting.done()
    for _ in range(2):
        messages.get_nowait()
    await asyncio.wait_for(waiting, 5)


async def test_it_does_not_wait_for_what_is_not_there() -> None:
    blocks, _ = mailbox("s", MOST_WAITING)
    for some, session in ((blocks, "s"), (blocks, "other"), (blocks, None), (SimpleNamespace(), "s")):
        await asyncio.wait_for(room(some, session), 5)


async def test_a_flood_that_nobody_reads_waits_for_the_store(version: str) -> None:
    async with (
        GradioServer(version, APP, options={"rate": 0}) as server,
        begun(server.url, "silent") as silent,
        begun(server.url, "looking") as looking,
    ):
        await silent.begin("flood", COUNT)

        async def over() -> int:
            count, highest = (await looking.run("most")).last["output"]["data"][0]
            return int(highest) if count == COUNT else 0

        highest = await until(over, 60)
        assert highest <= MOST_WAITING + 8, "what is in it when one step begins, and what that step adds"
