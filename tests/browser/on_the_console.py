"""What a careful person would try by hand, with a run open on the console."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from playwright.async_api import TimeoutError as PlaywrightTimeout

from penstock.protocol.coalesce import Fold
from penstock.testing import until

from . import proof
from .chromium import DEADLINE_S, SLOW_3G, Tab
from .nginx import PLAIN, nginx
from .scene import Scene, disturbance

PROOF = "(document.getElementById('proof')?.textContent ?? '')"

POSITION = f"Number(({PROOF}.match(/received ([\\d,]+)/)?.[1] ?? '0').replaceAll(',', ''))"


def by_hand(name: str, **options: Any) -> Callable[[Any], Any]:
    """As `disturbance`, on the console."""

    def register(act: Callable[[Scene], Awaitable[None]]) -> Any:
        async def acted(scene: Scene) -> str:
            await act(scene)
            return await is_proven(scene, scene.tabs[-1])

        acted.__module__ = act.__module__
        return disturbance(name, ways=("console",), **options)(acted)

    return register


async def opened(scene: Scene, before: str = "", **story: Any) -> Tab:
    """A run under way, on the console."""
    (scene.folder / "more").touch()
    await scene.start(**story)
    tab = await scene.chromium.open(address(scene), before)
    scene.tabs.append(tab)
    await gets(tab)
    return tab


def address(scene: Scene) -> str:
    return f"{scene.proxy.url}/penstock/#/runs/{scene.run_id}"


async def gets(tab: Tab, more: int = 10) -> None:
    had = await tab.until(f"({{ n: {POSITION} }})")
    await tab.until(f"{POSITION} >= {had['n'] + more}", what=f"{more} more than {had['n']} events")


async def is_proven(scene: Scene, tab: Tab) -> str:
    """The proof line tells what is so: all that the server has stored has come, and nothing twice."""
    (scene.folder / "more").unlink(missing_ok=True)
    await tab.until("document.getElementById('run-state')?.dataset.state === 'succeeded'", what="it ends")
    rows = await proof.stored(f"{scene.server.url}/penstock", scene.run_id)
    fold = proof.fold_of(rows)
    line: str = await tab.until(f"{PROOF}.includes('all that is stored was received') && {PROOF}")
    count = f"{fold.seq:,}"
    assert line.startswith(f"received {count} of {count} stored events"), line
    assert line.endswith("duplicates dropped 0"), line
    await _shows(tab, fold)
    assert tab.bugs == []
    resumes = re.search(r"resumes (\d+)", line)
    assert resumes is not None
    return f"✓ {resumes[1]}"


async def _shows(tab: Tab, fold: Fold) -> None:
    last = fold.text_of(None).split()[-1]
    await tab.until(
        f"document.getElementById('zoom').textContent.includes({last!r})", what=f"{last} is shown"
    )


@by_hand("tabs switched while it streams")
async def switched(scene: Scene) -> None:
    tab = await opened(scene)
    for _ in range(3):
        await tab.hide()
        await gets(tab, 1)
        await tab.show()
        await gets(tab)


@by_hand("left in the background, and come back to after 8 s")
async def in_the_background(scene: Scene) -> None:
    tab = await opened(scene)
    await tab.hide()
    await asyncio.sleep(8)  # it reads once a second now
    await tab.show()
    await gets(tab, 1)


@by_hand("the network throttled to slow 3G")
async def throttled(scene: Scene) -> None:
    tab = await opened(scene)
    await tab.slow()
    scene.proxy.latency_s = SLOW_3G["latency"] / 2000
    scene.proxy.cut_all()
    await gets(tab, 30)


@by_hand("the network off and on again")
async def off_and_on(scene: Scene) -> None:
    tab = await opened(scene)
    for _ in range(2):
        await tab.offline(True)
        scene.proxy.offline()
        await tab.until("document.getElementById('connection').dataset.state === 'reconnecting'")
        scene.proxy.online()
        await tab.offline(False)
        await gets(tab)


@by_hand("behind nginx with buffering on")
async def behind_a_proxy(scene: Scene) -> None:
    async with nginx(scene.needs("nginx"), scene.folder, scene.server.port, PLAIN) as port:
        scene.proxy.target = ("127.0.0.1", port)
        await is_proven(scene, await opened(scene))


@by_hand("the window made smaller and larger; the reader scrolls up, and follows again")
async def resized(scene: Scene) -> None:
    tab = await opened(scene)
    for width in (390, 1280, 800):
        await tab.page.set_viewport_size({"width": width, "height": 600})
        await gets(tab, 40)
    follows = "document.querySelector('#zoom .scroller')"
    following = f"{follows}.scrollHeight - {follows}.scrollTop - {follows}.clientHeight < 60"
    await tab.until(following, DEADLINE_S, "the tail is followed")
    await tab.page.mouse.move(300, 400)

    async def scrolled_up() -> bool:
        # A page that is busy may not take the first turn; one that it takes late would undo the click below.
        await tab.page.mouse.wheel(0, -400)
        with suppress(PlaywrightTimeout):
            await tab.page.locator("button.new").wait_for(timeout=3_000)
            return True
        return False

    await until(scrolled_up, DEADLINE_S)
    await gets(tab, 40)
    assert not await tab.page.evaluate(following)
    await tab.page.locator("button.new").click()
    await tab.until(following, DEADLINE_S, "the tail is followed again")


@by_hand("on a phone, locked for a while")
async def on_a_phone(scene: Scene) -> None:
    tab = await opened(scene, before="delete globalThis.SharedWorker;")
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 3, "mobile": True}
    await tab.send("Emulation.setDeviceMetricsOverride", **phone)
    await tab.page.reload()
    await gets(tab)
    await tab.freeze()
    scene.proxy.cut_all()
    await asyncio.sleep(3)
    await tab.thaw()
    await gets(tab)
    width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await tab.page.evaluate(width) <= 0


@by_hand("reloaded again and again")
async def reloaded(scene: Scene) -> None:
    tab = await opened(scene)
    for _ in range(3):
        await tab.page.reload()
        await gets(tab)


@by_hand("left for the list of runs, and come back to by the back button")
async def back(scene: Scene) -> None:
    tab = await opened(scene)
    await tab.page.evaluate("location.hash = '#/runs'")
    await tab.until(f"document.querySelector('main').innerHTML.includes({scene.run_id!r})")
    await tab.page.evaluate("history.back()")
    await gets(tab)


@by_hand("open in three tabs, of which the first crashes")
async def crashed(scene: Scene) -> None:
    first = await opened(scene)
    for _ in range(2):
        scene.tabs.append(await scene.chromium.open(address(scene)))
        await gets(scene.tabs[-1])
    await first.crash()
    for tab in scene.tabs[1:]:
        await gets(tab)
    await is_proven(scene, scene.tabs[1])


@by_hand("the server killed and started again", own_server=True)
async def killed(scene: Scene) -> None:
    tab = await opened(scene, function="story-again")
    await asyncio.to_thread(scene.server.kill)
    await tab.until("document.getElementById('connection').dataset.state === 'reconnecting'")
    await asyncio.to_thread(scene.server.restart)
