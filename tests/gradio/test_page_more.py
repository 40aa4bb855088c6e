"""What else may happen to Gradio's page: copies, caches, frozen tabs, and apps of an unknown kind."""

import asyncio

import pytest

from penstock.testing import FaultProxy, until
from tests.browser.chromium import Chromium

from .disturbed import GradioPage, chromium, opened, page, proxy, server
from .server import GradioServer

__all__ = ["chromium", "page", "proxy", "server"]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("server", ["newest"], indirect=True),
]


async def test_a_restart_keeps_the_page_and_what_was_typed(page: GradioPage, server: GradioServer) -> None:
    await page.run("before", 100)
    restarted = asyncio.create_task(asyncio.to_thread(server.restart))
    await page.says("Reconnecting…")
    await page.field("Word").fill("typed meanwhile")
    await page.field("Steps").fill("5")
    await page.button("Tell").click()
    await restarted
    await page.has("Told", "typed meanwhile 5", deadline_s=60)
    assert await page.is_same()
    assert (await page.value("Grown")).startswith("before xxxx")
    assert "restarted while this was running" in " ".join(await page.toasts())
    await page.run("after", 5)
    await page.has("Grown", "after xxxxx")


async def test_a_copy_of_a_tab_has_a_session_of_its_own(page: GradioPage) -> None:
    await page.run("copied", 80)
    kept = "name.endsWith(':values') && value.includes('copied')"
    await page.tab.until(f"Object.entries(sessionStorage).some(([name, value]) => {kept})")
    copy = GradioPage(await page.tab.chromium.opened_by(page.tab, "window.open(location.href)"), page.proxy)
    await copy.ready()

    async def restored() -> bool:
        return await copy.value("Word") == "copied"

    await until(restored, 45)
    sessions = {(await one.kept())["about"]["session"] for one in (page, copy)}
    assert len(sessions) == 2
    await page.page.bring_to_front()
    await page.ends("copied", times=1, steps=80)
    await copy.page.bring_to_front()
    await copy.run("its own", 5)
    await copy.ends("its own", times=1, steps=5)
    await copy.page.close()


async def test_a_page_that_comes_back_from_the_cache_goes_on(page: GradioPage) -> None:
    await page.run("cached", 60)
    await page.page.goto("about:blank")
    await asyncio.sleep(1)
    await page.page.evaluate("setTimeout(() => history.back())")
    await page.tab.until("window.same || document.querySelector('gradio-app')")
    assert await page.is_same(), "Chromium did not keep the page"
    await page.ends("cached", times=1)


async def test_a_page_that_was_asked_whether_it_may_be_left_and_stays_goes_on(page: GradioPage) -> None:
    await page.run("stays", 60)
    await page.page.evaluate("window.dispatchEvent(new Event('beforeunload'))")
    await page.ends("stays", times=1)
    assert await page.is_same()


async def test_a_frozen_tab_and_a_network_that_goes_are_survived(page: GradioPage) -> None:
    await page.run("frozen", 80)
    await page.tab.freeze()
    page.proxy.cut_all()
    await asyncio.sleep(1)
    await page.tab.thaw()
    page.proxy.offline()
    await page.tab.offline(True)
    await page.says("Offline. Waiting for the network…")
    await page.tab.offline(False)
    page.proxy.online()
    await page.says("Connected again")
    await page.ends("frozen", times=1, steps=80)
    await page.says("")
    assert await page.is_same()


async def test_an_event_is_sent_once_the_server_is_back_and_once_only(page: GradioPage) -> None:
    page.proxy.offline()
    page.proxy.cut_all()
    await page.field("Word").fill("late")
    await page.field("Steps").fill("5")
    await page.button("Run").click()
    await page.says("Reconnecting…")
    page.proxy.online()
    await page.ends("late", times=1, steps=5)
    assert await page.toasts() == []


async def test_what_was_sent_and_not_answered_is_sent_again_by_the_next_page(page: GradioPage) -> None:
    await page.field("Word").fill("sent")
    await page.field("Steps").fill("5")
    page.proxy.stall()
    await page.button("Run").click()
    await page.remembers('"state":"sent"')
    page.proxy.cut_all()
    page.proxy.flow()
    await page.reload()
    await page.ends("sent", times=1, steps=5)


async def test_a_page_whose_cookies_were_cleared_begins_anew(page: GradioPage) -> None:
    await page.run("before", 5)
    await page.ends("before", times=1, steps=5)
    session = (await page.kept())["about"]["session"]
    await page.page.context.clear_cookies()
    await page.reload()
    assert await page.value("Word") == "before"
    await page.run("after", 5)
    await page.ends("after", times=1, steps=5)
    assert (await page.kept())["about"]["session"] != session
    assert await page.toasts() == []


async def test_a_page_that_another_first_one_took_the_cookie_from_goes_on(page: GradioPage) -> None:
    # Two that are fetched at once get a cookie each, and the browser keeps the later one.
    await page.run("first", 60)
    context = page.page.context
    await context.clear_cookies()
    second = GradioPage(await page.tab.chromium.open(page.proxy.url), page.proxy)
    await second.ready()
    await page.page.bring_to_front()
    await page.ends("first", times=1)
    for times, word in enumerate(("again", "and again"), start=2):
        await page.run(word, 5)
        await page.ends(word, times=times, steps=5)
    assert await page.is_same()
    assert await page.toasts() == []
    await second.page.close()


async def test_another_client_in_the_page_is_not_disturbed(page: GradioPage) -> None:
    await page.run("mine", 60)
    told = await page.page.evaluate(
        """async () => {
          const { dependencies } = window.gradio_config;
          const { id } = dependencies.find(one => one.api_name === 'count');
          const body = JSON.stringify({ data: ['abc', null], fn_index: id, session_hash: 'another1' });
          const headers = { 'Content-Type': 'application/json' };
          await fetch('/gradio_api/queue/join', { method: 'POST', headers, body });
          const stream = await fetch(new Request('/gradio_api/queue/data?session_hash=another1'));
          const reader = stream.body.pipeThrough(new TextDecoderStream()).getReader();
          for (let text = ''; ;) {
            const { value, done } = await reader.read();
            text += value ?? '';
            if (done || text.includes('process_completed')) return text;
          }
        }"""
    )
    assert "3 characters, 1 times" in told
    await page.ends("mine", times=1)


async def test_an_app_of_an_unknown_kind_is_reconnected_and_no_more(
    chromium: Chromium, proxy: FaultProxy
) -> None:
    unknown = """
      let config;
      Object.defineProperty(window, 'gradio_config', {
        get: () => config, set: value => { config = { ...value, page: { ...value.page, more: {} } }; } });
      window.infos = [];
      console.info = (...said) => window.infos.push(said.join(' '));
    """
    page = await opened(chromium, proxy, unknown)
    await page.run("unknown", 60)
    proxy.cut_all()
    await page.ends("unknown", times=1)
    infos = await page.page.evaluate("window.infos.filter(info => info.startsWith('Penstock'))")
    assert len(infos) == 1
    assert "its description is of an unknown kind" in infos[0]
    await page.reload()
    assert await page.value("Word") == "as built"
    assert await page.kept() == {}
    await page.page.close()


async def test_the_badge_is_read_out_and_no_style_of_an_app_reaches_it(page: GradioPage) -> None:
    await page.page.add_style_tag(content="* { display: none !important } p { color: lime !important }")
    await page.page.add_style_tag(content="html, body, penstock-connection { display: block !important }")
    await page.page.evaluate("document.querySelector('gradio-app').remove()")
    page.proxy.offline()
    page.proxy.cut_all()
    await page.page.evaluate(
        "fetch('/gradio_api/queue/join', { method: 'POST', body: JSON.stringify("
        "{ data: [], fn_index: 0, session_hash: 'badge1' }) }).catch(() => {}), 0"
    )
    await page.says("Reconnecting…")
    colour = await page.page.evaluate(
        "getComputedStyle(document.querySelector('penstock-connection').shadowRoot.querySelector('p')).color"
    )
    assert colour != "rgb(0, 255, 0)"
    page.proxy.online()


async def test_a_chat_that_a_restart_interrupts_goes_on(page: GradioPage, server: GradioServer) -> None:
    chat, box = page.page.locator("[role=log]"), page.page.locator("textarea").last
    await box.fill("hello")
    await box.press("Enter")
    await page.page.get_by_text("You said hello. yyy").wait_for()
    await asyncio.to_thread(server.restart)
    await page.tab.until("[...toasted].join().includes('restarted while this was running')", 60)
    assert await chat.get_by_text("You said hello. yyy").is_visible(), "what had come is seen"
    await box.fill("and more", timeout=30_000)
    await box.press("Enter")
    await page.page.get_by_text("You said and more. " + "y" * 40).wait_for()
    assert await chat.get_by_text("You said hello. yyy").count() == 1, "the conversation goes on"
    assert await page.is_same()
