"""What runs beside Gradio's unmodified page, in a real browser: what happens to connections is not noticed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from penstock.testing import End, FaultProxy
from tests.browser.chromium import Chromium, launched

from .gradio_page import GradioPage, opened
from .server import VERSIONS, GradioServer

APP = Path(__file__).with_name("page_app.py")

pytestmark = pytest.mark.asyncio(loop_scope="module")

everywhere = pytest.mark.parametrize("server", VERSIONS, indirect=True)
newest = pytest.mark.parametrize("server", ["newest"], indirect=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(
    needs: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Chromium]:
    async with launched(needs("chromium"), tmp_path_factory.mktemp("profile")) as chromium:
        yield chromium


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(request: pytest.FixtureRequest) -> AsyncIterator[GradioServer]:
    server = GradioServer(str(request.param), APP, options={"close_grace_s": 20})
    async with server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(server: GradioServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(server.port) as proxy:
        yield proxy


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Chromium, proxy: FaultProxy) -> AsyncIterator[GradioPage]:
    page = await opened(chromium, proxy)
    yield page
    await page.page.close()
    assert page.bugs == []


@everywhere
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


@everywhere
async def test_a_page_that_is_loaded_again_goes_on(page: GradioPage) -> None:
    await page.run("reload", 80)
    await page.field("Word").fill("not sent")
    await page.field("green").check()
    await page.field("Kind").click()
    await page.page.get_by_role("option", name="two").click()
    await page.field("Secret").fill("hidden")
    await page.reload()
    await page.has("Grown", "reload xxxxxxxx")
    assert await page.value("Word") == "not sent"
    await page.says("Restored")
    await page.ends("reload", times=1, steps=80)
    await page.button("Tell").click()
    await page.has("Told", "not sent 80 green two ")
    assert "hidden" not in str(await page.kept())
    await page.reload()
    await page.has("Told", "not sent 80 green two ")
    await page.ends("reload", times=1, steps=80)
    await page.run("after", 5)
    await page.ends("after", times=2, steps=5)


@everywhere
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


@everywhere
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


@everywhere
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


@everywhere
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


@newest
async def test_a_copy_of_a_tab_has_a_session_of_its_own(page: GradioPage) -> None:
    await page.run("copied", 80)
    await page.tab.until("Object.keys(sessionStorage).some(name => name.endsWith(':values'))")
    copy = GradioPage(await page.tab.chromium.opened_by(page.tab, "window.open(location.href)"), page.proxy)
    await copy.ready()
    assert await copy.value("Word") == "copied"
    sessions = {(await one.kept())["about"]["session"] for one in (page, copy)}
    assert len(sessions) == 2
    await page.page.bring_to_front()
    await page.ends("copied", times=1, steps=80)
    await copy.page.bring_to_front()
    await copy.run("its own", 5)
    await copy.ends("its own", times=1, steps=5)
    await copy.page.close()


@newest
async def test_a_page_that_comes_back_from_the_cache_goes_on(page: GradioPage) -> None:
    await page.run("cached", 60)
    await page.page.goto("about:blank")
    await asyncio.sleep(1)
    await page.page.evaluate("history.back()")
    await page.tab.until("window.same || document.querySelector('gradio-app')")
    assert await page.is_same(), "Chromium did not keep the page"
    await page.ends("cached", times=1)


@newest
async def test_a_page_that_was_asked_whether_it_may_be_left_and_stays_goes_on(page: GradioPage) -> None:
    await page.run("stays", 60)
    await page.page.evaluate("window.dispatchEvent(new Event('beforeunload'))")
    await page.ends("stays", times=1)
    assert await page.is_same()


@newest
async def test_a_frozen_tab_and_a_network_that_goes_are_survived(page: GradioPage) -> None:
    await page.run("frozen", 80)
    await page.tab.freeze()
    page.proxy.cut_all()
    await asyncio.sleep(1)
    await page.tab.thaw()
    page.proxy.offline()
    await page.tab.offline(True)
    await page.says("Offline. It goes on when the network is back.")
    await page.tab.offline(False)
    page.proxy.online()
    await page.says("Connected again")
    await page.ends("frozen", times=1, steps=80)
    await page.says("")
    assert await page.is_same()


@newest
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


@newest
async def test_what_was_sent_and_not_answered_is_sent_again_by_the_next_page(page: GradioPage) -> None:
    await page.field("Word").fill("sent")
    await page.field("Steps").fill("5")
    page.proxy.stall()
    await page.button("Run").click()
    await page.tab.until("JSON.stringify({...sessionStorage}).includes('sent')", what="it is remembered")
    page.proxy.cut_all()
    page.proxy.flow()
    await page.reload()
    await page.ends("sent", times=1, steps=5)


@newest
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


@newest
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


@newest
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
