"""Pages that Gradio's Node server renders (SSR): they pass no middleware, so Node itself puts our scripts in."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.types import Message, Scope, Send

from ....settings import environment, passed_on
from .inner import API

__all__ = ["EARLY", "announce", "with_cookie", "with_hook"]

HOOK = Path(__file__).parents[3] / "web" / "gradio" / "node.mjs"

EARLY = f"{API}/penstock/web/gradio/early.js"
"""The first of ours that such a page asks for, and what it waits for."""

OPTIONS = "NODE_OPTIONS"
"""What Node 18.18 and newer take `--import` from; Gradio itself asks for as much."""

MARK = "__penstock__"
"""On what starts Node: it is ours already."""

log = logging.getLogger("penstock")


def announce() -> None:
    """Have Gradio's Node load our hook when it is started, and no other that the program may start.

    It is started before Gradio makes its application, so that nothing later would do.
    """
    try:
        from gradio import node_server
    except ImportError:
        return  # this Gradio renders nothing
    start = getattr(node_server, "start_node_process", None)
    if start is None:
        log.warning("Pages that Node renders are left as they are: how this Gradio starts it is not known.")
    elif not hasattr(start, MARK):
        node_server.start_node_process = _announcing(start)


def _announcing(start: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(start)
    def announcing(*args: Any, **kwargs: Any) -> Any:
        with passed_on(OPTIONS, with_hook(environment(OPTIONS))):
            return start(*args, **kwargs)

    setattr(announcing, MARK, True)
    return announcing


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
