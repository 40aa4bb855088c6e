"""One disturbance of one way to read: its page, its proxy, its server, and how it turned out."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from penstock import AsyncClient
from penstock.testing import FaultProxy, ServerProcess

from . import proof
from .chromium import DEADLINE_S, Chromium, Tab, quoted
from .disturbance import Disturbance, Disturbances, act_out
from .servers import probe_server

__all__ = ["DISTURBANCES", "WAYS", "Scene", "disturbance", "play"]

TRANSPORTS = ("fetch", "eventsource", "websocket", "poll")

WAYS = (*TRANSPORTS, "shared")
"""Each transport for a tab by itself, and the one connection for all tabs. `auto` is what a tab picks."""

STEPS, PAUSE_MS = 50, 20.0
"""A story of 1 s, where nothing needs it to be longer."""


DISTURBANCES = Disturbances(WAYS)

disturbance = DISTURBANCES.named


@dataclass
class Scene:
    """What a disturbance has to work with."""

    chromium: Chromium
    server: ServerProcess
    proxy: FaultProxy
    way: str
    folder: Path
    seed: int
    needs: Callable[[str], str]
    run_id: str = ""
    over_ms: float = 0
    tabs: list[Tab] = field(default_factory=list)

    # --- The run ---

    async def start(
        self,
        function: str = "story",
        *,
        steps: int = STEPS,
        pause_ms: float = PAUSE_MS,
        shut: tuple[int, ...] = (),
        lane: str = "",
    ) -> str:
        """Submit a story, past the proxy. It waits before the steps `shut` until `let` is called."""
        for step in shut:
            self.shut(step)
        given = {"seed": self.seed, "steps": steps, "pause_ms": pause_ms, "gate": str(self.folder)}
        async with AsyncClient(f"{self.server.url}/penstock") as client:
            run = await client.submit(function, {**given, "lane": lane or self.folder.name})
        self.run_id = run.id
        return run.id

    def shut(self, step: int) -> None:
        """The story is to wait before this step."""
        (self.folder / f"{step}.shut").touch()

    def let(self, step: int) -> None:
        """Let it go on."""
        (self.folder / f"{step}.shut").unlink()

    # --- The page ---

    def url(self, **query: Any) -> str:
        """The probe page's address, for this way to read."""
        way = {
            "share": str(int(self.way == "shared")),
            "transport": self.way if self.way in TRANSPORTS else "",
        }
        return f"{self.proxy.url}/probe.html?{urlencode(way | {'run': self.run_id} | query)}"

    async def open(self, before: str = "", **query: Any) -> Tab:
        async with self.chromium.beginning:
            tab = await self.chromium.open(self.url(**query), before)
            self.tabs.append(tab)
            await tab.until("!!globalThis.probe")
        return tab

    async def begin(
        self,
        *,
        before: str = "",
        query: Mapping[str, Any] | None = None,
        deadline_s: float = DEADLINE_S,
        **story: Any,
    ) -> Tab:
        """A run under way, on a page that has some of it. It goes on until its page is examined."""
        (self.folder / "more").touch()
        await self.start(**story)
        tab = await self.open(before, **(query or {}))
        await tab.until("probe.subscription.received >= 10", deadline_s)
        return tab

    async def gets(self, tab: Tab, more: int = 1, deadline_s: float = DEADLINE_S) -> None:
        """`more` events come, or the end."""
        had = await tab.until("probe.subscription && {n: probe.subscription.received}")
        wanted = f"probe.subscription.received >= {had['n'] + more} || probe.subscription.fold.end"
        await tab.until(f"!!({wanted})", deadline_s, f"{more} more than {had['n']} events")

    async def is_at(self, tab: Tab, *connections: str, deadline_s: float = DEADLINE_S) -> None:
        """The connection is in one of these states."""
        await tab.until(
            f"{quoted(connections)}.includes(probe.subscription.connection)", deadline_s, str(connections)
        )

    def over(self) -> None:
        """The disturbance is over: from now on the time until news is taken."""
        self.over_ms = time.time() * 1000

    # --- The proof ---

    async def check(self, tab: Tab, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """The run ends, the page comes to rest, and has what the store has."""
        (self.folder / "more").unlink(missing_ok=True)
        await tab.until("probe.rests()", deadline_s, "it ends")
        seen: dict[str, Any] = await tab.page.evaluate("probe.examine()")
        proof.check(seen, await proof.stored(f"{self.server.url}/penstock", self.run_id))
        assert tab.bugs == []
        self._check_way(seen)
        return seen

    def _check_way(self, seen: dict[str, Any]) -> None:
        if self.way in TRANSPORTS:
            assert seen["transport"] == self.way
        assert seen["shared"] == (self.way == "shared")

    async def result(self, tab: Tab) -> str:
        """The proof in short, for the table."""
        seen = await self.check(tab)
        after_ms = await tab.page.evaluate(f"probe.after({self.over_ms})") if self.over_ms else 0
        back = f" · {max(0.0, after_ms - self.over_ms) / 1000:.1f} s" if after_ms else ""
        return f"✓ {seen['resumes']}{back}"

    async def last_words(self, tab: Tab) -> str:
        """Where its reader stands."""
        ask = """globalThis.probe ? {...probe.stands(), went: probe.went, watcher: probe.watcher?.received}
          : document.body.innerText.slice(-500)"""
        try:
            return str(await asyncio.wait_for(tab.page.evaluate(ask), 2))
        except Exception as error:  # noqa: BLE001 - the page may be gone, and the first error matters
            return repr(error)[:100]


async def play(
    chosen: Disturbance,
    chromium: Chromium,
    server: ServerProcess,
    way: str,
    folder: Path,
    seed: int,
    needs: Callable[[str], str],
) -> str:
    """One cell of the table."""
    async with AsyncExitStack() as stack:
        if chosen.own_server:
            server = await stack.enter_async_context(probe_server(folder))
        proxy = await stack.enter_async_context(FaultProxy(server.port, seed=seed))
        return await act_out(chosen, Scene(chromium, server, proxy, way, folder, seed, needs))
