"""Runs a second that do nothing, with 50 clients and with 1. Goal: at least 10 times as many as Gradio.

Each client submits a run, reads to its end, and submits the next. Penstock has stored both in SQLite by then; SAQ
has them in Redis, which appends them to a file; Gradio keeps its queue in memory. All are allowed 50 runs at once.

Server and load have a core each; SAQ's worker and its Redis share the server's. A Penstock of two processes has
both cores, and the load is in its way there.
"""

import argparse
import asyncio
import importlib.metadata
import importlib.util
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import uvloop

from .compare import interleave, percentile, report
from .queue_clients import Clients, Submit, gradio_clients, penstock_clients, saq_clients
from .servers import BOTH_CORES, LOAD_CORE, Server, gradio_server, penstock_server, pin, saq_worker

REPEATS = 5
SECONDS = 4.0
WARM_UP_S = 1.0
CLIENTS = (50, 1)

STUCK_S = 60.0
"""A round that takes this much longer than it should is given up: the end of a run was lost."""

Measures = dict[str, tuple[Callable[[], AbstractContextManager[Server]], Clients]]


@dataclass
class Round:
    """What one round with so many clients came to."""

    per_s: float
    p50_ms: float
    p99_ms: float
    server_ms: float
    load_share: float


async def _submit_until(until: float, submit: Submit, took_s: list[float]) -> None:
    while (started := time.perf_counter()) < until:
        await submit()
        took_s.append(time.perf_counter() - started)


async def submitted(server: Server, clients: Clients, count: int, total: int) -> None:
    """So many runs by so many clients."""
    left = iter(range(total))

    async def some(submit: Submit) -> None:
        for _ in left:
            await submit()

    async with clients(server, count) as submits:
        await asyncio.gather(*map(some, submits))


async def measured(server: Server, clients: Clients, count: int, seconds: float) -> Round:
    """What so many clients come to in this time."""
    took_s: list[float] = []
    async with asyncio.timeout(seconds + STUCK_S), clients(server, count) as submits:
        server_s, load_s, started = server.cpu_s(), time.process_time(), time.perf_counter()
        await asyncio.gather(*[_submit_until(started + seconds, submit, took_s) for submit in submits])
        passed_s = time.perf_counter() - started
        return Round(
            per_s=len(took_s) / passed_s,
            p50_ms=1000 * percentile(took_s, 0.5),
            p99_ms=1000 * percentile(took_s, 0.99),
            server_ms=1000 * (server.cpu_s() - server_s) / len(took_s),
            load_share=100 * (time.process_time() - load_s) / passed_s,
        )


async def _rounds(server: Server, clients: Clients, seconds: float) -> dict[int, Round]:
    await measured(server, clients, max(CLIENTS), WARM_UP_S)
    return {count: await measured(server, clients, count, seconds) for count in CLIENTS}


def measure(
    start: Callable[[], AbstractContextManager[Server]], clients: Clients, seconds: float
) -> dict[int, Round]:
    """A fresh server, warmed up, with each number of clients."""
    with start() as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_rounds(server, clients, seconds))


def _ours() -> Measures:
    serve = partial(penstock_server, "benchmarks.apps:app")
    found: Measures = {
        f"penstock, SQLite, synchronous={level}": (
            partial(serve, "--synchronous", level),
            penstock_clients,
        )
        for level in ("full", "normal")
    }
    found["penstock, full, 2 workers, 2 cores"] = (
        partial(serve, "--workers", "2", cores=BOTH_CORES),
        penstock_clients,
    )
    return found


def _saq() -> Measures:
    name = f"SAQ {_version('saq')}, Redis, appendfsync"
    return {f"{name}={often}": (partial(saq_worker, often), saq_clients) for often in ("always", "everysec")}


def _gradio() -> Measures:
    name = f"Gradio {_version('gradio')}"
    # By default it sums up its last 10,000 runs with pandas after each run.
    without = partial(gradio_server, GRADIO_ANALYTICS_CACHE_FREQUENCY="1000000000")
    return {f"{name}, no summaries": (without, gradio_clients), name: (gradio_server, gradio_clients)}


def _version(package: str) -> str:
    return ".".join(importlib.metadata.version(package).split(".")[:2])


def _peers() -> tuple[Measures, list[str]]:
    """Those that can be measured here, and what to do about the others."""
    found: Measures = {}
    missing = []
    if importlib.util.find_spec("saq") is None:
        missing.append("SAQ: pip install -e '.[bench]'")
    elif shutil.which("redis-server") is None:
        missing.append("SAQ, for want of redis-server: apt-get install redis-server")
    else:
        found |= _saq()
    if importlib.util.find_spec("gradio") is None:
        missing.append("Gradio: pip install -e '.[bench]'")
    else:
        found |= _gradio()
    return found, missing


def _print(rounds: dict[str, list[dict[int, Round]]]) -> None:
    for count in CLIENTS:
        goal = ">= 10 x Gradio" if count == max(CLIENTS) else ""
        for field, title, unit, aim in (
            ("per_s", "runs a second", "/s", goal),
            ("p50_ms", "submit to end, p50", "ms", ""),
            ("p99_ms", "submit to end, p99", "ms", ""),
            ("server_ms", "the server's processor time a run", "ms", ""),
        ):
            found = {who: [getattr(one[count], field) for one in many] for who, many in rounds.items()}
            report(f"{count} client{'s' * (count > 1)}: {title}", found, unit, goal=aim)
    busiest = max(
        (one[count].load_share, who) for who, many in rounds.items() for one in many for count in one
    )
    print(f"\nThe load took at most {busiest[0]:.0f} % of its core ({busiest[1]}).")


def main() -> int:
    """Print the medians; 1 if a peer could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", default="", help="measure those whose name contains this")
    given = parser.parse_args()
    pin(LOAD_CORE)
    peers, missing = _peers()
    measures = {
        name: partial(measure, start, clients, given.seconds)
        for name, (start, clients) in (_ours() | peers).items()
        if given.only in name
    }
    _print(interleave(measures, given.repeats))
    for line in missing:
        print(f"Not measured: {line}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
