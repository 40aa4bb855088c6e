"""What tests of /metrics share: an app, whose functions move the figures, and its store's file."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.server.connection import Connection

if TYPE_CHECKING:
    from tests.server.conftest import Gate, MakeApp

STALL_TIMEOUT_S = 0.4
LINE = "x" * 20_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The store's file."""
    return tmp_path / "runs.db"


@pytest.fixture
def app(make_app: "MakeApp", gate: "Gate", path: Path) -> penstock.App:
    """The server's app with functions that fail, wait in a line, hold their place or write much."""
    app = make_app(store=f"sqlite:///{path}", stall_timeout_s=STALL_TIMEOUT_S)

    @app.function
    async def fail() -> None:
        raise ValueError("it had to")

    @app.function(concurrency_id="narrow", concurrency_limit=1, max_size=1)
    async def narrow() -> None:
        await gate.open.wait()

    @app.function(stop_grace_s=0.05)
    async def deaf() -> None:
        while not gate.open.is_set():
            try:
                await gate.open.wait()
            except asyncio.CancelledError:
                continue

    @app.function
    async def megabytes() -> AsyncIterator[str]:
        for _ in range(400):
            yield LINE

    return app


@pytest.fixture
def http() -> Any:
    """What `penstock serve` speaks HTTP with, and nothing else."""
    return Connection
