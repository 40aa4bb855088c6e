"""The app whose runs the page of one run is tested with: deep, wide, long, large, fast and failing ones."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import penstock

FILE = Path(__file__)

app = penstock.App()

WORDS = "the water runs through the gate and turns the wheel of the mill without losing a drop "


@app.function(concurrency_limit=None)
async def agent(rounds: int, pause_ms: float, run: penstock.Run) -> AsyncGenerator[Any, None]:
    """Steps in steps: plans, models that speak, tools that take and give, some of which fail."""
    with run.span("agent", kind="agent", input={"task": "mend the mill", "rounds": rounds}) as whole:
        for number in range(rounds):
            with run.span(f"round {number}", kind="chain"):
                run.log(f"round {number} begins", round=number)
                with run.span("think", kind="llm", input=f"What is to be done in round {number}?") as step:
                    for word in f"In round {number} {WORDS}".split():
                        yield f"{word} "
                        await asyncio.sleep(pause_ms / 1000)
                    step.usage(
                        input_tokens=100 + number, output_tokens=20, cost=0.002, currency="USD", model="small"
                    )
                    step.output = f"thought {number}"
                try:
                    with run.span("measure", kind="tool", input={"gauge": number, "unit": "l/s"}) as tool:
                        tool.output = {"flow": read_gauge(number)}
                except ValueError:
                    run.log(f"gauge {number} was skipped", level="warning")
                await asyncio.sleep(pause_ms / 1000)
        whole.output = "mended"
    yield "The mill is mended. "
    yield {"rounds": rounds}


def read_gauge(number: int) -> float:
    """Every third is stuck."""
    if number % 3 == 1:
        raise ValueError(f"gauge {number} is stuck")
    return number * 1.5


@app.function(concurrency_limit=None)
def deep(levels: int, run: penstock.Run) -> Generator[Any, None, str]:
    """One step inside another, and an error at the bottom."""
    yield from _deeper(levels, run)
    return "up again"


def _deeper(levels: int, run: penstock.Run) -> Generator[Any, None, None]:
    with run.span(f"level {levels}", kind="chain", input=levels) as step:
        yield f"down {levels} "
        if levels:
            yield from _deeper(levels - 1, run)
        step.output = levels


@app.function(concurrency_limit=None)
async def failing(run: penstock.Run) -> AsyncGenerator[str, None]:
    """Ends with an error, inside a step."""
    yield "So far so good. "
    with run.span("outer", kind="chain"), run.span("inner", kind="tool", input="a lever"):
        run.log("it creaks", level="error")
        raise RuntimeError("the lever broke")


@app.function(concurrency_limit=None)
def many(events: int, run: penstock.Run) -> Generator[Any, None, int]:
    """A run of so many events: steps with text, logs and values."""
    count = 0
    with run.span("all", kind="agent"):
        while count < events - 4:
            kind = "tool" if count % 3 else "llm"
            with run.span(f"step {count}", kind=kind, input={"count": count}) as step:
                yield f"Words of step {count}. "
                run.log(f"log of step {count}", level="error" if count % 1000 == 0 else "info")
                yield {"value": count}
                step.output = count
            count += 5
    return count


@app.function(concurrency_limit=None)
def large(run: penstock.Run) -> Generator[Any, None, dict[str, Any]]:
    """Values beyond what a page should hold unasked."""
    with run.span("large", kind="tool", input={"given": "in" * 40_000}) as step:
        yield {"rows": [f"row {number} of the large value" for number in range(9_000)]}
        step.output = "out" * 30_000
    yield penstock.Replace({"rest": "r" * 50_000})
    yield {"small": 1}
    return {"result": "e" * 100_000}


@app.function(concurrency_limit=None)
async def fast(characters: int, per_s: int, seconds: float) -> AsyncGenerator[str, None]:
    """A text of so many characters at once, and from then on a word so many times a second."""
    yield (WORDS * (characters // len(WORDS) + 1))[:characters]
    begin = asyncio.get_running_loop().time()
    for number in range(int(per_s * seconds)):
        yield f"word {number} " if number % 12 else f"word {number}\n"
        await asyncio.sleep(begin + (number + 1) / per_s - asyncio.get_running_loop().time())


@app.function(concurrency_limit=None, retries=1)
def again(run: penstock.Run) -> Generator[Any, None, None]:
    """Its first attempt breaks; the second goes on from the checkpoint."""
    if not run.restored:
        with run.span("first", kind="chain", input="kept"):
            yield "This is kept. "
        run.checkpoint({"first": True})
    with run.span("second", kind="llm"):
        yield "This is said once more. "
        if run.attempt == 1:
            raise RuntimeError("the first attempt broke")


@app.function(concurrency_limit=None, cumulative=True)
async def growing(characters: int, per_s: int, seconds: float) -> AsyncGenerator[str, None]:
    """As `fast`, but each yield is all of the text so far."""
    text = ""
    async for words in fast(characters, per_s, seconds):
        text += words
        yield text
