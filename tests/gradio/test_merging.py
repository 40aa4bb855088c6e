"""Yields that come fast are merged in real Gradio, and everything else is as before."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from penstock.testing import until

from .merging_app import APP
from .merging_client import Session, begun
from .server import VERSIONS, GradioServer

RATE = 20
COUNT = 2000
TEXT = "".join(f"{number} " for number in range(COUNT))


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Any:
    with GradioServer(request.param, APP, hardened=False) as started:
        yield started


@pytest_asyncio.fixture
async def session(server: GradioServer, request: pytest.FixtureRequest) -> AsyncIterator[Session]:
    async with begun(server.url, request.node.name) as one:
        yield one


@pytest.mark.parametrize("function", ["text", "text_async"])
async def test_a_text_arrives_whole_in_few_updates(session: Session, function: str) -> None:
    seen = await session.run(function, COUNT)
    assert seen.values[0] == ["0 "], "the first at once"
    assert seen.values[-1] == [TEXT]
    assert seen.last["success"]
    assert seen.last["output"]["data"] == [TEXT]
    assert len(seen.values) <= seen.lasted_s * RATE + 3
    assert all(TEXT.startswith(value) for [value] in seen.values)


async def test_a_conversation_that_is_changed_and_yielded_again_is_exact(session: Session) -> None:
    seen = await session.run("conversation", COUNT)
    expected = [_said(range(start, start + 100)) for start in range(0, COUNT, 100)]
    shown = [[_text(message) for message in value] for [value] in seen.values]
    assert shown[-1] == [*expected, "end"]
    assert shown[-2] == expected, "what was held became due before the end"
    for value in shown[:-1]:
        assert "".join(expected).startswith("".join(value))
    assert seen.last["output"]["data"] == seen.values[-1]
    assert len(seen.values) <= seen.lasted_s * RATE + 3


def _said(numbers: range) -> str:
    return "".join(f"{number} " for number in numbers)


def _text(message: dict[str, Any]) -> str:
    """Older Gradio has a text where newer has a list of parts. White space at the end goes within Gradio."""
    content = message["content"]
    text = content if isinstance(content, str) else "".join(part["text"] for part in content)
    return text if text == "end" else text.strip() + " "


async def test_several_outputs_keep_what_was_said_of_each(session: Session) -> None:
    seen = await session.run("two", COUNT)
    shown, _, done = seen.values[-1]
    assert (shown, done) == (str(COUNT - 1), "done")
    assert len(seen.values) <= seen.lasted_s * RATE + 3


async def test_a_state_is_the_object_that_was_yielded(session: Session) -> None:
    await session.run("two", COUNT)
    seen = await session.run("kept_said", None)
    assert seen.last["output"]["data"] == [[*range(COUNT), "after"]]


async def test_the_last_value_is_shown_before_the_error(session: Session) -> None:
    seen = await session.run("fail", COUNT)
    assert seen.values[-1] == [TEXT]
    assert not seen.last["success"]
    assert seen.last["output"]["error"] == "as it must be"


@pytest.mark.parametrize(("function", "kind"), [("wait", "thread"), ("wait_async", "task")])
async def test_a_cancelled_generator_is_closed(session: Session, function: str, kind: str) -> None:
    seen = await session.begin(function)
    async for _ in session.hear(seen):
        if seen.last["msg"] == "process_generating" and len(seen.values) == 2:
            await session.cancel(function, seen)

    async def closed() -> bool:
        return kind in (await session.run("closed")).last["output"]["data"][0]

    assert await until(closed)


async def test_progress_notes_and_the_request_are_those_of_the_event(session: Session) -> None:
    seen = await session.run("told")
    assert seen.values[-1] == [session.name]
    notes = [message["log"] for message in seen.messages if message["msg"] == "log"]
    assert notes == ["at 0", "at 50"]
    assert any(message["msg"] == "progress" for message in seen.messages)


@pytest.mark.parametrize("function", ["every", "heard", "pieces", "chunks"])
async def test_where_each_value_counts_each_arrives(session: Session, function: str) -> None:
    seen = await session.run(function, 200)
    assert len(seen.values) == 200
    if function == "chunks":
        said = await session.run("chunks_said")
        assert said.last["output"]["data"] == [[f"chunk {number}" for number in range(200)]]


async def test_what_other_libraries_make_is_copied(session: Session) -> None:
    seen = await session.run("copies")
    assert seen.last["output"]["data"] == [[True] * 6]
