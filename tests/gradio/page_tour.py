"""What a page of the features' app does, feature by feature."""

import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.testing import until

from ..browser.chromium import Chromium, Tab, quoted

__all__ = ["TOUR", "Page", "tour"]

WAIT_S = 40.0
"""For anything on a page, on a machine that is busy with others."""

PRESSES = 3
"""How often people press a button that seems to do nothing."""

TOUR: dict[str, "Callable[[Page], Awaitable[Any]]"] = {}


def feature(act: Any) -> Any:
    """Features are looked at in the order in which they stand here, on one page."""
    TOUR[act.__name__] = act
    return act


@dataclass
class Page:
    """A page by its elements' ids."""

    chromium: Chromium
    url: str
    notes: Path
    tab: Tab

    def noted(self, name: str) -> list[Any]:
        path = self.notes / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def type(self, where: str, text: str) -> None:
        await self.tab.page.fill(f"#{where} textarea, #{where} input", text, timeout=WAIT_S * 1000)

    async def press(self, button: str) -> None:
        await self.press_inside(f"button#{button}")

    async def press_inside(self, selector: str) -> None:
        find = f"document.querySelector({quoted(selector)})"
        await self.tab.until(f"{find} && ({find}.click(), true)", WAIT_S, f"{selector} can be pressed")

    async def value(self, where: str) -> str:
        return str(await self.tab.page.evaluate(f"({_value(where)}) ?? ''"))

    async def shows(self, where: str, text: str = "", wait_s: float = WAIT_S) -> str:
        """Wait until it has this text, or any, and return it."""
        wanted = f"=== {quoted(text)}" if text else "!== ''"
        return str(
            await self.tab.until(f"(text => text {wanted} && text)({_value(where)} ?? '')", wait_s, where)
        )

    async def says(self, text: str, wait_s: float = WAIT_S) -> None:
        """Words anywhere on the page."""
        await self.tab.until(f"document.body.innerText.includes({quoted(text)})", wait_s, text)

    async def turn_to(self, name: str) -> None:
        """A tab of the app's."""
        tabs = "[...document.querySelectorAll('button[role=tab]')]"
        find = f"{tabs}.find((one) => one.innerText.trim() === {quoted(name)})"
        await self.tab.until(f"{find} && ({find}.click(), true)", WAIT_S)

    async def another(self, path: str = "") -> "Page":
        tab = await self.chromium.open(self.url + path)
        return Page(self.chromium, self.url, self.notes, tab)


def _value(where: str) -> str:
    return f"document.querySelector('#{where} textarea, #{where} input')?.value"


async def tour(chromium: Chromium, url: str, notes: Path) -> dict[str, Any]:
    """What became of each feature: what it returned, or its error."""
    page = Page(chromium, url, notes, await chromium.open(url))
    found: dict[str, Any] = {}
    try:
        for name, act in TOUR.items():
            try:
                found[name] = await act(page)
            except Exception as error:  # noqa: BLE001 - the others are looked at all the same
                text = await page.tab.page.evaluate("document.body.innerText.slice(0, 1500)")
                error.add_note(f"{page.tab.bugs[-5:]} {page.tab.troubles[-5:]} {text!r}")
                found[name] = error
    finally:
        with suppress(Exception):
            await page.tab.page.close()
    return found


@feature
async def load_event(page: Page) -> str:
    return await page.shows("loaded")


@feature
async def chain_after_success(page: Page) -> list[str]:
    await page.press("start")
    await page.shows("then", "then")
    await page.shows("well")
    return [await page.value(name) for name in ("first", "then", "well", "badly")]


@feature
async def chain_after_failure(page: Page) -> list[str]:
    await page.type("kind", "gradio")
    await page.press("start")
    await page.shows("badly")
    await page.says("It can't be done")
    return [await page.value("badly")]


@feature
async def a_button_cancels(page: Page) -> list[str]:
    await page.turn_to("Buttons")
    await page.type("name", "page")
    await page.press("go-on")
    await page.tab.until(f"Number({_value('going')}) >= 3", WAIT_S)
    await page.press("stop")
    await until(lambda: page.noted("page"), WAIT_S, "the generator is closed")
    stopped = int(await page.value("going"))
    assert 3 <= stopped < 300
    await page.press("mine")
    await page.shows("states", "1")
    return [str(what) for what in page.noted("page")]


@feature
async def trigger_once(page: Page) -> int:
    had = len(page.noted("begun-once"))
    await page.type("name", "begun-once")
    await page.press("once")
    await until(lambda: len(page.noted("begun-once")) > had, WAIT_S, "it runs")
    await page.press("once")
    await page.press("once")
    await page.shows("echoed", "begun-once")
    return len(page.noted("begun-once")) - had


@feature
async def trigger_multiple(page: Page) -> int:
    await page.type("name", "begun-often")
    await page.tab.page.evaluate(
        "for (let i = 0; i < 3; i += 1) document.querySelector('button#multiple').click()"
    )
    await until(lambda: len(page.noted("begun-often")) == 3, WAIT_S, "it runs three times")
    await page.shows("echoed", "begun-often")
    return len(page.noted("begun-often"))


@feature
async def trigger_always_last(page: Page) -> str:
    """What was typed in between may be passed over, the last may not."""
    await page.tab.page.focus("#typed textarea, #typed input", timeout=WAIT_S * 1000)
    await page.tab.page.keyboard.type("abcd", delay=30)
    await page.shows("last", "abcd")
    return str(page.noted("typed")[-1])


@feature
async def timer(page: Page) -> bool:
    ticks = len(await page.value("ticked"))
    await page.tab.until(f"{_value('ticked')}.length > {ticks + 2}", WAIT_S)
    return True


@feature
async def every(page: Page) -> bool:
    had = await page.shows("every")
    await page.tab.until(f"{_value('every')} !== {quoted(had)}", WAIT_S)
    return True


@feature
async def infos_and_warnings(page: Page) -> bool:
    await page.type("name", "Ada")
    await page.press("talk")
    await page.says("Hello Ada")
    await page.says("Mind the gap")
    await page.shows("echoed", "talked")
    return True


@feature
async def errors(page: Page) -> bool:
    await page.press("fail")
    await page.says("It can't be done")
    return True


@feature
async def progress(page: Page) -> bool:
    await page.type("number", "12")
    await page.press("steps")
    await page.says("Stepping")
    await page.shows("echoed", "stepped")
    return True


@feature
async def validator(page: Page) -> bool:
    """On another page of the app: Gradio takes the message away with the next tick of a timer of the same page."""
    another = await page.another("/another")
    await another.type("asked", "-2")
    await another.press("check")
    await another.says("It must be more than nothing")
    await another.type("asked", "2")
    await another.press("check")
    await another.shows("right", "2 is right")
    await another.tab.page.close()
    return True


@feature
async def render(page: Page) -> list[str]:
    """Parts of a page that are made while it runs, with events of their own."""
    await page.type("boxes", "3")
    for _ in range(PRESSES):  # the part is made anew each time that one of its inputs changes
        await page.press("fill-2")
        with suppress(TimeoutError):
            return [await page.shows("box-2", wait_s=5)]
    return []


@feature
async def upload_and_download(page: Page) -> list[str]:
    sent = page.notes / "sent.txt"
    sent.write_text("by hand")
    await page.tab.page.set_input_files("#file input[type=file]", str(sent), timeout=WAIT_S * 1000)
    read = await page.shows("read")
    await page.type("name", "for download")
    await page.press("write")
    url = await page.tab.until("document.querySelector('#written a[href]')?.href", WAIT_S)
    return [read, await page.tab.page.evaluate(f"fetch({quoted(url)}).then((got) => got.text())")]


@feature
async def streamed_inputs(page: Page) -> bool:
    """A camera's frames go up while its event is under way."""
    await page.turn_to("Camera")
    await page.press_inside("#camera [title='grant webcam access'] button")
    await page.press_inside("#camera .button-wrap button")
    await page.tab.until(f"Number.parseInt({_value('frames')}) >= 4", WAIT_S, "frames are counted")
    await page.press_inside("#camera .button-wrap button")
    said = await page.value("frames")
    assert said.endswith("some"), said
    return int(said.split()[0]) >= 4


@feature
async def chat_interface(page: Page) -> bool:
    await page.turn_to("Chat")
    box = "[role=tabpanel]:not([style*='none']) [data-testid=textbox]"
    for text in ("First", "Second"):
        await page.tab.page.fill(box, text, timeout=WAIT_S * 1000)
        await page.tab.page.press(box, "Enter")
        await page.says(f"{text}, said after")
    return True


@feature
async def interface(page: Page) -> str:
    await page.turn_to("Interface")
    await page.type("who", "Ada")
    await page.tab.until(
        "(button => button && (button.click(), true))([...document.querySelectorAll('button')]"
        ".find((one) => one.innerText.trim() === 'Submit' && one.offsetParent))",
        WAIT_S,
    )
    return await page.shows("hello")


@feature
async def tabs_have_their_own_state(page: Page) -> list[str]:
    await page.turn_to("Buttons")
    twin = await page.another()
    await twin.turn_to("Buttons")
    await twin.press("mine")
    said = [await twin.shows("states")]
    await page.press("mine")
    await page.shows("states", "2")
    began = time.monotonic()
    had = len(page.noted("unload"))
    await twin.tab.page.close()
    await until(lambda: len(page.noted("unload")) > had, WAIT_S, "the twin's unload event")
    assert time.monotonic() - began < WAIT_S
    return [*said, await page.value("states")]


@feature
async def a_duplicated_tab_is_another(page: Page) -> list[str]:
    """A window that a page opens begins with a copy of its session storage, as a duplicated tab does."""
    opened = await page.chromium.opened_by(page.tab, "void window.open(location.href)")
    twin = Page(page.chromium, page.url, page.notes, opened)
    await twin.turn_to("Buttons")
    await twin.press("mine")  # what it shows may be a copy, too, but not its state
    said = await twin.shows("states", "1")
    await twin.tab.page.close()
    await page.press("mine")
    return [said, await page.shows("states", "3")]
