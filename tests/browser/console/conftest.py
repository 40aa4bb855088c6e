"""One browser and one server for the tests of a file; a fresh tab for each."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from penstock.testing import ServerProcess

from . import app
from .page import Console

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[ServerProcess]:
    """Serves the file that a test's module names as `APP`, or else what most need."""
    folder = tmp_path_factory.mktemp("console")
    with ServerProcess(
        str(getattr(request.module, "APP", app.FILE)), "--store", "sqlite:///runs.db", cwd=folder
    ) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(needs: Callable[[str], str]) -> AsyncIterator[Browser]:
    chromium = needs("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def console(browser: Browser, server: ServerProcess) -> AsyncIterator[Console]:
    """A tab, which in the end must not have complained."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    console = Console(await context.new_page(), server)
    yield console
    await context.close()
    assert console.bugs == []
