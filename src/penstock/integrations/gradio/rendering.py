"""Pages that Gradio's Node server renders (SSR): they pass no middleware, so Node itself puts our scripts in."""

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from starlette.types import Message, Scope, Send

from .inner import API

__all__ = ["EARLY", "announce", "with_cookie"]

HOOK = Path(__file__).parents[2] / "web" / "gradio" / "node.mjs"

EARLY = f"{API}/penstock/web/gradio/early.js"
"""The first of ours that such a page asks for, and what it waits for."""

OPTIONS = "NODE_OPTIONS"


def announce(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have each Node that this process starts load our hook, which changes Gradio's pages and nothing else.

    Gradio starts Node with our environment, before it makes its application, so that nothing later would do. Node
    18.18 or newer, which Gradio itself asks for.
    """
    option = f"--import={HOOK.as_uri()}"
    given = environment.get(OPTIONS, "")
    if option not in given.split():
        environment[OPTIONS] = f"{given} {option}".strip()


def with_cookie(owners: Any, scope: Scope, send: Send) -> Send:
    """`send` for what a page asks for first, so that its browser has a cookie before anything is begun."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *owners.page_headers(scope)]}
        await send(message)

    return sending
