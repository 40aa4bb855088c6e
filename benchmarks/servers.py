"""Starting Penstock and its peer as processes of their own, each on the core that is not the load's."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LOAD_CORE", "SERVER_CORE", "Server", "penstock_server", "pin", "starlette_server"]

ROOT = Path(__file__).parent.parent
SERVER_CORE, LOAD_CORE = 0, 1
READY = re.compile(r"(?:ready at|running on) (http://\S+)")


@dataclass(frozen=True)
class Server:
    """A server under load."""

    url: str
    pid: int
    ready_s: float

    def cpu_s(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        """Memory that it holds."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def pin(core: int) -> None:
    """Keep this process to one core, where the system lets us."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


@contextlib.contextmanager
def penstock_server(target: str = "benchmarks.apps:app", *options: str) -> Iterator[Server]:
    """`penstock serve` on a fresh SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/bench.db"
        argv = ["-m", "penstock", "serve", target, "--port", "0", "--store", store, *options]
        with _running(argv) as server:
            yield server


@contextlib.contextmanager
def starlette_server(target: str = "benchmarks.apps:peer") -> Iterator[Server]:
    """The peer under plain uvicorn with the same event loop and HTTP parser."""
    argv = [
        "-m",
        "uvicorn",
        target,
        "--port",
        "0",
        "--http",
        "httptools",
        "--loop",
        "uvloop",
        "--no-access-log",
    ]
    with _running(argv) as server:
        yield server


@contextlib.contextmanager
def _running(argv: list[str]) -> Iterator[Server]:
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *argv],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        preexec_fn=lambda: pin(SERVER_CORE),  # noqa: PLW1509 - single-threaded here
    )
    try:
        yield Server(_wait_for_address(process), process.pid, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(30)
        assert process.stderr is not None
        process.stderr.close()


def _wait_for_address(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if found := READY.search(line):
            return found[1]
    raise RuntimeError(f"The server did not start:\n{seen}")
