"""What a page was handed, against what the store has."""

from collections.abc import Sequence
from typing import Any, TypeGuard

import httpx
import msgspec

from penstock.events import (
    AnyEvent,
    Folded,
    Json,
    Log,
    Replace,
    Reset,
    SpanEnd,
    SpanStart,
    Text,
    decode_message,
)  # fmt: skip
from penstock.protocol.coalesce import Fold, coalesce
from penstock.protocol.pieces import Pieces

__all__ = ["check", "fold_of", "stored"]


async def stored(url: str, run_id: str) -> list[AnyEvent]:
    """Every event that the store has of a run, one by one; asked of the server itself, past all faults."""
    rows: list[AnyEvent] = []
    pieces = Pieces()
    cursor, done = "", False
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        while not done:
            query = {"poll": "0", "rate": "0"} | ({"after": cursor} if cursor else {})
            answer = (await http.get(f"api/runs/{run_id}/events", params=query)).raise_for_status().json()
            cursor, done = answer["cursor"], answer["done"]
            whole = [pieces.add(decode_message(msgspec.json.encode(event))) for event in answer["events"]]
            rows += [event for event in whole if event is not None and not isinstance(event, Folded)]
    return rows


def fold_of(events: Sequence[AnyEvent]) -> Fold:
    fold = Fold()
    for event in events:
        fold.apply(event)
    return fold


def check(seen: dict[str, Any], rows: Sequence[AnyEvent]) -> None:
    """The page is at rest, its state is the store's, and it was handed each event once, in order."""
    assert seen["connection"] == "ended", seen["error"]
    events = [decode_message(msgspec.json.encode(event)) for event in seen["events"]]
    _check_each(events, rows)
    fold = fold_of(rows)
    shape = _shape(fold)
    for state in ("state", "again", "watched"):
        assert seen[state] == shape, state
    assert seen["drawn"] == fold.text_of(None)
    _check_counters(seen, rows)


def _check_each(events: Sequence[AnyEvent | Folded], rows: Sequence[AnyEvent]) -> None:
    # After a reset about the cursor itself all comes again; what came before may be of a history that is no more.
    forgotten = max((place for place, event in enumerate(events) if _is_new_start(event)), default=-1)
    position = 0
    for place, event in enumerate(events):
        if isinstance(event, Folded):
            assert position == 0, "a fold came late"
            position = event.seq
        elif _is_new_start(event):
            position = event.to
        else:
            assert event.seq - event.n == position, f"after {position} came {event.seq} of {event.n}"
            if place > forgotten:
                assert coalesce([row for row in rows if position < row.seq <= event.seq]) == [event]
            position = event.seq
    assert position == rows[-1].seq


def _is_new_start(event: AnyEvent | Folded) -> TypeGuard[Reset]:
    return isinstance(event, Reset) and event.seq == 0


def _check_counters(seen: dict[str, Any], rows: Sequence[AnyEvent]) -> None:
    assert seen["received"] == rows[-1].seq
    went = seen["went"]
    returns = sum(one == "reconnecting" and "live" in went[place:] for place, one in enumerate(went))
    assert seen["resumes"] >= returns, went
    assert seen["duplicates"] == 0
    assert not seen["draining"]


def _shape(fold: Fold) -> dict[str, Any]:
    """What the probe page calls the shape of a fold."""
    events = fold.events
    spans = {event.span for event in events if isinstance(event, Text)}
    replaced = {event.span for event in events if isinstance(event, Replace)}
    progress, end = fold.progress, fold.end
    shape = {
        "position": fold.seq,
        "texts": {span or "": fold.text_of(span) for span in spans},
        "steps": _steps(events),
        "values": [[event.seq, event.value] for event in events if isinstance(event, Json)],
        "logs": [[event.seq, event.message] for event in events if isinstance(event, Log)],
        "replaced": {span or "": fold.value_of(span) for span in replaced},
        "progress": progress and [progress.done, progress.total],
        "end": end and {"state": end.state, "result": end.result, "code": (end.error or {}).get("code")},
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(shape))
    return plain


def _steps(events: Sequence[AnyEvent]) -> dict[str, Any]:
    steps: dict[str, Any] = {}
    for event in events:
        if isinstance(event, SpanStart):
            given = {
                "name": event.name,
                "kind": event.kind or "",
                "parent": event.parent,
                "input": event.input,
            }
            steps[str(event.span)] = {**given, "end": None}
        elif isinstance(event, SpanEnd):
            steps[str(event.span)]["end"] = {"output": event.output, "error": event.error}
    return steps
