"""Gradio as a peer of `queue_throughput`, `cumulative` and `stalled`, under uvicorn, which serves it anyway."""

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


async def flood(megabytes: float) -> AsyncIterator[str]:
    """So much text in pieces of 40,000 letters, each unlike the one before."""
    for number in range(int(megabytes * 1e6 / 40_000)):
        yield f"{number:08d}" * 5000


with gradio.Blocks() as demo:
    gradio.api(noop, api_name="noop", concurrency_limit=50)
    gradio.Button().click(grow, gradio.Number(), gradio.Textbox())
    gradio.Button().click(converse, gradio.Number(), gradio.JSON())
    gradio.api(flood, api_name="flood", concurrency_limit=50)

app = gradio.mount_gradio_app(fastapi.FastAPI(), demo, path="")
