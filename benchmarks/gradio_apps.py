"""What `gradio` measures: one app, as Gradio serves it and with `penstock.gradio.install()` before it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastapi
import gradio

from .apps import grown

__all__ = ["hardened", "stock"]


async def noop() -> None:
    """Nothing: what is measured is the queue."""


def grow(count: float) -> Iterator[str]:
    """The text so far after each token, as apps yield it."""
    yield from grown(int(count))


def converse(count: float) -> Iterator[list[dict[str, str]]]:
    """The same as the last message of a conversation, one list that is changed and yielded again."""
    history = [{"role": "user", "content": "?"}, {"role": "assistant", "content": ""}]
    for text in grown(int(count)):
        history[-1]["content"] = text
        yield history


def flood(count: float, size: float, done: str) -> Iterator[str]:
    """So many texts of so many bytes, each unlike the one before; then a file that says that this was all."""
    for number in range(int(count)):
        yield f"{number:08d}" * (int(size) // 8)
    Path(done).touch()


def _app() -> fastapi.FastAPI:
    kind: dict[str, Any] = {"type": "messages"} if gradio.__version__.startswith("5.") else {}
    with gradio.Blocks() as demo:
        number, size, text, done = gradio.Number(), gradio.Number(), gradio.Textbox(), gradio.Textbox()
        gradio.api(noop, api_name="noop", concurrency_limit=50)
        gradio.Button().click(grow, number, text)
        gradio.Button().click(converse, number, gradio.Chatbot(**kind))
        gradio.Button().click(flood, [number, size, done], text)
    return gradio.mount_gradio_app(fastapi.FastAPI(), demo, path="")


def stock() -> fastapi.FastAPI:
    """Gradio as it is."""
    return _app()


def hardened() -> fastapi.FastAPI:
    """The same app, with one line more."""
    import penstock.gradio

    penstock.gradio.install(rate=float(os.environ.get("BENCH_RATE", "20")))
    return _app()
