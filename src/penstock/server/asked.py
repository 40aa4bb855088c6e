"""What a reader asks for, from its request."""

import contextlib
from typing import NamedTuple, Self

from starlette.requests import HTTPConnection

from ..errors import BadRequest
from ..models import Cursor
from ..protocol.cursor import parse_cursor, parse_cursors

__all__ = ["Asked", "check_rate"]

DEFAULT_RATE = 20.0
"""Updates a second to one reader: as many as a person sees as motion in text."""

LEAST_RATE, MOST_RATE = 1.0, 60.0
"""Updates a second that may be asked for, beside 0: in longer pauses a reader would seem dead to proxies and hold
up a server that leaves; a screen draws no more."""

RATES = f"0, or {LEAST_RATE:g} to {MOST_RATE:g} updates a second."

MAX_STREAMS = 100
"""Streams over one connection: each event carries the cursors of all, and a request line has its bounds too."""


class Asked(NamedTuple):
    """A reader's wishes.

    fold: the current state first. poll_s: None for one that wants the events as they come.
    """

    cursor: Cursor | None
    rate: float
    fold: bool
    poll_s: float | None

    @classmethod
    def of_several(cls, request: HTTPConnection) -> "dict[str, Asked]":
        """Of each stream that a reader of several asks for: `stream=NAME` or `stream=NAME@CURSOR`.

        Raises as `of`.
        """
        for name in {"after", "poll"} & request.query_params.keys():
            hint = "Each stream brings its own cursor, stream=NAME@CURSOR, and is sent as it comes."
            raise BadRequest(f"{name}= can't be used with several streams.", hint=hint, field=name)
        asked = request.query_params.getlist("stream")
        if not 1 <= len(asked) <= MAX_STREAMS:
            raise BadRequest(
                f"{len(asked)} streams were asked for.",
                hint=f"stream=NAME, 1 to {MAX_STREAMS} times.",
                field="stream",
            )
        pairs = [one.partition("@") for one in asked]
        # The header wins, for all: it is from where an EventSource comes back.
        last = request.headers.get("last-event-id")
        cursors = (
            parse_cursors(last, len(pairs)) if last else [_cursor_in(text, "stream") for _, _, text in pairs]
        )
        rate, fold = _rate(request), _flag(request, "fold")
        wishes = {
            name: cls(cursor, rate, fold and cursor is None, None)
            for (name, _, _), cursor in zip(pairs, cursors, strict=True)
        }
        if len(wishes) < len(pairs):
            raise BadRequest("A stream was asked for twice.", hint="Name each once.", field="stream")
        return wishes

    @classmethod
    def of(cls, request: HTTPConnection) -> Self:
        """Raises BadRequest and BadCursor, with the parameter's name."""
        polls = "poll" in request.query_params
        poll_s = _number(request, "poll", 0, "Seconds to wait, 0 or more.") if polls else None
        cursor = _cursor(request)
        # A cursor wins: an EventSource comes back with its first URL.
        return cls(cursor, _rate(request), _flag(request, "fold") and cursor is None, poll_s)


def _cursor(request: HTTPConnection) -> Cursor | None:
    # The header wins: an EventSource comes back with its first URL and the id of what it has seen since.
    text = request.headers.get("last-event-id") or request.query_params.get("after")
    return _cursor_in(text, "after")


def _rate(request: HTTPConnection) -> float:
    return check_rate(_number(request, "rate", DEFAULT_RATE, RATES))


def check_rate(rate: float) -> float:
    """The rate that is served, where it may be asked for. Raises BadRequest."""
    if rate == 0 or LEAST_RATE <= rate <= MOST_RATE:
        return float(round(rate))  # readers of one rate are served together
    raise BadRequest(f"rate={rate:g} can't be used.", hint=RATES, field="rate")


def _cursor_in(text: str | None, field: str) -> Cursor | None:
    return parse_cursor(text, field) if text else None


def _flag(request: HTTPConnection, name: str) -> bool:
    text = request.query_params.get(name, "0")
    if text in ("0", "1"):
        return text == "1"
    raise BadRequest(f"{name}={text!r} can't be used.", hint="0 or 1.", field=name)


def _number(request: HTTPConnection, name: str, default: float, hint: str) -> float:
    text = request.query_params.get(name)
    if text is None:
        return default
    with contextlib.suppress(ValueError):
        value = float(text)
        if value >= 0:
            return value
    raise BadRequest(f"{name}={text!r} can't be used.", hint=hint, field=name)
