"""Draws the pictures of the documentation: `python -m tests.browser.pictures` writes docs/images/.

Each view of the console as it really is, in a real Chromium on a real server: light, dark, and on a telephone.
"""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright

from penstock import AsyncClient
from penstock.testing import ServerProcess, until

from . import pictures_app
from .chromium import FLAGS

IMAGES = Path(__file__).parents[2] / "docs" / "images"

WAIT_S = 30

READERS = 12
"""Beside the page itself: Health is to have something to show."""


class Look(NamedTuple):
    """How a page is looked at."""

    name: str
    viewport: ViewportSize
    scheme: Any


LOOKS = (
    Look("light", {"width": 1200, "height": 760}, "light"),
    Look("dark", {"width": 1200, "height": 760}, "dark"),
    Look("phone", {"width": 390, "height": 844}, "light"),
)


class Runs(NamedTuple):
    """Those on the pictures."""

    answered: str
    other: str
    live: str


async def _submitted(client: AsyncClient) -> Runs:
    answered = await client.submit(
        "research", {"question": pictures_app.QUESTION, "pause_ms": 6}, session="ada"
    )
    other = await client.submit(
        "research", {"question": pictures_app.QUESTION, "model": "small", "pause_ms": 3}, session="ada"
    )
    for month in ("September", "October"):
        await client.submit("import_readings", {"month": month})
    scenes = (
        "sluice at night",
        "dam from above",
        "turbine hall",
        "fish ladder",
        "spillway",
        "penstock, cut open",
    )
    for number, scene in enumerate(scenes):
        given = {"scene": scene, "frames": 4000 if number else 240, "priority": int(scene == "fish ladder")}
        await client.submit("render", given, session="studio")
    for run in (answered, other):
        async for _ in run.events():
            pass
    live = await client.submit(
        "research", {"question": "Which gauge is to be replaced first?", "pause_ms": 700}
    )
    return Runs(answered.id, other.id, live.id)


def _views(runs: Runs) -> dict[str, tuple[str, str]]:
    """Name to the hash of the address and the keys that are pressed there."""
    run = f"#/runs/{runs.answered}"
    return {
        "start": ("#/start/research", ""),
        "runs": ("#/runs", ""),
        "queue": ("#/queue", ""),
        "health": ("#/health", ""),
        "messages": (run, "m"),
        "steps": (run, "s"),
        "step": (run, "sn"),
        "events": (run, "e"),
        "live": (f"#/runs/{runs.live}", "s"),
        "compare": (f"#/compare/{runs.answered}/{runs.other}", ""),
    }


async def _draw(context: BrowserContext, url: str, look: Look, runs: Runs) -> None:
    page = await context.new_page()
    for name, (place, keys) in _views(runs).items():
        await page.goto(f"{url}/{place}")
        if keys:
            await page.locator("#run-state[data-state]").wait_for()
            for key in keys:
                await page.keyboard.press(key)
        elif name == "queue":
            await page.get_by_text("gpu", exact=True).click()
        await _at_rest(page, 12_000 if name == "health" else 1500)
        await page.screenshot(path=IMAGES / f"{name}-{look.name}.png")
    await page.close()


async def _read(client: AsyncClient, run_id: str) -> None:
    async for _ in client.run(run_id).events():
        pass


async def _at_rest(page: Page, ms: int) -> None:
    # Charts need a few readings, clocks a second: there is no state to wait for that a picture would show.
    await page.wait_for_timeout(ms)


async def _look(browser: Browser, url: str, look: Look, runs: Runs) -> None:
    context = await browser.new_context(
        viewport=look.viewport, color_scheme=look.scheme, reduced_motion="reduce"
    )
    await _draw(context, url, look, runs)
    await context.close()


async def main() -> None:
    """All pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is not installed: run tests/install-parts.")
    IMAGES.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    store = f"sqlite:///{folder / 'runs.db'}"
    async with (
        ServerProcess(str(pictures_app.FILE), "--store", store, cwd=folder) as server,
        AsyncClient(server.url) as client,
        async_playwright() as playwright,
    ):
        runs = await _submitted(client)

        async def speaks() -> bool:
            return bool((await client.run(runs.live).state())["state"] == "running")

        await until(speaks, WAIT_S)
        readers = [asyncio.create_task(_read(client, runs.live)) for _ in range(READERS)]
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for look in LOOKS:
            await _look(browser, server.url, look, runs)
        await browser.close()
        for reader in readers:
            reader.cancel()
    shutil.rmtree(folder)


if __name__ == "__main__":
    asyncio.run(main())
