"""5,000 subscribers of one quiet stream: what each costs in memory, and all in processor time.

Goals: at most 12 KB each, and at most 5 ms of processor time a second for all of them between heartbeats.

Memory is what the server's processes hold (PSS) with the subscribers less what they held after 10 came and left;
the system's own part of a connection is not in it. A server that heartbeats does so 15 s after a subscriber's last
event, so the time between is from when all are there to 14 s after the first came. A whole period, with the
heartbeats in it, follows. nchan sends none by default. `--grow` goes through 10 to 5,000 subscribers.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import plot
from .compare import interleave, report
from .fan_out import GROWTH, PENDING, Offer, Stage, stages
from .fan_out_apps import NEVER
from .readers import compiled, raise_limit, reading
from .servers import LOAD_CORE, Server, pin

REPEATS = 3
READERS = 5000
HEARTBEAT_S = 15.0
QUIET_S = 14.0
"""After the first subscriber came, no heartbeat is due for as long."""

SETTLE_S = 1.0
WARM_UP_READERS = 10
OURS = "penstock"


@dataclass(frozen=True)
class Round:
    """What one round came to."""

    kb_each: float
    quiet_ms: float
    """Of processor time, each second, for all between heartbeats."""
    period_ms: float
    """The same over a whole period of heartbeats."""


def _cpu_ms_per_s(server: Server, seconds: float) -> float:
    before, began = server.cpu_s(), time.perf_counter()
    time.sleep(seconds)
    return 1000 * (server.cpu_s() - before) / (time.perf_counter() - began)


def measure(stage: Stage, readers: int, *, whole_period: bool) -> Round:
    """One round on a fresh server."""
    with stage(Offer(readers, 1.0, 1.0, NEVER)) as (server, request):
        with reading(server, WARM_UP_READERS, request):
            pass
        time.sleep(SETTLE_S)
        before_mb, began = server.memory_mb(), time.monotonic()
        with reading(server, readers, request) as held:
            time.sleep(SETTLE_S)
            kb_each = (server.memory_mb() - before_mb) * 1000 / readers
            left_s = began + QUIET_S - time.monotonic()
            if left_s < 1:
                raise RuntimeError(f"{readers} subscribers took too long to come.")
            quiet_ms = _cpu_ms_per_s(server, left_s)
            period_ms = _cpu_ms_per_s(server, HEARTBEAT_S) if whole_period else float("nan")
            seen = held.stop()
            if seen.closed:
                raise RuntimeError(f"{seen.closed} subscribers were left by their server.")
    return Round(kb_each, quiet_ms, period_ms)


def _contestants(only: str) -> tuple[dict[str, Stage], list[str]]:
    found, missing = stages()
    names = {
        "penstock, default rate": OURS,
        "sse-starlette": "sse-starlette",
        "nchan": "nchan",
        PENDING: "raw ASGI",
    }
    chosen = {names[who]: stage for who, stage in found.items() if who in names and only in names[who]}
    return chosen, missing


MEASURES = {
    "kb_each": ("memory of a subscriber", "KB", "<= 12 KB", 12.0),
    "quiet_ms": ("processor for all, between heartbeats", "ms/s", "<= 5 ms/s", 5.0),
    "period_ms": ("processor for all, heartbeats included", "ms/s", "", None),
}


def compare(found: dict[str, Stage], given: argparse.Namespace) -> None:
    """All in turns."""
    measures: dict[str, Callable[[], Round]] = {
        who: partial(measure, stage, given.readers, whole_period=True) for who, stage in found.items()
    }
    rounds = interleave(measures, given.repeats)
    panels = []
    for name, (title, unit, goal, line) in MEASURES.items():
        values = {who: [float(getattr(one, name)) for one in many] for who, many in rounds.items()}
        medians = report(f"{given.readers:,} idle subscribers: {title}", values, unit, goal=goal)
        panels.append(plot.Panel(title, unit, medians, goal=line))
    plot.bars("idle", panels)


def grow(found: dict[str, Stage]) -> None:
    """How cost grows with the subscribers."""
    points: dict[str, dict[str, list[tuple[int, float]]]] = {name: {} for name in ("kb_each", "quiet_ms")}
    for readers in GROWTH:
        for who, stage in found.items():
            one = measure(stage, readers, whole_period=False)
            print(
                f"  {readers:>5,} {who:16} {one.kb_each:>8.1f} KB each {one.quiet_ms:>8.2f} ms/s", flush=True
            )
            for name, series in points.items():
                series.setdefault(who, []).append((readers, max(0.01, getattr(one, name))))
    panels = [
        plot.Panel(*MEASURES[name][:2], series, goal=MEASURES[name][3]) for name, series in points.items()
    ]
    plot.lines("idle_growth", panels, "subscribers")


def main() -> int:
    """Print the medians; 1 if a peer could not be measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readers", type=int, default=READERS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", default="", help="measure those whose name contains this")
    parser.add_argument("--grow", action="store_true")
    given = parser.parse_args()
    raise_limit()
    pin(LOAD_CORE)
    compiled("readers")
    found, missing = _contestants(given.only)
    if given.grow:
        grow(found)
    else:
        compare(found, given)
    for line in missing:
        print(f"NOT MEASURED: {line}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
