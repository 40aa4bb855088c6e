"""WebSocket: stored frames as messages, and messages as they go over the connection.

Source of the rules: RFC 6455, section 5. A server's frames carry no mask, so the same bytes go to any number of
connections.
"""

from typing import NamedTuple

import msgspec

from ..errors import BadRequest
from .sse import HEARTBEAT

__all__ = [
    "COME_BACK",
    "ENDED",
    "FAILED",
    "Close",
    "encode_messages",
    "messages_in",
    "not_understood",
    "rate_asked",
]

WHOLE_TEXT = 0x81
"""The first byte of a frame that is a text message (RFC 6455, section 5.2)."""

REASON_BYTES = 123
"""Most that a close frame holds beside its code (RFC 6455, section 5.5)."""

_HEARTBEAT = b'{"type":"heartbeat"}'


class Close(NamedTuple):
    """Why a WebSocket is closed. The reason is for people."""

    code: int
    reason: str


ENDED = Close(1000, "The run has ended.")
COME_BACK = Close(1012, "Come back with the last cursor.")
FAILED = Close(1011, "The server failed; its log says why.")


def messages_in(frames: bytes) -> list[bytes]:
    """The JSON messages that frames made by `protocol.sse` become.

    An event gets its `cursor`, a status its name as `type`. A comment alone is a heartbeat, which a page can't
    see of a WebSocket's pings; one before other frames, and a `retry`, have no counterpart.
    """
    if frames == HEARTBEAT:
        return [_HEARTBEAT]
    return [message for frame in frames.split(b"\n\n") if (message := _message(frame))]


def _message(frame: bytes) -> bytes:
    head, found, body = frame.partition(b"data: ")
    if not found:
        return b""
    if head.startswith(b"id: "):
        return b'%b,"cursor":"%b"}' % (body[:-1], head[len("id: ") : -1])
    if head.startswith(b"event: "):
        return b'{"type":"%b",%b' % (head[len("event: ") : head.index(b"\n")], body[1:])
    return body


def encode_messages(messages: list[bytes]) -> bytes:
    """Text messages, a frame each, as they go over the connection."""
    return b"".join([part for message in messages for part in (_head(len(message)), message)])


def _head(length: int) -> bytes:
    if length < 126:
        return bytes((WHOLE_TEXT, length))
    if length < 1 << 16:
        return b"%c\x7e%b" % (WHOLE_TEXT, length.to_bytes(2, "big"))
    return b"%c\x7f%b" % (WHOLE_TEXT, length.to_bytes(8, "big"))


def not_understood(error: BadRequest) -> Close:
    """The end of a connection whose reader has sent what can't be taken."""
    reason = f"{error.message} {error.hint}".strip().encode()
    return Close(1008, reason[:REASON_BYTES].decode(errors="ignore"))


class _Wish(msgspec.Struct):
    rate: float


def rate_asked(text: str | None) -> float:
    """What a reader's message asks for: `{"rate": …}`; other members are for later versions. Raises BadRequest."""
    try:
        return msgspec.json.decode(text or "", type=_Wish).rate
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest('Only {"rate": NUMBER} is understood here.') from error
