"""The list of runs: live, filtered, and where it was while somebody reads."""

import asyncio

import pytest
from playwright.async_api import Browser

from penstock.testing import ServerProcess, until

from .page import WAIT_S, Console

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST = "document.querySelector('.grid').getBoundingClientRect().top"


async def test_a_run_is_seen_as_it_comes_and_changes(console: Console) -> None:
    await console.open("#/runs")
    await console.sees(".end")
    run_id = await console.submit("wait", session="ada")
    row = console.at(f"#row-{run_id}")
    await row.wait_for()
    assert await row.get_attribute("data-state") in ("queued", "running")
    await console.sees(f"#row-{run_id}[data-state=running]", has_text="ada")
    await row.hover()
    await row.get_by_role("button", name="Stop").click()
    await console.sees(f"#row-{run_id}[data-state=cancelled]")
    said = await console.at(".said").text_content() or ""
    assert said.endswith(run_id)
    assert said.startswith("Stop")


async def test_a_failure_tells_its_first_words(console: Console) -> None:
    run_id = await console.submit("fail", words="The river is dry.\nAll of it.")
    await console.open("#/runs")
    detail = await console.sees(f"#row-{run_id} .detail")
    assert await detail.text_content() == "RuntimeError: The river is dry."


async def test_a_run_is_submitted_again_with_the_same_input(console: Console) -> None:
    run_id = await console.submit("count", session="ada", to=17)
    await console.open("#/runs?function=count")
    await console.sees(f"#row-{run_id}[data-state=succeeded]")
    await console.page.keyboard.press("j")
    await console.page.keyboard.press("r")
    link = await console.sees(".said a")
    again = await link.text_content() or ""
    assert again != run_id
    await console.sees(f"#row-{again}[data-state=succeeded]")
    run = await console.run(again)
    assert (run["function"], run["input"], run["session"]) == ("count", {"to": 17}, "ada")


async def test_filters_and_a_search_are_in_the_address(console: Console) -> None:
    failed = await console.submit("fail", words="An otter in the wheel")
    other = await console.submit("fail", words="Nothing to grind")
    await console.open("#/runs")
    await console.sees(f"#row-{other}")
    await console.at(".segments label", has_text="Failed").click()
    await console.at(".filters select").select_option("fail")
    await console.page.keyboard.press("Escape")
    await console.at("input[type=search]").fill("otter")
    await console.until(f"!document.querySelector('#row-{other}:not([hidden])')", "the other has gone")
    await console.sees(f"#row-{failed}")
    await console.until("location.hash === '#/runs?function=fail&state=failed%2Cinterrupted&q=otter'")
    await console.page.reload()
    await console.sees(f"#row-{failed}")
    assert await console.at("input[type=search]").input_value() == "otter"
    assert await console.at(".filters select").input_value() == "fail"
    await console.at("input[type=search]").fill("no such words")
    await console.sees(".end", has_text="No run is like this.")


async def test_a_run_leaves_a_list_that_it_no_longer_belongs_to(console: Console) -> None:
    run_id = await console.submit("wait", seconds=600)
    await console.open("#/runs?state=running")
    await console.sees(f"#row-{run_id}")
    await console.page.request.post(f"{console.server.url}/api/runs/{run_id}/cancel")
    await console.until(f"!document.querySelector('#row-{run_id}:not([hidden])')")


async def test_two_runs_are_chosen_and_compared(console: Console) -> None:
    first, second = [await console.submit("count", to=number) for number in (1, 2)]
    await console.open("#/runs")
    await console.sees(f"#row-{second}")
    await console.page.keyboard.press("j")
    await console.page.keyboard.press("x")
    await console.page.keyboard.press("j")
    await console.page.keyboard.press("x")
    await console.sees(f"#row-{first}[aria-selected=true]")
    await console.at("button", has_text="Compare the two").click()
    await console.until(f"location.hash === '#/compare/{second}/{first}'")


async def test_a_key_stops_a_run_when_it_is_pressed_twice(console: Console) -> None:
    run_id = await console.submit("wait")
    await console.open("#/runs")
    await console.sees(f"#row-{run_id}[data-state=running]")
    await console.page.keyboard.press("j")
    await console.page.keyboard.press("c")
    await console.sees(".said", has_text="Press c once more")
    assert (await console.run(run_id))["cancel"] is None
    await console.page.keyboard.press("c")
    await console.sees(f"#row-{run_id}[data-state=cancelled]")


async def test_what_is_read_stays_where_it_is_when_runs_come(console: Console) -> None:
    await asyncio.gather(*[console.submit("count", to=number) for number in range(60)])
    await console.open("#/runs")
    await console.until("document.querySelectorAll('.sheet .row:not([hidden])').length > 20")
    await console.at(".grid").evaluate("grid => { grid.scrollTop = 700; }")
    place = """() => { const row = document.elementFromPoint(400, 400).closest('.row');
                return [row.id, row.getBoundingClientRect().top]; }"""
    await console.until("document.elementFromPoint(400, 400)?.closest('.sheet .row')")
    before = await console.page.evaluate(place)
    for number in range(3):
        await console.submit("count", to=number)
    await console.sees(".fresh", has_text="3 new")
    assert await console.page.evaluate(place) == before
    await console.page.keyboard.press("n")
    await console.until("document.querySelector('.grid').scrollTop === 0")
    await console.at(".fresh").wait_for(state="hidden")


async def test_who_comes_back_from_a_run_is_where_they_were(console: Console) -> None:
    await asyncio.gather(*[console.submit("count", to=number) for number in range(60)])
    await console.open("#/runs?function=count")
    await console.until("document.querySelectorAll('.sheet .row:not([hidden])').length > 20")
    await console.at(".grid").evaluate("grid => { grid.scrollTop = 700; }")
    await console.until("document.elementFromPoint(400, 400)?.closest('.sheet .row')")
    read = await console.page.evaluate("document.elementFromPoint(400, 400).closest('.row').id")
    await console.at(f"#{read} a:visible").click()  # it has no session, which would be another
    await console.until(f"location.hash === '#/runs/{read.removeprefix('row-')}'")
    await console.page.go_back()
    await console.until(f"document.elementFromPoint(400, 400)?.closest('.row')?.id === '{read}'")


async def test_older_runs_come_as_one_scrolls_or_presses_end(console: Console) -> None:
    oldest = await console.submit("draw", what="the oldest of them")
    for _ in range(3):
        await asyncio.gather(*[console.submit("count", to=number) for number in range(50)])
    await console.open("#/runs")
    await console.sees(".sheet .row")
    await console.at(".grid").focus()

    async def at_the_end() -> bool:
        await console.page.keyboard.press("End")
        return await console.at(".end").inner_text() == ""

    await until(at_the_end, WAIT_S)
    await console.page.keyboard.press("Home")
    await console.until("document.querySelector('.grid').scrollTop < 5")
    rows = await console.at(".sheet .row").count()
    assert rows < 80, "only those in sight exist"
    assert await console.page.evaluate("document.querySelector('.grid').ariaRowCount") != "-1"
    await console.page.request.post(f"{console.server.url}/api/runs/{oldest}/cancel")


async def test_a_page_that_nobody_sees_asks_nothing_and_at_once_when_it_is_shown(console: Console) -> None:
    await console.open("#/runs")
    await console.sees(".sheet .row")
    await console.hide(True)
    await until(lambda: _is_quiet(console), WAIT_S, "nothing is asked")
    run_id = await console.submit("count", to=4)
    await console.hide(False)
    await console.sees(f"#row-{run_id}")


async def _is_quiet(console: Console) -> bool:
    before = len(console.asked)
    await console.page.wait_for_timeout(1500)  # longer than the list's pace
    return len(console.asked) == before


async def test_a_server_that_is_away_is_said_to_be_and_found_again(
    browser: Browser, server: ServerProcess
) -> None:
    context = await browser.new_context()
    console = Console(await context.new_page(), server)
    run_id = await console.submit("count", to=1)
    await console.open("#/runs")
    await console.sees(f"#row-{run_id}")
    await console.sees("#connection[data-state=live]")
    await asyncio.to_thread(server.kill)
    await console.sees("#connection[data-state=reconnecting]")
    assert await console.at(f"#row-{run_id}").is_visible()
    await asyncio.to_thread(server.restart)
    await console.sees("#connection[data-state=live]")
    new = await console.submit("count", to=2)
    await console.sees(f"#row-{new}")
    await context.close()
    assert console.bugs == []
