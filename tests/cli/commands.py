"""Commands as processes of their own, and what they print."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

__all__ = ["PENSTOCK", "cli", "environ", "lines", "reading"]

PENSTOCK = [sys.executable, "-m", "penstock"]
Done = subprocess.CompletedProcess[str]


def environ(token: str = "secret") -> dict[str, str]:
    """What a command finds around it; a line has room for all that it prints."""
    return os.environ | {"PENSTOCK_TOKEN": token, "COLUMNS": "200"}


def cli(*argv: str, token: str = "secret") -> Done:
    """A command that has ended."""
    return subprocess.run([*PENSTOCK, *argv], env=environ(token), capture_output=True, text=True, timeout=90)


@contextmanager
def reading(*argv: str, stderr: int | IO[str] = subprocess.PIPE) -> "Iterator[subprocess.Popen[str]]":
    """A command that has begun, and ends with the test."""
    with subprocess.Popen(
        [*PENSTOCK, *argv], env=environ(), stdout=subprocess.PIPE, stderr=stderr, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(done: Done) -> list[Any]:
    """What it printed with `--json`."""
    return [json.loads(line) for line in done.stdout.splitlines()]
