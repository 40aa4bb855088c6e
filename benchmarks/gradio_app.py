"""The peer of `queue_throughput` and `cumulative`: Gradio, which uvicorn serves, as by default."""

from collections.abc import AsyncIterator

import fastapi
import gradio

from .apps import grown


async def noop() -> None:
    """Nothing: what is measured is the queue. `async`, so that no thread is in it either."""


async def grow(count: float) -> AsyncIterator[str]:
    """The text so far, as Gradio's functions yield it."""
    for text in grown(int(count)):
        yield text


with gradio.Blocks() as demo:
    gradio.api(noop, api_name="noop", concurrency_limit=50)
    gradio.Button().click(grow, gradio.Number(), gradio.Textbox())

app = gradio.mount_gradio_app(fastapi.FastAPI(), demo, path="")
