"""Gradio's `launch()`: what it has served already, and having it served by another server than its own.

What is private of it stands in `surfaces.TABLE`.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from ....errors import ConfigError

__all__ = ["in_place_of_its_server", "is_launched_aloud", "is_mounted", "late", "never_block"]


def late() -> list[str]:
    """Apps of this process that are served already, in words, without what `install` would have put into them."""
    from gradio import Blocks

    found: list[Any] = getattr(Blocks, "get_instances", list)()
    return [_place(blocks) for blocks in found if _is_served(blocks) and not _is_ours(blocks)]


def is_mounted(blocks: Any) -> bool:
    """Whether it is part of another application, rather than launched."""
    return getattr(blocks, "custom_mount_path", None) is not None


def is_launched_aloud() -> bool:
    """Whether it is called, however deep, by a `launch()` that tells the terminal what it does.

    That one keeps `quiet` to itself; where it is not found, nothing is to be printed.
    """
    from gradio import Blocks

    code = getattr(inspect.unwrap(Blocks.launch), "__code__", None)
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None and not frame.f_locals.get("quiet", True)


def _is_served(blocks: Any) -> bool:
    return bool(getattr(blocks, "is_running", False)) or is_mounted(blocks)


def _is_ours(blocks: Any) -> bool:
    return bool(getattr(getattr(blocks, "_queue", None), "penstock_line", False))


def _place(blocks: Any) -> str:
    title = getattr(blocks, "title", None) or "Gradio"
    return (
        f"{title!r}, mounted at {blocks.custom_mount_path}" if is_mounted(blocks) else f"{title!r}, launched"
    )


def never_block(blocks: Any) -> None:
    """`launch()` returns, whatever it was asked for."""
    blocks.block_thread = lambda: None


@contextlib.contextmanager
def in_place_of_its_server(start: Callable[..., Any]) -> Iterator[None]:
    """While it lasts, `launch()` calls this instead of starting a server.

    Raises:
        ConfigError: This version of Gradio starts its server in another way.
    """
    from gradio import http_server

    own = getattr(http_server, "start_server", None)
    if own is None:
        raise ConfigError("This version of Gradio can't be given a server.", hint="Use: penstock gradio FILE")
    http_server.start_server = start
    try:
        yield
    finally:
        http_server.start_server = own
