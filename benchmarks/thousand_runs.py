"""1,000 runs at once, one reader each, 30 tokens a second: the chat shape.

Goals: p99 token-to-reader <= 100 ms, and at most 0.9 times the processor time of sse-starlette.

Every token carries the time at which it was made, and each reader notes how old it is on arrival. Penstock stores
every token in SQLite before it is sent; the peers, Starlette's StreamingResponse and sse-starlette, store nothing.
Server and load have a core each.
"""

import argparse
import asyncio
import json
import re
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import uvloop

from . import plot
from .compare import interleave, percentile, report
from .servers import LOAD_CORE, Server, penstock_server, pin, starlette_server

REPEATS = 3
TOKEN = re.compile(rb"(\d{13}) ")
HEAD_BYTES = 4096
SETTLE_S = 2.0
"""The first seconds, in which 1,000 connections are made, are not counted."""


@dataclass
class Load:
    """What the readers saw."""

    ages_ms: list[float] = field(default_factory=list)
    tokens: int = 0
    ended: int = 0
    count_from: float = 0.0


class Reader(asyncio.Protocol):
    """One connection: sends a request, and notes the age of each token in what comes back."""

    def __init__(self, request: bytes, load: Load, done: "asyncio.Future[bytes]") -> None:
        self._request, self._load, self._done = request, load, done
        self._rest = b""
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are, but not by their base class
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        if len(self._head) < HEAD_BYTES:
            self._head += data[:HEAD_BYTES]
        data = self._rest + data
        cut = data.rfind(b"\n\n") + 2 if b"\n\n" in data else 0
        complete, self._rest = data[:cut], data[cut:]
        made = TOKEN.findall(complete)
        self._load.tokens += len(made)
        if now >= self._load.count_from:
            self._load.ages_ms.extend([now * 1000 - int(one) for one in made])
        if data.endswith(b"0\r\n\r\n"):
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        self._load.ended += 1
        if not self._done.done():
            self._done.set_result(self._head)


async def _read(host: str, port: int, request: bytes, load: Load) -> bytes:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()
    await loop.create_connection(lambda: Reader(request, load, done), host, port)
    return await done


def _post(path: str, body: object) -> bytes:
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    )
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


async def _penstock_run(host: str, port: int, given: argparse.Namespace, load: Load) -> None:
    body = {"function": "chat", "input": {"count": given.seconds * given.rate, "per_s": given.rate}}
    answer = await _read(host, port, _post("/api/runs", body), Load())
    path = re.search(rb'"events":"([^"]+)"', answer)
    assert path is not None, answer
    request = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path[1]
    await _read(host, port, request, load)


def _peer_run(path: str) -> "One":
    async def run(host: str, port: int, given: argparse.Namespace, load: Load) -> None:
        query = f"?count={given.seconds * given.rate}&per_s={given.rate}"
        await _read(host, port, _post(path + query, {}), load)

    return run


One = Callable[[str, int, argparse.Namespace, Load], Coroutine[None, None, None]]


async def _load(server: Server, one: One, given: argparse.Namespace) -> Load:
    host, port = server.url.removeprefix("http://").split(":")
    load = Load(count_from=time.time() + SETTLE_S)
    running = []
    for _ in range(given.runs):
        running.append(asyncio.create_task(one(host, int(port), given, load)))
        await asyncio.sleep(SETTLE_S / 2 / given.runs)
    await asyncio.gather(*running)
    return load


def measure(server: Server, one: One, given: argparse.Namespace) -> dict[str, float]:
    """One round: percentiles of the tokens' ages, and the server's share of its core."""
    cpu_s, started = server.cpu_s(), time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        load = runner.run(_load(server, one, given))
    took_s = time.perf_counter() - started
    assert load.tokens == given.runs * given.seconds * given.rate, f"{load.tokens} tokens came"
    return {
        "p50": percentile(load.ages_ms, 0.5),
        "p99": percentile(load.ages_ms, 0.99),
        "max": max(load.ages_ms),
        "cpu": 100 * (server.cpu_s() - cpu_s) / took_s,
        "rss": server.rss_mb(),
    }


def _round(
    server: Callable[[], AbstractContextManager[Server]], one: One, given: argparse.Namespace
) -> dict[str, float]:
    with server() as started:
        return measure(started, one, given)


SERVERS: dict[str, tuple[Callable[[], AbstractContextManager[Server]], One]] = {
    "penstock, SQLite, full": (penstock_server, _penstock_run),
    "Starlette, nothing stored": (starlette_server, _peer_run("/chat")),
    "sse-starlette, nothing stored": (starlette_server, _peer_run("/chat-sse")),
}


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rate", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    given = parser.parse_args()
    pin(LOAD_CORE)
    rounds = interleave({who: partial(_round, *one, given) for who, one in SERVERS.items()}, given.repeats)
    panels = []
    for name, title, unit, goal, line in (
        ("p50", "token to reader, p50", "ms", "", None),
        ("p99", "token to reader, p99", "ms", "<= 100 ms", 100.0),
        ("max", "token to reader, longest", "ms", "", None),
        ("cpu", "server's processor time", "% of a core", "<= 0.9 x sse-starlette", None),
        ("rss", "server's memory at the end", "MB", "", None),
    ):
        found = {who: [one[name] for one in many] for who, many in rounds.items()}
        medians = report(f"{given.runs:,} runs x {given.rate} tokens/s: {title}", found, unit, goal=goal)
        panels.append(plot.Panel(title, unit, medians, goal=line))
    plot.bars("thousand_runs", panels)


if __name__ == "__main__":
    main()
