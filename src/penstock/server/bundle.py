"""Several streams over one connection: browsers allow six to a host."""

import msgspec

from ..hub import Frames
from ..models import Cursor
from ..protocol import sse
from ..protocol.cursor import join_cursors
from .opening import Opening
from .outlet import Outlet, Told, nobody

__all__ = ["Bundle"]


class Bundle:
    """One response that several deliveries write to, each through an outlet of its own.

    Their events say which stream they are of, and each has the cursors of all. The response ends when the last of
    the streams has ended, or as soon as one delivery ends before its stream: its reader then comes back for all.
    """

    def __init__(self, outlet: Outlet, openings: list[Opening]) -> None:
        self.outlet = outlet
        self.over = False
        self.members = [_Member(self, opening) for opening in openings]
        self._first = 0
        outlet.on_room = self._on_room
        outlet.on_gone = self._on_gone

    @property
    def cursor(self) -> str:
        """Where the reader stands in all of them."""
        return join_cursors([member.cursor for member in self.members])

    def _on_room(self) -> None:
        # Each fills the connection if it can, so each is the first in its turn.
        self._first = (self._first + 1) % len(self.members)
        for member in (*self.members[self._first :], *self.members[: self._first]):
            member.on_room()

    def _on_gone(self) -> None:
        self.over = True
        for member in self.members:
            member.on_gone()

    def ended(self, last: Frames, *, final: bool) -> None:
        """One delivery has ended; `final`: with its stream."""
        if self.over:
            return
        if final and not all(member.ended for member in self.members):
            self.outlet.write(last)
            return
        self._on_gone()
        self.outlet.on_room = self.outlet.on_gone = nobody
        self.outlet.end(last)

    def cut(self) -> None:
        """The reader takes nothing."""
        if not self.over:
            self._on_gone()
        self.outlet.cut()


class _Member:
    """One stream's part of the response: an `Outlet`."""

    def __init__(self, bundle: Bundle, opening: Opening) -> None:
        self.on_room: Told = nobody
        self.on_gone: Told = nobody
        self.ended = False
        # Of a fold nothing is there until it was sent: others' events may go before it, and be the last to arrive.
        after = opening.start.after if opening.folded is None else 0
        self._start = str(Cursor(opening.stream.epoch, after))
        # Until it was told of a reset its reader stands where it stood: cut before, it is to be told again.
        self.cursor = self._start if opening.start.reset is None else str(opening.cursor)
        self._bundle = bundle
        self._member = b'"stream":' + msgspec.json.encode(opening.stream.name)

    @property
    def full(self) -> bool:
        return self._bundle.outlet.full

    @property
    def buffered_bytes(self) -> int:
        # While others go on, what waits is theirs, and so is the reader that takes nothing.
        return 0 if self.ended and not self._bundle.over else self._bundle.outlet.buffered_bytes

    @property
    def taken_bytes(self) -> int:
        return self._bundle.outlet.taken_bytes

    def write(self, frames: Frames) -> None:
        if not self._bundle.over:
            self._bundle.outlet.write(self._as_one_of_several(frames))

    def end(self, last: Frames) -> None:
        self.ended = True
        self._bundle.ended(self._as_one_of_several(last), final=last.final)

    def cut(self) -> None:
        self._bundle.cut()

    def _as_one_of_several(self, frames: Frames) -> Frames:
        parts: list[bytes] = []
        for frame in frames.data.split(b"\n\n")[:-1]:
            if frame.startswith(b"id: "):
                self.cursor = frame[len(b"id: ") : frame.index(b"\n")].decode()
            elif frame.startswith(b"data: "):  # a reset, or part of a fold: it stands there
                self.cursor = self._start
            parts += sse.of_stream(frame, self._member, self._bundle.cursor.encode()), b"\n\n"
        return Frames(b"".join(parts), frames.last_seq, frames.count, final=frames.final)
