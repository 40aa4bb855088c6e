"""Telling those who listen to a store."""

import logging
from collections.abc import Iterable

from ..models import Append, Chunk
from .base import Listener

__all__ = ["tell_all", "tell_chunks"]

log = logging.getLogger("penstock")


def tell_chunks(listeners: Iterable[Listener], appended: Iterable[Append]) -> None:
    """Tell each of what was appended, one chunk after the other: as `tell_all`, which would cost twice as much."""
    for item in appended:
        stream, chunk = item.stream, item.chunk
        if not chunk.empty:
            for listener in tuple(listeners):
                try:
                    listener(stream, chunk)
                except Exception:
                    log.exception("A listener failed.")


def tell_all(listeners: Iterable[Listener], stream: str | None, chunk: Chunk | None) -> None:
    """Tell each, though another fails, or leaves at that; see `Listener`."""
    for listener in tuple(listeners):
        try:
            listener(stream, chunk)
        except Exception:  # of one listener: what follows is told to the others all the same
            log.exception("A listener failed.")
