"""Real pages in a real browser, disturbed in every way we know, end with what the store has."""

import json
from collections.abc import Callable

import pytest

from . import behind_nginx, in_the_tab, many_tabs, on_the_console, on_the_network, to_the_server  # noqa: F401 - they say what there is
from .scene import DISTURBANCES
from .stage import Stage

pytestmark = pytest.mark.timeout(600)
"""All scenes play at once, for about two minutes: who asks for the first outcome waits for most of them."""

CELLS = [(name, way) for name, chosen in DISTURBANCES.items() for way in chosen.ways]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell[0]} - {cell[1]}")
async def test_a_page_ends_with_what_the_store_has(
    stage: Stage, cell: tuple[str, str], record_property: Callable[[str, object], None]
) -> None:
    record_property("cell", json.dumps([*cell, await stage.outcome(*cell)]))
