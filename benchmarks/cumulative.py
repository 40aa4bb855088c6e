"""20,000 yields of the text so far to one client, 5 characters more each time. Goals: final text 20 times sooner
than Gradio's and in at most a fifth of the bytes; with `rate=0`, which merges nothing, 10 times the updates a
second; and within 1.2 times the bytes of a function that yields the pieces.

Time runs from the POST to the end of the stream; bytes are counted at the client's socket. What came is then put
together and compared with the text. Penstock has stored it in SQLite; Gradio stores nothing. Server and load have
a core each. Reading, the client only keeps what comes.
"""

import argparse
import asyncio
import importlib.util
import re
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvloop

from penstock.events import Json, Replace, Text, decode
from penstock.protocol.coalesce import Fold
from penstock.protocol.sse import Decoder

from . import plot
from .apps import TOKEN, conversation_with
from .compare import interleave, report
from .gradio_clients import ask, body_of, run, shown, updates
from .servers import LOAD_CORE, Server, gradio_server, penstock_server, pin

COUNT = 20_000
REPEATS = 3

STUCK_S = 120.0
"""A round that takes so long is given up."""

PAUSE_S = 0.3
"""Between two runs: what the one before left to do is done."""

EVENTS = re.compile(rb'"events":"([^"]+)"')


@dataclass
class Round:
    """What one client saw of one run, and what it cost the server."""

    final_s: float
    updates: int
    received: int
    server_s: float

    @property
    def per_s(self) -> float:
        return self.updates / self.final_s


# --- Penstock


async def _penstock_run(server: Server, function: str, count: int) -> list[bytes]:
    body = {"function": function, "input": {"count": count}}
    answer = b"".join(await ask(server, "POST", "/api/runs", body))
    path = EVENTS.search(answer)
    assert path is not None, answer
    each = "?rate=0" if function.endswith("_each") else ""
    return await ask(server, "GET", path[1].decode() + each)


def _penstock_updates(parts: list[bytes], count: int) -> int:
    fold, updates = Fold(), 0
    for message in Decoder().feed(body_of(parts)):
        if message.event == "message":
            event = decode(message.data)
            fold.apply(event)
            updates += isinstance(event, Replace | Text | Json)
    value = fold.value if fold.value is not None else fold.text
    assert (value[-1]["content"] if isinstance(value, list) else value) == TOKEN * count
    return updates


# --- Gradio


async def _gradio_run(server: Server, function: str, count: int) -> list[bytes]:
    return await run(server, int(function), count)


def _gradio_updates(parts: list[bytes], count: int) -> int:
    assert shown(parts) in (TOKEN * count, conversation_with(TOKEN * count))
    return updates(parts)


# --- Rounds


Measure = tuple[
    Callable[[], AbstractContextManager[Server]], Callable[..., Any], Callable[[list[bytes], int], int], str
]


async def _round(server: Server, measure: Measure, count: int) -> Round:
    _, one, count_updates, function = measure
    cpu_s, started = server.cpu_s(), time.perf_counter()
    async with asyncio.timeout(STUCK_S):
        parts = await one(server, function, count)
    final_s = time.perf_counter() - started
    await asyncio.sleep(PAUSE_S)
    return Round(final_s, count_updates(parts, count), sum(map(len, parts)), server.cpu_s() - cpu_s)


def measure_round(measure: Measure, count: int) -> Round:
    """A fresh server, warmed up by a short run."""
    with measure[0]() as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_round(server, measure, count // 20))
        return runner.run(_round(server, measure, count))


def _measures() -> dict[str, Measure]:
    ours = {
        "penstock, text": "cumulative",
        "penstock, cursor mark": "marked",
        "penstock, conversation": "conversation",
        "penstock, text, rate=0": "cumulative_each",
        "penstock, cursor mark, rate=0": "marked_each",
        "penstock, conversation, rate=0": "conversation_each",
        "penstock, pieces": "pieces",
        "penstock, pieces, rate=0": "pieces_each",
    }
    found: dict[str, Measure] = {
        name: (penstock_server, _penstock_run, _penstock_updates, function) for name, function in ours.items()
    }
    if importlib.util.find_spec("gradio") is not None:
        found["Gradio, conversation"] = (gradio_server, _gradio_run, _gradio_updates, "2")
        found["Gradio"] = (gradio_server, _gradio_run, _gradio_updates, "1")
    return found


def _print(rounds: dict[str, list[Round]], count: int) -> None:
    panels = []
    for field, title, unit, goal in (
        ("final_s", "until the final text", "s", "<= 1/20 of Gradio's"),
        ("per_s", "updates a second", "/s", "with rate=0 >= 10 x Gradio's"),
        ("updates", "updates", "", ""),
        ("received", "bytes at the socket", "B", "<= 1/5 of Gradio's; 1.2 x the pieces'"),
        ("server_s", "the server's processor time", "s", ""),
    ):
        found = {who: [getattr(one, field) for one in many] for who, many in rounds.items()}
        medians = report(f"{count:,} cumulative yields: {title}", found, unit, goal=goal)
        panels.append(plot.Panel(title, unit, medians, log=True))
    plot.bars("cumulative", panels)
    for suffix in ("", ", rate=0"):
        whole, bits = rounds.get(f"penstock, text{suffix}"), rounds.get(f"penstock, pieces{suffix}")
        if whole and bits:
            ratio = min(one.received for one in whole) / min(one.received for one in bits)
            print(f"\nBytes beside those of the pieces{suffix}: {ratio:.2f} x   (goal: <= 1.2 x)")


def main() -> int:
    """Print the medians; 1 if Gradio could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", default="", help="measure those whose name contains this")
    given = parser.parse_args()
    pin(LOAD_CORE)
    measures = {name: one for name, one in _measures().items() if given.only in name}
    _print(
        interleave(
            {name: partial(measure_round, one, given.count) for name, one in measures.items()}, given.repeats
        ),
        given.count,
    )
    if importlib.util.find_spec("gradio") is None:
        print("Not measured: Gradio: pip install -e '.[bench]'", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
