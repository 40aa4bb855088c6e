"""The page in a real Chromium, through reloads, lost networks and killed servers: it shows what the store has."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import ConsoleMessage, Page, Request, async_playwright

from penstock import AsyncClient
from penstock.protocol.coalesce import Fold
from penstock.testing import FaultProxy, ServerProcess, until

from . import stories
from .checks import fold_of, stored

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # containers and CI run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

QUESTION = "What is the difference between asyncio.gather and asyncio.wait?"
PACE_MS = 50
"""An answer of 160 tokens then lasts 8 s: time for everything to happen to it."""

STEPS, PAUSE_MS = 250, 20.0
"""A story lasts 5 s: longer than a page takes to come back to a new server."""

WAIT_S = 20

NETWORK = re.compile(r"net::ERR_|Failed to fetch|status of 50[234]")
"""What a browser says of itself when a connection fails. Any other word on the console is a bug."""


class Tab:
    """The page, and what its console says."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.bugs: list[str] = []
        self.troubles: list[str] = []
        page.on("pageerror", lambda error: self.bugs.append(str(error)))
        page.on("console", self._heard)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            kind = self.troubles if NETWORK.search(message.text) else self.bugs
            kind.append(f"{message.type}: {message.text}")

    async def is_refused(self) -> None:
        """The browser has come back, and nobody was there."""
        await until(lambda: any("ERR_CONNECTION_REFUSED" in text for text in self.troubles), WAIT_S)

    async def run(self, function: str, **given: Any) -> str:
        """Fill the form, press the button. The run's id."""
        await self.page.locator(f'#functions input[value="{function}"]').check(force=True)
        for name, value in given.items():
            await self.page.locator(f"#field-{name}").fill(str(value))
        await self.page.locator("#run-button").click()
        return await until(self._run_id, WAIT_S, "the run is on the page")

    async def _run_id(self) -> str:
        return await self.page.locator("#run-link").text_content() or ""

    async def answer(self) -> str:
        return str(await self.page.evaluate("document.querySelector('#answer')?.textContent ?? ''"))

    async def value(self) -> str:
        return await self.page.locator("#latest").text_content() or ""

    async def grows(self, by: int = 20) -> None:
        """More of the answer has come."""
        length = len(await self.answer()) + by

        async def grown() -> bool:
            return len(await self.answer()) >= length

        await until(grown, WAIT_S, f"the answer has {length} characters")

    async def stands(self, element: str, state: str) -> None:
        await self.page.locator(f'#{element}[data-state="{state}"]').wait_for(
            state="attached", timeout=WAIT_S * 1000
        )

    async def check(self, fold: Fold) -> None:
        """The page has come to rest, and shows exactly this."""
        assert fold.end is not None
        await self.stands("run-state", fold.end.state)
        await self.stands("connection", "ended")
        # Links, citations and code are marked in the text, and every character of it stays.
        assert await self.answer() == fold.text_of(None)
        proof = await self.page.locator("#proof").text_content() or ""
        assert proof.startswith(f"received {fold.seq} ")
        assert proof.endswith("duplicates dropped 0")
        assert self.bugs == []

    async def overflow(self) -> int:
        """Pixels that the page is wider than its window."""
        width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(await self.page.evaluate(width))


@pytest.fixture
async def tab(tmp_path: Path, needs: Callable[[str], str]) -> AsyncIterator[Tab]:
    chromium = needs("chromium")
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=chromium, headless=True, args=FLAGS
        )
        yield Tab(context.pages[0])
        await context.close()


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    argv = [sys.executable, "-u", "-m", "penstock", "demo", "--port", "{port}", "--store", store]
    async with ServerProcess(argv=argv, cwd=tmp_path) as server:
        yield server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    async with ServerProcess(str(stories.FILE), "--store", store, cwd=tmp_path) as server:
        yield server


async def fold_in(server: ServerProcess, run_id: str) -> Fold:
    async with AsyncClient(server.url) as client:
        return await client.run(run_id).fold()


async def fold_on_disk(tmp_path: Path, run_id: str) -> Fold:
    return fold_of(row.event for row in (await stored(tmp_path / "runs.db", [run_id]))[run_id])


async def test_an_answer_survives_a_reload_and_a_lost_network(
    demo: ServerProcess, tab: Tab, tmp_path: Path
) -> None:
    async with FaultProxy(demo.port) as proxy:
        await tab.page.goto(proxy.url)
        run_id = await tab.run("answer", question=QUESTION, pace_ms=2 * PACE_MS)
        await tab.grows()
        await tab.page.reload()
        await tab.grows()
        proxy.offline()
        await tab.stands("connection", "reconnecting")
        await tab.is_refused()
        refused = await tab.answer()
        proxy.online()
        await tab.grows()
        assert (await tab.answer()).startswith(refused)
        await tab.stands("run-state", "running")  # all of it happened while the answer was written
        await tab.stands("run-state", "succeeded")
        fold = await fold_in(demo, run_id)
        await tab.check(fold)

        # A new server on the same store shows the same to a page that is opened anew.
        await asyncio.to_thread(demo.restart)
        await tab.page.reload()
        await tab.check(fold)
        assert (await fold_in(demo, run_id)).events == fold.events
    await asyncio.to_thread(demo.kill)
    assert (await fold_on_disk(tmp_path, run_id)).events == fold.events


async def test_an_answer_whose_server_is_killed_is_written_again(demo: ServerProcess, tab: Tab) -> None:
    await tab.page.goto(demo.url)
    run_id = await tab.run("answer", question=QUESTION, pace_ms=PACE_MS)
    await tab.grows()
    await asyncio.to_thread(demo.kill)
    await tab.stands("connection", "reconnecting")
    await asyncio.to_thread(demo.restart)
    await tab.page.locator("#notices li", has_text="attempt 2 begins again").wait_for()
    await tab.stands("run-state", "succeeded")
    await tab.check(await fold_in(demo, run_id))


async def test_a_run_whose_server_is_killed_ends_as_interrupted(demo: ServerProcess, tab: Tab) -> None:
    async with FaultProxy(demo.port) as proxy:
        await tab.page.goto(proxy.url)
        run_id = await tab.run("follow")
        await tab.grows()
        await asyncio.to_thread(demo.kill)
        await tab.stands("connection", "reconnecting")
        shown = await tab.answer()
        await asyncio.to_thread(demo.restart)
        await tab.stands("run-state", "interrupted")
        fold = await fold_in(demo, run_id)
        await tab.check(fold)
        assert fold.text_of(None).startswith(shown)
        assert "ended before the run did" in (await tab.page.locator("#outcome").text_content() or "")


async def test_a_run_that_is_tried_again_ends_whole_on_a_page_that_never_left(
    server: ServerProcess, tab: Tab, tmp_path: Path
) -> None:
    async with FaultProxy(server.port) as proxy:
        await tab.page.goto(proxy.url)
        run_id = await tab.run("write-again", seed=7, steps=STEPS, pause_ms=PAUSE_MS)
        await tab.grows(200)
        await asyncio.to_thread(server.kill)
        await tab.stands("connection", "reconnecting")
        await asyncio.to_thread(server.restart)
        await tab.page.locator("#notices li", has_text="attempt 2 begins again").wait_for()
        proxy.cut_all()
        fold = await fold_in(server, run_id)
        assert fold.text == stories.expected("write-again", 7, STEPS).text
        await tab.check(fold)
    await asyncio.to_thread(server.kill)
    assert (await fold_on_disk(tmp_path, run_id)).events == fold.events


async def test_a_text_that_is_told_again_and_again_grows_on_the_page(server: ServerProcess, tab: Tab) -> None:
    async with FaultProxy(server.port) as proxy:
        await tab.page.goto(proxy.url)
        run_id = await tab.run("tell-again", seed=7, steps=STEPS, pause_ms=PAUSE_MS)

        async def has_grown() -> bool:
            return len(await tab.value()) > 200

        await until(has_grown, WAIT_S, "the value has grown")
        await asyncio.to_thread(server.kill)
        await tab.stands("connection", "reconnecting")
        await asyncio.to_thread(server.restart)
        await tab.page.locator("#notices li", has_text="attempt 2 begins again").wait_for()
        await until(has_grown, WAIT_S, "the value has grown again")
        proxy.cut_all()
        fold = await fold_in(server, run_id)
        await tab.check(fold)
        assert await tab.value() == fold.value == stories.expected("tell-again", 7, STEPS).value


async def test_nothing_is_wider_than_a_small_telephone(demo: ServerProcess, tab: Tab) -> None:
    await tab.page.set_viewport_size({"width": 360, "height": 740})
    await tab.page.goto(demo.url)
    await tab.page.locator("#run-button:enabled").wait_for()
    assert await tab.overflow() == 0
    await tab.run("answer", question=QUESTION, pace_ms=0)
    await tab.stands("run-state", "succeeded")
    for summary in await tab.page.locator("#steps summary").all():
        await summary.click()
    assert await tab.overflow() == 0
    assert tab.bugs == []


SHOW = """hidden => {
  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
"""Playwright keeps every page visible, whatever is done to its window: only the page can be told."""


async def test_a_page_that_nobody_sees_reads_slowly_and_catches_up_at_once(
    server: ServerProcess, tab: Tab
) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/events" in request.url:
            asked.append(request.url)

    tab.page.on("request", note)
    await tab.page.add_init_script("delete globalThis.SharedWorker")  # whose requests Playwright does not see
    await tab.page.goto(server.url)
    run_id = await tab.run("write-again", seed=7, steps=3 * STEPS, pause_ms=PAUSE_MS)
    await tab.grows()
    await tab.page.evaluate(SHOW, True)
    await until(lambda: "rate=1" in asked[-1], WAIT_S)
    assert "after=" in asked[-1]
    await tab.page.evaluate(SHOW, False)
    await until(lambda: "/events" in asked[-1] and "rate=" not in asked[-1], WAIT_S)
    await tab.stands("run-state", "running")
    await tab.stands("run-state", "succeeded")
    await tab.check(await fold_in(server, run_id))
