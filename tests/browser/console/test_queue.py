"""Queue and Health: what runs, who waits for what, and in words what is wrong."""

import asyncio
import re

import pytest
from playwright.async_api import Browser

from penstock.testing import ServerProcess

from .page import Console

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLACES = """[...document.querySelectorAll('.line li[data-state=queued]')]
  .map(row => row.querySelector('a').title)"""


async def test_a_group_tells_who_runs_and_who_waits_in_which_order(console: Console) -> None:
    running = await console.submit("draw", what="the first")
    last = await console.submit("draw", session="ada")
    first = await console.submit("draw", urgent=60)
    await console.open("#/queue")
    group = await console.sees("#queue tbody", has_text="gpu")
    await console.sees("td.running", has_text="1 of 1")
    assert await group.locator("td.waiting").inner_text() == "2"
    await group.get_by_role("button", name="gpu").click()
    await console.until(f"({PLACES}).join() === '{first},{last}'", "the order of starts")
    rows = group.locator(".line li")
    assert await rows.nth(0).locator("a").get_attribute("title") == running
    assert "priority 60" in await rows.nth(1).inner_text()
    assert "upscale, at most 30/min" in await group.locator(".members").inner_text()

    # A head start of ten minutes, again and again, brings a run to the front.
    for _ in range(7):
        row = group.locator(".line li", has=console.at(f'a[title="{last}"]'))
        before = await row.locator(".detail").inner_text()
        await row.get_by_role("button", name="Sooner").click()
        await row.locator(".detail", has_not_text=re.compile(f"^{before}$")).wait_for()
    await console.until(f"({PLACES}).join() === '{last},{first}'", "the new order")
    assert (await console.run(last))["priority"] == 70
    await console.page.request.post(f"{console.server.url}/api/runs/{last}/priority", data={"priority": 0})
    await console.until(f"({PLACES}).join() === '{first},{last}'", "the order of before")

    # Who runs is stopped, and the next one starts.
    await rows.nth(0).get_by_role("button", name="Stop").click()
    await console.sees(".said a", has_text=running)
    await console.until(f"({PLACES}).join() === '{last}'")
    assert (await console.run(running))["state"] == "cancelled"
    for run_id in (first, last):
        await console.page.request.post(f"{console.server.url}/api/runs/{run_id}/cancel")


async def test_what_has_failed_is_run_again(console: Console) -> None:
    failed = await console.submit("fail", words="No grain")
    await console.open("#/queue")
    await console.at("#queue button", has_text="fail").click()
    row = await console.sees(".line li[data-state=failed]", has_text="No grain")
    await row.get_by_role("button", name="Run again").click()
    again = await (await console.sees(".said a")).text_content() or ""
    assert again != failed
    assert (await console.run(again))["input"] == {"words": "No grain"}


async def test_an_open_group_stays_open_and_keeps_the_focus(console: Console) -> None:
    run_id = await console.submit("draw")
    await console.open("#/queue")
    toggle = console.at("#queue button", has_text="gpu")
    await toggle.click()
    stop = console.page.locator(".line li").get_by_role("button", name="Stop").first
    await stop.focus()
    await asyncio.gather(*[console.submit("draw") for _ in range(2)])
    await console.until("document.querySelectorAll('.line li[data-state=queued]').length === 2")
    assert await console.focused() == "Stop"
    assert await toggle.get_attribute("aria-expanded") == "true"
    assert run_id in (await console.page.evaluate("document.activeElement.dataset.deed"))
    for link in await console.at(".line li a").all():
        await console.page.request.post(
            f"{console.server.url}/api/runs/{await link.get_attribute('title')}/cancel"
        )


async def test_health_draws_what_the_server_counts(console: Console) -> None:
    await console.open("#/health")
    await console.sees(".troubles", has_text="Nothing is wrong.")
    running = await console.submit("wait")
    chart = console.at(".chart", has=console.at("h2", has_text=re.compile("^Running$")))
    await console.until(
        "[...document.querySelectorAll('.chart')].find(one => one.querySelector('h2').textContent === 'Running')"
        ".querySelector('.value').textContent === '1'"
    )
    label = await chart.locator("svg").get_attribute("aria-label") or ""
    assert re.fullmatch(r"Running: 1, at most \d+ in the last two minutes", label)
    assert await chart.locator(".line").get_attribute("d")
    memory = console.at(".chart", has=console.at("h2", has_text="Memory"))
    assert re.fullmatch(r"[\d.]+ [MG]iB", await memory.locator(".value").inner_text())
    await console.sees(".whose", has_text="1 process executes runs of this store.")
    await console.page.request.post(f"{console.server.url}/api/runs/{running}/cancel")


async def test_health_says_that_the_server_is_away(browser: Browser, server: ServerProcess) -> None:
    context = await browser.new_context()
    console = Console(await context.new_page(), server)
    await console.open("#/health")
    await console.sees(".troubles", has_text="Nothing is wrong.")
    await asyncio.to_thread(server.kill)
    await console.sees(".troubles.bad", has_text="The server does not answer.")
    await asyncio.to_thread(server.restart)
    await console.sees(".troubles:not(.bad)", has_text="Nothing is wrong.")
    await context.close()
    assert console.bugs == []
