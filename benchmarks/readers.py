"""The load of `fan_out` and its kin: many readers of one stream, in C: Python's would be what is measured."""

import atexit
import contextlib
import json
import resource
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .servers import LOAD_CORE, Server, pin

__all__ = ["Readers", "Seen", "compiled", "get", "port_of", "raise_limit", "reading", "submit"]

SAMPLED = 20
"""Readers that note every event's age; the others are counted only."""


@dataclass(frozen=True)
class Seen:
    """What all readers together came to."""

    delivered: int
    """Events, counted one by one."""
    complete: int
    """Readers that had all."""
    wrong: int
    """Times at which a reader's last event was not the one that its count says: lost, doubled, out of order."""
    closed: int
    """Readers that the server left before their end."""
    bytes: int
    elapsed_s: float
    """From when the first event was due until the last reader had its last, or the time was over."""
    p50_ms: float
    p99_ms: float
    max_ms: float
    sampled: int
    """Events of which the age is known."""
    load_share: float
    """Of its core, that the readers took themselves."""


@dataclass(frozen=True)
class Readers:
    """Readers that have all been answered."""

    process: "subprocess.Popen[str]"

    def finish(self) -> Seen:
        """Wait until they have all that they want."""
        assert self.process.stdout is not None
        return Seen(**json.loads(self.process.stdout.readline()))

    def stop(self) -> Seen:
        """Leave now."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.finish()


@cache
def compiled(name: str) -> Path:
    """The program of `benchmarks/c/NAME.c`, made anew in a folder that goes with this process."""
    if shutil.which("gcc") is None:
        raise FileNotFoundError("gcc: apt-get install gcc libc6-dev")
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    _folders.callback(shutil.rmtree, folder, ignore_errors=True)
    source = Path(__file__).parent / "c" / f"{name}.c"
    subprocess.run(["gcc", "-O2", "-o", folder / name, source], check=True)
    return folder / name


_folders = contextlib.ExitStack()
atexit.register(_folders.close)


def raise_limit() -> int:
    """Let this process and its children have as many connections as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def get(path: str, *headers: str) -> bytes:
    """A reader's request."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Accept: text/event-stream", *headers]
    return "".join([f"{line}\r\n" for line in (*lines, "")]).encode()


def port_of(server: Server) -> int:
    """Where it listens, on this machine."""
    return int(server.url.rpartition(":")[2])


def submit(server: Server, function: str, **given: object) -> str:
    """Start a run of Penstock's; the path of its events."""
    body = json.dumps({"function": function, "input": given}).encode()
    request = urllib.request.Request(
        f"{server.url}/api/runs", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["events"])


@contextlib.contextmanager
def reading(
    server: Server, count: int, request: bytes, *, events: int = 0, seconds: float = 0.0
) -> Iterator[Readers]:
    """`count` readers on the load's core, once all have been answered.

    They read until each has `events` events, but no longer than `seconds`; without `events` until stopped.
    """
    numbers = [str(number) for number in (port_of(server), count, events, seconds, SAMPLED)]
    process = subprocess.Popen(
        [compiled("readers"), *numbers, request],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: pin(LOAD_CORE),  # noqa: PLW1509 - single-threaded here
    )
    with process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("The readers were not answered.")
            yield Readers(process)
        finally:
            process.kill()
