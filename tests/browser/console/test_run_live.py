"""The page of a run that goes on, and what can be done with a run."""

import json

import pytest

from penstock import AsyncClient

from . import run_app
from .page import Console

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = run_app.FILE

AT_BOTTOM = "list => list.scrollHeight - list.clientHeight - list.scrollTop < 40"


async def test_what_goes_on_is_seen_going_on(console: Console) -> None:
    run_id = await console.submit("agent", rounds=200, pause_ms=60)
    await console.open(f"#/runs/{run_id}")
    await console.page.keyboard.press("s")
    pending = await console.sees("#steps .run-row[data-state=pending]", has_text="think")
    await console.sees("#steps .run-row[data-state=pending] .preview", has_text="In round")
    before = await pending.locator(".time").text_content()
    assert before
    await console.sees("#steps .run-row[data-state=done]", has_text="think")
    await console.page.get_by_role("button", name="Stop", exact=True).click()
    await console.sees("#run-state[data-state=cancelled]")
    await console.sees("#receipt", has_text="Stop requested; the run has stopped.")
    assert await console.at("#steps .run-row[data-state=pending]").count() == 0


async def test_the_end_is_followed_until_the_reader_scrolls_up(console: Console) -> None:
    await console.page.set_viewport_size({"width": 1280, "height": 400})
    run_id = await console.submit("agent", rounds=400, pause_ms=10)
    await console.open(f"#/runs/{run_id}")
    bottom = f"({AT_BOTTOM})(document.querySelector('#messages'))"
    await console.until("document.querySelector('#messages').scrollTop > 300")
    assert await console.page.evaluate(bottom)
    await console.at("#messages").hover()
    await console.page.mouse.wheel(0, -200)
    new = await console.sees(".new")
    place = await console.page.evaluate("document.querySelector('#messages').scrollTop")
    await console.until("parseInt(document.querySelector('.new').textContent) > 5")
    assert abs(await console.page.evaluate("document.querySelector('#messages').scrollTop") - place) < 60
    await new.click()
    await console.until(bottom)
    assert await new.is_hidden()
    async with AsyncClient(console.server.url) as client:
        await client.run(run_id).cancel()


async def test_a_text_that_is_told_again_and_again_grows(console: Console) -> None:
    run_id = await console.submit("growing", characters=400, per_s=50, seconds=1.0)
    await console.open(f"#/runs/{run_id}")
    await console.sees("#run-state[data-state=succeeded]")
    async with AsyncClient(console.server.url) as client:
        fold = await client.run(run_id).fold()
    assert await console.at("#latest").text_content() == fold.value


async def test_a_run_is_started_again_and_compared(console: Console) -> None:
    run_id = await console.submit("agent", rounds=2, pause_ms=1)
    await console.open(f"#/runs/{run_id}")
    await console.sees("#run-state[data-state=succeeded]")
    await console.page.get_by_role("button", name="Run again").click()
    await console.until(f"document.querySelector('#run-link').textContent !== '{run_id}'")
    await console.sees("#run-state[data-state=succeeded]")
    again = str(await console.at("#run-link").text_content())
    assert (await console.run(again))["input"] == {"rounds": 2, "pause_ms": 1}
    await console.page.get_by_role("button", name="Compare").click()
    await console.at(".offered a", has_text=run_id).click()
    await console.until(f"location.hash === '#/compare/{again}/{run_id}'")
    await console.sees(".figures tr", has_text="Tokens out4040")
    await console.sees(".compare .run-row", has_text="round 1")


async def test_two_runs_differ_in_steps_texts_and_outcome(console: Console) -> None:
    a = await console.submit("fast", characters=50, per_s=100, seconds=0.05)
    b = await console.submit("fast", characters=50, per_s=100, seconds=0.08)
    await console.open(f"#/compare/{a}/{b}")
    await console.sees(".compared-text ins", has_text="word 7")
    assert await console.at(".compared-text del").count() == 0
    await console.page.set_viewport_size({"width": 390, "height": 800})
    assert await console.overflow() == 0
    failing = await console.submit("failing")
    await console.open(f"#/compare/{a}/{failing}")
    await console.sees(".compare .problem", has_text="the lever broke")
    await console.sees(".compare .run-row[data-only=b]", has_text="inner")


async def test_a_run_is_downloaded_with_all_its_events(console: Console) -> None:
    run_id = await console.submit("many", events=6000)
    await console.open(f"#/runs/{run_id}")
    await console.sees("#run-state[data-state=succeeded]")
    async with console.page.expect_download() as waiting:
        await console.page.get_by_role("button", name="Download").click()
    download = await waiting.value
    assert download.suggested_filename == f"{run_id}.json"
    saved = json.loads((await download.path()).read_text())
    assert saved["run"]["run_id"] == run_id
    assert sum(event.get("n", 1) for event in saved["events"]) == saved["run"]["stored"]
    assert saved["events"][-1]["type"] == "end"


async def test_a_run_of_100_000_events_is_read_to_its_end(console: Console) -> None:
    run_id = await console.submit("many", events=100_000)
    await console.open(f"#/runs/{run_id}")
    await console.sees("#run-state[data-state=succeeded]")
    await console.until("document.querySelector('#proof').textContent.includes('all that is stored')")
    await console.page.keyboard.press("s")
    await (await console.sees("#steps .run-row")).click()
    await console.page.keyboard.press("Home")
    await console.page.keyboard.press("End")
    await console.sees("#steps .run-row[tabindex='0']", has_text="step 99995")
    await console.page.keyboard.press("e")
    await (await console.sees("#events .run-row")).focus()
    await console.page.keyboard.press("End")
    await console.sees("#events .run-row[data-type=end]")
    await console.page.keyboard.press("m")
    await console.at("#messages").evaluate("list => { list.scrollTop = list.scrollHeight / 2; }")
    await console.sees(".message", has_text="Words of step 5")
    assert await console.page.evaluate("document.querySelectorAll('#run *').length") < 1500
    await console.page.keyboard.press("/")
    await console.page.keyboard.type("step 4321")
    await console.sees(".search [role=status]", has_text="found")
    assert await console.at(".search [role=status]").text_content() != "0 found"


async def test_a_run_that_is_not_there_is_said_not_to_be(console: Console) -> None:
    await console.open("#/runs/run_nowhere")
    await console.sees("#notices li")
