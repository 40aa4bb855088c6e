"""Starting Penstock and its peers as processes of their own, each on the core that is not the load's."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = [
    "BOTH_CORES",
    "LOAD_CORE",
    "SERVER_CORE",
    "Server",
    "child",
    "gradio_server",
    "hardened_server",
    "penstock_server",
    "pin",
    "saq_worker",
    "starlette_server",
    "wait_for",
]

ROOT = Path(__file__).parent.parent
SERVER_CORE, LOAD_CORE = 0, 1
BOTH_CORES = (SERVER_CORE, LOAD_CORE)
READY = re.compile(r"(?:ready at|running on) (http://\S+)")


@dataclass(frozen=True)
class Server:
    """A server under load."""

    url: str
    pid: int
    ready_s: float
    helpers: tuple[int, ...] = ()
    """Other processes without which it does not work: their time counts as its own."""

    def cpu_s(self) -> float:
        """Seconds of processor time that it has used, its child processes and helpers included."""
        pids = (self.pid, *_children(self.pid), *self.helpers)
        return sum(_cpu_ticks(pid) for pid in pids) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Memory that it holds, its child processes included; what several share is counted once."""
        pids = (self.pid, *_children(self.pid))
        return sum(_pss_kb(pid) for pid in pids) * 1024 / 1e6

    def rss_mb(self) -> float:
        """Memory that it holds."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _pss_kb(pid: int) -> int:
    found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def pin(*cores: int) -> None:
    """Keep this process to these cores, where the system lets us."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def penstock_server(
    target: str = "benchmarks.apps:app", *options: str, cores: tuple[int, ...] = (SERVER_CORE,)
) -> Iterator[Server]:
    """`penstock serve` on a fresh SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/bench.db"
        argv = ["-m", "penstock", "serve", target, "--port", "0", "--store", store, *options]
        with _running(argv, cores=cores) as server:
            yield server


@contextlib.contextmanager
def starlette_server(target: str = "benchmarks.apps:peer", **environment: str) -> Iterator[Server]:
    """The peer under plain uvicorn with the same event loop and HTTP parser."""
    with _running(_uvicorn(target), environment) as server:
        yield server


@contextlib.contextmanager
def gradio_server(
    target: str = "benchmarks.gradio_app:app", *options: str, **environment: str
) -> Iterator[Server]:
    """Gradio under uvicorn, which is what its own `launch` runs, without what it would fetch or report."""
    quiet = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    with _running([*_uvicorn(target), *options], quiet | environment) as server:
        yield server


@contextlib.contextmanager
def hardened_server(target: str = "benchmarks.gradio_apps:hardened", **environment: str) -> Iterator[Server]:
    """Gradio with Penstock in it, on a fresh SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/bench.db"
        with gradio_server(target, "--factory", PENSTOCK_STORE=store, **environment) as server:
            yield server


@contextlib.contextmanager
def saq_worker(append_fsync: str) -> Iterator[Server]:
    """A SAQ worker on a Redis of its own, which appends each change to its file and syncs it as often as said."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/redis.sock"
        kept = ["--appendonly", "yes", "--appendfsync", append_fsync, "--save", ""]
        redis = ["redis-server", "--port", "0", "--unixsocket", socket, "--dir", folder, *kept]
        with child(redis, stdout=subprocess.PIPE) as store:
            wait_for(store.stdout, re.compile("(ready to accept connections)"))
            url = f"unix://{socket}"
            with child([sys.executable, "-m", "benchmarks.saq_app", url]) as worker:
                yield Server(url, worker.pid, time.perf_counter() - started, (store.pid,))


def _uvicorn(target: str) -> list[str]:
    fast = ["--http", "httptools", "--loop", "uvloop", "--no-access-log"]
    # Peers' streams have no end of their own.
    return ["-m", "uvicorn", target, "--port", "0", *fast, "--timeout-graceful-shutdown", "1"]


@contextlib.contextmanager
def _running(
    argv: list[str],
    environment: Mapping[str, str] | None = None,
    cores: tuple[int, ...] = (SERVER_CORE,),
) -> Iterator[Server]:
    started = time.perf_counter()
    command = [sys.executable, *argv]
    with child(command, stderr=subprocess.PIPE, environment=environment, cores=cores) as process:
        address = wait_for(process.stderr, READY)
        yield Server(address, process.pid, time.perf_counter() - started)


@contextlib.contextmanager
def child(
    argv: list[str],
    *,
    stdout: int = subprocess.DEVNULL,
    stderr: int | None = None,
    environment: Mapping[str, str] | None = None,
    cores: tuple[int, ...] = (SERVER_CORE,),
) -> Iterator["subprocess.Popen[str]"]:
    """A process on the server's core, until the block ends."""
    process = subprocess.Popen(
        argv,
        stdout=stdout,
        stderr=stderr,
        text=True,
        cwd=ROOT,
        env=os.environ | (environment or {}),
        preexec_fn=lambda: pin(*cores),  # noqa: PLW1509 - single-threaded here
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def wait_for(stream: IO[str] | None, sign: re.Pattern[str]) -> str:
    """What the sign's group holds in the first line that shows it; RuntimeError with all lines if none does."""
    assert stream is not None
    seen = ""
    for line in stream:
        seen += line
        if found := sign.search(line):
            return found[1]
    raise RuntimeError(f"The server did not start:\n{seen}")
