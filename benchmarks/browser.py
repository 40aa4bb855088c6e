"""What a page costs its browser: a text of 100 KB that changes 200 times a second, on Penstock's console, in
`<penstock-run>` with every update (`rate=0`), and on Gradio's page; and a run of 100,000 events, opened and
scrolled. Goals: the main thread under 20 % busy and no task over 50 ms at 200 updates a second; 100,000 events
open in under 1.5 s and scroll at 60 frames a second.

One Chromium, a fresh page for each, in turns. Busy is the main thread's share of the time (`TaskDuration` of
the DevTools protocol), a long task one of over 50 ms (`PerformanceObserver`), a frame what
`requestAnimationFrame` sees. What is on the page at the end is compared with the text.
"""

import argparse
import importlib.util
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

from playwright.sync_api import BrowserContext, CDPSession, Page, sync_playwright

from penstock import Client

from .apps import TOKEN
from .browser_apps import BEFORE_CHARACTERS, CHANGES, MANY, PER_S
from .compare import interleave, percentile, report
from .servers import Server, gradio_server, penstock_server

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

REPEATS = 3

STUCK_MS = 120_000
"""A round that takes so long is given up."""

TEXT = TOKEN * (BEFORE_CHARACTERS // len(TOKEN)) + TOKEN * CHANGES

WATCH = """() => {
  const seen = (window.seen = { frames: [], tasks: [] });
  new PerformanceObserver((list) => seen.tasks.push(...list.getEntries().map((task) => task.duration)))
    .observe({ entryTypes: ['longtask'] });
  const frame = (ms) => { seen.frames.push(ms); requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
}"""

SCROLL = """async (selector) => {
  const box = document.querySelector(selector) ?? document.scrollingElement;
  const frames = [];
  const startMs = performance.now();
  const depth = box.scrollHeight - box.clientHeight;
  await new Promise((resolve) => {
    const step = (ms) => {
      frames.push(ms);
      box.scrollTop = depth * Math.min(1, (performance.now() - startMs) / 4000);
      performance.now() - startMs < 4000 ? requestAnimationFrame(step) : resolve();
    };
    requestAnimationFrame(step);
  });
  return frames;
}"""


class Round(NamedTuple):
    """What one page cost while it was watched."""

    busy_share: float
    longest_task_ms: float
    long_tasks: int
    frames_per_s: float
    frame_p99_ms: float


class Watched:
    """A page that is watched from now on."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._devtools: CDPSession = page.context.new_cdp_session(page)
        self._devtools.send("Performance.enable")
        page.evaluate(WATCH)
        self._began_s, self._busy_s = time.perf_counter(), self._task_s()

    def _task_s(self) -> float:
        metrics = self._devtools.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

    def stop(self) -> Round:
        """What it cost."""
        took_s = time.perf_counter() - self._began_s
        busy_s = self._task_s() - self._busy_s
        seen: dict[str, list[float]] = self.page.evaluate("window.seen")
        gaps = _gaps(seen["frames"])
        tasks = seen["tasks"]
        return Round(
            busy_s / took_s, max(tasks, default=0), len(tasks), len(gaps) / took_s, percentile(gaps, 0.99)
        )


def _gaps(frames: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(frames)] or [0.0]


@contextmanager
def _page(context: BrowserContext, address: str) -> Iterator[Page]:
    page = context.new_page()
    page.set_default_timeout(STUCK_MS)
    try:
        page.goto(address)
        yield page
    finally:
        page.close()


def _submit(server: Server, function: str, **given: Any) -> str:
    with Client(server.url) as client:
        return client.submit(function, given).id


def _ends_with(page: Page, read: str) -> None:
    """The whole text is there. Asked for seldom: the question costs the page something too."""
    page.wait_for_function(f"() => ({read} ?? '').trim().length >= {len(TEXT.strip())}", polling=500)
    assert page.evaluate(read).split() == TEXT.split()


def console(server: Server, context: BrowserContext, function: str) -> Round:
    """The run on Penstock's own page, at the page's own pace."""
    with _page(context, server.url) as page:
        page.wait_for_selector("#run-button")
        run = _submit(server, function)
        watched = Watched(page)
        page.evaluate("(id) => { location.hash = `#/runs/${id}`; }", run)
        page.wait_for_selector('#run-state[data-state="succeeded"]')
        return watched.stop()


def element(server: Server, context: BrowserContext, function: str) -> Round:
    """The run in a `<penstock-run rate="0">`: every update reaches the page."""
    with _page(context, f"{server.url}/readyz") as page:
        page.evaluate("() => import('/web/client/element.js').then(() => {})")
        run = _submit(server, function)
        watched = Watched(page)
        page.evaluate(
            """(run) => {
          const shown = Object.assign(document.createElement('penstock-run'), { id: 'shown' });
          shown.addEventListener('penstock-end', () => { window.ended = true; });
          shown.setAttribute('rate', '0');
          shown.setAttribute('run', run);
          document.body.replaceChildren(shown);
        }""",
            run,
        )
        page.wait_for_function("() => window.ended", polling=500)
        return watched.stop()


def gradio(server: Server, context: BrowserContext, button: str, read: str) -> Round:
    """The same text on Gradio's page."""
    with _page(context, server.url) as page:
        page.get_by_role("button", name=button).wait_for()
        watched = Watched(page)
        page.get_by_role("button", name=button).click()
        _ends_with(page, read)
        return watched.stop()


class Opened(NamedTuple):
    """A long run, opened."""

    open_s: float
    busy_s: float
    longest_task_ms: float
    frames_per_s: float
    frame_p99_ms: float


def opened(server: Server, context: BrowserContext, run: str, zoom: str) -> Opened:
    """From the address to the first whole picture, and then from the first row to the last."""
    with _page(context, f"{server.url}/readyz") as page:
        page.evaluate("localStorage.clear()")
        started = time.perf_counter()
        page.goto(f"{server.url}/#/runs/{run}")
        page.wait_for_selector('#run-state[data-state="succeeded"]')
        open_s = time.perf_counter() - started
        watched = Watched(page)
        page.keyboard.press(zoom)
        page.wait_for_timeout(300)
        gaps = _gaps(page.evaluate(SCROLL, "[data-scroller]"))
        cost = watched.stop()
        return Opened(
            open_s,
            cost.busy_share,
            cost.longest_task_ms,
            1000 * len(gaps) / sum(gaps),
            percentile(gaps, 0.99),
        )


def _print(title: str, rounds: dict[str, list[Any]], rows: tuple[tuple[str, str, str, str], ...]) -> None:
    for field, words, unit, goal in rows:
        found = {who: [getattr(one, field) for one in many] for who, many in rounds.items()}
        report(f"{title}: {words}", found, unit, goal=goal)


COSTS = (
    ("busy_share", "main thread busy", "of the time", "< 0.2"),
    ("longest_task_ms", "longest task over 50 ms (0: none)", "ms", "none"),
    ("long_tasks", "tasks over 50 ms", "", "none"),
    ("frames_per_s", "frames", "/s", ""),
    ("frame_p99_ms", "time between frames, p99", "ms", ""),
)

OPENINGS = (
    ("open_s", "from the address to the picture", "s", "< 1.5"),
    ("frames_per_s", "frames while scrolling from first to last", "/s", "60"),
    ("frame_p99_ms", "time between those, p99", "ms", ""),
    ("longest_task_ms", "longest task while scrolling (0: none over 50 ms)", "ms", ""),
)


def _updates(ours: Server, theirs: Server | None, context: BrowserContext, repeats: int) -> None:
    measures: dict[str, Callable[[], Round]] = {
        "penstock console, text so far": partial(console, ours, context, "grow"),
        "penstock console, tokens": partial(console, ours, context, "tokens"),
        "penstock-run rate=0, text so far": partial(element, ours, context, "grow_each"),
        "penstock-run rate=0, tokens": partial(element, ours, context, "tokens_each"),
    }
    if theirs is not None:
        box = "document.querySelector('textarea')?.value"
        marked = "document.querySelector('.prose')?.textContent"
        measures["Gradio, markdown"] = partial(gradio, theirs, context, "as markdown", marked)
        measures["Gradio, textbox"] = partial(gradio, theirs, context, "as a textbox", box)
    _print(f"{PER_S} updates/s of 100 KB", interleave(measures, repeats), COSTS)


def _many(ours: Server, context: BrowserContext, repeats: int) -> None:
    run = _submit(ours, "steps", count=MANY)
    with Client(ours.url) as client:
        for _ in client.run(run).events():
            pass
    zooms = {"messages": "m", "steps": "s", "events": "e"}
    rounds = interleave(
        {zoom: partial(opened, ours, context, run, key) for zoom, key in zooms.items()}, repeats
    )
    _print(f"{MANY:,} events", rounds, OPENINGS)


def main() -> int:
    """Print the medians; 1 if Gradio could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    given = parser.parse_args()
    measured = importlib.util.find_spec("gradio") is not None
    with ExitStack() as stack:
        ours = stack.enter_context(penstock_server("benchmarks.browser_apps:app"))
        theirs = stack.enter_context(gradio_server("benchmarks.browser_apps:peer")) if measured else None
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        playwright = stack.enter_context(sync_playwright())
        context = playwright.chromium.launch_persistent_context(
            folder, executable_path=_chromium(), headless=True, args=FLAGS
        )
        _updates(ours, theirs, context, given.repeats)
        _many(ours, context, given.repeats)
        context.close()
    if not measured:
        print("Not measured: Gradio: pip install -e '.[bench]'", file=sys.stderr)
    return int(not measured)


def _chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (path := shutil.which(name)) is not None:
            return path
    raise SystemExit("Chromium is not installed: run tests/install-parts.")


if __name__ == "__main__":
    sys.exit(main())
