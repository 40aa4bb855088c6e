"""The examination of what readers were sent against what the store's file holds."""

from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from penstock.events import AnyEvent, End, Reset, SpanEnd, SpanStart
from penstock.protocol.coalesce import Fold, coalesce
from penstock.storage import make_store

from .readers import Recorder, Row
from .stories import Expected

READ_BYTES = 1024 * 1024


async def stored(path: Path, run_ids: Iterable[str]) -> dict[str, list[Row]]:
    """What the file holds of these runs. No server may be using it."""
    store = make_store(f"sqlite:///{path}")
    await store.open()
    try:
        rows = {}
        for run_id in run_ids:
            rows[run_id] = list[Row]()
            after = 0
            while chunks := await store.read(run_id, after, READ_BYTES):
                for chunk in chunks:
                    assert chunk.first_seq == after + 1
                    rows[run_id] += _rows(chunk.data)
                    after = chunk.last_seq
    finally:
        await store.close()
    return rows


def _rows(data: bytes) -> Iterable[Row]:
    for frame in data.removesuffix(b"\n\n").split(b"\n\n"):
        first, _, second = frame.partition(b"\n")
        yield Row(first.removeprefix(b"id: ").decode(), second.removeprefix(b"data: "))


def check_log(rows: Sequence[Row]) -> None:
    """A stream is one epoch's events without a gap or a repeat, and nothing follows an end."""
    position = 0
    for row in rows:
        event = row.event
        epoch, _, seq = row.cursor.partition("-")
        assert (epoch, int(seq)) == (rows[0].cursor.partition("-")[0], event.seq)
        assert event.seq - event.n == position
        position = event.seq
    assert not any(isinstance(row.event, End) for row in rows[:-1])


def check_seen(seen: Sequence[AnyEvent], rows: Sequence[Row], *, whole: bool = True) -> None:
    """Each stored event was seen once, in order, none left out; a merged one stands for exactly its parts.

    whole: to the end of the stream; else as far as was seen.
    """
    kept = deque(row.event for row in rows)
    position = 0
    for event in seen:
        assert event.seq - event.n == position
        parts: list[AnyEvent] = []
        while kept and kept[0].seq <= event.seq:
            parts.append(kept.popleft())
        assert coalesce(parts) == [event]
        position = event.seq
    assert not (whole and kept)


def check_bytes(recorder: Recorder, rows: Sequence[Row]) -> None:
    """What was sent as one event and is stored as one event is the same to the byte."""
    kept = {(row.cursor, row.event.n): row.data for row in rows}
    for row in recorder.rows:
        assert kept.get((row.cursor, row.event.n), row.data) == row.data
    assert recorder.resets == []


def fold_of(events: Iterable[AnyEvent]) -> Fold:
    fold = Fold()
    for event in events:
        fold.apply(event)
    return fold


def check_outcome(fold: Fold, expected: Expected) -> None:
    """The run succeeded, and its fold is what its function yields."""
    assert fold.end is not None
    assert (fold.end.state, fold.end.result, fold.end.error) == ("succeeded", expected.result, None)
    assert fold.text == expected.text
    assert (fold.values, fold.data, fold.value) == (list(expected.values), expected.data, expected.value)
    assert (fold.progress.done if fold.progress else None) == expected.done
    begun = {event.span for event in fold.events if isinstance(event, SpanStart)}
    assert begun == {event.span for event in fold.events if isinstance(event, SpanEnd)}


def check_beginning(fold: Fold, expected: Expected) -> None:
    """The run was interrupted, and its fold is a beginning of what its function yields."""
    assert expected.text.startswith(fold.text)
    assert fold.values == list(expected.values[: len(fold.values)])
    assert expected.data.startswith(fold.data)
    if isinstance(expected.value, str):
        assert expected.value.startswith((fold.value or "").removesuffix("▌"))


def resets_in(events: Iterable[AnyEvent]) -> int:
    return sum(isinstance(event, Reset) for event in events)
