"""Real pages of hardened Gradio apps, disturbed in every way we know, lose nothing: docs/gradio.md in short."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from ..browser.chromium import launched
from ..browser.stage import cells_of
from . import disturbances  # noqa: F401 - they say what there is
from .scene import DISTURBANCES, SHORT
from .server import VERSIONS
from .stage import REOPENING, Cell, Stage

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
"""All scenes play at once: who asks for the first outcome waits for most of them."""

ONCE = "2,001 other sessions"
"""Takes 15 s of a processor; tests/gradio/test_line.py has what is behind it, for all versions."""

CELLS = [
    Cell(name, version, hardened=True)
    for name in DISTURBANCES
    for version in (VERSIONS if name != ONCE else VERSIONS[-1:])
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(
    needs: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Stage]:
    """All scenes that the module's tests ask for, already playing."""
    profile, folder = tmp_path_factory.mktemp("profile"), tmp_path_factory.mktemp("scenes")
    async with (
        launched(needs("chromium"), profile, extension=REOPENING) as chromium,
        Stage(chromium, folder, SHORT, apart=False) as stage,
    ):
        stage.begin(cells_of(request))
        yield stage


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.disturbance} - {cell.version}")
async def test_a_page_loses_nothing(stage: Stage, cell: Cell) -> None:
    print(await stage.outcome(cell))
