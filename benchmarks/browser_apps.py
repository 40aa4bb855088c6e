"""The same text for two pages: Penstock's console and Gradio's."""

import importlib.util
from collections.abc import AsyncIterator

import penstock

from .apps import TOKEN, paced

BEFORE_CHARACTERS = 95_000
"""There at once: what is measured is a long text that grows, not a short one."""

CHANGES = 1_000
"""Of the text, at `PER_S`: 5 seconds, at the end of which it has 100 KB."""

PER_S = 200

MANY = 100_000
"""Tokens as fast as they come."""


async def growing(count: int, per_s: float, before: int) -> AsyncIterator[str]:
    """A long text so far, each time a token has come."""
    text = TOKEN * (before // len(TOKEN))
    async for _ in paced(count, per_s):
        text += TOKEN
        yield text


app = penstock.App()


async def grow(
    count: int = CHANGES, per_s: float = PER_S, before: int = BEFORE_CHARACTERS
) -> AsyncIterator[str]:
    """As Gradio's functions yield it."""
    async for text in growing(count, per_s, before):
        yield text


async def tokens(
    count: int = CHANGES, per_s: float = PER_S, before: int = BEFORE_CHARACTERS
) -> AsyncIterator[str]:
    """As a model sends it."""
    yield TOKEN * (before // len(TOKEN))
    async for _ in paced(count, per_s):
        yield TOKEN


for call in (grow, tokens):
    app.function(name=call.__name__, cumulative=call is grow)(call)
    app.function(name=f"{call.__name__}_each", cumulative=call is grow, rate=0)(call)


@app.function
async def steps(count: int = MANY, run: penstock.Run = None) -> AsyncIterator[object]:  # type: ignore[assignment]
    """An agent's long night: a hundred thousand events, of which every tenth begins or ends a step."""
    for number in range(count // 10):
        with run.span(f"step {number}", kind="tool" if number % 3 else "llm", input={"number": number}):
            for part in range(6):
                yield {"number": number, "part": part} if part % 2 else f"{number}.{part} "
        run.log(f"step {number} is done")


if importlib.util.find_spec("gradio") is not None:
    import fastapi
    import gradio

    async def gradio_grow(count: float, per_s: float, before: float) -> AsyncIterator[str]:
        """The text so far."""
        async for text in growing(int(count), per_s, int(before)):
            yield text

    with gradio.Blocks() as demo:
        given = [gradio.Number(CHANGES), gradio.Number(PER_S), gradio.Number(BEFORE_CHARACTERS)]
        box, marked = gradio.Textbox(label="answer"), gradio.Markdown()
        gradio.Button("as a textbox").click(gradio_grow, given, box)
        gradio.Button("as markdown").click(gradio_grow, given, marked)

    peer = gradio.mount_gradio_app(fastapi.FastAPI(), demo, path="")
