"""The app whose runs, queue and forms the console's tests look at."""

import asyncio
from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

import penstock

FILE = Path(__file__)

app = penstock.App(default_concurrency_limit=2)


@app.function(concurrency_limit=None)
async def wait(seconds: float = 600) -> AsyncIterator[str]:
    """Say one word, then wait."""
    yield "waiting"
    await asyncio.sleep(seconds)


@app.function(concurrency_limit=1, concurrency_id="gpu", priority=lambda given: given["urgent"])
async def draw(what: str = "a mill", urgent: int = 0, seconds: float = 600) -> AsyncIterator[str]:
    """Draw a picture, one at a time."""
    yield f"drawing {what}"
    await asyncio.sleep(seconds)


@app.function(concurrency_limit=1, concurrency_id="gpu", rate_limit="30/min")
async def upscale(factor: int = 2) -> int:
    """Make it larger."""
    return factor


@app.function
async def fail(words: str = "The mill has no water.") -> None:
    """Raise an error."""
    raise RuntimeError(words)


@app.function
async def count(to: int = 3) -> int:
    """Count."""
    return to


class Tone(StrEnum):
    WARM = "warm"
    COOL = "cool"


class Item(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
    amount: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1


class Options(msgspec.Struct):
    depth: Annotated[int, msgspec.Meta(ge=1, le=8)] = 3
    tone: Tone = Tone.WARM
    note: str | None = None


@app.function
async def order(
    title: str,
    items: list[Item],
    options: Options,
    ratio: float = 0.5,
    size: Literal["small", "large"] = "small",
    gift: bool = False,
    tags: list[str] = [],  # noqa: B006 - a default as an app may have it
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Order several things.

    What is ordered comes back as it was understood.
    """
    given = {"title": title, "items": items, "options": options, "ratio": ratio, "size": size}
    return {**given, "gift": gift, "tags": tags, "extra": extra}


@app.function
async def weigh(letter: penstock.File, more: list[penstock.File] = []) -> dict[str, Any]:  # noqa: B006
    """Weigh letters."""
    with letter.open() as opened:
        content = opened.read()
    return {
        "name": letter.name,
        "size": letter.size,
        "sum": sum(content) % 65521,
        "more": [f.name for f in more],
    }
