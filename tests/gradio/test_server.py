"""The tests' own servers of Gradio."""

import asyncio
from pathlib import Path

import httpx

from .server import GradioServer

APP = """
import gradio
with gradio.Blocks() as demo:
    gradio.Markdown(gradio.__version__)
demo.launch()
"""


async def test_a_server_comes_back_on_its_port(tmp_path: Path) -> None:
    async with GradioServer("6.0", APP, hardened=False, cwd=tmp_path) as server:
        url = server.url
        said = httpx.get(f"{url}/config").json()["version"]
        await asyncio.to_thread(server.restart)
        assert server.url == url
        assert httpx.get(f"{url}/config").json()["version"] == said
    assert not server.running
    assert said.startswith("6.0")
