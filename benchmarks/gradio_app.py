"""Gradio as a peer: `queue_throughput` calls a function that does nothing, `stalled` one that says much."""

from collections.abc import AsyncIterator

import fastapi
import gradio


async def noop() -> None:
    """Nothing: what is measured is the queue. `async`, so that no thread is in it either."""


async def flood(megabytes: float) -> AsyncIterator[str]:
    """So much text in pieces of 40,000 letters, each unlike the one before."""
    for number in range(int(megabytes * 1e6 / 40_000)):
        yield f"{number:08d}" * 5000


with gradio.Blocks() as demo:
    gradio.api(noop, api_name="noop", concurrency_limit=50)
    gradio.api(flood, api_name="flood", concurrency_limit=50)

app = gradio.mount_gradio_app(fastapi.FastAPI(), demo, path="")
