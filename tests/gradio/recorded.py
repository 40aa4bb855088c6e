"""Gradio's messages as a run's log, and that log as readers get it."""

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from penstock.events import AnyEvent, End, Folded, Json, Log, Progress, Replace, Reset, decode_message, encode
from penstock.integrations.gradio.messages import recorded as recording
from penstock.integrations.gradio.messages.recorded import Recorded, Speaker
from penstock.protocol.coalesce import Fold, coalesce
from penstock.worker.frames import Frames

__all__ = ["Logbook", "Message", "Told", "folded", "merged", "readings", "record"]

Message = dict[str, Any]


class Logbook:
    """A run's log, written as `worker.Recording` does."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self._frames = Frames()

    def emit(self, value: object) -> None:
        self._add(self._frames.of(value, None)[0] if isinstance(value, Replace) else Json(value))

    def progress(self, done: float, total: float | None = None, unit: str = "", **more: Any) -> None:
        self._add(Progress(done, total, unit, more or None))

    def log(self, message: object, level: str = "info", **fields: Any) -> None:
        self._add(Log(str(message), level, fields or None))

    def end(self, state: Any = "succeeded", error: Any = None) -> None:
        self._add(End(state, None, error))

    def restart(self) -> None:
        """Another attempt."""
        self._frames.restart()
        self._add(Reset(0, "once more"))

    def _add(self, event: AnyEvent) -> None:
        event.seq = len(self.events) + 1
        again = decode_message(encode(event))
        assert not isinstance(again, Folded)
        self.events.append(again)


def record(
    messages: Sequence[Message],
    *,
    log: Logbook | None = None,
    simple: bool = False,
    large_bytes: int = recording.LARGE_BYTES,
) -> Logbook:
    """large_bytes: values above it are kept in parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "LARGE_BYTES", large_bytes)
        patch.setattr(recording, "PART_CHARS", large_bytes // 3)
        return _record(messages, log or Logbook(), simple=simple)


def _record(messages: Sequence[Message], log: Logbook, *, simple: bool) -> Logbook:
    recorded = Recorded(simple=simple)
    for message in messages:
        for kept in recorded.take(message):
            kept.record(log)
    if recorded.outcome is not None:
        log.end(recorded.outcome.state, recorded.outcome.error)
    return log


def merged(events: Sequence[AnyEvent], chance: random.Random) -> list[AnyEvent]:
    """The row, cut into batches anywhere, and each merged."""
    row: list[AnyEvent] = []
    rest = list(events)
    while rest:
        size = chance.randint(1, len(rest))
        row += coalesce(rest[:size])
        rest = rest[size:]
    return row


def folded(events: Sequence[AnyEvent]) -> Folded:
    fold = Fold()
    for event in events:
        fold.apply(event)
    return Folded(fold.events, seq=fold.seq)


class Told(NamedTuple):
    """One event, as a reader gets it, and what it says."""

    event: AnyEvent | Folded
    reader: tuple[int, bool]
    said: list[Message]


def readings(log: Sequence[AnyEvent], chance: random.Random, cuts: int) -> Iterator[list[Told]]:
    """A reader's connections: each from the beginning or a fold, knowing what was heard; the last whole."""
    heard, has_base = 0, False
    for connection in range(cuts + 1):
        known = len(log) if connection == cuts else chance.randint(0, len(log))
        reader = heard, has_base
        speaker, row = Speaker("e1", heard=heard, has_base=has_base), []
        for event in _served(merged(log, chance), known, chance):
            row.append(Told(event, reader, speaker.say(event)))
            heard, has_base = speaker.heard, speaker.has_base
        yield row


def _served(log: list[AnyEvent], known: int, chance: random.Random) -> list[AnyEvent | Folded]:
    """What a connection brings before it is cut: at first perhaps the state, then what follows."""
    here = [event for event in log if event.seq <= known]
    at = chance.randint(0, len(here))
    begun: list[AnyEvent | Folded] = [folded(here[:at])] if at and chance.random() < 0.7 else [*here[:at]]
    return [*begun, *here[at:]]
