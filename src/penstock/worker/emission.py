"""What a function emits, as events: the table of the yields."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ..errors import BadYield, EventTooLarge
from ..events import BYTES_PIECE, MAX_EVENT_BYTES, AnyEvent, Bytes, Json, Replace, Text

__all__ = [
    "Emission",
    "Frame",
    "check_size",
    "check_syntax",
    "json_of",
    "message_of",
    "optional_json",
    "plain_number",
    "plain_text",
    "size_of",
    "text_size",
]


_scanner = msgspec.json.Decoder(msgspec.Raw)

PLAIN_CHARS = 16 * 1024
"""A text of so few is not measured as JSON, where a control character has six bytes: several of them in one event
are off by a small part of what a reader holds beyond `MAX_EVENT_BYTES`."""

ERROR_CHARS = 4000
"""What is kept of an error's text: each run in a list of runs carries it."""


def check_syntax(data: bytes) -> None:
    """Raise msgspec.DecodeError or UnicodeDecodeError for what is no JSON."""
    # The encoder takes a msgspec.Raw at its word, however deep in a value it stands; a scan costs a tenth of it.
    _scanner.decode(data)
    if not data.isascii():
        data.decode()


def json_of(value: Any, check: Callable[[bytes], None] = check_syntax) -> msgspec.Raw:
    """A value's JSON as it is now: what the function does to the object later changes nothing.

    check: raises as `check_syntax` does; whoever decodes the JSON has no need of a scan besides.

    Raises:
        BadYield: It has no JSON form.
        EventTooLarge: Its JSON is over `MAX_EVENT_BYTES`.
    """
    try:
        data = msgspec.json.encode(value, enc_hook=_encode_other)
        check(data)
        if b"\n" in data or b"\r" in data:  # a msgspec.Raw brought it, and it would end the frame early
            data = msgspec.json.format(data, indent=-1)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.DecodeError) as error:
        raise BadYield(
            f"A {type(value).__name__} can't be stored: {error}.",
            hint="Yield text, bytes, or what has a JSON form: dict, list, number, dataclass, msgspec, pydantic.",
        ) from error
    check_size(len(data))
    return msgspec.Raw(data)


def plain_text(text: str) -> str:
    """The text as UTF-8 can carry it: half of a surrogate pair becomes U+FFFD, two halves their character."""
    text = str.__str__(text)  # subclasses (markup, enums) are not taken by the encoder
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def plain_number(name: str, value: object) -> float:
    """A number as JSON can carry it. Raises BadYield."""
    try:
        number = value if type(value) is int else float(value)  # type: ignore[arg-type]  # NumPy's, say
        if math.isfinite(number):
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise BadYield(f"{name} is {value!r}.", hint="Progress is counted in finite numbers.")


def message_of(error: BaseException) -> str:
    """An error's type and text, as its run keeps them."""
    name = type(error).__name__
    try:
        text = plain_text(str(error))
    except Exception:  # noqa: BLE001 - one that can't be shown must not hide that there was an error
        return name
    return f"{name}: {text[:ERROR_CHARS]}" if text else name


def text_size(text: str) -> int:
    """Bytes of a text, as JSON if it is large: control characters have six."""
    size = len(text) if text.isascii() else len(text.encode())
    return size if size <= PLAIN_CHARS else len(msgspec.json.encode(text)) - len('""')


def optional_json(value: Any) -> msgspec.Raw | None:
    """As `json_of`; None stays None, and is left out on the wire."""
    return None if value is None else json_of(value)


def size_of(data: msgspec.Raw | None) -> int:
    """Bytes of some JSON."""
    return 0 if data is None else memoryview(data).nbytes


def _encode_other(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    for method in ("model_dump", "tolist", "_asdict"):  # pydantic; NumPy's arrays and scalars
        if callable(convert := getattr(value, method, None)):
            return convert(mode="json") if method == "model_dump" else convert()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} has no JSON form")


def check_size(size_bytes: int) -> None:
    if size_bytes > MAX_EVENT_BYTES:
        raise EventTooLarge(
            f"One event has {size_bytes} bytes; {MAX_EVENT_BYTES} is the most.",
            hint="Yield it in pieces, or store it elsewhere and yield where.",
        )


Frame = Callable[[Any, str | None], tuple[Replace, int]]

Take = Callable[[int, str, str | None, int], None]
"""Takes a text: its position, itself, its span, and about how many bytes it takes."""


class Emission:
    """Turns yields into events, keeping count of each span's text. One per attempt of a run.

    cumulative: each value takes the place of those before.
    frame: makes the event of such a value; see `Frames.of`.
    lengths: code points of each span's text so far; it is kept up to date here, for checkpoints.
    """

    def __init__(self, *, cumulative: bool, frame: Frame, lengths: dict[str | None, int]) -> None:
        self._cumulative = cumulative
        self._frame = frame
        self._lengths = lengths

    def events(self, value: Any, span: str | None) -> Iterator[tuple[AnyEvent, int]]:
        """The events of one yield, each with about how many bytes it takes. Raises YieldError."""
        if self._cumulative or isinstance(value, Replace):
            yield self._frame(value, span)
        elif isinstance(value, str):
            yield self.text(value, span)
        elif isinstance(value, bytes | bytearray | memoryview):
            view = bytes(value)
            for start in range(0, len(view), BYTES_PIECE):
                piece = view[start : start + BYTES_PIECE]
                yield Bytes(piece, span=span), len(piece)
        else:
            yield self.json(value, span)

    def json(self, value: Any, span: str | None) -> tuple[Json, int]:
        """The event of one yielded value, and how many bytes it takes. Raises YieldError."""
        data = json_of(value)
        return Json(data, span=span), size_of(data)

    def text(self, text: str, span: str | None) -> tuple[Text, int]:
        """The event of one yielded text, and about how many bytes it takes. Raises EventTooLarge."""
        position, text, size = self._placed(text, span)
        return Text(position, text, span=span), size

    def say(self, text: str, span: str | None, take: Take) -> None:
        """Hand a yielded text over to `take`. Raises EventTooLarge."""
        position, text, size = self._placed(text, span)
        take(position, text, span, size)

    def _placed(self, text: str, span: str | None) -> tuple[int, str, int]:
        size = len(text)
        if type(text) is not str or not text.isascii() or size > PLAIN_CHARS:
            text = plain_text(text)
            size = text_size(text)
            check_size(size)
        position = self._lengths.get(span, 0)
        self._lengths[span] = position + len(text)
        return position, text, size
