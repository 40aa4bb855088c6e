"""What is sent, made once for all who stand at the same place."""

from collections.abc import Callable, Sequence
from enum import IntEnum

from ..errors import ProtocolError
from ..models import Chunk
from ..protocol import sse, websocket
from ..protocol.coalesce import coalesce

__all__ = ["NOTHING", "Frames", "Merge", "make_frames"]

MERGE_FROM = 32
"""Frames below which they go as they are stored: a few cost less to send than to merge."""

MERGE_TO_BYTES = 256 * 1024
"""Above it frames go as they are stored: to merge them would hold up all others for milliseconds."""

MERGE_BELOW_BYTES = 1024
"""Mean size of frames from which they go as they are stored: what surrounds each event is a tenth of it by then,
and a replay is a copy."""

_MERGEABLE = tuple(b'\ndata: {"type":"%b",' % name for name in (b"text", b"replace", b"progress"))


class Merge(IntEnum):  # its hash is a number's: it is looked up for every update
    """Which neighbours are merged on their way to a reader, over the edges of chunks too.

    NONE: as stored. MANY: where there are so many that it pays, for who is behind. ALL: in an update of a reader
    that keeps up, so that it gets as few events as it asked for.
    """

    NONE = 0
    MANY = 1
    ALL = 2


class Frames:
    """Server-sent events as they go to any number of connections.

    data: the frames, `count` of them with an id, for `events` events. last_seq: the last of these; 0 where there
    is none. final: whether it is the `end`.
    """

    __slots__ = (
        "_chunked", "_coded", "_framed", "_messages", "count", "data", "events", "final", "last_seq",
    )  # fmt: skip

    def __init__(
        self, data: bytes, last_seq: int = 0, count: int = 0, *, events: int = 0, final: bool = False
    ) -> None:
        self.data = data
        self.events = events
        self.last_seq = last_seq
        self.count = count
        self.final = final
        self._chunked: bytes | None = None
        self._coded: dict[str, Frames] | None = None
        self._messages: list[bytes] | None = None
        self._framed: bytes | None = None

    @property
    def chunked(self) -> bytes:
        """The frames as one chunk of HTTP/1.1 (RFC 9112, section 7.1); for none nothing, as that ends."""
        if self._chunked is None:
            self._chunked = b"%x\r\n%b\r\n" % (len(self.data), self.data) if self.data else b""
        return self._chunked

    @property
    def messages(self) -> list[bytes]:
        """The same as messages of a WebSocket."""
        if self._messages is None:
            self._messages = websocket.messages_in(self.data)
        return self._messages

    @property
    def framed(self) -> bytes:
        """These messages as they go over a WebSocket's connection."""
        if self._framed is None:
            self._framed = websocket.encode_messages(websocket.messages_in(self.data))
        return self._framed

    def coded(self, name: str, encode: Callable[[bytes], bytes]) -> "Frames":
        """The same in the content coding of that name."""
        if self._coded is None:
            self._coded = {}
        if name not in self._coded:
            self._coded[name] = Frames(encode(self.data), self.last_seq, self.count, final=self.final)
        return self._coded[name]


NOTHING = Frames(b"")


def make_frames(chunks: Sequence[Chunk], after: int, merge: Merge) -> Frames:
    """The frames of consecutive chunks for a reader that has everything up to `after`. No event is split."""
    if not chunks:
        return NOTHING
    first, last = chunks[0], chunks[-1]
    data = first.data if first.first_seq > after else sse.frames_after(first, sse.epoch_of(first), after)
    if first is not last:
        data = b"".join([data, *[chunk.data for chunk in chunks[1:]]])
    count = data.count(b"\n\n")
    if count > 1 and merge is not Merge.NONE and _is_worth_it(data, count, merge):
        data, count = _merged(data, sse.epoch_of(first))
    return Frames(data, last.last_seq, count, events=last.last_seq - after, final=last.final)


def _is_worth_it(data: bytes, count: int, merge: Merge) -> bool:
    if len(data) > MERGE_TO_BYTES:
        return False
    mergeable = sum(map(data.count, _MERGEABLE))
    if merge is Merge.ALL:
        return mergeable > 1
    return count >= MERGE_FROM and len(data) <= MERGE_BELOW_BYTES * count and mergeable > count / 2


def _merged(data: bytes, epoch: str) -> tuple[bytes, int]:
    events = list(sse.events_in(data))
    # What merges with nothing is sent as it is stored, to the byte.
    stored = dict(zip(map(id, events), data.split(b"\n\n"), strict=False))
    try:
        merged = coalesce(events)
    except ProtocolError:  # a delta that is none: its readers shall see it, not we
        return data, len(events)
    frames = [
        stored[id(event)] + b"\n\n" if id(event) in stored else sse.encode_event(event, epoch)
        for event in merged
    ]
    return b"".join(frames), len(frames)
