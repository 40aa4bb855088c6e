"""Gradio's own line, mended: sessions in use keep their mailbox, progress goes on, sums wait until asked."""

from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from penstock.integrations.gradio.seams.line import MOST_IDLE, Mailboxes, spare_mailbox

from .server import ENDS, GradioServer, run
from .speaking import Session


def mailboxes(**pending: set[str]) -> tuple[SimpleNamespace, Mailboxes]:
    queue = SimpleNamespace(pending_event_ids_session=dict(pending))
    queue.pending_messages_per_session = Mailboxes(queue, OrderedDict())
    return queue, queue.pending_messages_per_session


def test_a_session_in_use_keeps_its_mailbox_whatever_comes_after_it() -> None:
    _, boxes = mailboxes(live={"event"})
    boxes["live"] = "its messages"
    for number in range(3 * MOST_IDLE):
        boxes[f"idle-{number}"] = ""
    assert boxes["live"] == "its messages"
    assert len(boxes) == MOST_IDLE


def test_there_are_as_many_as_are_in_use_and_their_number_comes_back() -> None:
    queue, boxes = mailboxes()
    for number in range(MOST_IDLE + 500):
        queue.pending_event_ids_session[f"live-{number}"] = {"event"}
        boxes[f"live-{number}"] = ""
    assert len(boxes) == MOST_IDLE + 500
    queue.pending_event_ids_session.clear()
    for number in range(100):
        boxes[f"later-{number}"] = ""
    assert len(boxes) <= MOST_IDLE


def test_a_session_that_is_over_leaves_nothing_unless_an_event_still_writes() -> None:
    queue, boxes = mailboxes(live={"event"})
    boxes["live"] = boxes["idle"] = ""
    for name in ("live", "idle", "unknown"):
        spare_mailbox(queue, name)
    assert list(boxes) == ["live"]


PROGRESS = """
import asyncio, logging
import gradio
import penstock.gradio
from penstock.integrations.gradio.seams import line
logging.basicConfig(format="%(message)s")
line.AGAIN_S = 0
penstock.gradio.install(store="memory:")
with gradio.Blocks() as demo:
    gradio.Textbox()
queue = demo.queue()._queue
sent = []

def send_message(event, message):
    if not sent:
        sent.append("failed")
        raise KeyError("a session that was dropped")
    sent.append(message)
    queue.close()

class Event:
    progress_pending = True
    progress = "half"

async def main():
    queue.send_message = send_message
    first, second = Event(), Event()
    queue.active_jobs = [[first], [second]]
    await asyncio.wait_for(queue.start_progress_updates(), 20)

asyncio.run(main())
print(sent, len(queue.pending_messages_per_session), type(queue.pending_messages_per_session).__name__)
"""


@pytest.mark.parametrize("version", ENDS)
async def test_progress_goes_on_after_an_error(version: str) -> None:
    said = (await run(version, PROGRESS, warns=True)).splitlines()
    assert said[0] == "['failed', 'half'] 0 Mailboxes"
    assert "Gradio's progress updates failed; they go on." in said


SUMMARY = """
import threading
import gradio

def count(text):
    if text == "wrong":
        raise gradio.Error("no", print_exception=False)
    return text

with gradio.Blocks() as demo:
    text = gradio.Textbox()
    text.submit(count, text, text, api_name="count")
    text.submit(lambda: sums[0], None, text, api_name="sums")

sums = [0]
plain = gradio.queueing.Queue.compute_analytics_summary
def counted(self, *given):
    sums[0] += 1
    return plain(self, *given)
gradio.queueing.Queue.compute_analytics_summary = counted
demo.launch(enable_monitoring=True)
"""


async def test_the_summary_is_made_when_it_is_asked_for(version: str, tmp_path: Path) -> None:
    async with GradioServer(version, SUMMARY, cwd=tmp_path) as server, Session(server.url) as session:
        assert httpx.get(f"{server.url}/monitoring/summary").json() == {"functions": {}}
        for text in ("a", "b", "wrong", "c"):
            await session.post(0, text)
            await session.read()
        found = httpx.get(f"{server.url}/monitoring/summary").json()["functions"]["count"]
        assert found["total_requests"] == 4
        assert found["success_rate"] == 0.75
        await session.post(0, "d")
        await session.read()
        for _ in range(2):
            found = httpx.get(f"{server.url}/monitoring/summary").json()["functions"]["count"]
            assert found["total_requests"] == 5
        await session.post(1)
        said = {message["msg"]: message for message in await session.read()}
        assert said["process_completed"]["output"]["data"] == ["2"]
