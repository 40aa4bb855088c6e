"""A thousand live runs in the list: it scrolls and goes on while they come, run and end."""

import asyncio
from typing import Any

import httpx
import pytest
from playwright.async_api import CDPSession

from .page import Console

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUNS = 1000
FRAMES = 150
"""Watched in each part: two and a half seconds of them."""

WATCH = """([frames, step]) => new Promise(resolve => {
  const grid = document.querySelector('.grid');
  const times = [], long = [];
  new PerformanceObserver(list => long.push(...list.getEntries().map(one => one.duration)))
    .observe({ type: 'longtask' });
  let last = performance.now(), by = step;
  const next = now => {
    times.push(now - last);
    last = now;
    if (grid.scrollTop + grid.clientHeight >= grid.scrollHeight - 1) by = -step;
    if (grid.scrollTop === 0) by = step;
    grid.scrollTop += by;
    if (times.length < frames) requestAnimationFrame(next);
    else resolve({ times: times.slice(1), long });
  };
  requestAnimationFrame(next);
})"""


async def submit_all(console: Console, count: int) -> list[str]:
    """Runs that stay live."""
    limits = httpx.Limits(max_connections=20)
    async with httpx.AsyncClient(base_url=console.server.url, trust_env=False, limits=limits) as client:

        async def one(number: int) -> str:
            body = {"function": "wait", "input": {"seconds": 600}, "session": f"session {number}"}
            return str((await client.post("/api/runs", json=body, timeout=60)).json()["run_id"])

        return await asyncio.gather(*map(one, range(count)))


async def stir(console: Console, ids: list[str]) -> None:
    """Runs come and end, ten a second."""
    async with httpx.AsyncClient(base_url=console.server.url, trust_env=False) as client:
        for run_id in ids:
            await client.post(f"/api/runs/{run_id}/cancel", json={})
            await client.post("/api/runs", json={"function": "wait", "input": {"seconds": 600}})
            await asyncio.sleep(0.2)


async def watch(console: Console, part: str, step: int) -> None:
    """Print how long frames took while the list moved by `step` pixels each, and what they cost the processor."""
    session = await console.page.context.new_cdp_session(console.page)
    await session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = await busy_ms(session)
    found = await console.page.evaluate(WATCH, [FRAMES, step])
    cost_ms = (await busy_ms(session) - before) / FRAMES
    await session.detach()
    report(part, found, cost_ms)


async def busy_ms(session: CDPSession) -> float:
    """Processor time of the page's main thread, whatever else the machine does."""
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    return 1000 * float({one["name"]: one["value"] for one in metrics}["TaskDuration"])


def report(part: str, found: dict[str, Any], cost_ms: float) -> None:
    times = sorted(found["times"])
    p50, p95, p99 = (times[int(len(times) * share)] for share in (0.5, 0.95, 0.99))
    slow = sum(time > 33.4 for time in times)
    print(
        f"{part}: {cost_ms:.1f} ms of processor a frame; frames {len(times)}, median {p50:.1f} ms, "
        f"p95 {p95:.1f}, p99 {p99:.1f}, max {times[-1]:.1f}; over 33 ms: {slow}; "
        f"tasks over 50 ms: {len(found['long'])} {[round(ms) for ms in found['long']]}"
    )


async def test_a_thousand_live_runs_are_listed_followed_and_scrolled(console: Console) -> None:
    ids = await submit_all(console, RUNS)
    await console.open("#/runs?state=queued%2Crunning")
    await console.sees(".sheet .row[data-state=running]")
    stirring = asyncio.create_task(stir(console, ids))
    await watch(console, "still", 0)
    await watch(console, "scrolling", 90)
    await watch(console, "flying", 700)
    stirring.cancel()
    await asyncio.gather(stirring, return_exceptions=True)

    # However far it was scrolled, only what is in sight exists, and it says what the server has.
    assert await console.at(".sheet .row").count() < 80
    await console.page.keyboard.press("n")
    live = await console.page.request.get(f"{console.server.url}/api/runs?state=queued,running&limit=15")
    wanted = [run["run_id"] for run in (await live.json())["runs"]]
    await console.until(
        "[...document.querySelectorAll('.sheet .row:not([hidden])')]"
        ".sort((a, b) => a.ariaRowIndex - b.ariaRowIndex).slice(0, 15).map(row => row.id.slice(4)).join()"
        f" === '{','.join(wanted)}'",
        "the newest, in their order",
    )
