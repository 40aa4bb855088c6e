"""What the page of one run costs a browser: to open and scroll 100,000 events, and a text of 100 KB that grows.

Goal: 100,000 events are opened in under 1.5 s, to the full picture, and scroll at 60 frames a second; 200 updates
a second of a text of 100 KB leave the main thread under a fifth busy, and no task of it over 50 ms.

Busy is processor time of the main thread (`Performance.getMetrics` in thread ticks), so that what else the machine
does counts for nothing. Long tasks are what the page itself sees of them, and so may be others' doing.
"""

import asyncio
import json
import statistics
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, CDPSession, Page, async_playwright

from penstock.testing import ServerProcess

APP = Path(__file__).parent.parent / "tests" / "browser" / "console" / "run_app.py"
CHROMIUM = "/usr/bin/chromium"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")

REPEATS = 3
EVENTS = 100_000
SCROLL_S, PIXELS = 3, 60
"""How long, and how far in a frame: about as fast as a finger can."""

CHARACTERS, PER_S, LOOKED_S = 100_000, 200, 6

WATCH = """
window.longTasks = [];
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) window.longTasks.push(Math.round(duration));
}).observe({ type: 'longtask', buffered: true });
"""

OPEN = """run => {
  const begin = performance.now();
  const look = () => {
    const proof = document.querySelector('#proof')?.textContent ?? '';
    const drawn = document.querySelector('#messages .message');
    const ended = document.querySelector('#run-state[data-state=succeeded]');
    return drawn && ended && proof.includes('all that is stored');
  };
  location.hash = `#/runs/${run}`;
  return new Promise((done) => {
    const seen = () => requestAnimationFrame(() => setTimeout(() => done(performance.now() - begin)));
    const again = () => look() ? seen() : setTimeout(again, 5);
    again();
  });
}"""

SCROLL = """async ([selector, pixels, ms]) => {
  const list = document.querySelector(selector);
  list.scrollTop = 0;
  const frames = [];
  const end = performance.now() + ms;
  await new Promise((done) => {
    const frame = (now) => {
      frames.push(now);
      list.scrollTop += pixels;
      if (now < end) requestAnimationFrame(frame);
      else done();
    };
    requestAnimationFrame(frame);
  });
  return frames.slice(1).map((now, index) => now - frames[index]);
}"""

UNPACED = """async rate => {
  const { Client } = await import('/web/client/index.js');
  const { subscribe } = Client.prototype;
  Client.prototype.subscribe = function (run, options) { return subscribe.call(this, run, { ...options, rate }); };
}"""
"""The page reads 20 updates a second; here it gets every one."""


def submit(url: str, function: str, **given: Any) -> str:
    """Start a run; its id."""
    body = json.dumps({"function": function, "input": given}).encode()
    request = urllib.request.Request(f"{url}/api/runs", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["run_id"])


class Watched:
    """A page whose main thread is watched."""

    def __init__(self, page: Page, session: CDPSession) -> None:
        self.page, self.session = page, session

    @classmethod
    async def opened(cls, browser: Browser, url: str) -> "Watched":
        context = await browser.new_context(viewport={"width": 1280, "height": 800})
        page = await context.new_page()
        await page.add_init_script(WATCH)
        await page.goto(url)
        session = await context.new_cdp_session(page)
        await session.send("Performance.enable", {"timeDomain": "threadTicks"})
        return cls(page, session)

    async def busy_s(self) -> float:
        """Processor time of the main thread so far."""
        metrics = (await self.session.send("Performance.getMetrics"))["metrics"]
        return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")

    async def long_tasks(self) -> list[int]:
        """Those over 50 ms since it was last asked, in milliseconds."""
        found: list[int] = await self.page.evaluate("window.longTasks.splice(0)")
        return found


async def open_and_scroll(browser: Browser, url: str, run_id: str) -> None:
    watched = await Watched.opened(browser, url)
    page = watched.page
    before = await watched.busy_s()
    opened_ms = await page.evaluate(OPEN, run_id)
    busy = await watched.busy_s() - before
    print(
        f"  opened in {opened_ms:.0f} ms, main thread {1000 * busy:.0f} ms,"
        f" long tasks {await watched.long_tasks()}"
    )
    for key, selector in (("m", "#messages"), ("s", "#steps"), ("e", "#events")):
        await page.keyboard.press(key)
        await page.locator(f"{selector} > .canvas").wait_for(state="attached")
        await asyncio.sleep(0.5)
        await watched.long_tasks()
        before = await watched.busy_s()
        frames = await page.evaluate(SCROLL, [selector, PIXELS, 1000 * SCROLL_S])
        a_frame_ms = 1000 * (await watched.busy_s() - before) / len(frames)
        slowest = sorted(frames)[int(len(frames) * 0.99)]
        print(
            f"    {selector:10} {len(frames) / SCROLL_S:.0f} frames/s, median {statistics.median(frames):.1f} ms,"
            f" p99 {slowest:.1f} ms, main thread {a_frame_ms:.1f} ms a frame,"
            f" long tasks {await watched.long_tasks()}"
        )
    await page.context.close()


async def watch_growing(
    browser: Browser, url: str, title: str, function: str, how: Mapping[str, Any]
) -> None:
    watched = await Watched.opened(browser, url)
    page = watched.page
    if "rate" in how:
        await page.evaluate(UNPACED, how["rate"])
    run_id = submit(url, function, characters=CHARACTERS, per_s=PER_S, seconds=LOOKED_S + 6)
    await page.evaluate("run => { location.hash = `#/runs/${run}`; }", run_id)
    await page.locator("#answer, #latest").first.wait_for()
    if how.get("zoom") == "s":
        await page.keyboard.press("s")
        await page.locator("#steps .run-row").first.click()
    await asyncio.sleep(1)
    await watched.long_tasks()
    before = await watched.busy_s()
    await asyncio.sleep(LOOKED_S)
    share = (await watched.busy_s() - before) / LOOKED_S
    print(f"  {title:48} main thread {100 * share:.1f} % busy, long tasks {await watched.long_tasks()}")
    await page.context.close()


GROWING: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "a text, as the page reads it (20/s)": ("fast", {}),
    "a text, every update": ("fast", {"rate": 0}),
    "a value that is all of it, every update": ("growing", {"rate": 0}),
    "a text in the details of a step, every update": ("fast", {"rate": 0, "zoom": "s"}),
}


async def main() -> None:
    """Print what was seen, `REPEATS` times: pages are new each time, the browser is not."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(str(APP), "--store", "sqlite:///runs.db", cwd=Path(folder)) as server,
    ):
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            run_id = submit(server.url, "many", events=EVENTS)
            await asyncio.sleep(5)
            print(f"\nA run of {EVENTS:,} events")
            for _ in range(REPEATS):
                await open_and_scroll(browser, server.url, run_id)
            print(f"\n{PER_S} updates a second of a text of {CHARACTERS // 1000} KB")
            for title, (function, how) in GROWING.items():
                await watch_growing(browser, server.url, title, function, how)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
