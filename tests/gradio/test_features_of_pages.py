"""What pages do of Gradio's features is what they do without Penstock, in a real Chromium.

`PENSTOCK_TEST_GRADIO_STOCK=1` has the same tests run against Gradio as it comes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ..browser.chromium import Chromium, launched
from .page_tour import TOUR, tour
from .server import VERSIONS, GradioServer
from .test_features_of_clients import APP, HARDENED

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
"""The first test waits for all tours, which take the same time together as one of them, and a little more."""

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")

EXPECTED = {
    "load_event": "loaded",
    "chain_after_success": ["done", "then", "well: done", ""],
    "chain_after_failure": ["badly"],
    "a_button_cancels": ["closed"],
    "trigger_once": 1,
    "trigger_multiple": 3,
    "trigger_always_last": "abcd",
    "render": ["filled 2 of 1"],
    "upload_and_download": ["BY HAND", "for download"],
    "interface": "Hello, Ada",
    "tabs_have_their_own_state": ["1", "2"],
    "a_duplicated_tab_is_another": ["1", "3"],
}
"""For others it is enough that they are there."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tours(
    needs: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, dict[str, Any]]]:
    """A page of each version, at once."""
    profile = tmp_path_factory.mktemp("profile")
    async with launched(needs("chromium"), profile, *CAMERA) as chromium, AsyncExitStack() as stack:
        folders = {version: tmp_path_factory.mktemp("pages") for version in VERSIONS}
        one = [_tour(chromium, stack, version, folder) for version, folder in folders.items()]
        yield dict(zip(VERSIONS, await asyncio.gather(*one), strict=True))


async def _tour(chromium: Chromium, stack: AsyncExitStack, version: str, folder: Path) -> dict[str, Any]:
    env = {"FEATURES_APP_NOTES": str(folder)}
    options = {"grace_s": 3, "close_grace_s": 1}
    server = GradioServer(version, APP, hardened=HARDENED, options=options, cwd=folder, env=env)
    await stack.enter_async_context(server)
    return await tour(chromium, server.url, folder)


@pytest.mark.parametrize("feature", TOUR)
async def test_a_page_does_what_it_does_with_gradio(
    tours: dict[str, dict[str, Any]], version: str, feature: str
) -> None:
    found = tours[version][feature]
    if isinstance(found, Exception):
        raise found
    assert found == EXPECTED.get(feature, True)
