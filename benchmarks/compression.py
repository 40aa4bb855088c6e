"""One growing text to many readers at once, compressed: what it saves on the wire, and what it costs the server.

Penstock compresses each update once for all who stand at the same place. The peer, raw ASGI, has a compressor for
each reader: the work and the memory are each reader's. Penstock stores the text, the peer does not. Readers come
before it begins (live) or once all of it is there (late).
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from functools import partial

import uvloop

from . import plot
from .compare import interleave, report
from .readers import port_of, raise_limit, submit
from .servers import LOAD_CORE, Server, penstock_server, pin, starlette_server

REPEATS = 3
READERS = 500
SECONDS = 6
WORDS_PER_S = 200.0

OURS, PEER = "benchmarks.compression_apps:app", "benchmarks.compression_apps:peer"


class Reader(asyncio.Protocol):
    """Counts bytes until the server has said all."""

    def __init__(self, request: bytes) -> None:
        self.size = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.size += len(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self.over.set_result(None)


async def _read(port: int, count: int, request: bytes) -> float:
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(partial(Reader, request), "127.0.0.1", port) for _ in range(count)]
    readers = [reader for _, reader in made]
    await asyncio.gather(*[reader.over for reader in readers])
    return sum(reader.size for reader in readers) / count


def _request(path: str, coding: str) -> bytes:
    lines = (f"GET {path} HTTP/1.1", "Host: localhost", f"Accept-Encoding: {coding}", "Connection: close")
    return "".join([f"{line}\r\n" for line in (*lines, "")]).encode()


WHEN = ("live", "late")

UNITS = (("KB", "bytes for each reader"), ("ms", "the server's processor time"))

Measured = tuple[float, float]
"""In these units."""


def _measure(server: Server, path: str, coding: str, given: argparse.Namespace) -> Measured:
    cpu_s = server.cpu_s()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        size = runner.run(_read(port_of(server), given.readers, _request(path, coding)))
    return size / 1000, 1000 * (server.cpu_s() - cpu_s)


def _ours(coding: str, given: argparse.Namespace) -> dict[str, Measured]:
    with penstock_server(OURS) as server:
        path = submit(server, "speak", count=int(given.seconds * given.per_s), per_s=given.per_s)
        return {when: _measure(server, path, coding, given) for when in WHEN}


def _theirs(given: argparse.Namespace) -> dict[str, Measured]:
    with starlette_server(PEER) as server:
        path = f"/?count={int(given.seconds * given.per_s)}&per_s={given.per_s}"
        return {when: _measure(server, path, "gzip", given) for when in WHEN}


def _panels(found: dict[str, list[dict[str, Measured]]], what: str) -> list[plot.Panel]:
    panels = []
    for when, place, unit in ((when, place, unit) for when in WHEN for place, unit in enumerate(UNITS)):
        values = {who: [one[when][place] for one in many] for who, many in found.items()}
        title = f"{when}: {unit[1]}"
        panels.append(plot.Panel(title, unit[0], report(f"{what}, {title}", values, unit[0])))
    return panels


def main() -> int:
    """Print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readers", type=int, default=READERS)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--per-s", type=float, default=WORDS_PER_S)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    given = parser.parse_args()
    raise_limit()
    pin(LOAD_CORE)
    measures: dict[str, Callable[[], dict[str, Measured]]] = {
        "penstock, not compressed": partial(_ours, "identity", given),
        "penstock, gzip": partial(_ours, "gzip", given),
        "penstock, zstd": partial(_ours, "zstd", given),
        "raw ASGI, gzip for each reader": partial(_theirs, given),
    }
    found = interleave(measures, given.repeats)
    plot.bars("compression", _panels(found, f"{given.readers:,} readers of {given.per_s:g} words/s"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
