"""Cumulative values on a screen or in a file, which take nothing back: a text is printed as it grows."""

import json
import unicodedata
from typing import Any, NamedTuple

import msgspec

from ..events import Replace
from ..protocol.delta import apply

__all__ = ["Cumulative", "Shown"]


class Shown(NamedTuple):
    """What is to be printed; `alone`: on lines of its own."""

    text: str
    alone: bool = False


class Cumulative:
    """The latest value of each span, and how much of it is printed.

    A mark at the end of a text, as many applications put there for a cursor, waits until the text goes on behind
    it or ends with it.
    """

    def __init__(self) -> None:
        self._values: dict[str | None, Any] = {}
        self._printed: dict[str | None, str] = {}

    def take(self, event: Replace) -> Shown:
        """What to print for it. Raises ProtocolError for a delta that fits nowhere."""
        if event.delta is not msgspec.UNSET and event.span not in self._values:
            return Shown(_appended(event.delta))  # begun in the middle, with --after
        before = self._values.get(event.span)
        value = event.value if event.delta is msgspec.UNSET else apply(before, event.delta)
        self._values[event.span] = value
        if not isinstance(value, str):
            return Shown(json.dumps(value, ensure_ascii=False) + "\n", alone=True)
        return self._grown(event.span, _without_mark(value))

    def forget(self) -> None:
        """All that was printed is withdrawn."""
        self._values.clear()
        self._printed.clear()

    def rest(self) -> str:
        """What waits at the end of the texts, now that nothing more comes."""
        texts = [(value, self._printed.get(span, "")) for span, value in self._values.items()]
        return "".join([value[len(done) :] for value, done in texts if isinstance(value, str)])

    def _grown(self, span: str | None, text: str) -> Shown:
        printed = self._printed.get(span, "")
        self._printed[span] = text
        if text.startswith(printed):
            return Shown(text[len(printed) :])
        return Shown(_from_word(text, _common(printed, text)), alone=True)


def _appended(delta: list[Any]) -> str:
    return "".join(
        [value for op, path, value in delta if (op, path) == ("append", []) and isinstance(value, str)]
    )


def _without_mark(text: str) -> str:
    end = len(text)
    while end and unicodedata.category(text[end - 1]) == "So":  # "symbol, other": blocks, bullets, also emoji
        end -= 1
    return text[:end]


def _common(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _from_word(text: str, place: int) -> str:
    # What is printed can't be taken back: the word in which the change lies comes again, on a line of its own.
    start = max(text.rfind(" ", 0, place), text.rfind("\n", 0, place)) + 1
    return text[start:]
