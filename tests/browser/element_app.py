"""The app whose runs are shown by `<penstock-run>` and by the React hook."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import penstock

FILE = Path(__file__)

app = penstock.App()

POLL_S = 0.01


@app.function(concurrency_limit=None)
async def everything(question: str, gate: str, run: penstock.Run) -> AsyncGenerator[Any, None]:
    """Yields one of each kind, then waits until the file `gate` is there."""
    with run.span("search", kind="tool", input=question) as step:
        run.log("looking")
        run.log("the index is old", level="warning")
        step.output = 3
    try:
        with run.span("fetch", kind="tool"):
            _ = {"page": 1}[question]
    except KeyError:
        run.log("one page was left out", level="error")
    run.progress(2, 5, "pages")
    yield {"hits": 3}
    yield f"You asked: {question} "
    with run.span("think", kind="llm"):
        yield "Let me think."
        while not Path(gate).exists():
            await asyncio.sleep(POLL_S)
    run.progress(5, 5, "pages")
    yield "The wheel turns: see https://example.org/mill and `flow`."
    yield penstock.Replace({"flow": 7})


@app.function(concurrency_limit=1)
async def alone(gate: str) -> AsyncGenerator[str, None]:
    """Runs one at a time, each until the file `gate` is there."""
    yield "at work"
    while not Path(gate).exists():
        await asyncio.sleep(POLL_S)
    yield ", done"


@app.function(concurrency_limit=None)
def plenty(count: int, run: penstock.Run) -> Generator[Any, None, str]:
    """More steps, values and warnings than a person looks at."""
    for number in range(count):
        with run.span(f"step {number}", kind="tool"):
            yield f"Words of step {number}. "
        yield {"number": number}
        run.log(f"warning {number}", level="warning")
    return "all done"


@app.function(concurrency_limit=None)
async def fail(run: penstock.Run) -> AsyncGenerator[str, None]:
    """Breaks inside a step."""
    yield "So far so good. "
    with run.span("turn", kind="tool"):
        raise RuntimeError("the lever broke")


@app.function(concurrency_limit=None, cumulative=True)
async def grow(words: int) -> AsyncGenerator[str, None]:
    """Yields its whole text each time."""
    text = ""
    for number in range(words):
        text += f"word {number} "
        yield text
        await asyncio.sleep(0)


@app.function(concurrency_limit=None, retries=1)
async def second(gate: str, run: penstock.Run) -> AsyncGenerator[str, None]:
    """Gets it right at the second attempt."""
    with run.span(f"attempt {run.attempt}"):
        if run.attempt == 1:
            yield "lost words"
            while not Path(gate).exists():
                await asyncio.sleep(POLL_S)
            raise RuntimeError("once more")
        yield "inside"
    yield "kept words"
