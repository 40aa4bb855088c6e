"""The app of the React page: its name is that of the docs."""

import asyncio
from collections.abc import AsyncGenerator

import penstock

app = penstock.App(store="memory:")


@app.function(concurrency_limit=None)
async def answer(question: str) -> AsyncGenerator[str, None]:
    """Answers at once, or never: where it is asked to wait."""
    if not question:
        raise ValueError("there is no question")
    for word in f"You asked: {question}".split():
        yield f"{word} "
        await asyncio.sleep(0.01)
    while question == "wait":
        await asyncio.sleep(0.01)
