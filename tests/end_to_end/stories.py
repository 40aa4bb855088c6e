"""The app that these tests serve, and what a run of each of its functions must lead to.

Each function exists twice: `NAME`, which a crash interrupts, and `NAME-again`, which begins anew after one.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import penstock

FILE = Path(__file__)

app = penstock.App()

PIECES = (
    "plain ",
    "naïve ",
    "日本語 ",
    "🙂👩‍👧 ",
    "\n\n",
    "data: x\r\n",
    "id: 9-9\n",
    '"\\ ',
    "\u2028",
    ": ",
)
"""What a wire could trip over: several bytes a character, line breaks of every kind, its own field names."""


def story(seed: int, steps: int) -> list[str]:
    """The same pieces of text for the same seed."""
    chance = Random(seed)
    return [f"{number} {chance.choice(PIECES)}" for number in range(steps)]


class Expected(NamedTuple):
    """What the fold of a finished run holds."""

    text: str = ""
    values: Sequence[Any] = ()
    data: bytes = b""
    value: Any = None
    done: float | None = None
    result: Any = None


async def write(seed: int, steps: int, pause_ms: float) -> AsyncGenerator[str, None]:
    for piece in story(seed, steps):
        yield piece
        await asyncio.sleep(pause_ms / 1000)


def count(seed: int, steps: int, pause_ms: float) -> Generator[Any, None, int]:
    for number, piece in enumerate(story(seed, steps)):
        yield piece
        yield {"number": number, "piece": piece}
        time.sleep(pause_ms / 1000)
    return steps


async def think(seed: int, steps: int, pause_ms: float, run: penstock.Run) -> AsyncGenerator[str, None]:
    with run.span("think", kind="agent", input={"seed": seed}):
        for number, piece in enumerate(story(seed, steps)):
            with run.span(f"step {number}") as step:
                yield piece
                step.output = number
            await asyncio.sleep(pause_ms / 1000)


def measure(seed: int, steps: int, pause_ms: float, run: penstock.Run) -> int:
    for piece in run.tqdm(story(seed, steps)):
        run.log(piece, level="debug")
        time.sleep(pause_ms / 1000)
    return seed


def pack(seed: int, steps: int, pause_ms: float) -> Generator[bytes | penstock.Replace, None, None]:
    for number, piece in enumerate(story(seed, steps)):
        yield piece.encode()
        yield penstock.Replace({"packed": number + 1})
        time.sleep(pause_ms / 1000)


async def tell(seed: int, steps: int, pause_ms: float) -> AsyncGenerator[str, None]:
    """All of it so far, with a cursor mark: every other yield changes nothing but the mark."""
    text = ""
    for piece in story(seed, steps):
        text += piece
        yield text
        yield text + "▌"
        await asyncio.sleep(pause_ms / 1000)
    yield text


FUNCTIONS: tuple[Callable[..., Any], ...] = (write, count, think, measure, pack, tell)

for function in FUNCTIONS:
    given: dict[str, Any] = {"concurrency_limit": None, "cumulative": function is tell}
    app.function(**given)(function)
    app.function(name=f"{function.__name__}-again", on_crash="retry", **given)(function)


def expected(name: str, seed: int, steps: int) -> Expected:
    """What a run of the function that went to its end has led to."""
    pieces = story(seed, steps)
    text = "".join(pieces)
    values = [{"number": number, "piece": piece} for number, piece in enumerate(pieces)]
    return {
        "write": Expected(text),
        "count": Expected(text, values, result=steps),
        "think": Expected(text),
        "measure": Expected(done=steps, result=seed),
        "pack": Expected(data=text.encode(), value={"packed": steps}),
        "tell": Expected(value=text),
    }[name.removesuffix("-again")]
