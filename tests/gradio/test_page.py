"""What runs beside Gradio's unmodified page, in a real browser: what happens to connections is not noticed."""

import asyncio

import pytest

from penstock.testing import End

from .disturbed import GradioPage, chromium, page, proxy, server
from .server import VERSIONS

__all__ = ["chromium", "page", "proxy", "server"]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("server", VERSIONS, indirect=True),
]


async def test_connections_that_are_cut_or_end_early_are_not_noticed(page: GradioPage) -> None:
    await page.run("cut")
    page.proxy.fault = End(100, 3_000)
    for _ in range(3):
        page.proxy.cut_all()
        await asyncio.sleep(0.4)
    page.proxy.fault = None
    page.proxy.cut_all()
    await page.ends("cut", times=1)
    assert page.proxy.cuts
    assert await page.is_same()
    assert await page.toasts() == []
    await page.run("again", 5)
    await page.ends("again", times=2, steps=5)


async def test_a_page_that_is_loaded_again_goes_on(page: GradioPage) -> None:
    await page.run("reload", 80)
    await page.field("Word").fill("not sent")
    await page.field("green").check()
    await page.field("Kind").click()
    await page.page.get_by_role("option", name="two").click()
    await page.field("Secret").fill("hidden")
    await page.has("Made", "made at")
    await page.field("Made").fill("by hand")
    await page.remembers("by hand")
    await page.reload()
    await page.has("Grown", "reload xxxxxxxx")
    assert await page.value("Word") == "not sent"
    assert await page.value("Made") == "by hand", "what fills it when the page loads was called once more"
    await page.says("Restored")
    await page.ends("reload", times=1, steps=80)
    assert await page.value("Made") == "by hand"
    await page.button("Tell").click()
    await page.has("Told", "not sent 80 green two ")
    assert "hidden" not in str(await page.kept())
    await page.reload()
    await page.has("Told", "not sent 80 green two ")
    await page.ends("reload", times=1, steps=80)
    await page.run("after", 5)
    await page.ends("after", times=2, steps=5)


async def test_what_ended_while_nobody_was_there_is_shown_and_followed_once(page: GradioPage) -> None:
    await page.run("away", 40)
    await page.page.goto("about:blank")
    await asyncio.sleep(40 * 0.05)
    await page.page.goto(page.proxy.url)
    await page.ready()
    await page.ends("away", times=1, steps=40)
    await page.reload()
    await page.ends("away", times=1, steps=40)
    await page.run("next", 5)
    await page.ends("next", times=2, steps=5)


async def test_run_and_stop_work_in_a_page_that_took_over_a_run(page: GradioPage) -> None:
    await page.run("first", 100)
    await page.reload()
    await page.has("Grown", "first xxxxxxxx")
    await page.field("Word").fill("second")
    await page.field("Steps").fill("100")
    await page.button("Run").click()
    await page.has("Grown", "second xx")
    await page.reload()
    await page.has("Grown", "second xxxxxx")
    await page.button("Stop").click()
    await asyncio.sleep(1)
    stopped = await page.value("Grown")
    await asyncio.sleep(0.5)
    assert await page.value("Grown") == stopped != "second " + "x" * 100


async def test_a_chat_goes_on_in_a_page_that_is_loaded_again(page: GradioPage) -> None:
    box = page.page.locator("textarea").last  # its placeholder goes with the first message
    await box.fill("hello")
    await box.press("Enter")
    await page.page.get_by_text("You said hello. yyy").wait_for()
    await page.reload()
    await page.page.get_by_text("You said hello. " + "y" * 40).wait_for()
    assert await page.page.get_by_text("hello", exact=True).count() == 1
    await box.fill("and more")
    await box.press("Enter")
    await page.page.get_by_text("You said and more. " + "y" * 40).wait_for()
    assert await page.page.get_by_text("You said hello. " + "y" * 40).count() == 1
