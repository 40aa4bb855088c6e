"""Asking a store that can't be used for a while: full, locked, or gone."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ....errors import StoreError

__all__ = ["patiently"]

T = TypeVar("T")

log = logging.getLogger("penstock")

AGAIN_S = 0.2
"""How soon it is asked again: Gradio goes on meanwhile, and what it says waits."""


async def patiently(
    ask: Callable[[], Awaitable[T]], what: str, unwanted: Callable[[], bool] = lambda: False
) -> T | None:
    """Ask until it answers; None once the answer is unwanted. Said once in the log, as `what`."""
    said = False
    while not unwanted():
        try:
            return await ask()
        except StoreError as error:
            if not said:
                log.warning("%s waits for the store: %s", what, error.message)
            said = True
        await asyncio.sleep(AGAIN_S)
    return None
