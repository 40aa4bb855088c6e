"""Every store keeps every promise."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from penstock.storage import make_store
from penstock.storage.base import Store
from penstock.testing.store_contract import CHECKS, SHARED_CHECKS

ADDRESSES = {"memory": "memory:", "sqlite": "sqlite:///{folder}/store.db"}
"""Name to an address; `{folder}` is one of the test's own."""

SHARED = ("sqlite",)
"""Those that several processes may open."""


def make(backend: str, folder: Path) -> Store:
    return make_store(ADDRESSES[backend].format(folder=folder), synchronous="normal")


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def opened(backend: str, folder: Path, stack: AsyncExitStack) -> Store:
    store = make(backend, folder)
    stack.push_async_callback(store.close)
    await store.open()
    return store


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("backend", ADDRESSES)
async def test_store(backend: str, check: str, tmp_path: Path, stack: AsyncExitStack) -> None:
    await CHECKS[check](await opened(backend, tmp_path, stack))


@pytest.mark.parametrize("check", SHARED_CHECKS)
@pytest.mark.parametrize("backend", SHARED)
async def test_two_stores(backend: str, check: str, tmp_path: Path, stack: AsyncExitStack) -> None:
    one, other = await opened(backend, tmp_path, stack), await opened(backend, tmp_path, stack)
    await SHARED_CHECKS[check](one, other)
