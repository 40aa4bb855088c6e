"""The form made of a function's JSON Schema."""

from typing import Any

import pytest

from .page import Console

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDER: dict[str, Any] = {
    "title": "Bread",
    "items": [{"name": "rye", "amount": 2}, {"name": "oats", "amount": 1}],
    "options": {"depth": 8, "tone": "cool"},
    "ratio": 0.25,
    "size": "large",
    "gift": True,
    "tags": ["a", "b"],
    "extra": {"n": [1, None]},
}


async def fill_order(console: Console) -> None:
    page = console.page
    await page.get_by_label("title").fill("Bread")
    for number, (name, amount) in enumerate((("rye", "2"), ("oats", ""))):
        await page.get_by_role("button", name="Add to items").click()
        item = page.locator(".nested[data-kind=list] li").nth(number)
        await item.get_by_label("name").fill(name)
        if amount:
            await item.get_by_label("amount").fill(amount)
    await page.get_by_label("depth").fill("8")
    await page.get_by_label("tone").select_option("cool")
    await page.get_by_label("ratio").fill("0.25")
    await page.get_by_label("size").select_option("large")
    await page.get_by_label("gift").check()
    for text in ("a", "b"):
        await page.get_by_role("button", name="Add to tags").click()
        await page.keyboard.type(text)
    await page.get_by_label("extra").fill('{"n": [1, null]}')


async def started(console: Console) -> dict[str, Any]:
    """The run that the page has gone to, as the server has it."""
    found = await console.until("location.hash.startsWith('#/runs/run_') && location.hash.slice(7)")
    return await console.run(found)


async def test_nested_objects_lists_choices_and_json_arrive_as_they_were_meant(console: Console) -> None:
    await console.open("#/start/order")
    await console.sees("#field-title")
    await fill_order(console)
    await console.page.keyboard.press("Control+Enter")
    run = await started(console)
    assert run["function"] == "order"
    assert run["input"] == ORDER


async def test_the_last_input_is_there_after_a_reload_until_it_is_cleared(console: Console) -> None:
    await console.open("#/start/order")
    await console.sees("#field-title")
    await fill_order(console)
    await console.at("#run-button").click()
    await started(console)
    await console.open("#/start/order")
    await console.page.reload()
    await console.sees("#field-title")
    assert await console.page.get_by_label("title").input_value() == "Bread"
    await console.page.get_by_role("button", name="Remove items 1").click()
    await console.at("#run-button").click()
    run = await started(console)
    assert run["input"] == ORDER | {"items": ORDER["items"][1:]}

    await console.open("#/start/order")
    await console.page.get_by_role("button", name="Clear the last input").click()
    assert await console.page.get_by_label("title").input_value() == ""
    assert await console.at(".nested[data-kind=list] li").count() == 0
    await console.page.reload()
    await console.sees("#field-title")
    assert await console.page.get_by_label("title").input_value() == ""


async def test_what_the_server_refuses_is_shown_at_its_field_however_deep(console: Console) -> None:
    await console.open("#/start/order")
    await console.sees("#field-title")
    await fill_order(console)
    await console.page.locator(".nested[data-kind=list] li").nth(1).get_by_label("amount").fill("99")
    await console.at("#run-button").click()
    error = await console.sees(".error:not(:empty)")
    assert await error.inner_text() == "Expected `int` <= 9."
    field = console.page.locator(".nested[data-kind=list] li").nth(1).get_by_label("amount")
    assert await field.get_attribute("aria-invalid") == "true"
    assert await field.evaluate("field => field === document.activeElement")
    await field.fill("9")
    await console.page.get_by_label("depth").fill("0")
    await console.at("#run-button").click()
    await console.sees(".error:not(:empty)", has_text="Expected `int` >= 1.")
    assert await console.focused() == "field-options.depth"
    assert await field.get_attribute("aria-invalid") is None


async def test_what_is_no_number_and_no_json_is_not_sent(console: Console) -> None:
    await console.open("#/start/order")
    await console.sees("#field-title")
    await console.page.get_by_label("ratio").fill("half")
    await console.page.get_by_label("extra").fill("{")
    asked = len([path for path in console.asked if path == "/api/runs"])
    await console.at("#run-button").click()
    await console.sees(".error", has_text="This is not a number.")
    await console.sees(".error", has_text="This is not JSON")
    assert await console.focused() == "field-ratio"
    assert len([path for path in console.asked if path == "/api/runs"]) == asked


async def test_the_input_of_a_run_is_filled_in_from_its_link(console: Console) -> None:
    run_id = await console.submit("count", to=123)
    await console.open(f"#/start/count?from={run_id}")
    await console.until("document.querySelector('#field-to')?.value === '123'")


async def test_what_was_typed_stays_while_another_function_is_looked_at(console: Console) -> None:
    await console.open("#/start/count")
    await console.sees("#field-to")
    await console.at("#field-to").fill("77")
    await console.at('#functions input[value="fail"]').check(force=True)
    await console.sees("#field-words")
    assert console.page.url.endswith("#/start/fail")
    await console.at('#functions input[value="count"]').check(force=True)
    assert await console.at("#field-to").input_value() == "77"
