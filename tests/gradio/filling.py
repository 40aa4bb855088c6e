"""What somebody puts into each component of `inputs_app.py`, and what its function is to be told of it."""

import struct
import wave
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Page

__all__ = ["ACTS", "TOLD", "fill"]

Act = Callable[[Page, Path], Awaitable[None]]

ACTS: dict[str, Act] = {}
"""By the component's name; each returns once the page shows it. Files are made in the folder that it is given."""

TOLD: dict[str, Any] = {}


async def fill(page: Page, folder: Path) -> None:
    for act in ACTS.values():
        await act(page, folder)


def told(value: Any) -> Callable[[Act], Act]:
    """Files are told by their names."""

    def keep(act: Act) -> Act:
        name = act.__name__
        ACTS[name], TOLD[name] = act, value
        return act

    return keep


def png(folder: Path) -> Path:
    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head, rows = struct.pack(">IIBBBBB", 2, 1, 8, 0, 0, 0, 0), zlib.compress(b"\0\0\xff")
    path = folder / "drawn.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b""))
    return path


def sound(folder: Path) -> Path:
    path = folder / "said.wav"
    with wave.open(str(path), "wb") as to:
        to.setnchannels(1)
        to.setsampwidth(2)
        to.setframerate(8000)
        to.writeframes(bytes(16000))
    return path


def text_file(folder: Path, name: str = "note.txt") -> Path:
    path = folder / name
    path.write_text("by hand")
    return path


async def type_into(page: Page, selector: str, text: str) -> None:
    field = page.locator(selector).first
    await field.click()
    await field.press("Control+a")
    await field.press_sequentially(text)


async def option(page: Page, name: str) -> None:
    await page.get_by_role("option", name=name, exact=True).click()


@told("typed")
async def text(page: Page, _: Path) -> None:
    await type_into(page, "#text textarea, #text input", "typed")


@told("")
async def secret(page: Page, _: Path) -> None:
    await type_into(page, "#secret input", "hidden")


@told(7.5)
async def number(page: Page, _: Path) -> None:
    await type_into(page, "#number input", "7.5")


@told(9)
async def slider(page: Page, _: Path) -> None:
    await type_into(page, "#slider input[type=number]", "9")


@told(True)
async def checkbox(page: Page, _: Path) -> None:
    await page.locator("#checkbox input").check()


@told(["a", 2])
async def checkboxes(page: Page, _: Path) -> None:
    await page.get_by_label("b", exact=True).check()


@told(2)
async def radio(page: Page, _: Path) -> None:
    await page.locator("#radio").get_by_label("two").check()


@told(2)
async def dropdown(page: Page, _: Path) -> None:
    await page.locator("#dropdown input").first.click()
    await option(page, "two")


@told("my own")
async def custom(page: Page, _: Path) -> None:
    await type_into(page, "#custom input", "my own")
    await page.locator("#custom input").first.press("Enter")


@told(["green", 3])
async def several(page: Page, _: Path) -> None:
    await page.locator("#several input").first.click()
    await option(page, "blue")
    await page.keyboard.press("Escape")


@told("#ff0000")
async def colour(page: Page, _: Path) -> None:
    await page.locator("#colour button").first.click()
    await type_into(page, "#colour input[type=text]", "#ff0000")
    await page.keyboard.press("Tab")


@told("2024-05-06 07:08:09")
async def time(page: Page, _: Path) -> None:
    await type_into(page, "#time input", "2024-05-06 07:08:09")
    await page.locator("#time input").first.press("Enter")


@told("x = 1")
async def code(page: Page, _: Path) -> None:
    await page.locator("#code .cm-content").click()
    await page.keyboard.type("x = 1")


@told("file note.txt")
async def file(page: Page, folder: Path) -> None:
    await page.locator("#file input[type=file]").set_input_files(text_file(folder))
    await page.locator("#file").get_by_text("note").first.wait_for()


@told(["file one.txt", "file two.txt"])
async def files(page: Page, folder: Path) -> None:
    both = [text_file(folder, "one.txt"), text_file(folder, "two.txt")]
    await page.locator("#files input[type=file]").set_input_files(both)
    await page.locator("#files").get_by_text("two").first.wait_for()


@told("file drawn.png")
async def image(page: Page, folder: Path) -> None:
    await page.locator("#image input[type=file]").set_input_files(png(folder))
    await page.locator("#image img").wait_for()


@told(None)
async def picture(page: Page, _: Path) -> None:
    await page.locator(
        "#picture button[aria-label=Clear], #picture button[aria-label='Remove Image']"
    ).first.click()


@told("file said.wav")
async def audio(page: Page, folder: Path) -> None:
    await page.locator("#audio input[type=file]").set_input_files(sound(folder))
    await page.locator("#audio [aria-label=Play], #audio button.play-pause-button").first.wait_for()


@told("file clip.mp4")
async def video(page: Page, folder: Path) -> None:
    await page.locator("#video input[type=file]").set_input_files(text_file(folder, "clip.mp4"))
    await page.locator("#video video").first.wait_for(timeout=8000)


@told([["file drawn.png", None]])
async def gallery(page: Page, folder: Path) -> None:
    await page.locator("#gallery input[type=file]").set_input_files(png(folder))
    await page.locator("#gallery img").first.wait_for()


@told({"text": "look", "files": ["file note.txt"]})
async def message(page: Page, folder: Path) -> None:
    await type_into(page, "#message textarea", "look")
    await page.locator("#message input[type=file]").set_input_files(text_file(folder))
    await page.locator("#message .thumbnail-item, #message .thumbnail-image").first.wait_for(timeout=5000)


@told([["x", 1], ["changed", 2]])
async def table(page: Page, _: Path) -> None:
    await page.locator("#table [data-row='1'][data-col='0']").first.dblclick()
    await page.keyboard.press("Control+a")
    await page.keyboard.type("changed")
    await page.keyboard.press("Enter")


@told(None)
async def note(page: Page, _: Path) -> None:
    """It is an input of no function."""
    await type_into(page, "#note textarea", "for me")
