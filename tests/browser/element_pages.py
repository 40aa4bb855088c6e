"""Pages of other people: they stand on the server's own origin, and have a strict Content-Security-Policy."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, Route, async_playwright

__all__ = ["Host", "chromium"]

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]

WAIT_S = 45

CSP = "default-src 'self'; img-src 'self' data:"

HTML = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>A page</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="host.css">
<script src="before.js"></script><script type="module" src="web/client/element.js"></script>
<main>BODY</main></html>"""

BEFORE = """
window.told = [];
for (const type of ['penstock-state', 'penstock-end', 'penstock-error']) {
  document.addEventListener(type, ({ detail, composed }) => told.push({ type, composed, ...detail }));
}
document.addEventListener('securitypolicyviolation', ({ blockedURI }) => console.error(`refused: ${blockedURI}`));
"""


@asynccontextmanager
async def chromium(program: str) -> AsyncIterator[Browser]:
    """A browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        await browser.close()


class Host:
    """A page with the element on it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.bugs: list[str] = []
        page.on("pageerror", lambda error: self.bugs.append(str(error)))
        page.on("console", self._heard)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.bugs.append(message.text)

    async def show(self, body: str, *, css: str = "", before: str = "") -> None:
        """Open a page with this body; `before` is a script that runs before the element is defined."""
        files = {
            "/host.html": ("text/html", HTML.replace("BODY", body)),
            "/host.css": ("text/css", css),
            "/before.js": ("text/javascript", BEFORE + before),
        }

        async def answer(route: Route) -> None:
            kind, text = files[route.request.url.removeprefix(self.url)]
            await route.fulfill(body=text, content_type=kind, headers={"Content-Security-Policy": CSP})

        await self.page.route("**/{host.html,host.css,before.js}", answer)
        await self.page.goto(f"{self.url}/host.html")

    async def run_js(self, script: str, **names: Any) -> Any:
        """The value of JavaScript in which `it` is the element."""
        given = ", ".join(f"{name} = {json.dumps(value)}" for name, value in names.items())
        start = "it = document.querySelector('penstock-run')"
        return await self.page.evaluate(f"(async ({', '.join(filter(None, [start, given]))}) => {script})()")

    async def has(self, name: str, words: str) -> None:
        """The part says these words, soon."""
        place = self.page.locator(f"penstock-run [part~={name}]", has_text=words)
        await place.first.wait_for(timeout=WAIT_S * 1000)

    async def words(self, name: str) -> str:
        return await self.page.locator(f"penstock-run [part~={name}]").inner_text()

    async def told(self, kind: str) -> list[dict[str, Any]]:
        """The events of this type that the page has heard."""
        heard: list[dict[str, Any]] = await self.page.evaluate("told")
        return [event for event in heard if event["type"] == kind]
