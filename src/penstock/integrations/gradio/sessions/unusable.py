"""What Gradio's clients are told while the store can't be used."""

import os
from pathlib import PurePath

from ....errors import PenstockError, StoreError, StoreFull, StoreLocked
from ..seams.inner import Answer, refusal
from ..service import Service

__all__ = ["refused_begin", "refused_read", "without_folder"]

PASSES = (StoreFull, StoreLocked)
"""What is over without anybody's help, or soon: asking again is worth it."""

AGAIN = (b"retry-after", b"1")


def refused_begin(service: Service, error: Exception, what: str = "") -> Answer:
    """An event or a call can't be begun: 503 where asking again may help, else 500, as Gradio's own clients say
    of each 503 that its line is full. what: stands before the reason."""
    lasts = not isinstance(error, PenstockError) or (
        isinstance(error, StoreError) and not isinstance(error, PASSES) and not service.closing
    )
    said = f"{what}{_told(service, error)}"
    return refusal(500, said) if lasts else _again(said)


def refused_read(service: Service, error: Exception) -> Answer:
    """Anything else can't be answered now: who reads comes again by itself."""
    return _again(_told(service, error))


def _again(said: str) -> Answer:
    answer = refusal(503, said)
    return answer._replace(headers=[*answer.headers, AGAIN])


def _told(service: Service, error: Exception) -> str:
    if not isinstance(error, PenstockError):
        return "Penstock can't be started: the server's log says why."
    return without_folder(f"{error.message} {error.hint}".strip(), service.options.store)


def without_folder(said: str, store: str | None) -> str:
    """An error of a store as a visitor may read it: where its file lies is for the log alone."""
    folder = str(PurePath((store or "").removeprefix("sqlite:///")).parent)
    return said if folder == "." else said.replace(folder.rstrip(os.sep) + os.sep, "")
