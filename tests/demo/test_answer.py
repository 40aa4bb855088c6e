"""The agent on a real server: steps, citations, honesty, stopping, and a model over real HTTP."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

import penstock
from penstock.demo import agent, make_app
from penstock.demo.index import Index, Shared
from penstock.events import AnyEvent, End, Log, Progress, SpanEnd, SpanStart, Text
from penstock.testing import live_server, until


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


async def ask(question: str, **inputs: Any) -> list[AnyEvent]:
    async with live_server(make_app(store="memory:")) as url, penstock.AsyncClient(url) as client:
        run = await client.submit("answer", {"question": question, "pace_ms": 0, **inputs})
        return [event async for event in run.events()]


def text(events: list[AnyEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def end(events: list[AnyEvent]) -> End:
    assert isinstance(events[-1], End)
    return events[-1]


async def test_an_answer_leads_with_the_thing_and_cites_its_sources(index: Index) -> None:
    events = await ask("How can I run a subprocess with a timeout?")
    written = text(events)
    assert end(events).state == "succeeded"
    assert written.startswith("`subprocess.run`: Run command with arguments")
    assert "TimeoutExpired" in written
    cited, _, listed = written.partition("Sources\n")
    numbers = set(re.findall(r"\[(\d+)\]", cited))
    assert numbers == set(re.findall(r"^\[(\d+)\]", listed, re.MULTILINE))
    assert re.search(r"^\[1\] `subprocess.run` .*subprocess\.py:\d+$", listed, re.MULTILINE)


async def test_each_step_is_a_span_that_ends(index: Index) -> None:
    events = await ask("parse JSON string")
    started = {event.span: event.name for event in events if isinstance(event, SpanStart)}
    assert list(started.values())[:4] == ["plan", "open the index", "search", "read json.loads"]
    assert {event.span for event in events if isinstance(event, SpanEnd) and not event.error} == set(started)
    assert all(event.span is None for event in events if isinstance(event, Text))
    (used,) = [event.usage for event in events if isinstance(event, SpanEnd) and event.usage]
    written, _, _ = text(events).partition("\n\nSources\n")
    assert used == {"output_tokens": len(written.split())}, (
        "the tokens that it writes itself; nothing is invented"
    )


async def test_an_example_is_shown_where_the_documentation_has_one(index: Index) -> None:
    assert "    >>> median([1, 3, 5])\n    3\n" in text(await ask("statistics.median"))


@pytest.mark.parametrize("question", ["Who won the world cup in 1998?", "How do I bake sourdough bread?"])
async def test_what_is_not_there_is_not_made_up(index: Index, question: str) -> None:
    events = await ask(question)
    assert text(events).startswith("I found nothing about this")
    assert "Sources" not in text(events)
    assert end(events).state == "succeeded"


async def test_a_misspelt_name_gets_the_near_ones(index: Index) -> None:
    assert "`functools.lru_cache`" in text(await ask("what is lru_cahce"))


async def test_input_is_bounded(index: Index) -> None:
    for bad in ({"pace_ms": -1}, {"question": ""}):
        given: dict[str, Any] = {"question": "json"} | bad
        with pytest.raises(penstock.PenstockError) as raised:
            await ask(**given)
        assert raised.value.field == next(iter(bad))


async def test_a_cold_index_is_built_beside_the_loop_with_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "shared", Shared())
    events = await ask("parse JSON string")
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert last.done == last.total
    assert text(events).startswith("`json.loads`")


async def test_a_stopped_answer_ends_as_cancelled(index: Index) -> None:
    async with live_server(make_app(store="memory:")) as url, penstock.AsyncClient(url) as client:
        run = await client.submit("answer", {"question": "parse JSON string", "pace_ms": 1000})
        async with run.events() as events:
            async for event in events:
                if isinstance(event, Text):
                    await run.cancel()
                last = event
    assert isinstance(last, End)
    assert last.state == "cancelled"


# A server that speaks the streaming chat-completions format, as far as the openai package needs it.


class ModelServer:
    def __init__(self, pieces: list[str], status: int, hold: bool) -> None:
        self.pieces, self.status, self.hold = pieces, status, hold
        self.requests: list[dict[str, Any]] = []
        self.closed = 0
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
        self.requests.append(json.loads(await reader.readexactly(length)))
        writer.write(b"".join(self.response()))
        await writer.drain()
        if self.hold:
            with suppress(ConnectionError):
                await reader.read()
        self.closed += 1
        writer.close()

    def response(self) -> Iterator[bytes]:
        kind = b"text/event-stream" if self.status == 200 else b"application/json"
        yield b"HTTP/1.1 %d X\r\nContent-Type: %s\r\nConnection: close\r\n\r\n" % (self.status, kind)
        if self.status != 200:
            yield b'{"error": {"message": "no such key", "type": "auth", "code": "bad_key"}}'
            return
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "small"}
        for piece in self.pieces:
            choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
            yield b"data: %s\n\n" % json.dumps(chunk | {"choices": [choice]}).encode()
        used = {
            "prompt_tokens": 90,
            "completion_tokens": len(self.pieces),
            "total_tokens": 90 + len(self.pieces),
        }
        yield b"data: %s\n\n" % json.dumps(chunk | {"choices": [], "usage": used}).encode()
        if not self.hold:
            yield b"data: [DONE]\n\n"


@asynccontextmanager
async def model_server(
    monkeypatch: pytest.MonkeyPatch, pieces: list[str], status: int = 200, hold: bool = False
) -> AsyncIterator[ModelServer]:
    model = ModelServer(pieces, status, hold)
    server = await asyncio.start_server(model.answer, "127.0.0.1", 0)
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    monkeypatch.setenv("OPENAI_MODEL", "small")
    async with server:
        yield model


async def test_a_model_writes_the_answer_from_the_sources(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with model_server(monkeypatch, ["Use `json", ".loads` [1]."]) as model:
        events = await ask("parse JSON string")
    assert text(events).startswith("Use `json.loads` [1].\n\nSources\n\n[1] `json.loads`")
    assert [event.fields["model"] for event in events if isinstance(event, Log) and event.fields] == ["small"]
    (request,) = model.requests
    assert request["model"] == "small"
    assert request["stream"] is True
    used = [event.usage for event in events if isinstance(event, SpanEnd) and event.usage]
    assert used == [{"input_tokens": 90, "output_tokens": 2, "model": "small"}]
    assert "[1] json.loads(" in request["messages"][1]["content"]
    assert request["messages"][1]["content"].endswith("Question: parse JSON string")


async def test_a_model_that_refuses_fails_the_run_and_says_why(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with model_server(monkeypatch, [], status=401):
        error = end(await ask("parse JSON string")).error
    assert error is not None
    assert error["code"] == "model_error"
    assert "no such key" in error["message"]
    assert "OPENAI_BASE_URL" in error["hint"]


async def test_stopping_closes_the_models_stream(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        model_server(monkeypatch, ["One"], hold=True) as model,
        live_server(make_app(store="memory:")) as url,
        penstock.AsyncClient(url) as client,
    ):
        run = await client.submit("answer", {"question": "parse JSON string"})
        async with run.events() as events:
            async for event in events:
                if isinstance(event, Text):
                    await run.cancel()
        await until(lambda: model.closed == 1, what="the model's connection is closed")


async def test_a_missing_openai_package_is_named(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    error = end(await ask("parse JSON string")).error
    assert error is not None
    assert "pip install 'penstock[openai]'" in error["hint"]
