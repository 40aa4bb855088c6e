"""Pages that Gradio's Node server renders (SSR): they pass no middleware, so Node itself puts our scripts in."""

from pathlib import Path
from typing import Any

from starlette.types import Message, Scope, Send

from ...settings import environment, pass_on
from .inner import API

__all__ = ["EARLY", "announce", "with_cookie", "with_hook"]

HOOK = Path(__file__).parents[2] / "web" / "gradio" / "node.mjs"

EARLY = f"{API}/penstock/web/gradio/early.js"
"""The first of ours that such a page asks for, and what it waits for."""

OPTIONS = "NODE_OPTIONS"


def announce() -> None:
    """Have each Node that this process starts load our hook, which changes Gradio's pages and nothing else.

    Gradio starts Node with our environment, before it makes its application, so that nothing later would do. Node
    18.18 or newer, which Gradio itself asks for.
    """
    pass_on(OPTIONS, with_hook(environment(OPTIONS)))


def with_hook(given: str) -> str:
    """Node's options, and ours after them, once."""
    option = f"--import={HOOK.as_uri()}"
    return given if option in given.split() else f"{given} {option}".strip()


def with_cookie(owners: Any, scope: Scope, send: Send) -> Send:
    """`send` for what a page asks for first, so that its browser has a cookie before anything is begun."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *owners.page_headers(scope)]}
        await send(message)

    return sending
