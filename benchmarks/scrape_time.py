"""How long a scrape of /metrics takes with 10, 1,000 and 5,000 readers, and what counting one update costs.

Goal: under 5 ms with 5,000 readers. Beside our counting: prometheus_client's counters, one for each
number.
"""

import asyncio
import time
from functools import partial

from prometheus_client import CollectorRegistry, Counter
from starlette.requests import Request

import penstock
from penstock.meters import Flow

from .compare import interleave, percentile, report
from .servers import LOAD_CORE, pin

REPEATS = 5
SCRAPES = 50
UPDATES = 20_000
READERS = (5000, 1000, 10)
STREAMS = 1000
FUNCTIONS = 10
"""Each has histograms and counters of its own: a service of some size."""


def make_app() -> penstock.App:
    app = penstock.App(store="memory:")
    for number in range(FUNCTIONS):

        @app.function(name=f"f{number}")
        async def answer() -> None: ...

    return app


async def scrape_ms(readers: int) -> float:
    """The median of some scrapes."""
    app = make_app()
    services = await app.start()
    subscribers = [services.hub.subscribe(f"r{number % STREAMS}") for number in range(readers)]
    request = Request({"type": "http", "method": "GET", "headers": []})
    await services.metrics.scrape(request)  # it loads what it needs
    took = []
    for _ in range(SCRAPES):
        begun = time.perf_counter()
        await services.metrics.scrape(request)
        took.append((time.perf_counter() - begun) * 1000)
    for subscriber in subscribers:
        subscriber.close()
    await app.stop()
    return percentile(took, 0.5)


def ours_ns() -> float:
    """One update of one reader, counted."""
    flow = Flow()
    begun = time.perf_counter()
    for _ in range(UPDATES):
        flow.sent(3, 1, 200)
    return (time.perf_counter() - begun) / UPDATES * 1e9


def theirs_ns() -> float:
    registry = CollectorRegistry()
    names = ("updates", "events", "frames", "sent_bytes")
    updates, events, frames, sent = [Counter(name, name, registry=registry) for name in names]
    begun = time.perf_counter()
    for _ in range(UPDATES):
        updates.inc()
        events.inc(3)
        frames.inc()
        sent.inc(200)
    return (time.perf_counter() - begun) / UPDATES * 1e9


def main() -> None:
    """Print the medians."""
    pin(LOAD_CORE)
    scrapes = {f"{count:,} readers": partial(lambda n: asyncio.run(scrape_ms(n)), count) for count in READERS}
    report("One scrape", interleave(scrapes, REPEATS), "ms", goal="< 5 ms with 5,000")
    counting = {"ours": ours_ns, "prometheus_client's counters": theirs_ns}
    report("Counting one update", interleave(counting, REPEATS), "ns")


if __name__ == "__main__":
    main()
