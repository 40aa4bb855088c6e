"""The peer of `queue_throughput` and `cumulative`: Gradio, which uvicorn serves, as by default."""

from collections.abc import AsyncIterator

import fastapi
import gradio

from .apps import conversation_with, grown


async def noop() -> None:
    """Nothing: what is measured is the queue. `async`, so that no thread is in it either."""


async def grow(count: float) -> AsyncIterator[str]:
    """The text so far, as Gradio's functions yield it."""
    for text in grown(int(count)):
        yield text


async def converse(count: float) -> AsyncIterator[list[dict[str, str]]]:
    """The same as the last message of a conversation."""
    for text in grown(int(count)):
        yield conversation_with(text)


with gradio.Blocks() as demo:
    gradio.api(noop, api_name="noop", concurrency_limit=50)
    gradio.Button().click(grow, gradio.Number(), gradio.Textbox())
    gradio.Button().click(converse, gradio.Number(), gradio.JSON())

app = gradio.mount_gradio_app(fastapi.FastAPI(), demo, path="")
