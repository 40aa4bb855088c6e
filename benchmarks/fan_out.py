"""One stream, 1,000 subscribers, 2,000 events/s of about 100 bytes: what arrives, how late, at what cost.

Goals: all 2,000,000 a second delivered, stored first, p99 <= 100 ms, and at most 0.6 times the processor time of
raw ASGI that sends all pending at each wake-up. With `rate=0`, which spaces and merges nothing: at least as many
as nchan, and 0.6 times as many as a loop of `send`s in C.

`--full-speed` doubles what is offered until no more of it arrives. `--grow` goes through 10 to 5,000 subscribers.

Every reader's events are counted one by one. Ages are those of 20 readers, from when an event was due. Events are
JSON values, which never merge: each travels whole to everybody. Server and load have a core each.
"""

import argparse
import contextlib
import importlib.util
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import plot
from .compare import interleave, report
from .peers import missing_nchan, nchan_publisher, nchan_server, send_loop
from .readers import Seen, compiled, get, raise_limit, reading, submit
from .servers import LOAD_CORE, Server, penstock_server, pin, starlette_server

REPEATS = 3
SECONDS = 10.0
READERS = 1000
PER_S, GROWING_PER_S = 2000.0, 200.0
GROWTH = (10, 100, 1000, 5000)

FASTER = 1.05
"""What twice the offer must bring at least to be doubled again."""

MERGED, EACH = "penstock, default rate", "penstock, rate=0"
PENDING, LOOP = "raw ASGI, all pending", "C, one send per event"


@dataclass(frozen=True)
class Offer:
    """What is put before each server."""

    readers: int
    per_s: float
    seconds: float
    go: str = ""
    """The file whose coming starts the source."""

    @property
    def events(self) -> int:
        return int(self.per_s * self.seconds)


Stage = Callable[[Offer], AbstractContextManager[tuple[Server, bytes]]]
"""A server with a source that waits, and the request that its readers send."""


@dataclass(frozen=True)
class Round:
    """What one round came to."""

    offered_per_s: float
    seen: Seen
    cpu_s: float
    all: bool

    @property
    def per_s(self) -> float:
        """Events delivered a second, to all readers together."""
        return self.seen.delivered / self.seen.elapsed_s

    @property
    def cpu_per_million(self) -> float:
        """Seconds of the server's processor for a million events delivered."""
        return self.cpu_s / self.seen.delivered * 1e6 if self.seen.delivered else float("nan")

    @property
    def bytes_each(self) -> float:
        return self.seen.bytes / max(1, self.seen.delivered)


@contextlib.contextmanager
def _penstock(function: str, query: str, offer: Offer) -> Iterator[tuple[Server, bytes]]:
    with penstock_server("benchmarks.fan_out_apps:app", "--grace-s", "1") as server:
        path = submit(server, function, count=offer.events, per_s=offer.per_s, go=offer.go)
        yield server, get(path + query)


@contextlib.contextmanager
def _asgi(target: str, path: str, offer: Offer) -> Iterator[tuple[Server, bytes]]:
    source = f'[{offer.events}, {offer.per_s}, "{offer.go}"]'
    with starlette_server(f"benchmarks.fan_out_apps:{target}", FAN_OUT=source) as server:
        yield server, get(path)


@contextlib.contextmanager
def _nchan(offer: Offer) -> Iterator[tuple[Server, bytes]]:
    with nchan_server() as server, nchan_publisher(server, offer.events, offer.per_s, offer.go):
        yield server, get("/events")


@contextlib.contextmanager
def _loop(offer: Offer) -> Iterator[tuple[Server, bytes]]:
    with send_loop(offer.readers, offer.events, offer.per_s, offer.go) as server:
        yield server, get("/")


def stages() -> tuple[dict[str, Stage], list[str]]:
    """Those that can be measured here, and what to do about the others."""
    found: dict[str, Stage] = {
        MERGED: partial(_penstock, "feed", ""),
        EACH: partial(_penstock, "feed_each", "?rate=0"),
        "raw ASGI, one send per event": partial(_asgi, "raw", "/each"),
    }
    missing = []
    if importlib.util.find_spec("sse_starlette") is None:
        missing.append("sse-starlette: pip install -e '.[bench]'")
    else:
        found["sse-starlette"] = partial(_asgi, "sse_starlette", "/sse")
    if lacking := missing_nchan():
        missing.append(lacking)
    else:
        found["nchan"] = _nchan
    return found | {LOOP: _loop, PENDING: partial(_asgi, "raw", "/pending")}, missing


def measure(stage: Stage, offer: Offer) -> Round:
    """One round on a fresh server: it has as long as the source, and a little more."""
    with tempfile.TemporaryDirectory() as folder:
        offer = Offer(offer.readers, offer.per_s, offer.seconds, f"{folder}/go")
        with stage(offer) as (server, request):
            within_s = offer.seconds + 1.0
            with reading(server, offer.readers, request, events=offer.events, seconds=within_s) as readers:
                before = server.cpu_s()
                Path(offer.go).touch()
                seen = readers.finish()
                cpu_s = server.cpu_s() - before
    whole = seen.delivered == offer.readers * offer.events
    return Round(offer.readers * offer.per_s, seen, cpu_s, whole and not seen.wrong)


def at_full_speed(stage: Stage, offer: Offer) -> Round:
    """The round in which most arrived, of rounds with twice the offer each."""
    best = measure(stage, offer)
    while True:
        offer = Offer(offer.readers, 2 * offer.per_s, offer.seconds)
        found = measure(stage, offer)
        if found.per_s < FASTER * best.per_s:
            return max(best, found, key=lambda one: one.per_s)
        best = found


def _middle(rounds: list[Round], name: str) -> float:
    return statistics.median([_value(one, name) for one in rounds])


def _value(one: Round, name: str) -> float:
    return float(getattr(one, name) if hasattr(one, name) else getattr(one.seen, name))


def print_rounds(title: str, found: dict[str, list[Round]]) -> None:
    """Each measure's medians, with the ratio to raw ASGI that sends all pending."""
    for name, what, unit in (
        ("per_s", "delivered", "events/s"),
        ("p50_ms", "due to reader, p50", "ms"),
        ("p99_ms", "due to reader, p99", "ms"),
        ("cpu_per_million", "the server's processor time for a million", "s"),
        ("bytes_each", "on the wire for an event", "bytes"),
    ):
        report(
            f"{title}: {what}",
            {who: [_value(one, name) for one in many] for who, many in found.items()},
            unit,
        )
    print()
    for who, many in found.items():
        print(f"  {who:34} {_verdict(many)}")
    share, busiest = max((one.seen.load_share, who) for who, many in found.items() for one in many)
    print(f"\nThe load took at most {share:.0%} of its core ({busiest}).")


def _verdict(many: list[Round]) -> str:
    if all(one.all for one in many):
        return "every event came to every reader, once and in order"
    if wrong := sum(one.seen.wrong for one in many):
        return f"NOT EXACTLY ONCE: {wrong} times a reader's last event was not the one that its count says"
    share = min(one.per_s / one.offered_per_s for one in many)
    left = sum(one.seen.closed for one in many)
    # Well under a whole core it was the machine that could not: something else ran there.
    busy = min(one.cpu_s / one.seen.elapsed_s for one in many)
    lost = f"; {left} readers lost" if left else ""
    return f"could not: {share:.2%} of what was offered came in time, with {busy:.0%} of a core{lost}"


Claim = tuple[str, str, str, str]
"""Whose measure, which, whose it is compared with, and the goal."""

CLAIMS: tuple[Claim, ...] = (
    (MERGED, "cpu_per_million", PENDING, "<= 0.6"),
    (EACH, "per_s", "nchan", ">= 1"),
    (EACH, "per_s", LOOP, ">= 0.6"),
)
FULL_SPEED_CLAIMS: tuple[Claim, ...] = (
    (MERGED, "per_s", PENDING, ">= 2"),
    (MERGED, "per_s", "nchan", ">= 80"),
    (MERGED, "per_s", "sse-starlette", ">= 120"),
)


def print_claims(claims: tuple[Claim, ...], found: dict[str, list[Round]]) -> None:
    """What the table in README.md is made of."""
    print()
    for ours, name, theirs, goal in claims:
        if ours in found and theirs in found:
            ratio = _middle(found[ours], name) / _middle(found[theirs], name)
            print(f"  {ours}: {name} {ratio:.2f} x {theirs}   (goal: {goal})")


def draw(name: str, found: dict[str, list[Round]]) -> None:
    """Bars of three measures."""
    values = {one: {who: _middle(many, one) for who, many in found.items()} for one in MEASURES}
    plot.bars(
        name, [plot.Panel(title, unit, values[one], log=True) for one, (title, unit) in MEASURES.items()]
    )


MEASURES = {
    "per_s": ("delivered", "events/s"),
    "p99_ms": ("due to reader, p99", "ms"),
    "cpu_per_million": ("server's processor for a million", "s"),
}


def grow(found: dict[str, Stage], given: argparse.Namespace) -> None:
    """How cost grows with the subscribers."""
    rounds: dict[str, dict[int, Round]] = {who: {} for who in found}
    for readers in [count for count in GROWTH if count <= given.readers_most]:
        offer = Offer(readers, given.per_s or GROWING_PER_S, given.seconds)
        for who, stage in found.items():
            rounds[who][readers] = measure(stage, offer)
        title = f"{readers:,} x {offer.per_s:,.0f} events/s"
        print_rounds(title, {who: [many[readers]] for who, many in rounds.items()})
    panels = [
        plot.Panel(
            title,
            unit,
            {who: _points(many, name) for who, many in rounds.items()},
        )
        for name, (title, unit) in MEASURES.items()
    ]
    plot.lines("fan_out_growth", panels, "subscribers")


def _points(rounds: dict[int, Round], name: str) -> list[tuple[int, float]]:
    # Nothing where it was less than a tick of the processor's clock: a logarithm shows no zero.
    return [(readers, value) for readers, one in rounds.items() if (value := _value(one, name)) > 0]


def compare(found: dict[str, Stage], given: argparse.Namespace) -> None:
    """All in turns, with the offer of the claim or with as much as each can take."""
    offer = Offer(given.readers, given.per_s or PER_S, given.seconds)
    way = at_full_speed if given.full_speed else measure
    rounds = interleave({who: partial(way, stage, offer) for who, stage in found.items()}, given.repeats)
    speed = "at full speed" if given.full_speed else f"{offer.per_s:,.0f} events/s"
    print_rounds(f"{given.readers:,} subscribers, {speed}", rounds)
    print_claims(FULL_SPEED_CLAIMS if given.full_speed else CLAIMS, rounds)
    draw("fan_out_full_speed" if given.full_speed else "fan_out", rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readers", type=int, default=READERS)
    parser.add_argument(
        "--per-s", type=float, help=f"events a second ({PER_S:g}; {GROWING_PER_S:g} with --grow)"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument(
        "--only", default="", help="measure those whose name contains one of these, by commas"
    )
    parser.add_argument("--full-speed", action="store_true")
    parser.add_argument("--grow", action="store_true")
    parser.add_argument("--readers-most", type=int, default=max(GROWTH), help="how far --grow goes")
    return parser.parse_args()


def main() -> int:
    """Print the medians; 1 if a peer could not be measured."""
    given = _arguments()
    raise_limit()
    pin(LOAD_CORE)
    compiled("readers")
    found, missing = stages()
    found = {who: one for who, one in found.items() if any(part in who for part in given.only.split(","))}
    (grow if given.grow else compare)(found, given)
    for line in missing:
        print(f"NOT MEASURED: {line}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
