"""20 readers that never read, of a stream of 40 MB: what each costs its server, and what those who read notice.

Goals: less than 1 MB each; and the p99 of 100 live readers of the same stream stays within 1.5 times of what it
is without stalled ones.

A stalled reader connects, sends its request, and reads nothing. Memory is what the server's processes hold
(PSS), at its highest, less what they held before; the system's buffers, which take several MB of each connection,
are not in it. In Gradio each reader has a run of its own, as its page has. The Durable Streams
reference comes from npm, into a folder that goes again.
"""

import argparse
import contextlib
import http.client
import importlib.util
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from . import plot
from .compare import interleave, report
from .readers import Seen, compiled, get, port_of, raise_limit, reading, submit
from .servers import LOAD_CORE, Server, child, gradio_server, penstock_server, pin, wait_for

REPEATS = 3
STALLED = 20
MEGABYTES = 40.0
WATCHED_S = 5.0
"""Memory that has not grown for as long is at its highest."""

WATCHED_MOST_S = 60.0
GROWN_MB = 1.0
SETTLE_S = 1.0
LIVE, LIVE_PER_S, LIVE_S = 100, 500.0, 8.0
REFERENCE = "@durable-streams/server@0.3.7"
OURS = "penstock"

REFERENCE_PROGRAM = """
import { DurableStreamTestServer } from "@durable-streams/server"
const server = new DurableStreamTestServer({ port: 0, host: "127.0.0.1" })
console.log("ready at " + await server.start())
"""


@contextlib.contextmanager
def _stalled(server: Server, requests: list[bytes]) -> Iterator[None]:
    with contextlib.ExitStack() as connections:
        for request in requests:
            connection = connections.enter_context(socket.create_connection(("127.0.0.1", port_of(server))))
            connection.sendall(request)
        yield


def _growth_mb(server: Server, requests: list[bytes], prepare: Callable[[], None] = lambda: None) -> float:
    """Of the server's memory, for each reader that does not read."""
    time.sleep(SETTLE_S)
    before_mb = most_mb = server.memory_mb()
    prepare()
    began = grown = time.monotonic()
    with _stalled(server, requests):
        while (now := time.monotonic()) < min(grown + WATCHED_S, began + WATCHED_MOST_S):
            if (now_mb := server.memory_mb()) > most_mb:
                grown = now if now_mb > most_mb + GROWN_MB else grown
                most_mb = now_mb
            time.sleep(0.2)
    return (most_mb - before_mb) / len(requests)


def _last_id(server: Server, path: str, megabytes: float) -> str:
    """Read the stream as far as it is made; the cursor there."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.request("GET", f"{path}?rate=0")
    left, tail = megabytes * 1e6, b""
    with connection.getresponse() as answer:
        while left > 0 or not tail.endswith(b"\n\n"):
            data = answer.read1(1 << 20)
            left -= len(data)
            tail = tail[-20_000:] + data
    ids: list[bytes] = re.findall(rb"^id: (\S+)$", tail, re.MULTILINE)
    return ids[-1].decode()


def _live(stalled: int, given: argparse.Namespace) -> tuple[Seen, float]:
    """What live readers saw beside so many stalled ones of their stream, and what one of those cost."""
    events = int(LIVE_PER_S * LIVE_S)
    with tempfile.TemporaryDirectory() as folder, penstock_server("benchmarks.bulk_apps:app") as server:
        go = Path(folder, "go")
        path = submit(server, "ahead", megabytes=given.megabytes, count=events, per_s=LIVE_PER_S, go=str(go))
        cursor = _last_id(server, path, given.megabytes)
        each_mb = _growth_mb(server, [get(path)] * stalled) if stalled else 0.0
        time.sleep(SETTLE_S)
        request = get(path, f"Last-Event-ID: {cursor}")
        with (
            _stalled(server, [get(path)] * stalled),
            reading(server, LIVE, request, events=events, seconds=LIVE_S + 5) as readers,
        ):
            go.touch()
            seen = readers.finish()
    if seen.delivered != LIVE * events or seen.wrong:
        raise RuntimeError(f"Live readers did not have every event once: {seen}")
    return seen, each_mb


@contextlib.contextmanager
def _reference() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", REFERENCE]
        subprocess.run(install, cwd=folder, check=True, timeout=120, capture_output=True)
        program = Path(folder, "server.mjs")
        program.write_text(REFERENCE_PROGRAM)
        with child(["node", str(program)], stdout=subprocess.PIPE) as process:
            url = wait_for(process.stdout, re.compile(r"ready at (http://\S+)"))
            yield Server(url.rstrip("/"), process.pid, 0.0)


def durable_streams_mb(given: argparse.Namespace) -> float:
    """A stalled reader of the reference server."""
    piece = b"." * 64_000
    with _reference() as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
        kind = {"Content-Type": "text/plain"}
        pieces = int(given.megabytes * 1e6 / len(piece))
        for method, body in [("PUT", b""), *[("POST", piece)] * pieces]:
            connection.request(method, "/v1/stream/bench", body, kind)
            answer = connection.getresponse()
            answer.read()
            assert answer.status < 300, answer.status
        return _growth_mb(server, [get("/v1/stream/bench?offset=-1&live=sse")] * given.stalled)


def gradio_mb(given: argparse.Namespace) -> float:
    """A stalled reader of Gradio, each of a run of its own."""
    with gradio_server() as server:
        requests = [get(f"/gradio_api/queue/data?session_hash=s{n}") for n in range(given.stalled)]
        return _growth_mb(server, requests, partial(_join, server, given))


def _join(server: Server, given: argparse.Namespace) -> None:
    for number in range(given.stalled):
        body = {"data": [given.megabytes], "fn_index": 1, "session_hash": f"s{number}"}
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
        head = {"Content-Type": "application/json"}
        connection.request("POST", "/gradio_api/queue/join", json.dumps(body), head)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        connection.close()


def _peers() -> tuple[dict[str, Callable[[argparse.Namespace], float]], list[str]]:
    found: dict[str, Callable[[argparse.Namespace], float]] = {}
    missing = []
    if importlib.util.find_spec("gradio") is None:
        missing.append("Gradio: pip install -e '.[bench]'")
    else:
        found["Gradio"] = gradio_mb
    view = ["npm", "view", REFERENCE, "version"]
    if shutil.which("npm") is None or subprocess.run(view, capture_output=True, timeout=60).returncode:
        missing.append("the Durable Streams reference: no npm here, or no registry within its reach")
    else:
        found["Durable Streams reference"] = durable_streams_mb
    return found, missing


def _notice(given: argparse.Namespace) -> dict[str, list[float]]:
    """p99 of live readers, in turns with and without the stalled."""
    alone, beside = "live readers, none stalled", f"live readers beside {given.stalled} stalled"
    measures = {beside: lambda: _live(given.stalled, given), alone: lambda: _live(0, given)}
    found = interleave(measures, given.repeats)
    p99 = {who: [seen.p99_ms for seen, _ in many] for who, many in found.items()}
    report(f"{LIVE} readers, {LIVE_PER_S:g} events/s: p99", p99, "ms", goal="<= 1.5 x without stalled ones")
    return {OURS: [each_mb for _, each_mb in found[beside]]}


def main() -> int:
    """Print the medians; 1 if a peer could not be measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stalled", type=int, default=STALLED)
    parser.add_argument("--megabytes", type=float, default=MEGABYTES)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    given = parser.parse_args()
    raise_limit()
    pin(LOAD_CORE)
    compiled("readers")
    peers, missing = _peers()
    memory = _notice(given) | interleave(
        {who: partial(one, given) for who, one in peers.items()}, given.repeats
    )
    title = f"a stalled reader of {given.megabytes:g} MB"
    report(f"Memory of {title}", memory, "MB", goal="< 1 MB")
    medians = {who: max(0.01, statistics.median(values)) for who, values in memory.items()}
    plot.bars("stalled", [plot.Panel(title, "MB", medians, goal=1.0, log=True)])
    for line in missing:
        print(f"NOT MEASURED: {line}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
