"""`<penstock-run>` on other people's pages, in a real Chromium, with runs of a real server."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from penstock import AsyncClient
from penstock.testing import ServerProcess, until

from . import element_app
from .element_pages import Host, chromium

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

PARTS = (
    "head",
    "name",
    "state",
    "clock",
    "stop",
    "progress",
    "scroller",
    "steps",
    "step",
    "answer",
    "values",
)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("element")
    with ServerProcess(str(element_app.FILE), "--store", "memory:", cwd=folder) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(needs: Callable[[str], str]) -> AsyncIterator[Browser]:
    async with chromium(needs("chromium")) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def host(browser: Browser, server: ServerProcess) -> AsyncIterator[Host]:
    host = Host(await browser.new_page(), server.url)
    yield host
    await host.page.close()
    assert [bug for bug in host.bugs if "404" not in bug and "422" not in bug] == []


@pytest_asyncio.fixture(loop_scope="module")
async def start(server: ServerProcess) -> AsyncIterator[Callable[..., Any]]:
    async with AsyncClient(server.url) as client:

        async def begin(function: str, **given: Any) -> str:
            return (await client.submit(function, given)).id

        yield begin


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file that functions wait for; none waits longer than its test."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def tag(run: str, more: str = "") -> str:
    return f'<penstock-run run="{run}" {more}></penstock-run>'


async def test_one_line_of_html_shows_a_run_as_it_goes(host: Host, start: Any, gate: Path) -> None:
    run = await start("everything", question="Why?", gate=str(gate))
    await host.show(tag(run))
    await host.has("step", "Let me think.")
    await host.has("state", "running")
    await host.has("name", "everything")
    await host.has("step", "KeyError")
    await host.has("progress", "2 of 5 pages")
    await host.has("values", '{"hits":3}')
    assert await host.words("answer") == "You asked: Why? "
    assert (await host.words("logs")).splitlines() == [
        "warning the index is old",
        "error one page was left out",
    ]
    gate.touch()
    await host.has("state", "succeeded")
    await host.has("latest", '{"flow":7}')
    assert (await host.words("answer")).endswith("see https://example.org/mill and `flow`.")
    assert await host.page.locator("penstock-run [part~=stop]").is_hidden()


async def test_it_tells_the_page_what_becomes_of_the_run(host: Host, start: Any) -> None:
    run = await start("plenty", count=3)
    await host.show(tag(run))
    await host.has("proof", "ended · received 16 of 16 · resumes 0 · duplicates dropped 0")
    (end,) = await host.told("penstock-end")
    assert end["composed"]
    assert (end["run"], end["state"], end["result"]) == (run, "succeeded", "all done")
    assert (await host.told("penstock-state"))[-1]["state"] == "succeeded"
    assert await host.run_js("[it.state, it.subscription.received]") == ["succeeded", 16]
    await host.has("outcome", "all done")


async def test_a_run_in_line_shows_its_place(host: Host, start: Any, gate: Path) -> None:
    await start("alone", gate=str(gate))
    await start("alone", gate=str(gate))
    await host.show(tag(await start("alone", gate=str(gate))))
    await host.has("state", "queued, position 2")
    assert [event["position"] for event in await host.told("penstock-state")] == [2]
    gate.touch()
    await host.has("answer", "at work, done")
    await host.has("clock", " s")


async def test_its_button_stops_the_run(host: Host, start: Any, gate: Path) -> None:
    run = await start("alone", gate=str(gate))
    await host.show(tag(run))
    await host.has("answer", "at work")
    await host.page.get_by_role("button", name="Stop").click()
    await host.has("state", "cancelled")
    assert [event["state"] for event in await host.told("penstock-end")] == ["cancelled"]


async def test_no_stop_takes_the_button_away(host: Host, start: Any, gate: Path) -> None:
    run = await start("alone", gate=str(gate))
    await host.show(tag(run, "no-stop"))
    await host.has("state", "running")
    assert await host.page.get_by_role("button").count() == 0
    await host.run_js("it.noStop = false")
    await host.page.get_by_role("button", name="Stop").wait_for()


async def test_a_failed_run_says_why(host: Host, start: Any) -> None:
    await host.show(tag(await start("fail")))
    await host.has("outcome", "RuntimeError: the lever broke")
    await host.has("state", "failed")
    await host.has("step", "RuntimeError: the lever broke")


async def test_what_an_attempt_has_lost_is_taken_away(host: Host, start: Any, gate: Path) -> None:
    await host.show(tag(await start("second", gate=str(gate))))
    await host.has("step", "lost words")
    gate.touch()
    await host.has("state", "succeeded")
    assert await host.words("answer") == "kept words"
    assert (await host.words("steps")).split("\n")[1:] == ["attempt 2", "0.0 s", "inside"]
    assert await host.page.locator("penstock-run [part~=notices] li").count() == 1
    assert [event["state"] for event in await host.told("penstock-end")] == ["succeeded"]


async def test_a_run_that_is_not_there_is_said_and_told_once(host: Host) -> None:
    await host.show(tag("run_nowhere"))
    await host.page.get_by_role("alert").filter(has_text="unknown_run").wait_for()
    assert [event["run"] for event in await host.told("penstock-error")] == ["run_nowhere"]
    assert await host.words("state") == ""


async def test_it_starts_a_run_of_its_function(host: Host) -> None:
    await host.show("""<penstock-run function="plenty" input='{"count": 2}' autostart></penstock-run>""")
    await host.has("outcome", "all done")
    assert (await host.run_js("it.run")).startswith("run_")
    first, second = await host.run_js("[it.run, await it.start({count: 3})]")
    assert first != second
    await until(lambda: host.run_js("it.subscription.run === run && it.state === 'succeeded'", run=second))


async def test_without_autostart_it_waits_and_shows_what_the_page_put_into_it(host: Host) -> None:
    await host.show('<penstock-run function="plenty"><p>Nothing runs.</p></penstock-run>')
    assert await host.page.get_by_text("Nothing runs.").is_visible()
    await host.run_js("{ it.input = {count: 1}; await it.start(); }")
    await host.has("outcome", "all done")
    assert await host.page.get_by_text("Nothing runs.").is_hidden()
    await host.run_js("it.removeAttribute('run')")
    await host.page.get_by_text("Nothing runs.").wait_for()


async def test_a_refused_input_is_shown_and_told(host: Host) -> None:
    await host.show("""<penstock-run function="plenty" input='{"count": "many"}' autostart></penstock-run>""")
    await host.page.get_by_role("alert").filter(has_text="invalid_input").wait_for()
    assert len(await host.told("penstock-error")) == 1
    await host.run_js("{ it.setAttribute('input', '{'); await it.start().catch(() => {}); }")
    await host.page.get_by_role("alert").filter(has_text="not JSON").wait_for()
    await host.run_js("it.start({count: 1})")
    await host.has("outcome", "all done")


async def test_moving_it_keeps_its_reader_and_removing_it_lets_go(host: Host, start: Any, gate: Path) -> None:
    run = await start("alone", gate=str(gate))
    await host.show(f"{tag(run)}<section></section>")
    await host.has("answer", "at work")
    await host.run_js("{ window.reader = it.subscription; document.querySelector('section').append(it); }")
    gate.touch()
    await host.has("answer", "at work, done")
    assert await host.run_js("it.subscription === reader")
    await host.run_js("{ window.gone = it; it.remove(); }")
    assert await host.run_js("gone.subscription === null && ['ended', 'stopped'].includes(reader.connection)")
    await host.run_js("document.body.append(gone)")
    await host.has("answer", "at work, done")


async def test_another_run_takes_the_place_of_the_first(host: Host, start: Any) -> None:
    await host.show(tag(await start("fail")))
    await host.has("state", "failed")
    await host.run_js("it.run = run", run=await start("plenty", count=1))
    await host.has("state", "succeeded")
    assert await host.words("answer") == ""
    assert "lever" not in await host.page.locator("penstock-run").inner_text()


async def test_what_was_set_before_the_element_was_defined_counts(
    host: Host, start: Any, server: ServerProcess
) -> None:
    run = await start("plenty", count=1)
    before = f"""
      const early = document.createElement('penstock-run');
      Object.assign(early, {{ run: '{run}', base: '{server.url}', noStop: true, rate: 5 }});
      addEventListener('DOMContentLoaded', () => document.querySelector('main').append(early));
    """
    await host.show("", before=before)
    await host.has("outcome", "all done")
    assert await host.run_js("['run', 'base', 'no-stop', 'rate'].map((name) => it.getAttribute(name))") == [
        run, server.url, "", "5",
    ]  # fmt: skip


async def test_a_long_run_takes_a_bounded_part_of_the_page(host: Host, start: Any) -> None:
    await host.show(tag(await start("plenty", count=2000)))
    await host.has("state", "succeeded")
    counts = (
        "['steps', 'values', 'logs'].map((name) => it.shadowRoot.querySelector(`.${name}`).childElementCount)"
    )
    assert await host.run_js(counts) == [100, 50, 50]
    await host.has("step", "Words of step 1999.")


async def test_a_cumulative_text_is_shown_as_it_stands(host: Host, start: Any) -> None:
    await host.show(tag(await start("grow", words=50)))
    await host.has("state", "succeeded")
    assert (await host.words("latest")).split()[-2:] == ["word", "49"]


async def test_pages_choose_its_colours_and_the_system_light_or_dark(
    browser: Browser, server: ServerProcess, start: Any
) -> None:
    run = await start("plenty", count=1)
    colour = "getComputedStyle(it).color"
    seen = []
    for scheme in SCHEMES:
        context = await browser.new_context(color_scheme=scheme, reduced_motion="reduce")
        host = Host(await context.new_page(), server.url)
        await host.show(tag(run))
        await host.has("state", "succeeded")
        seen.append(await host.run_js(colour))
        await host.show(
            tag(run),
            css="penstock-run { --penstock-ink: rgb(1, 2, 3) } penstock-run::part(proof) { display: none }",
        )
        await host.has("state", "succeeded")
        assert await host.run_js(colour) == "rgb(1, 2, 3)"
        assert await host.page.locator("penstock-run [part~=proof]").is_hidden()
        assert host.bugs == []
    assert seen == ["rgb(28, 33, 36)", "rgb(228, 231, 230)"]


async def test_it_fits_a_phone_and_stays_where_its_reader_is(
    browser: Browser, server: ServerProcess, start: Any
) -> None:
    context = await browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    host = Host(await context.new_page(), server.url)
    await host.show(
        tag(await start("plenty", count=60)), css="penstock-run { --penstock-max-height: 10rem; }"
    )
    await host.has("state", "succeeded")
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await host.page.evaluate(wide) == 0
    box = "it.shadowRoot.querySelector('.scroller')"
    assert await host.run_js(f"{box}.scrollTop === 0 && {box}.scrollHeight > 2 * {box}.clientHeight")
    assert host.bugs == []


async def test_it_has_roles_and_names(host: Host, start: Any, gate: Path) -> None:
    run = await start("everything", question="Why?", gate=str(gate))
    await host.show(tag(run))
    await host.has("step", "Let me think.")
    await host.has("name", "everything")
    group = host.page.get_by_role("group", name="Run everything")
    await group.get_by_role("progressbar", name="Progress").wait_for()
    assert await group.get_by_role("status").inner_text() == "running"
    assert await group.get_by_role("list", name="Steps").get_by_role("listitem").count() == 3
    live = await host.run_js(
        "[...it.shadowRoot.querySelectorAll('.answer')].map((e) => [e.ariaLive, e.ariaBusy])"
    )
    assert live == [["polite", "true"]]
    parts = set(
        await host.run_js("[...it.shadowRoot.querySelectorAll('[part]')].flatMap((e) => [...e.part])")
    )
    assert parts.issuperset(PARTS)
