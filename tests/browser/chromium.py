"""A Chromium of our own, to which Playwright is connected without its usual kindness.

Playwright keeps each page that it opens focused, visible and awake. Here pages are what they are for people: with
their window put away they are hidden, their timers are throttled, they freeze, and they come back from the
back/forward cache.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, CDPSession, ConsoleMessage, Page, async_playwright
from playwright.async_api import TimeoutError as PlaywrightTimeout

__all__ = ["DEADLINE_S", "Chromium", "Tab", "launched", "quoted"]

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # containers and CI run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",  # containers have little of it
    "--disable-sync",
    "--disable-popup-blocking",
    "--no-first-run",
    "--no-startup-window",
    "--remote-debugging-port=0",
)

LISTENING = re.compile(rb"DevTools listening on ws://([^/]+)/")

NETWORK = re.compile(
    r"net::ERR_|Failed to fetch|status of (401|404|426|50[234])|WebSocket connection to .* failed"
)
"""What a browser says of itself when a connection fails. Any other word on the console is a bug."""

SLOW_3G = {"latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
"""Milliseconds and bytes a second, as Chromium's own panel has it."""

DEADLINE_S = 45
"""What a page does within a second takes ten on a machine that is slow and busy."""

BEGIN_AT_ONCE = 3
"""Pages that load at a time: of dozens together, each would be so late that it took others for dead."""

OPENINGS = 3
"""How often a window is asked for. One that comes late after all is empty, and in nobody's way."""

LOOK_S = 0.05
"""Between two looks at a page: a look costs it a task."""


class Tab:
    """A page, and what its console says."""

    def __init__(self, chromium: "Chromium", page: Page) -> None:
        self.chromium, self.page = chromium, page
        self.bugs: list[str] = []
        self.troubles: list[str] = []
        self._session: CDPSession | None = None
        page.on("pageerror", lambda error: self.bugs.append(str(error)))
        page.on("console", self._heard)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            kind = self.troubles if NETWORK.search(message.text) else self.bugs
            kind.append(f"{message.type}: {message.text}")

    async def until(self, expression: str, deadline_s: float = DEADLINE_S, what: str = "") -> Any:
        """Wait until JavaScript is true, whatever the page is just doing, and return its value."""
        value, end = None, asyncio.get_running_loop().time() + deadline_s
        while asyncio.get_running_loop().time() < end:
            with suppress(Exception):  # between two documents there is nothing to ask
                if value := await asyncio.wait_for(self.page.evaluate(expression), deadline_s):
                    return value
            await asyncio.sleep(LOOK_S)
        raise TimeoutError(f"Not within {deadline_s} s: {what or expression}. The last value was {value!r}.")

    # --- What people do to a tab ---

    async def hide(self) -> None:
        """Put its window away: it is hidden, and its timers run once a second."""
        await self._window("minimized")
        await self.until("document.hidden")

    async def show(self) -> None:
        await self._window("normal")
        await self.until("!document.hidden")

    async def freeze(self) -> None:
        """Hide it and stop all its tasks, as browsers do to save energy."""
        await self.hide()
        await self.send("Page.setWebLifecycleState", state="frozen")

    async def thaw(self) -> None:
        await self.send("Page.setWebLifecycleState", state="active")
        await self.show()

    async def offline(self, offline: bool) -> None:
        await self._network(offline=offline, latency=0, downloadThroughput=-1, uploadThroughput=-1)

    async def slow(self) -> None:
        await self._network(offline=False, **SLOW_3G)

    async def crash(self) -> None:
        gone = asyncio.Event()
        self.page.once("crash", lambda _: gone.set())
        with suppress(Exception):  # it is never reached
            await self.page.goto("chrome://crash")
        await asyncio.wait_for(gone.wait(), DEADLINE_S)

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the DevTools protocol. What it sets lasts as long as the tab."""
        if self._session is None:
            self._session = await self.page.context.new_cdp_session(self.page)
        answer: dict[str, Any] = await self._session.send(method, params)
        return answer

    async def _window(self, state: str) -> None:
        window = (await self.send("Browser.getWindowForTarget"))["windowId"]
        await self.chromium.send("Browser.setWindowBounds", windowId=window, bounds={"windowState": state})

    async def _network(self, **conditions: Any) -> None:
        await self.send("Network.enable")
        await self.send("Network.emulateNetworkConditions", **conditions)


class Chromium:
    """The browser. Its pages share storage and workers where they share an origin, so each scene has a port."""

    def __init__(self, browser: Browser, session: Any) -> None:
        self.browser, self._session = browser, session
        self._opening = asyncio.Lock()
        self.beginning = asyncio.Semaphore(BEGIN_AT_ONCE)

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self._session.send(method, params)
        return answer

    async def open(self, url: str, before: str = "") -> Tab:
        """A page in a window of its own, so that it is seen. `before`: a script that runs before its own."""
        context = self.browser.contexts[0]
        async with self._opening:  # else one's page might be taken for another's
            page = await self._new_window(context)
        tab = Tab(self, page)
        if before:
            await page.add_init_script(before)
        await page.goto(url)
        return tab

    async def _new_window(self, context: BrowserContext) -> Page:
        for _ in range(OPENINGS):
            with suppress(PlaywrightTimeout):
                async with context.expect_page() as opened:
                    await self.send("Target.createTarget", url="about:blank", newWindow=True)
                return await opened.value
        raise TimeoutError(f"Chromium opened no window, {OPENINGS} times.")

    async def reopened(self, url: str) -> Tab:
        """The tab of this address that was closed last, as with Ctrl+Shift+T. It takes tests/browser/reopening."""
        context = self.browser.contexts[0]
        async with self._opening, context.expect_page() as opened:
            await context.service_workers[0].evaluate("url => reopen(url)", url)
            page = await opened.value
        return Tab(self, page)

    async def opened_by(self, tab: Tab, script: str) -> Tab:
        """The tab that JavaScript in another opens."""
        async with self._opening, tab.page.expect_popup() as opened:
            await tab.page.evaluate(script)
            page = await opened.value
        return Tab(self, page)


@asynccontextmanager
async def launched(
    program: str, profile: Path, *flags: str, extension: Path | None = None
) -> AsyncIterator[Chromium]:
    """A Chromium with a fresh profile, and with more flags; with an extension, where one is named."""
    process = await asyncio.create_subprocess_exec(
        program, *FLAGS, *_extending(extension), *flags, f"--user-data-dir={profile}",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    reading = None
    try:
        while (match := LISTENING.search(line := await process.stderr.readline())) is None:
            assert line, "Chromium ended"
        reading = asyncio.create_task(process.stderr.read())  # a full pipe would stop it
        async with async_playwright() as playwright:
            browser = await playwright.chromium.connect_over_cdp(
                f"http://{match[1].decode()}", no_defaults=True
            )
            yield Chromium(browser, await browser.new_browser_cdp_session())
            await browser.close()
    finally:
        process.kill()
        await process.wait()
        if reading is not None:
            await reading


def _extending(extension: Path | None) -> tuple[str, ...]:
    if extension is None:
        return ("--disable-extensions",)
    # Chromium's own switch for it, which newer ones take only if told so.
    return f"--load-extension={extension}", "--disable-features=DisableLoadExtensionCommandLineSwitch"


def quoted(value: Any) -> str:
    """A value as JavaScript."""
    return json.dumps(value)
