"""What a server's answer means: its JSON, or the error that it stands for."""

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from ..errors import ClientError, ConnectionLost, PenstockError, ProtocolError

__all__ = ["NOT_JSON", "error_from", "json_from", "member"]

T = TypeVar("T")

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not JSON, not UTF-8, or nested without end."""

_NOT_OURS = "Is this the address of a Penstock server, with the path under which it is mounted?"


class _Error(msgspec.Struct):
    code: str
    message: str
    hint: str = ""
    field: str | None = None


class _Body(msgspec.Struct):
    error: _Error


_decoder = msgspec.json.Decoder(_Body)


def _tree(root: type[PenstockError]) -> Iterator[type[PenstockError]]:
    for branch in root.__subclasses__():
        if branch is not ClientError:  # made here, never sent
            yield branch
            yield from _tree(branch)


# Branches come before their leaves, so where both have one code the leaf stays.
_BY_CODE = {error.code: error for error in _tree(PenstockError)}


def error_from(status: int, body: bytes, *, location: str | None = None) -> PenstockError:
    """The server's error as its own class; a ClientError where the code is unknown or the answer not ours."""
    try:
        error = _decoder.decode(body).error
    except NOT_JSON:
        return _foreign(status, location)
    kind = _BY_CODE.get(error.code)
    if kind is None:
        return ClientError(
            f"{error.message} (HTTP {status}, {error.code})", hint=error.hint, field=error.field
        )
    return kind(error.message, hint=error.hint, field=error.field)


def _foreign(status: int, location: str | None) -> ClientError:
    if location is not None:
        return ClientError(
            f"The server answered HTTP {status} and points to {location}.", hint="Use that address."
        )
    if status >= 500:
        return ConnectionLost(
            f"HTTP {status} came in place of the server's answer.", hint="Is the server running?"
        )
    return ClientError(f"HTTP {status} came in place of the server's answer.", hint=_NOT_OURS)


def json_from(body: bytes) -> Any:
    """The JSON of an answer. Raises ProtocolError."""
    try:
        return msgspec.json.decode(body)
    except NOT_JSON as error:
        raise ProtocolError("The answer is not JSON.", hint=_NOT_OURS) from error


def member(body: Any, name: str, kind: type[T]) -> T:
    """One member of an answer that is an object. Raises ProtocolError where it is missing or not a `kind`."""
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, kind):
        raise ProtocolError(f"The answer has no `{name}`.", hint=_NOT_OURS)
    return value
