"""A page of a Gradio app, its proxy, its server and what befalls them."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.testing import FaultProxy

from ..browser.chromium import Chromium, Tab, quoted
from ..browser.disturbance import Disturbance, Disturbances, act_out
from .seen import LOOK, Did, Seen, did, seen, text_of
from .server import GradioServer

__all__ = ["APP", "DISTURBANCES", "LONG", "SHORT", "Scene", "Times", "disturbance", "play"]

APP = Path(__file__).with_name("faulty_app.py")

STEPS = 60
"""Words of a story."""

DISTURBED_AT = 11
"""Words that a page has when it is disturbed."""

QUIET_S = 9.0
"""A page on which nothing has changed for so long, while nothing runs, stays as it is: Gradio's own page asks
every 2 s whether its server is back, and a page takes some seconds to load on a busy machine."""

PRESSES, PRESS_S = 3, 12.0
"""How often people press a button that does nothing, and how long they wait."""

DEADLINE_S = 180.0
"""Longer than a story in front of which everything that may happen has happened."""


@dataclass(frozen=True)
class Times:
    """How long things last: as in the table, or short, for the suite."""

    frozen_s: float = 60
    offline_s: float = 30
    reopened_s: float = 2
    pause_s: float = 0.15
    sessions: int = 2001
    flood: tuple[int, int] = (20_000, 10_000)
    """Updates, and bytes of each."""


LONG = Times()
SHORT = Times(frozen_s=3, offline_s=3, reopened_s=1, pause_s=0.1, flood=(5_000, 10_000))


DISTURBANCES = Disturbances()

disturbance = DISTURBANCES.named


@dataclass
class Scene:
    """What a disturbance has to work with.

    hardened: whether the server is ours; where it is, what is seen is also judged.
    """

    chromium: Chromium
    server: GradioServer
    proxy: FaultProxy
    notes: Path
    name: str
    times: Times
    hardened: bool
    loads: int = 0
    counted: int = 0
    tabs: list[Tab] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)

    # --- The page ---

    async def open(self) -> Tab:
        tab = await self.chromium.open(self.proxy.url)
        self.tabs.append(tab)
        await self.is_up(tab)
        return tab

    async def is_up(self, tab: Tab) -> None:
        await tab.until("!!document.querySelector('#tell')", 60, "the page is up")

    async def begin(self, pause_s: float | None = None) -> Tab:
        """A page with something typed, a count in its gr.State, and a story under way."""
        tab = await self.open()
        await self.press(tab, "count")
        self.counted = await self._count(tab, 60)
        await self.type(tab, "unsent", f"unsent by {self.name}")
        await self.type(tab, "prompt", f"{self.name} {STEPS} {pause_s or self.times.pause_s}")
        await self.press(tab, "tell")
        await tab.until(f"{LOOK}.told.split(' ').length >= {DISTURBED_AT}", 60, "the story is under way")
        self.before = await tab.page.evaluate(LOOK)
        return tab

    async def type(self, tab: Tab, where: str, text: str) -> None:
        """As by hand: events that the page listens to."""
        await tab.page.fill(f"#{where} textarea, #{where} input", text, timeout=30_000)

    async def press(self, tab: Tab, button: str) -> None:
        await tab.until(
            f"(button => button && !button.disabled && (button.click(), true))"
            f"(document.querySelector('button#{button}'))", 60, f"{button} can be pressed",
        )  # fmt: skip

    async def shows(self, tab: Tab, where: str, text: str, deadline_s: float = 30) -> None:
        await tab.until(f"{LOOK}[{quoted(where.replace('-', '_'))}] === {quoted(text)}", deadline_s)

    def pace(self, pause_s: float = 0.1) -> None:
        """The story goes on faster, or slower, than it began."""
        (self.notes / f"{self.name}.pause").write_text(str(pause_s))

    # --- The proof ---

    def ran(self, name: str = "") -> Did:
        """What the generator did."""
        return did(self.notes, name or self.name)

    async def settle(
        self, tab: Tab, has_all: Callable[[dict[str, Any]], bool] | None = None
    ) -> dict[str, Any]:
        """The page has everything, or nothing more comes."""
        loop = asyncio.get_running_loop()
        now: tuple[dict[str, Any] | None, Did] = None, Did()
        last, since, end = now, loop.time(), loop.time() + DEADLINE_S
        while loop.time() < end:
            now = (await self.look(tab), self.ran())
            if now[0] and (has_all or has_story)(now[0]):
                break
            if now != last:
                last, since = now, loop.time()
            if loop.time() > since + QUIET_S and (now[1].closed or not self.server.running):
                break
            if loop.time() > since + 3 * QUIET_S:
                break
            await asyncio.sleep(0.3)
        assert now[0], "the page can't be looked at"
        return now[0]

    async def look(self, tab: Tab) -> dict[str, Any] | None:
        """What the page shows; None between two documents."""
        with suppress(Exception):
            look: dict[str, Any] = await asyncio.wait_for(tab.page.evaluate(LOOK), 5)
            return look
        return None

    async def examine(self, tab: Tab, look: dict[str, Any] | None = None) -> Seen:
        """What the page shows in the end, and whether it still works."""
        look = look or await self.settle(tab)
        counted, presses = await self._tries(tab)
        self.before["loads"] += self.loads
        return seen(look, self.before, STEPS, self.ran(), state=counted > self.counted, presses=presses)

    async def _tries(self, tab: Tab) -> tuple[int, int]:
        """Whether its buttons work: what it counts, and how many presses that took."""
        for presses in range(1, PRESSES + 1):
            with suppress(TimeoutError):
                counted = await self._count(tab, PRESS_S)
                await self.type(tab, "prompt", f"{self.name}-again 3 0.05")
                await self.press(tab, "then-tell")
                await self.shows(tab, "next-told", text_of(3), PRESS_S)
                return counted, presses
        return 0, 0

    async def _count(self, tab: Tab, deadline_s: float) -> int:
        """Press the button that counts in gr.State; the number."""
        had = await tab.until(f"{LOOK}.counted + '.'")
        await self.press(tab, "count")
        number = await tab.until(
            f"(now => now + '.' !== {quoted(had)} && now.split(' ')[0])({LOOK}.counted ?? '')", deadline_s
        )
        return int(number)

    async def result(self, tab: Tab) -> str:
        """What it shows. Where the server is hardened, nothing is lost."""
        found = await self.examine(tab)
        if self.hardened:
            assert found.whole, found
        return found.words()

    async def last_words(self, tab: Tab) -> str:
        """What it shows."""
        return str(await self.look(tab))


def has_story(look: dict[str, Any]) -> bool:
    """The whole of it, and what comes after it."""
    return bool(look["told"] == text_of(STEPS) and look["words"] == str(STEPS))


async def play(
    chosen: Disturbance, chromium: Chromium, server: GradioServer, notes: Path, name: str, times: Times, *,
    hardened: bool,
) -> str:  # fmt: skip
    """One cell of the table."""
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultProxy(server.port))
        return await act_out(chosen, Scene(chromium, server, proxy, notes, name, times, hardened))
