"""A run of large values, which begins anew from its last checkpoint when its process dies."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from random import Random
from typing import Any

import penstock

FILE = Path(__file__)

STEPS = 12
SIZES = (10, 20_000, 60_000, 150_000, 500_000)
"""Bytes of one value: small, just below and above what goes in one piece, and many pieces."""

app = penstock.App()


def value(seed: int, step: int) -> list[str]:
    """The same for the same seed and step; a third of it takes more than a byte a character, or is escaped."""
    chance = Random(seed * 1000 + step)
    size = chance.choice(SIZES)
    return [chance.randbytes(size // 4).hex(), '\\"é\n' * (size // 16)]


def text(seed: int, step: int) -> str:
    """A long text for some steps."""
    return f"{step} " + "naïve 🙂" * (5000 if step % 5 == seed % 5 else 1)


@app.function(on_crash="retry", concurrency_limit=None)
async def bulky(seed: int, run: penstock.Run) -> AsyncGenerator[Any, None]:
    for step in range(run.restored or 0, STEPS):
        yield text(seed, step)
        with run.span("step", input=value(seed, step)) as span:
            yield value(seed, step)
            span.output = step
        yield penstock.Replace(value(seed, step + 1))
        if step % 3 == 2:
            run.checkpoint(step + 1)
        await asyncio.sleep(0.03)
