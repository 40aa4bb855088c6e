"""Gradio as it is, and with `penstock.gradio.install()`: the same app, side by side in the same run.

- A text of 20,000 tokens, yielded after each, to one client: time to the final text. Goal: 5 times sooner.
- Events that do nothing, by 50 clients and by 1: how many a second. Goal: 1.5 times as many. Once on a fresh
  server, and once on one that has had 10,000: Gradio sums up as many with pandas after each event.
- 20,000 updates of 10 kB for a reader that does not read: what the server's memory grows by. Goal: it does not.

All clients are old ones: they speak Gradio's own protocol, without a cursor. Hardened, everything has been stored
in SQLite (`synchronous=full`) before it is sent; Gradio stores nothing. Server and load have a core each.
"""

import argparse
import asyncio
import contextlib
import importlib.metadata
import importlib.util
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from .apps import TOKEN
from .compare import interleave, report
from .gradio_clients import join, run, shown, updates
from .queue_clients import gradio_clients
from .queue_throughput import CLIENTS, Round, measure, measured, submitted
from .readers import port_of
from .servers import LOAD_CORE, Server, gradio_server, hardened_server, pin

REPEATS = 3
TOKENS = 20_000
SECONDS = 6.0
UPDATES, UPDATE_BYTES = 20_000, 10_000
EVENTS_BEFORE = 10_000
"""Of which Gradio keeps a record; it keeps no more."""

STUCK_S = 180.0
"""A round that takes so long is given up."""

SETTLE_S = 2.0
"""After the last update: what is left to do is done, and memory is at its highest."""

WATCH_S = 0.1
RECEIVE_BYTES = 4096
"""What the system keeps for a reader that does not read. Its least, so that the server notices soon."""

APPS = "benchmarks.gradio_apps"
NOOP, GROW, CONVERSE, FLOOD = range(4)

Start = Callable[[], AbstractContextManager[Server]]


@dataclass
class Streamed:
    """One text to its end."""

    final_s: float
    updates: int
    received: int
    server_s: float


@dataclass
class Unread:
    """One flood that nobody read."""

    grown_mb: float
    took_s: float


# 20,000 tokens


def streamed(start: Start, function: int, tokens: int) -> Streamed:
    """On a fresh server, warmed up by a short run."""
    with start() as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_streamed(server, function, tokens // 20))
        return runner.run(_streamed(server, function, tokens))


async def _streamed(server: Server, function: int, tokens: int) -> Streamed:
    cpu_s, started = server.cpu_s(), time.perf_counter()
    async with asyncio.timeout(STUCK_S):
        parts = await run(server, function, tokens)
    final_s = time.perf_counter() - started
    assert (TOKEN * tokens).strip() in str(shown(parts)), "the final text"
    return Streamed(final_s, updates(parts), sum(map(len, parts)), server.cpu_s() - cpu_s)


# A reader that does not read


def unread(start: Start, count: int, size: int) -> Unread:
    """Its server's memory (RSS) at its highest, less what it was before."""
    with start() as server, tempfile.TemporaryDirectory() as folder:
        done = Path(folder, "done")
        asyncio.run(run(server, FLOOD, 200, size, str(done)))
        done.unlink()
        time.sleep(SETTLE_S)
        before_mb, started = server.rss_mb(), time.monotonic()
        path = asyncio.run(join(server, FLOOD, count, size, str(done)))
        with _silent(server, path):
            most_mb, took_s = _most(server, done, started)
    return Unread(most_mb - before_mb, took_s)


def _most(server: Server, done: Path, started: float) -> tuple[float, float]:
    most_mb, ended = 0.0, None
    while ended is None or time.monotonic() < ended + SETTLE_S:
        most_mb = max(most_mb, server.rss_mb())
        if ended is None and done.exists():
            ended = time.monotonic()
        if time.monotonic() > started + STUCK_S:
            raise TimeoutError(f"The flood did not end within {STUCK_S:g} s.")
        time.sleep(WATCH_S)
    return most_mb, ended - started


@contextlib.contextmanager
def _silent(server: Server, path: str) -> Iterator[None]:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        connection.connect(("127.0.0.1", port_of(server)))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield


# What is measured, and in which words


def _servers() -> dict[str, Start]:
    """Stock last: the others are compared with it."""
    version = ".".join(importlib.metadata.version("gradio").split(".")[:2])
    return {
        "hardened": hardened_server,
        "hardened, rate=0": partial(hardened_server, BENCH_RATE="0"),
        f"Gradio {version}": partial(gradio_server, f"{APPS}:stock", "--factory"),
    }


def _print(title: str, rounds: Mapping[str, list[Any]], rows: tuple[tuple[str, str, str, str], ...]) -> None:
    for field, words, unit, goal in rows:
        found = {who: [getattr(one, field) for one in many] for who, many in rounds.items()}
        report(f"{title}: {words}", found, unit, goal=goal)


def _tokens(servers: dict[str, Start], given: argparse.Namespace) -> None:
    for what, function in (("a text", GROW), ("a conversation", CONVERSE)):
        measures = {who: partial(streamed, start, function, given.tokens) for who, start in servers.items()}
        rows = (
            ("final_s", "until the final text", "s", "<= 0.2 x Gradio"),
            ("updates", "updates", "", ""),
            ("received", "bytes at the socket", "B", ""),
            ("server_s", "the server's processor time", "s", ""),
        )
        _print(f"{given.tokens:,} tokens, {what}", interleave(measures, given.repeats), rows)


JOBS = (
    ("per_s", "jobs a second", "/s", ">= 1.5 x Gradio"),
    ("p50_ms", "join to end, p50", "ms", ""),
    ("p99_ms", "join to end, p99", "ms", ""),
    ("server_ms", "the server's processor time a job", "ms", ""),
)


def _unpaced(servers: dict[str, Start]) -> dict[str, Start]:
    """A job yields nothing, so that the rate does not matter."""
    return {who: start for who, start in servers.items() if "rate=0" not in who}


def _jobs(servers: dict[str, Start], given: argparse.Namespace) -> None:
    measures = {
        who: partial(measure, start, gradio_clients, given.seconds)
        for who, start in _unpaced(servers).items()
    }
    rounds = interleave(measures, given.repeats)
    for count in CLIENTS:
        of_count = {who: [one[count] for one in many] for who, many in rounds.items()}
        _print(f"{count} client{'s' * (count > 1)}, a fresh server", of_count, JOBS)


def aged(start: Start, before: int, seconds: float) -> Round:
    """50 clients, on a server that has had so many events."""
    with start() as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(submitted(server, gradio_clients, max(CLIENTS), before))
        return runner.run(measured(server, gradio_clients, max(CLIENTS), seconds))


def _aged(servers: dict[str, Start], given: argparse.Namespace) -> None:
    measures = {
        who: partial(aged, start, given.before, given.seconds) for who, start in _unpaced(servers).items()
    }
    _print(f"50 clients, after {given.before:,} events", interleave(measures, given.repeats), JOBS)


def _memory(servers: dict[str, Start], given: argparse.Namespace) -> None:
    measures = {who: partial(unread, start, given.updates, UPDATE_BYTES) for who, start in servers.items()}
    rows = (
        ("grown_mb", "memory grows by", "MB", "nothing"),
        ("took_s", "until the function has ended", "s", ""),
    )
    _print(f"{given.updates:,} updates of 10 kB that nobody reads", interleave(measures, given.repeats), rows)


PARTS = {"tokens": _tokens, "jobs": _jobs, "aged": _aged, "memory": _memory}


def main() -> int:
    """Print the medians; 1 if Gradio is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--updates", type=int, default=UPDATES)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--before", type=int, default=EVENTS_BEFORE)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this; may be repeated")
    parser.add_argument("--only", default="", help="measure those whose name contains this")
    given = parser.parse_args()
    if importlib.util.find_spec("gradio") is None:
        print("Not measured: Gradio: pip install -e '.[bench]'", file=sys.stderr)
        return 1
    pin(LOAD_CORE)
    servers = {who: start for who, start in _servers().items() if given.only in who}
    for part in given.part or PARTS:
        PARTS[part](servers, given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
