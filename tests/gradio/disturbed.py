"""Gradio's page in a real browser, as somebody uses it: what tests of it have in common."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page

from penstock.testing import FaultProxy
from tests.browser.chromium import Chromium, Tab, launched, quoted

from .server import GradioServer

__all__ = ["APP", "GradioPage", "chromium", "opened", "page", "proxy", "server"]

APP = Path(__file__).with_name("page_app.py")

OTHERS = ("manifest", "fonts.googleapis.com", "preload CSS", "404 (Not Found)", "signal is aborted")
"""What Gradio's own page complains of without us: files that it does not have, and fonts that it can't fetch."""


NOTE_TOASTS = """() => {
  window.same = true;
  window.toasted = new Set();
  const note = () => document.querySelectorAll('.toast-body').forEach((one) => toasted.add(one.innerText));
  new MutationObserver(note).observe(document.body, {childList: true, characterData: true, subtree: true});
  note();
}"""


class GradioPage:
    """The page of `page_app.py`, in a tab."""

    def __init__(self, tab: Tab, proxy: FaultProxy) -> None:
        self.tab, self.proxy = tab, proxy

    @property
    def page(self) -> Page:
        return self.tab.page

    @property
    def bugs(self) -> list[str]:
        return [bug for bug in self.tab.bugs if not any(known in bug for known in OTHERS)]

    def field(self, label: str) -> Locator:
        return self.page.get_by_label(label, exact=True).first

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def ready(self) -> None:
        await self.button("Run").wait_for(timeout=40_000)
        await self.field("Row 1").wait_for(timeout=40_000)  # made by an event, so events come through
        await self.page.evaluate(NOTE_TOASTS)

    async def reload(self) -> None:
        await self.page.reload()
        await self.ready()

    async def remembers(self, text: str) -> None:
        """Wait until the tab does: Gradio's page takes some 30 ms to tell what was typed."""
        kept = f"Object.values(sessionStorage).some((one) => one.includes({quoted(text)}))"
        await self.tab.until(kept, what=f"{text} is remembered")

    async def value(self, label: str) -> str:
        return await self.field(label).input_value(timeout=20_000)

    async def has(self, label: str, text: str, deadline_s: float = 30) -> None:
        """Wait until a field begins with a text."""
        value, end = "", asyncio.get_running_loop().time() + deadline_s
        while not (value := await self.value(label)).startswith(text):
            assert asyncio.get_running_loop().time() < end, f"{label}: {value!r}, not {text!r}"
            await asyncio.sleep(0.05)

    async def run(self, word: str, steps: int = 60) -> None:
        """Press Run, and wait until there is something to lose."""
        await self.field("Word").fill(word)
        await self.field("Steps").fill(str(steps))
        await self.button("Run").click()
        await self.has("Grown", f"{word} xxxx")

    async def ends(self, word: str, times: int, steps: int = 60) -> None:
        """The text is whole, and what follows was called once more."""
        await self.has("Grown", f"{word} " + "x" * steps)
        await self.has("Counted", f"{len(word) + 1 + steps} characters, {times} times")

    async def is_same(self) -> bool:
        """Whether the page was never loaded again."""
        return bool(await self.page.evaluate("window.same === true"))

    async def toasts(self) -> list[str]:
        """Those that there were since it was ready; Gradio takes each away after 10 s."""
        found: list[str] = await self.page.evaluate("[...toasted].filter(Boolean)")
        return found

    async def badge(self) -> str:
        """What the badge says; nothing while it is not seen."""
        said: str = await self.page.evaluate(
            """(() => {
              const box = document.querySelector('penstock-connection')?.shadowRoot.querySelector('[role=status]');
              return box && getComputedStyle(box).visibility === 'visible' ? box.innerText : '';
            })()"""
        )
        return said

    async def says(self, word: str, deadline_s: float = 20) -> None:
        """Wait for the badge."""
        said, end = "?", asyncio.get_running_loop().time() + deadline_s
        while (said := await self.badge()) != word:
            assert asyncio.get_running_loop().time() < end, f"The badge says {said!r}, not {word!r}."
            await asyncio.sleep(0.05)

    async def kept(self) -> dict[str, Any]:
        """What the tab remembers."""
        items: dict[str, str] = await self.page.evaluate("({...sessionStorage})")
        return {name.rsplit(":", 1)[-1]: json.loads(text) for name, text in items.items() if "gradio" in name}


async def opened(chromium: Chromium, proxy: FaultProxy, before: str = "") -> GradioPage:
    page = GradioPage(await chromium.open(proxy.url, before), proxy)
    await page.ready()
    return page


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(
    needs: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Chromium]:
    async with launched(needs("chromium"), tmp_path_factory.mktemp("profile")) as chromium:
        yield chromium


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(request: pytest.FixtureRequest) -> AsyncIterator[GradioServer]:
    server = GradioServer(str(request.param), APP, options={"close_grace_s": 20})
    async with server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(server: GradioServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(server.port) as proxy:
        yield proxy


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Chromium, proxy: FaultProxy) -> AsyncIterator[GradioPage]:
    page = await opened(chromium, proxy)
    yield page
    await page.page.close()
    assert page.bugs == []
