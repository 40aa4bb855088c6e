"""What is sent, made once for all who stand at the same place."""

from collections.abc import Sequence

from ..models import Chunk
from ..protocol import sse
from ..protocol.coalesce import coalesce

__all__ = ["Frames", "make_frames"]


class Frames:
    """Server-sent events as they go to any number of connections.

    data: the frames. last_seq: the last event in them; 0 where there is none. final: whether it is the `end`.
    """

    __slots__ = ("_chunked", "data", "final", "last_seq")

    def __init__(self, data: bytes, last_seq: int = 0, *, final: bool = False) -> None:
        self.data = data
        self.last_seq = last_seq
        self.final = final
        self._chunked: bytes | None = None

    @property
    def chunked(self) -> bytes:
        """The frames as one chunk of HTTP/1.1 (RFC 9112, section 7.1); for none nothing, as that ends."""
        if self._chunked is None:
            self._chunked = b"%x\r\n%b\r\n" % (len(self.data), self.data) if self.data else b""
        return self._chunked


NOTHING = Frames(b"")


def make_frames(chunks: Sequence[Chunk], after: int, *, merge: bool) -> Frames:
    """The frames of consecutive chunks for a reader that has everything up to `after`. No event is split.

    merge: neighbours are merged, over the edges of chunks too, so that who is behind gets a few large events.
    """
    if not chunks:
        return NOTHING
    first, last = chunks[0], chunks[-1]
    epoch = sse.epoch_of(first)
    head = first.data if first.first_seq > after else sse.frames_after(first, epoch, after)
    data = b"".join([head, *[chunk.data for chunk in chunks[1:]]])
    if merge and len(chunks) > 1:
        data = b"".join([sse.encode_event(event, epoch) for event in coalesce(list(sse.events_in(data)))])
    return Frames(data, last.last_seq, final=last.final)
