"""The page of one run: three zooms, details, errors, search, places that can be linked to."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from penstock.testing import ServerProcess

from . import run_app
from .page import Console

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = run_app.FILE

ROUNDS = 6


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(browser: Browser, server: ServerProcess) -> AsyncIterator[str]:
    """A run that has ended, with two errors; the tests only look at it."""
    page = await browser.new_page()
    console = Console(page, server)
    run_id = await console.submit("agent", rounds=ROUNDS, pause_ms=1)
    await console.open(f"#/runs/{run_id}")
    await console.sees("#run-state[data-state=succeeded]")
    yield run_id
    await page.close()


async def texts(console: Console, selector: str) -> list[str]:
    return [text.strip() for text in await console.at(selector).all_text_contents()]


async def row(console: Console, name: str) -> str:
    """The selector of a step's row."""
    found = await console.sees("#steps .run-row", has=console.page.get_by_text(name, exact=True))
    return f'#steps .run-row[data-index="{await found.get_attribute("data-index")}"]'


async def is_open(page: Page, title: str) -> None:
    await page.locator(".panel h3", has_text=title).wait_for()


async def test_a_run_is_read_as_messages(console: Console, agent: str) -> None:
    await console.open(f"#/runs/{agent}")
    await console.sees(".message .told", has_text="In round 0 the water runs")
    call = await console.sees(".call-line", has_text='measure{"gauge": 1, "unit": "l/s"}→')
    assert "gauge 1 is stuck" in (await call.text_content() or "")
    assert await call.get_attribute("data-state") == "failed"
    await console.sees(".log-line", has_text="gauge 1 was skipped")
    assert await console.at(".log-line", has_text="round 0 begins").count() == 0
    await console.at("#messages").evaluate("list => { list.scrollTop = list.scrollHeight; }")
    assert await (await console.sees("#answer")).text_content() == "The mill is mended. "
    await console.sees(".message .inline-value", has_text='{"rounds": 6}')
    proof = await console.at("#proof").text_content() or ""
    stored = f"{(await console.run(agent))['stored']:,}"
    assert proof.startswith(
        f"received {stored} of {stored} stored events · all that is stored was received · over "
    )
    assert proof.endswith(" · resumes 0 · duplicates dropped 0")


async def test_steps_are_a_tree_with_times_and_sums(console: Console, agent: str) -> None:
    await console.open(f"#/runs/{agent}")
    await console.page.keyboard.press("s")
    whole = await console.sees(await row(console, "round 0"))
    assert await whole.get_attribute("aria-level") == "3"
    think = console.at("#steps .run-row[data-index='3']")
    assert await think.locator(".tokens").text_content() == "100 → 20"
    root = console.at("#steps .run-row[data-index='0']")
    tokens = sum(100 + number for number in range(ROUNDS))
    assert await root.locator(".tokens").text_content() == f"{tokens} → {20 * ROUNDS}"
    assert await root.locator(".cost").text_content() == "$0.0120"
    measure = console.at("#steps .run-row[data-index='4']")
    assert await measure.locator(".tokens").text_content() == ""
    bars = [await each.locator(".span-bar").bounding_box() for each in (whole, think)]
    assert bars[0] is not None
    assert bars[1] is not None
    assert bars[0]["x"] <= bars[1]["x"]
    assert bars[1]["x"] + bars[1]["width"] <= bars[0]["x"] + bars[0]["width"] + 2


async def test_the_tree_is_walked_with_the_keys_of_a_tree(console: Console, agent: str) -> None:
    await console.open(f"#/runs/{agent}")
    await console.page.keyboard.press("s")
    await (await console.sees("#steps .run-row[data-index='2']")).click()
    press = console.page.keyboard.press
    focused = "document.activeElement.dataset.index + ' ' + document.activeElement.ariaExpanded"
    await press("ArrowLeft")
    assert await console.page.evaluate(focused) == "2 false"
    await press("ArrowDown")
    await is_open(console.page, "round 1")
    await press("ArrowUp")
    await press("ArrowRight")
    assert await console.page.evaluate(focused) == "2 true"
    await press("ArrowRight")
    await press("ArrowRight")
    assert await console.page.evaluate(focused) == "3 null"
    await press("ArrowLeft")
    assert (await console.page.evaluate(focused)).startswith("2 ")
    await press("End")
    assert await console.page.evaluate(focused) == f"{1 + 3 * ROUNDS} null"
    await press("Home")
    assert await console.page.evaluate(focused) == "0 true"
    assert await console.at("#steps .run-row[tabindex='0']").count() == 1
    await press("[")
    await console.until("document.querySelector('#steps').getAttribute('aria-rowcount') === '2'")
    await press("]")
    await console.until(
        f"document.querySelector('#steps').getAttribute('aria-rowcount') === '{2 + 3 * ROUNDS}'"
    )


async def test_only_steps_of_a_kind_are_shown(console: Console, agent: str) -> None:
    await console.open(f"#/runs/{agent}")
    await console.page.keyboard.press("s")
    await (await console.sees(".menu summary")).click()
    await console.at(".kinds label", has_text="tool").click()
    await console.until(
        f"document.querySelector('#steps').getAttribute('aria-rowcount') === '{2 + 2 * ROUNDS}'"
    )
    assert await console.at("#steps .words", has_text="think").count() == 0


async def test_events_are_shown_as_they_are_stored(console: Console, agent: str) -> None:
    await console.open(f"#/runs/{agent}")
    await console.page.keyboard.press("e")
    await console.sees("#events .run-row[data-type=span-start]", has_text="round 0")
    await (await console.sees("#events .run-row[data-type=span-end]")).click()
    event = json.loads(await (await console.sees(".panel pre")).text_content() or "")
    assert event["type"] == "span-end"
    assert console.page.url.endswith(f"#/runs/{agent}/event/{event['seq']}")
    await console.page.keyboard.press("End")
    await console.sees("#events .run-row[data-type=end]")
    await console.page.get_by_role("button", name="Close the details").click()
    assert console.page.url.endswith(f"#/runs/{agent}")


async def test_a_link_leads_to_its_step_and_to_its_event(console: Console, agent: str) -> None:
    await console.open(f"#/runs/{agent}")
    await console.page.keyboard.press("s")
    await (await console.sees(await row(console, "round 3"))).click()
    link = console.page.url
    assert "/step/" in link
    await console.page.goto("about:blank")
    await console.page.goto(link)
    await is_open(console.page, "round 3")
    assert await console.at("#steps [aria-selected=true] .words").text_content() == "round 3"
    await console.page.get_by_role("button", name="Its events").click()
    await is_open(console.page, "Event ")
    link = console.page.url
    await console.page.goto("about:blank")
    await console.page.goto(link)
    await console.sees("#events [aria-selected=true]", has_text="round 3")


async def test_errors_are_gone_through_and_what_hides_them_opens(console: Console, agent: str) -> None:
    await console.open(f"#/runs/{agent}")
    await console.page.keyboard.press("s")
    await console.sees(".errors", has_text="2 errors")
    await console.page.keyboard.press("[")
    await console.until("document.querySelector('#steps').getAttribute('aria-rowcount') === '2'")
    await console.page.keyboard.press("n")
    await console.sees(".errors", has_text="error 1 of 2")
    await console.sees(".panel .problem", has_text="gauge 1 is stuck")
    await console.sees("#steps [aria-selected=true] .preview", has_text="gauge 1 is stuck")
    await console.page.keyboard.press("n")
    await console.sees(".panel .problem", has_text="gauge 4 is stuck")
    await console.page.keyboard.press("p")
    await console.sees(".errors", has_text="error 1 of 2")
    await console.page.keyboard.press("m")
    await console.sees(".message[data-marked]", has_text="gauge 1 is stuck")
    await console.page.keyboard.press("Escape")
    assert await console.at(".panel").is_hidden()


async def test_words_are_found_in_all_of_a_run_and_marked(console: Console, agent: str) -> None:
    await console.open(f"#/runs/{agent}")
    await console.sees(".message")
    await console.page.keyboard.press("/")
    await console.page.keyboard.type("gauge 4")
    await console.sees(".search [role=status]", has_text="2 found")
    await console.page.keyboard.press("Enter")
    await console.sees(".search [role=status]", has_text="1 of 2")
    await console.sees(".message[data-marked]", has_text="gauge 4 is stuck")
    assert await console.page.evaluate("CSS.highlights.get('found').size") > 0
    await console.page.keyboard.press("Enter")
    await console.sees(".message[data-marked]", has_text="gauge 4 was skipped")
    await console.page.keyboard.press("Escape")
    await console.until("!CSS.highlights.get('found')")
    await console.page.keyboard.type("nowhere at all")
    await console.sees(".search [role=status]", has_text="no match")


async def test_nothing_of_a_run_is_wider_than_a_small_telephone(console: Console, agent: str) -> None:
    await console.page.set_viewport_size({"width": 360, "height": 740})
    await console.open(f"#/runs/{agent}")
    for key, seen in (("m", ".message"), ("s", "#steps .run-row"), ("e", "#events .run-row[data-type=text]")):
        await console.page.keyboard.press(key)
        await console.sees(seen)
        assert await console.overflow() == 0
        await console.at(".call-line, #steps .run-row, #events .run-row").first.click()
        assert await console.at(".panel").is_visible()
        assert await console.overflow() == 0
    names = await console.page.evaluate(
        "[...document.querySelectorAll('button, input, a')].filter(e => e.checkVisibility()"
        " && !(e.ariaLabel || e.textContent.trim())).map(e => e.outerHTML)"
    )
    assert names == []


async def test_a_failure_says_where_it_began(console: Console) -> None:
    run_id = await console.submit("failing")
    await console.open(f"#/runs/{run_id}")
    await console.sees("#run-state[data-state=failed]")
    await console.sees("#outcome .problem", has_text="the lever broke")
    await console.sees(
        ".errors", has_text="2 errors"
    )  # the log's, and that of the inner step: it went through two
    await console.page.keyboard.press("n")
    await console.page.keyboard.press("n")
    await is_open(console.page, "inner")


async def test_an_attempt_that_was_withdrawn_is_shown_as_such(console: Console) -> None:
    run_id = await console.submit("again")
    await console.open(f"#/runs/{run_id}")
    await console.sees("#run-state[data-state=succeeded]")
    await console.sees("#notices li", has_text="attempt 2")
    await console.sees(".reset-line", has_text="was withdrawn: ")
    assert "attempt 2" in (await console.at("#run-facts").text_content() or "")
    assert await texts(console, ".message .text") == ["This is kept.", "This is said once more."]
    await console.page.keyboard.press("e")
    await console.sees("#events .run-row[data-type=reset]")
    await console.page.reload()  # who comes late gets the state, in which nothing of it is left
    await console.sees(".reset-line", has_text="was withdrawn: ")


async def test_large_values_are_loaded_when_somebody_asks(console: Console) -> None:
    run_id = await console.submit("large")
    await console.open(f"#/runs/{run_id}")
    block = await console.sees(".message .block", has_text="row 0 of the large value")
    assert "row 5000" not in (await block.text_content() or "")
    await block.get_by_role("button", name="Load Value").click()
    await block.get_by_role("button", name="characters more").click()
    await console.sees(".message pre", has_text="row 5000 of the large value")
    await console.page.keyboard.press("s")
    await (await console.sees("#steps .run-row[data-index='1']")).click()
    for label, words in (("Input", "inininin"), ("Output", "outout")):
        await console.page.get_by_role("button", name=f"Load {label}").click()
        await console.page.get_by_role("button", name=f"Copy {label}").wait_for()
        assert words in (await console.at(f'.panel pre[aria-label="{label}"]').text_content() or "")
