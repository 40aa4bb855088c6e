"""What is sent, made once for all who stand at the same place."""

from collections.abc import Callable, Sequence
from enum import IntEnum

from ..errors import ProtocolError
from ..models import Chunk
from ..protocol import sse, websocket
from ..protocol.coalesce import coalesce
from ..protocol.pieces import WHOLE_BYTES

__all__ = ["NOTHING", "Frames", "Merge", "make_frames"]

MERGE_FROM = 32
"""Frames below which they go as they are stored: a few cost less to send than to merge."""

MERGE_TO_BYTES = 512 * 1024
"""Above it frames go as they are stored: to merge them would hold up all others for four milliseconds and more."""

MERGE_BELOW_BYTES = 1024
"""Mean size of frames from which they go as they are stored: what surrounds each event is a tenth of it by then,
and a replay is a copy."""

SAMPLED_FROM_BYTES = 32 * 1024
"""Above it samples say whether there is anything to merge, and frames of which none is are not counted: to count
those of a replay took as long as to read and send them."""

SAMPLED_PARTS = 8
SAMPLE_BYTES = 2 * 1024
"""So much of the beginning, the middle and the end of as many chunks: some tens of frames, in 10 µs."""

LARGEST_BYTES = 2 * WHOLE_BYTES
"""Where a merged frame would be larger, they all go as they are stored: so large is what is stored at most."""

HISTORIES = 8
"""What readers at one place were sent before that is kept apart: nearly all have been sent the same."""

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

    parts: the frames, in pieces as they are stored, so that a replay copies none; `size_bytes` in all.
    count: frames with an id, for `events` events. last_seq: the last of these; 0 where there is none.
    final: whether it is the `end`.
    """

    __slots__ = (
        "_chunked", "_coded", "_coded_after", "_framed", "_messages", "count", "events", "final", "last_seq",
        "parts", "size_bytes",
    )  # fmt: skip

    def __init__(
        self,
        data: bytes | list[bytes],
        last_seq: int = 0,
        count: int = 0,
        *,
        events: int = 0,
        final: bool = False,
    ) -> None:
        self.parts = [data] if isinstance(data, bytes) else data
        self.size_bytes = sum(map(len, self.parts))
        self.events = events
        self.last_seq = last_seq
        self.count = count
        self.final = final
        self._chunked: bytes | None = None
        self._coded: dict[str, Frames] | None = None
        self._coded_after: dict[bytes, tuple[Frames, bytes]] | None = None
        self._messages: list[bytes] | None = None
        self._framed: bytes | None = None

    @property
    def data(self) -> bytes:
        """The frames as one."""
        if len(self.parts) > 1:
            self.parts = [b"".join(self.parts)]
        return self.parts[0]

    @property
    def chunk_parts(self) -> list[bytes]:
        """As `chunked`, for a write of several pieces."""
        return [b"%x\r\n" % self.size_bytes, *self.parts, b"\r\n"] if self.size_bytes else []

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

    def coded_after(
        self, before: bytes, encode: Callable[[bytes, bytes], bytes], window_bytes: int
    ) -> tuple["Frames", bytes]:
        """The same for all who were sent `before` just before it, and what they have been sent then.

        Of that the last `window_bytes`.
        """
        known = self._coded_after = self._coded_after or {}
        if before not in known:
            if len(known) >= HISTORIES:
                known.clear()
            coded = Frames(encode(self.data, before), self.last_seq, self.count, final=self.final)
            known[before] = coded, (before + self.data)[-window_bytes:]
        return known[before]


NOTHING = Frames(b"")


def make_frames(chunks: Sequence[Chunk], after: int, merge: Merge) -> Frames:
    """The frames of consecutive chunks for a reader that has everything up to `after`. No event is split."""
    if not chunks:
        return NOTHING
    first, last = chunks[0], chunks[-1]
    head = first.data if first.first_seq > after else sse.frames_after(first, sse.epoch_of(first), after)
    parts = [head] if first is last else [head, *[chunk.data for chunk in chunks[1:]]]
    events = last.last_seq - after
    frames = Frames(parts, last.last_seq, events, events=events, final=last.final)
    if frames.size_bytes <= SAMPLED_FROM_BYTES or _any_mergeable(parts):
        frames.count = sum([part.count(b"\n\n") for part in parts])
        if frames.count > 1 and merge is not Merge.NONE and _is_worth_it(frames.data, frames.count, merge):
            data, count = _merged(frames.data, sse.epoch_of(first))
            return Frames(data, last.last_seq, count, events=events, final=last.final)
    return frames


def _any_mergeable(parts: list[bytes]) -> bool:
    samples = []
    for part in parts[:: max(1, len(parts) // SAMPLED_PARTS)]:
        last = max(0, len(part) - SAMPLE_BYTES)
        samples += [part[start : start + SAMPLE_BYTES] for start in (0, last // 2, last)]
    sample = b"".join(samples)
    return any(kind in sample for kind in _MERGEABLE)


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
    if max(map(len, frames)) > LARGEST_BYTES:  # a network that cuts often may let only smaller ones through
        return data, len(events)
    return b"".join(frames), len(frames)
