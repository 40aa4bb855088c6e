"""The shell around all views: addresses, keys, focus, and a telephone."""

import pytest
from playwright.async_api import Browser

from penstock.testing import ServerProcess

from .page import Console

pytestmark = pytest.mark.asyncio(loop_scope="module")

VIEWS = {"s": "Start", "r": "Runs", "q": "Queue", "h": "Health"}


async def test_each_view_has_a_key_a_place_a_title_and_gets_the_focus(console: Console) -> None:
    await console.open()
    await console.sees("#functions input")
    for key, name in reversed(VIEWS.items()):
        await console.page.keyboard.press("g")
        await console.page.keyboard.press(key)
        place = await console.sees('#places [aria-current="page"]', has_text=name)
        assert await place.get_attribute("href") == f"#/{name.lower()}"
        assert await console.page.title() == f"{name} · Penstock"
        assert await console.page.evaluate("document.activeElement.tagName") == "H1"


async def test_an_old_link_to_a_run_still_leads_there(console: Console) -> None:
    run_id = await console.submit("count", to=5)
    await console.open(f"#{run_id}")
    await console.until(f"location.hash === '#/runs/{run_id}'")
    await console.sees("#run")
    assert await console.at('#places [aria-current="page"]').text_content() == "Runs"


async def test_what_leads_nowhere_leads_to_the_start(console: Console) -> None:
    await console.open("#/nowhere/at/all")
    await console.sees("#functions input")
    assert console.page.url.endswith("/#/start")


async def test_the_list_of_keys_has_those_of_the_view(console: Console) -> None:
    await console.open("#/runs")
    await console.sees(".grid")
    await console.page.keyboard.press("?")
    listed = await (await console.sees("dialog[open]")).inner_text()
    assert "Run it again" in listed
    assert "Queue" in listed
    await console.page.keyboard.press("Escape")
    await console.at("dialog").wait_for(state="detached")
    await console.page.keyboard.press("/")
    await console.page.keyboard.type("g q?")
    assert await console.at("input[type=search]").input_value() == "g q?"
    assert "#/runs" in console.page.url


async def test_the_first_tab_stop_skips_what_is_on_every_page(console: Console) -> None:
    await console.open("#/queue")
    await console.sees("#queue table")
    await console.page.keyboard.press("Tab")
    assert await console.focused() == "skip"
    await console.page.keyboard.press("Enter")
    assert await console.focused() == "view"
    assert console.page.url.endswith("#/queue")


async def test_a_token_does_not_stay_in_the_address(console: Console) -> None:
    await console.open("?token=secret#/runs")
    await console.sees(".grid")
    assert "secret" not in await console.page.evaluate("location.href")
    assert console.page.url.endswith("/#/runs")


async def test_going_back_finds_the_view_as_it_was_left(console: Console) -> None:
    await console.open("#/runs?state=failed%2Cinterrupted")
    await console.sees(".segments :checked")
    await console.at("#places a", has_text="Queue").click()
    await console.sees("#queue")
    await console.page.go_back()
    await console.sees("#runs")
    assert await console.at(".segments :checked").get_attribute("value") == "failed,interrupted"


async def test_nothing_is_wider_than_a_small_telephone(browser: Browser, server: ServerProcess) -> None:
    context = await browser.new_context(
        viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    )
    console = Console(await context.new_page(), server)
    await console.submit("fail", words="A word that is rather long: " + "mill" * 100)
    for address, seen in (
        ("#/start/order", "#field-title"),
        ("#/runs", ".sheet .row"),
        ("#/queue", "#queue tbody"),
        ("#/health", ".chart"),
    ):
        await console.open(address)
        await console.sees(seen)
        assert await console.overflow() == 0, address
        places = await console.at("#places").bounding_box()
        assert places is not None
        assert places["y"] + places["height"] == 740, "where the thumb is"
    await context.close()
    assert console.bugs == []
