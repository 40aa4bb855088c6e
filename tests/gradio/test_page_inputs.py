"""What was put into a page and not sent is there when it is loaded again: each kind of component and version."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import DEADLINE_S, Chromium, Tab

from .disturbed import chromium
from .filling import TOLD, fill
from .server import VERSIONS, GradioServer

__all__ = ["chromium"]

APP = Path(__file__).with_name("inputs_app.py")

KEPT = "JSON.parse(Object.entries(sessionStorage).find(([name]) => name.endsWith(':values'))?.[1] ?? '[]')"
"""What the tab remembers of components: number, properties, whether they are somebody's."""

ANSWER = "document.querySelector('#told textarea, #told input')?.value"


async def ready(tab: Tab) -> None:
    await tab.page.locator("button#tell").wait_for(timeout=DEADLINE_S * 1000)
    await tab.page.locator("#table [data-row='1'][data-col='0']").first.wait_for()  # it is made late


async def answer(tab: Tab) -> dict[str, Any]:
    await tab.page.locator("button#tell").click()
    found: dict[str, Any] = json.loads(await tab.until(ANSWER, what="it tells"))
    return found


async def put_in_and_reload(version: str, chromium: Chromium, folder: Path) -> None:
    (folder / "server").mkdir(parents=True)
    async with GradioServer(version, APP, cwd=folder / "server") as server:
        tab = await chromium.open(server.url)
        await ready(tab)
        assert await tab.page.evaluate(KEPT) == [], "nobody has done anything"
        await fill(tab.page, folder)
        kept = f"{KEPT}.filter(([, , given]) => given)"
        await tab.until(f"{kept}.length === {len(TOLD) - 1}", what="all but the password is remembered")
        assert "hidden" not in str(await tab.page.evaluate("({...sessionStorage})"))
        await tab.page.reload()
        await ready(tab)
        told = await answer(tab)
        assert {name: (told.get(name), was) for name, was in TOLD.items() if told.get(name) != was} == {}
        note = tab.page.locator("#note textarea")
        assert await note.input_value() == "for me"
        assert await note.is_enabled(), "its value does not make it one that shows something"
        await tab.page.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_what_was_put_in_and_not_sent_is_there_after_a_reload(
    chromium: Chromium, tmp_path: Path
) -> None:
    async with asyncio.TaskGroup() as all_at_once:
        for version in VERSIONS:
            all_at_once.create_task(put_in_and_reload(version, chromium, tmp_path / version), name=version)
