"""A page of the console, what its own console says, and what people do to it."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from playwright.async_api import ConsoleMessage, Locator, Page

from penstock.testing import ServerProcess, until

WAIT_S = 45.0

NETWORK = re.compile(r"net::ERR_|Failed to fetch|status of (404|422|50[234])")
"""What a browser says of itself when a request fails. Any other word on the console is a bug."""

SHOW = """hidden => {
  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
"""Playwright keeps every page visible, whatever is done to its window: only the page can be told."""


class Console:
    """One tab with the console of one server."""

    def __init__(self, page: Page, server: ServerProcess) -> None:
        self.page, self.server = page, server
        self.bugs: list[str] = []
        self.asked: list[str] = []
        page.on("pageerror", lambda error: self.bugs.append(str(error)))
        page.on("console", self._heard)
        page.on("request", lambda request: self.asked.append(request.url.removeprefix(server.url)))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not NETWORK.search(message.text):
            self.bugs.append(f"{message.type}: {message.text}")

    async def open(self, address: str = "") -> None:
        await self.page.goto(f"{self.server.url}/{address}")

    def _client(self) -> httpx.AsyncClient:
        # Nothing is encrypted here, and the certificates of a client take longer to read than a test's request.
        return httpx.AsyncClient(base_url=self.server.url, trust_env=False, verify=False)

    async def submit(self, function: str, *, session: str | None = None, **given: Any) -> str:
        """Start a run, from elsewhere; its id."""
        async with self._client() as client:
            body = {"function": function, "input": given, "session": session}
            answer = await client.post("/api/runs", json=body)
            assert answer.status_code == 202, answer.text
            return str(answer.json()["run_id"])

    async def run(self, run_id: str) -> dict[str, Any]:
        """What the server knows of it."""
        async with self._client() as client:
            found: dict[str, Any] = (await client.get(f"/api/runs/{run_id}")).json()
            return found

    def at(self, selector: str, **options: Any) -> Locator:
        return self.page.locator(selector, **options)

    async def sees(self, selector: str, **options: Any) -> Locator:
        found = self.at(selector, **options).first
        await found.wait_for(timeout=WAIT_S * 1000)
        return found

    async def until(self, expression: str, what: str = "") -> Any:
        """Wait until JavaScript is true; its value."""
        return await until(self._evaluate(expression), WAIT_S, what or expression)

    def _evaluate(self, expression: str) -> Callable[[], Awaitable[Any]]:
        return lambda: self.page.evaluate(expression)

    async def overflow(self) -> int:
        """Pixels that the page is wider than its window."""
        width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(await self.page.evaluate(width))

    async def hide(self, hidden: bool) -> None:
        await self.page.evaluate(SHOW, hidden)

    async def focused(self) -> str:
        return str(
            await self.page.evaluate("document.activeElement.id || document.activeElement.textContent")
        )
