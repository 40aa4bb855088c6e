"""A client of Gradio's queue that speaks its protocol line by line, for tests of what a server says."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Self

import httpx

__all__ = ["DEADLINE_S", "Session", "texts"]

DEADLINE_S = 30


class Session:
    """One session of a Gradio app."""

    def __init__(self, url: str, session_hash: str | None = None, **options: Any) -> None:
        self.hash = session_hash or uuid.uuid4().hex[:11]
        self.http = httpx.AsyncClient(base_url=url, timeout=DEADLINE_S, trust_env=False, **options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def post(self, fn_index: int, *data: Any, key: str | None = None) -> httpx.Response:
        """Join the queue, whatever is answered."""
        body = {"data": list(data), "fn_index": fn_index, "session_hash": self.hash}
        headers = {} if key is None else {"X-Penstock-Key": key}
        return await self.http.post("/gradio_api/queue/join", json=body, headers=headers)

    async def join(self, fn_index: int, *data: Any, key: str | None = None) -> str:
        """Join the queue; the event's id."""
        answer = await self.post(fn_index, *data, key=key)
        assert answer.status_code == 200, answer.text
        event_id: str = answer.json()["event_id"]
        return event_id

    async def messages(self, **query: str) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """What is said until the stream is closed, each with the cursor that came with it."""
        params = {"session_hash": self.hash, **query}
        async with (
            asyncio.timeout(DEADLINE_S),
            self.http.stream("GET", "/gradio_api/queue/data", params=params) as answer,
        ):
            assert answer.status_code == 200
            cursor = ""
            async for line in answer.aiter_lines():
                if line.startswith("id: "):
                    cursor = line[4:]
                elif line:
                    assert line.startswith("data: "), line
                    yield cursor, json.loads(line[6:])

    async def read(self, **query: str) -> list[dict[str, Any]]:
        """All that is said until the stream is closed, without heartbeats."""
        return [message async for _, message in self.messages(**query) if message["msg"] != "heartbeat"]

    async def read_to(self, updates: int, **query: str) -> tuple[str, list[dict[str, Any]]]:
        """What is said up to some number of updates, and the cursor then; the connection is cut."""
        said: list[dict[str, Any]] = []
        async with contextlib.aclosing(self.messages(**query)) as messages:
            async for cursor, message in messages:
                said.append(message)
                updates -= message["msg"] == "process_generating"
                if not updates:
                    return cursor, said
        raise AssertionError(f"it ended early: {said}")

    @contextlib.asynccontextmanager
    async def present(self) -> AsyncIterator[None]:
        """Hold a heartbeat."""
        async with self.http.stream("GET", f"/gradio_api/heartbeat/{self.hash}") as answer:
            assert answer.status_code == 200
            lines = aiter(answer.aiter_lines())
            await anext(lines)
            yield
            del lines  # let go earlier, it would close the connection


def texts(said: list[dict[str, Any]]) -> list[Any]:
    """The first output after each message that has one, as Gradio's clients put it together."""
    value, found = None, []
    for message in said:
        if (
            message["msg"] not in ("process_generating", "process_completed")
            or "data" not in message["output"]
        ):
            continue
        data = message["output"]["data"]
        if message["msg"] == "process_completed" or value is None:
            value = data[0] if data else value
        else:
            for action, path, change in data[0]:
                assert path == [], "a text has no parts"
                value = value + change if action == "append" else change
        found.append(value)
    return found
