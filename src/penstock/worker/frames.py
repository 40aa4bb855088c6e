"""Cumulative values to key frames and deltas: what a function yields whole goes out as what has changed."""

from typing import Any

import msgspec

from ..errors import BadYield
from ..events import MAX_EVENT_BYTES, Replace
from ..protocol.delta import Delta, diff
from .emission import check_size, json_of, plain_text, size_of

__all__ = ["Frames"]

WORTH = 2
"""A delta goes out only where the value is at least so many times as large: key frames let a reader begin, and
one costs less to read than what adds up to it."""

OPERATION_BYTES = 20
"""About what an `append` weighs beside its text."""

SAFE_CHARS = MAX_EVENT_BYTES // 6
"""A text of so few code points is within `MAX_EVENT_BYTES` whatever it says: a control character has six bytes."""

_json = msgspec.json.Encoder()
_plain: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


class Frames:
    """The last cumulative value of each span, from which the next one's delta is made. One per attempt of a run.

    What is kept is the value's JSON form, or a text: what the function does to its object changes nothing here.
    """

    def __init__(self) -> None:
        self._last: dict[str | None, Any] = {}

    def restart(self) -> None:
        """A reset may lead back to here: the next frame of each span is a key frame."""
        self._last.clear()

    def forget(self, span: str) -> None:
        """The span has ended."""
        self._last.pop(span, None)

    def of(self, value: Any, span: str | None) -> tuple[Replace, int]:
        """The event of one cumulative value, and about how many bytes it takes. Raises YieldError."""
        if isinstance(value, Replace):
            value = value.value
        if isinstance(value, str):
            event, size = self._of_text(str.__str__(value), span)
        else:
            event, size = self._of_value(value, span)
        event.span = span
        return event, size

    # Texts: neither encoded nor parsed, only compared.

    def _of_text(self, value: str, span: str | None) -> tuple[Replace, int]:
        last = self._last.get(span)
        if type(last) is not str:
            return self._text_key(plain_text(value), span)
        if not value.startswith(last):
            return self._rewritten(last, value, span)
        fresh = value[len(last) :]
        piece = plain_text(fresh)
        text = value if piece is fresh else last + piece
        size = _json_size(piece) + OPERATION_BYTES
        if size * WORTH > len(text):
            return self._text_key(text, span)
        _check_text(text)
        self._last[span] = text
        return Replace(delta=[["append", [], piece]] if piece else []), size

    def _rewritten(self, last: str, value: str, span: str | None) -> tuple[Replace, int]:
        delta = diff(last, value)
        if any(type(brought) is str and plain_text(brought) is not brought for _, _, brought in delta):
            value = plain_text(value)
            delta = diff(last, value)
        size = len(_json.encode(delta))
        if size * WORTH > len(value):
            return self._text_key(value, span)
        _check_text(value)
        self._last[span] = value
        return Replace(delta=delta), size

    def _text_key(self, text: str, span: str | None) -> tuple[Replace, int]:
        size = _json_size(text)
        check_size(size)
        self._last[span] = text
        return Replace(text), size

    # Other values: their JSON decides what is equal.

    def _of_value(self, value: Any, span: str | None) -> tuple[Replace, int]:
        last = self._last.pop(span, None)
        data, plain = _json_and_plain(value)
        size = size_of(data)
        if plain is None:
            return Replace(data), size
        self._last[span] = plain
        delta = None if last is None else _difference(last, plain)
        if delta is None or (cost := len(_json.encode(delta))) * WORTH > size:
            return Replace(data), size
        return Replace(delta=delta), cost


def _json_and_plain(value: Any) -> tuple[msgspec.Raw, Any]:
    """A value's JSON, and what it is decoded to; None where it can't be. Raises YieldError."""
    if value is msgspec.UNSET:
        raise BadYield("A Replace without its value was yielded.", hint="Yield penstock.Replace(x).")
    plain: list[Any] = []
    try:
        data = json_of(value, lambda encoded: plain.append(_plain.decode(encoded)))
    except BadYield:  # ready JSON may have numbers that we can't read, and then goes as it is
        return json_of(value), None
    return data, plain[0]


def _difference(last: Any, plain: Any) -> Delta | None:
    try:
        return diff(last, plain)
    except RecursionError:
        return None


def _check_text(text: str) -> None:
    if len(text) > SAFE_CHARS:
        check_size(_json_size(text))


def _json_size(text: str) -> int:
    return len(_json.encode(text))
