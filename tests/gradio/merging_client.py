"""A reader of Gradio's own streams, as its page is one."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

__all__ = ["Seen", "Session", "begun"]


@dataclass
class Seen:
    """What one event has said."""

    event: str
    values: list[Any] = field(default_factory=list)
    """All outputs after each update."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    lasted_s: float = 0.0

    @property
    def last(self) -> dict[str, Any]:
        return self.messages[-1]

    def hear(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if message["msg"] == "process_generating":
            given = message["output"]["data"]
            before = json.loads(json.dumps(self.values[-1])) if self.values else None
            self.values.append(given if before is None else list(map(_patched, before, given)))


@dataclass
class Session:
    """A page that was opened."""

    client: httpx.AsyncClient
    functions: dict[str, int]
    name: str

    async def begin(self, function: str, *data: Any) -> Seen:
        """Its event id, before anything is read."""
        body = {"data": data, "fn_index": self.functions[function], "session_hash": self.name}
        answer = await self.client.post("/gradio_api/queue/join", json=body)
        return Seen(answer.raise_for_status().json()["event_id"])

    async def hear(self, seen: Seen) -> AsyncIterator[dict[str, Any]]:
        """Its messages, to the end of the stream."""
        path = f"/gradio_api/queue/data?session_hash={self.name}"
        async with self.client.stream("GET", path) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data:") and seen.event in line:
                    seen.hear(json.loads(line.removeprefix("data:")))
                    yield seen.last

    async def run(self, function: str, *data: Any) -> Seen:
        """One event from its beginning to its end."""
        started, seen = time.monotonic(), await self.begin(function, *data)
        async for _ in self.hear(seen):
            pass
        seen.lasted_s = time.monotonic() - started
        return seen

    async def cancel(self, function: str, seen: Seen) -> None:
        body = {"session_hash": self.name, "fn_index": self.functions[function], "event_id": seen.event}
        (await self.client.post("/gradio_api/cancel", json=body)).raise_for_status()


@asynccontextmanager
async def begun(url: str, name: str) -> AsyncIterator[Session]:
    """A session under this name."""
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        config = (await client.get("/config")).json()
        functions = {one["api_name"]: one["id"] for one in config["dependencies"] if one["api_name"]}
        yield Session(client, functions, name)


def _patched(value: Any, change: list[Any]) -> Any:
    """As Gradio's page does it."""
    top = [value]
    for action, path, given in change:
        container: Any = top
        way = [0, *path]
        for part in way[:-1]:
            container = container[part]
        if action == "append":
            container[way[-1]] += given
        elif action == "add" and isinstance(container, list):
            container.insert(way[-1], given)
        elif action == "delete":
            del container[way[-1]]
        else:
            container[way[-1]] = given
    return top[0]
