"""One browser, one server and one stage for all tests of faults."""

import os
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from .chromium import Chromium, launched
from .servers import probe_server
from .stage import Stage, cells_of

VARIABLE = "PENSTOCK_TEST_SEED"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(
    needs: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Chromium]:
    async with launched(needs("chromium"), tmp_path_factory.mktemp("profile")) as chromium:
        yield chromium


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(
    chromium: Chromium,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    needs: Callable[[str], str],
) -> AsyncIterator[Stage]:
    """All scenes that the module's tests ask for, already playing."""
    seed = int(os.environ.get(VARIABLE) or secrets.randbelow(1_000_000))
    print(f"To repeat this: {VARIABLE}={seed}")
    folder: Path = tmp_path_factory.mktemp("scenes")
    async with probe_server(tmp_path_factory.mktemp("server")) as server:
        stage = Stage(chromium, server, folder, seed, needs)
        stage.begin(cells_of(request))
        yield stage
        await stage.end()
