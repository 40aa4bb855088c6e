"""Which events merge into which, and the fold of a stream to its current state.

Only neighbours merge, so a merged event stands for an unbroken row of events and `n` says how many: `text` with
the next `text` of its span, `progress` and `replace` with the next of theirs (the latest wins; deltas compose).
Everything else stands alone and so is an edge that no merge crosses: span starts and ends, resets, logs, values.
So is the place of a checkpoint, to which a later `reset` may lead back: the event after it says so (`edge`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import msgspec

from ..errors import ProtocolError
from ..events import AnyEvent, Bytes, End, Json, Progress, Replace, Reset, Text
from .compose import compose
from .delta import apply

__all__ = ["MERGED_TEXT", "Fold", "coalesce"]

MERGED_TEXT = 8 * 1024
"""Code points after which a merged `text` is full: a network that cuts every few seconds must let one through."""


def coalesce(batch: Sequence[AnyEvent]) -> list[AnyEvent]:
    """The same row of events in as few as may be. A fold of the result equals a fold of the originals.

    Raises ProtocolError for a delta that is none or fits nowhere.
    """
    if len(batch) < 2:
        return list(batch)
    return [row[0] if len(row) == 1 else _merge_of(type(row[0]))(row) for row in _rows(batch)]


def _rows(batch: Iterable[AnyEvent]) -> Iterator[list[AnyEvent]]:
    row: list[AnyEvent] = []
    length = 0
    for event in batch:
        if not (row and _follows(row[-1], event) and length < MERGED_TEXT):
            if row:
                yield row
            row, length = [], 0
        row.append(event)
        length += len(event.text) if isinstance(event, Text) else 0
    if row:
        yield row


def _follows(one: AnyEvent, other: AnyEvent) -> bool:
    kin = type(one) is type(other) and one.span == other.span and _merge_of(type(one)) is not _no_merge
    if not kin or other.edge or other.seq - other.n != one.seq:
        return False
    return not (isinstance(one, Text) and isinstance(other, Text)) or one.pos + len(one.text) == other.pos


def _merge_text(row: list[Any]) -> Text:
    last = row[-1]
    text = "".join([event.text for event in row])
    first = row[0]
    return Text(
        first.pos, text, seq=last.seq, at_ms=last.at_ms, span=last.span, n=_count(row), edge=first.edge
    )


def _keep_latest(row: list[Any]) -> Any:
    last = row[-1]
    return msgspec.structs.replace(last, n=_count(row), edge=row[0].edge)


def _merge_replace(row: list[Any]) -> Any:
    # The value is touched once for the whole row, and not at all where only deltas are in it.
    latest = next((place for place in range(len(row) - 1, -1, -1) if _is_whole(row[place])), -1)
    deltas = [event.delta for event in row[latest + 1 :]]
    merged = _keep_latest(row)
    if latest < 0:
        return msgspec.structs.replace(merged, delta=compose(*deltas))
    if not deltas:
        return merged
    value = apply(_decoded(row[latest].value), compose(*deltas))
    return msgspec.structs.replace(merged, value=value, delta=msgspec.UNSET)


def _is_whole(event: Replace) -> bool:
    return event.delta is msgspec.UNSET


def _decoded(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value


def _count(row: list[Any]) -> int:
    return sum([event.n for event in row])


Merge = Callable[[list[Any]], Any]
_MERGES: dict[type, Merge] = {Text: _merge_text, Progress: _keep_latest, Replace: _merge_replace}


def _no_merge(row: list[Any]) -> Any:
    raise AssertionError(f"{type(row[0]).__name__} never merges")


@cache
def _merge_of(kind: type) -> Merge:
    # Events from a process of its own are of kinds derived from these.
    return next((merge for base, merge in _MERGES.items() if issubclass(kind, base)), _no_merge)


class Fold:
    """The state a stream's events lead to. Apply them in order; applying one again changes nothing.

    Kept merged, so its size is that of the state and of what can't merge (values, logs, spans), not of the
    number of yields.
    """

    def __init__(self) -> None:
        self.seq = 0
        self._events: list[AnyEvent] = []
        self._lengths: dict[str | None, int] = {}  # code points of each span's text
        self._replaced: set[str | None] = set()  # spans that have a `replace`
        self._values: dict[str | None, tuple[int, Any]] = {}  # what `value_of` last found, and of which event
        self._compact_at = 64

    def apply(self, event: AnyEvent) -> None:
        """Take one event.

        Raises ProtocolError for a text that begins beyond what has come so far, and for a delta without the value
        that it was made against: none came before, or it stands for events of which a part is here merged.
        Nothing has changed then.
        """
        if isinstance(event, Reset) and event.seq == 0:  # about a cursor: it is not itself in the stream
            self._withdraw(event.to)
            self.seq = event.to
        elif event.seq > self.seq:
            seen = self.seq - (event.seq - event.n)  # a merge made since may stand for some of what is here
            if isinstance(event, Replace) and not _is_whole(event):
                self._take_delta(event)
            else:
                self._take(event if seen <= 0 else msgspec.structs.replace(event, n=event.n - seen))
            self.seq = event.seq

    def _take(self, event: AnyEvent) -> None:
        if isinstance(event, Reset):
            self._withdraw(event.to)
        elif isinstance(event, Text):
            self._append_text(event)
        else:
            self._events.append(event)
            if isinstance(event, Replace):
                self._replaced.add(event.span)
        if len(self._events) > self._compact_at:
            self._events = coalesce(self._events)
            self._compact_at = max(64, 2 * len(self._events))

    def _take_delta(self, event: Replace) -> None:
        # One that stands for what is here in part is made against the value before all of it: back to there.
        # Nothing else can stand in between, since only its like merges with it.
        begin, kept = event.seq - event.n, len(self._events)
        while kept and self._events[kept - 1].seq > begin:
            kept -= 1
        straddles = kept < len(self._events) and self._events[kept].seq - self._events[kept].n < begin
        if straddles or event.span not in self._replaced:
            raise ProtocolError(f"Event {event.seq} is a delta, and the value before it has not come.")
        del self._events[kept:]
        self._take(event)

    def _append_text(self, event: Text) -> None:
        have = self._lengths.get(event.span, 0)
        if event.pos > have:
            raise ProtocolError(f"Text begins at {event.pos}, but only {have} code points have come.")
        fresh = event.text[have - event.pos :]  # the rest of it is here already
        self._lengths[event.span] = have + len(fresh)
        self._events.append(msgspec.structs.replace(event, pos=have, text=fresh))

    def _withdraw(self, to: int) -> None:
        self._events = [event for event in self._events if event.seq <= to]
        self._lengths, self._values = {}, {}
        self._replaced = {event.span for event in self._events if isinstance(event, Replace)}
        for event in self._events:
            if isinstance(event, Text):
                self._lengths[event.span] = event.pos + len(event.text)

    @property
    def events(self) -> list[AnyEvent]:
        """The fewest ordinary events that lead to this state."""
        return coalesce(self._events)

    @property
    def text(self) -> str:
        """All text in the order in which it came, spans included."""
        return "".join([event.text for event in self._events if isinstance(event, Text)])

    def text_of(self, span: str | None) -> str:
        """The text of one span; of the run outside any span for None."""
        return "".join([e.text for e in self._events if isinstance(e, Text) and e.span == span])

    @property
    def values(self) -> list[Any]:
        """The `json` values, in order."""
        return [event.value for event in self._events if isinstance(event, Json)]

    @property
    def data(self) -> bytes:
        """The `bytes`, joined."""
        return b"".join([event.data for event in self._events if isinstance(event, Bytes)])

    @property
    def value(self) -> Any:
        """The latest `replace`, of whatever span, or None. Raises ProtocolError where a delta fits nowhere."""
        last = next((e for e in reversed(self._events) if isinstance(e, Replace)), None)
        return None if last is None else self.value_of(last.span)

    def value_of(self, span: str | None) -> Any:
        """The latest `replace` of one span; of the run outside any span for None. Not to be changed."""
        row: list[Any] = []
        seq, known = self._values.get(span, (0, None))
        value = None
        for event in reversed(self._events):
            if event.seq == seq:
                value = known
                break
            if isinstance(event, Replace) and event.span == span:
                if _is_whole(event):
                    seq, value = event.seq, _decoded(event.value)
                    break
                row.append(event)
        if row:
            seq, value = row[0].seq, apply(value, compose(*[event.delta for event in reversed(row)]))
        self._values[span] = seq, value
        return value

    @property
    def progress(self) -> Progress | None:
        """The latest `progress`."""
        return next((e for e in reversed(self._events) if isinstance(e, Progress)), None)

    @property
    def end(self) -> End | None:
        """The `end`, once the run has ended."""
        last = self._events[-1] if self._events else None
        return last if isinstance(last, End) else None
