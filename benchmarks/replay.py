"""An ended stream of 100 MB to one reader. Goal: at least 0.3 times as fast as nginx serves the same bytes.

The stream is stored in events of about 200 bytes with their frames. It is read once into a file, which nginx then
serves (`sendfile`), and the reader takes both alike: as fast as they come, without parsing. Server and reader have
a core each.
"""

import argparse
import hashlib
import http.client
import socket
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from . import plot
from .compare import interleave, report
from .peers import nginx_server
from .readers import submit
from .servers import LOAD_CORE, Server, penstock_server, pin

REPEATS = 5
MEGABYTES = 100.0
FRAME_SHARE = 0.54
"""Of what is on the wire, the values' own bytes."""

READ_BYTES = 1 << 20
PATIENCE_S = 300.0


def _ask(server: Server, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=PATIENCE_S)
    connection.request("GET", path, headers={"Accept": "text/event-stream"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    return answer


def _fetch(server: Server, path: str, file: Path) -> int:
    with _ask(server, path) as answer, file.open("wb") as kept:
        while data := answer.read(READ_BYTES):
            kept.write(data)
    return file.stat().st_size


def mb_per_s(server: Server, path: str, least_bytes: int) -> float:
    """One reading, from the request to the last byte, at none of which the reader looks."""
    host, port = server.url.removeprefix("http://").split(":")
    began, size, buffer = time.perf_counter(), 0, bytearray(READ_BYTES)
    with socket.create_connection((host, int(port)), PATIENCE_S) as link:
        link.sendall(b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path.encode())
        while got := link.recv_into(buffer):
            size += got
    assert size >= least_bytes, f"{size:,} bytes came of {least_bytes:,}"
    return size / 1e6 / (time.perf_counter() - began)


def _same(server: Server, path: str, file: Path, folder: str) -> bool:
    """Whether what is served is what was kept, but for the `retry:` drawn at random."""
    again = Path(folder, "again")
    _fetch(server, path, again)
    return _digest(file) == _digest(again)


def _digest(file: Path) -> str:
    data = file.read_bytes()
    return hashlib.sha256(data[data.index(b"id: ") :]).hexdigest()


def main() -> int:
    """Print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=MEGABYTES)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    given = parser.parse_args()
    pin(LOAD_CORE)
    with penstock_server("benchmarks.bulk_apps:app") as ours, tempfile.TemporaryDirectory() as folder:
        path = submit(ours, "small", megabytes=given.megabytes * FRAME_SHARE)
        file = Path(folder, "events")
        size = _fetch(ours, f"{path}?rate=0", file)
        assert _same(ours, f"{path}?rate=0", file, folder), "two readings differ"
        least = int(0.999 * size)
        with nginx_server(f"location / {{ root {folder}; }}") as theirs:
            found = interleave(
                {
                    "penstock, rate=0": partial(mb_per_s, ours, f"{path}?rate=0", least),
                    "penstock, default rate": partial(mb_per_s, ours, path, least),
                    "nginx, a file": partial(mb_per_s, theirs, "/events", least),
                },
                given.repeats,
            )
    title = f"{size / 1e6:,.0f} MB replayed to one reader"
    plot.bars("replay", [plot.Panel(title, "MB/s", report(title, found, "MB/s", goal=">= 0.3 x nginx"))])
    return 0


if __name__ == "__main__":
    sys.exit(main())
