"""The peer of `queue_throughput`: Gradio with one function that does nothing; uvicorn serves it, as by default."""

import fastapi
import gradio


async def noop() -> None:
    """Nothing: what is measured is the queue. `async`, so that no thread is in it either."""


with gradio.Blocks() as demo:
    gradio.api(noop, api_name="noop", concurrency_limit=50)

app = gradio.mount_gradio_app(fastapi.FastAPI(), demo, path="")
