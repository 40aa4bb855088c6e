"""From submitting a run to its first event over HTTP, stored in SQLite. Goal: p50 at most 10 ms.

Two requests on kept-alive connections, as a page makes them: POST, then the stream. The peer streams from the
POST itself and stores nothing.
"""

import time
from collections.abc import Callable
from functools import partial

import httpx

from .compare import interleave, percentile, report
from .servers import LOAD_CORE, penstock_server, pin, starlette_server

REPEATS = 5
RUNS = 200


def penstock_ms(http: httpx.Client) -> float:
    """Milliseconds from before the POST to the first event."""
    started = time.perf_counter()
    answer = http.post("/api/runs", json={"function": "hello", "input": {}}).json()
    return _until_first_event(http, "GET", answer["events"], started)


def starlette_ms(http: httpx.Client) -> float:
    """The same for one streaming POST."""
    return _until_first_event(http, "POST", "/hello", time.perf_counter())


def _until_first_event(http: httpx.Client, method: str, path: str, started: float) -> float:
    found = 0.0
    with http.stream(method, path) as response:
        for line in response.iter_lines():
            if not found and line.startswith('data: {"type"'):
                found = (time.perf_counter() - started) * 1000
    return found


def measure_round(measure: Callable[[httpx.Client], float], url: str) -> list[float]:
    """One round of runs over one kept-alive connection."""
    with httpx.Client(base_url=url) as http:
        return [measure(http) for _ in range(RUNS)]


def main() -> None:
    """Print p50 and p99 of several rounds."""
    pin(LOAD_CORE)
    with (
        penstock_server() as full,
        penstock_server("benchmarks.apps:app", "--synchronous", "normal") as normal,
        starlette_server() as peer,
    ):
        measures = {
            "penstock, synchronous=full": partial(measure_round, penstock_ms, full.url),
            "penstock, synchronous=normal": partial(measure_round, penstock_ms, normal.url),
            "Starlette, nothing stored": partial(measure_round, starlette_ms, peer.url),
        }
        rounds = interleave(measures, REPEATS)
    for share, goal in ((0.5, "p50 <= 10 ms"), (0.99, "")):
        found = {name: [percentile(one, share) for one in many] for name, many in rounds.items()}
        report(f"Submit to first event, p{share * 100:g}", found, "ms", goal=goal)


if __name__ == "__main__":
    main()
