"""Servers in processes of their own."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.testing import ServerProcess

if TYPE_CHECKING:
    from tests.conftest import Api


def make_server(folder: Path, *options: str) -> ServerProcess:
    """One that has not been started."""
    return ServerProcess("app.py", "--grace-s", "5", *options, cwd=folder)


def run_serve(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`penstock serve` where it is expected to end by itself."""
    argv = [sys.executable, "-m", "penstock", "serve", *options]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=90)


@asynccontextmanager
async def started(server: ServerProcess, connect: "type[Api]") -> "AsyncIterator[Api]":
    """A client of it, while it runs."""
    async with server, connect(server.url) as api:
        yield api
