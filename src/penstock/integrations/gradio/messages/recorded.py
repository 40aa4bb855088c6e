"""What Gradio says of an event, as what a run's log keeps, and that as Gradio's messages again. Pure.

`Recorded` is the way in, `Speaker` one reader's way out. Outputs are kept as one cumulative value, a `replace`:
the last message with its data whole, so that Penstock merges, folds and sends what has changed as with any other.
What a merge would lose of the messages in between is cumulative too, under `MORE`:

- `states`: how often each `gr.State` has changed, by its id; in place of the message's `changed_state_ids`.
- `render`: the last `render_config` and how many there were; the message's own is null.
- `effects`: what earlier updates (`gr.update`, `gr.skip`) did to an output that its last value does not do again.
- `before`: of `process_completed`, the message before it, without data. `bare`: the data are that message's.

A value that is too large for one event is kept as several: `{"penstock": "part", "part", "parts", "text"}`, whose
texts together are its JSON.
"""

from collections.abc import Iterable
from typing import Any, Literal, Protocol

import msgspec

from ....errors import ProtocolError
from ....events import Replace
from .diffs import applied
from .speaker import BARE, BEFORE, EFFECTS, MORE, PART, RENDER, STATES, Speaker

__all__ = ["Kept", "KeptLog", "KeptProgress", "KeptRaw", "KeptValue", "Outcome", "Recorded", "Speaker"]

Message = dict[str, Any]

ABOUT_SESSION = {
    "broken_connection",
    "close_stream",
    "estimation",
    "heartbeat",
    "server_stopped",
    "unexpected_error",
}
"""Said of a connection or of a place in line: true for a moment, so never stored."""

LARGE_BYTES = 12 * 1024 * 1024
"""A value whose JSON is larger is kept in parts: one event may have 16 MiB, and Gradio has no such limit."""

PART_CHARS = 1024 * 1024
"""Of a large value in one event: well within what may wait for the store, however much of it must be escaped."""


class Target(Protocol):
    """Where a run is recorded: `worker.Recording`."""

    def emit(self, value: object) -> None: ...
    def progress(self, done: float, total: float | None = None, unit: str = "", **more: Any) -> None: ...
    def log(self, message: object, level: str = "info", **fields: Any) -> None: ...


class KeptValue(msgspec.Struct, frozen=True):
    """The value that takes the place of the last one. Valid until the next message is taken."""

    value: Message

    def record(self, target: Target) -> None:
        target.emit(Replace(self.value))


class KeptProgress(msgspec.Struct, frozen=True):
    """How far it is, by the first unit; `fields` have all of the message."""

    done: float
    total: float | None
    unit: str
    fields: Message

    def record(self, target: Target) -> None:
        target.progress(self.done, self.total, self.unit, **self.fields)


class KeptLog(msgspec.Struct, frozen=True):
    """A line for the user: `gr.Info` and the like."""

    message: str
    level: str
    fields: Message

    def record(self, target: Target) -> None:
        target.log(self.message, self.level, **self.fields)


class KeptRaw(msgspec.Struct, frozen=True):
    """A message of a kind that is not known here, as it was."""

    value: Message

    def record(self, target: Target) -> None:
        target.emit(self.value)


Kept = KeptValue | KeptProgress | KeptLog | KeptRaw


class Outcome(msgspec.Struct, frozen=True):
    """How an event ended, for its run's end."""

    state: Literal["succeeded", "failed", "cancelled"]
    error: dict[str, str] | None = None


class Recorded:
    """One event's way in: give it Gradio's messages in order, and record what comes out.

    simple: the event was begun through `/call`, whose updates are whole values, never diffs.
    eta_s: what `process_starts` said. It is not kept: it is of that moment.
    outcome: None until `process_completed` has come; what comes after it is ignored, a second one too.
    """

    def __init__(self, *, simple: bool = False) -> None:
        self.eta_s: float | None = None
        self.outcome: Outcome | None = None
        self._simple = simple
        self._data: list[Any] | None = None
        self._is_lost = False  # a diff did not fit: there are no good data until they come whole
        self._generated = False
        self._before: Message | None = None
        self._states: dict[str, int] = {}
        self._render: Message | None = None
        self._effects: list[dict[str, Any]] = []
        self._size_bytes = 0  # of the value's JSON, at most
        self._in_parts = False

    def take(self, message: Message) -> list[Kept]:
        """What is recorded of one message. Never raises for what a message may be."""
        kind = message.get("msg")
        if self.outcome is not None or kind in ABOUT_SESSION:
            return []
        if kind == "process_starts":
            self.eta_s = message.get("eta")
            return []
        if kind == "process_completed" or (kind in _SPOKEN and type(message.get("output")) is dict):
            return self._kept(self._value(message))
        return [_log(message) or _progress(message) or KeptRaw(_without(message, "event_id"))]

    def _kept(self, value: Message) -> list[Kept]:
        if self._size_bytes <= LARGE_BYTES:
            return [KeptValue(value)]
        text = _encode(value)
        if not self._in_parts and len(text) <= LARGE_BYTES:
            self._size_bytes = len(text)
            return [KeptValue(value)]
        self._in_parts = True  # to the end: a delta would be made against the last that was whole
        parts = _cut(text.decode())
        return [
            KeptRaw({MORE: PART, "part": place, "parts": len(parts), "text": part})
            for place, part in enumerate(parts)
        ]

    def _value(self, message: Message) -> Message:
        given = message.get("output")
        output: Message = dict(given) if type(given) is dict else {}
        data = output.pop("data", None)
        is_new = type(data) is list
        if type(data) is list:
            self._keep(data, is_diff=message["msg"] == "process_generating")
        more = self._more(message["msg"], output, is_new=is_new)
        if message["msg"] == "process_completed":
            self.outcome = _outcome(message, output, bare=not is_new)
        small = {**_without(message, "event_id"), "output": output}
        self._before = small
        value = {**small, "output": output if self._data is None else {**output, "data": self._data}}
        return {**value, MORE: more} if more else value

    # Data

    def _keep(self, data: list[Any], *, is_diff: bool) -> None:
        was = self._data or []
        self._size_bytes += len(_encode(data))
        if is_diff and self._generated and not self._simple:
            if self._is_lost:
                return
            try:
                data = [applied(was[i] if i < len(was) else None, edits) for i, edits in enumerate(data)]
            except ProtocolError:  # the last good data stand until the end brings the right ones
                self._is_lost = True
                return
        self._generated = self._generated or is_diff
        self._is_lost = False
        self._effects = [
            _left(was[i], self._effects[i], new) if i < len(was) else {} for i, new in enumerate(data)
        ]
        self._data = data

    # What a merge must not lose

    def _more(self, kind: str, output: Message, *, is_new: bool) -> Message:
        self._count_states(output)
        if (config := output.get("render_config")) is not None:
            count = self._render["count"] + 1 if self._render is not None else 1
            self._render = {"count": count, "config": config}
            self._size_bytes += len(_encode(config))
            output["render_config"] = None
        effects = {str(i): left for i, left in enumerate(self._effects) if left}
        more: Message = {STATES: self._states.copy(), RENDER: self._render, EFFECTS: effects}
        if kind == "process_completed":
            more[BEFORE] = self._before
            more[BARE] = not is_new and self._data is not None
        return {name: said for name, said in more.items() if said}

    def _count_states(self, output: Message) -> None:
        ids = output.get("changed_state_ids")
        if type(ids) is list:
            output["changed_state_ids"] = []
            for changed in map(str, ids):
                self._states[changed] = self._states.get(changed, 0) + 1


_SPOKEN = {"process_generating", "process_streaming"}


_encode = msgspec.json.Encoder().encode


def _cut(text: str) -> list[str]:
    return [text[start : start + PART_CHARS] for start in range(0, len(text), PART_CHARS)]


def _props(value: Any) -> dict[str, Any]:
    """What a value does to its component."""
    if type(value) is dict and value.get("__type__") == "update":
        return _without(value, "__type__")
    return {"value": value}


def _left(was: Any, left: dict[str, Any], new: Any) -> dict[str, Any]:
    """What was done to a component so far that a new value does not do."""
    if not left and type(new) is not dict and type(was) is not dict:
        return left
    done = {**left, **_props(was)}
    for name in _props(new):
        done.pop(name, None)
    return done


def _without(message: Message, name: str) -> Message:
    return {key: value for key, value in message.items() if key != name}


def _log(message: Message) -> KeptLog | None:
    text, level = message.get("log"), message.get("level")
    fields = _rest(message, ("log", "level"))
    if message.get("msg") != "log" or type(text) is not str or type(level) is not str or "message" in fields:
        return None
    return KeptLog(text, level, fields)


def _progress(message: Message) -> KeptProgress | None:
    units, fields = message.get("progress_data"), _rest(message, ())
    if (
        message.get("msg") != "progress"
        or type(units) is not list
        or fields.keys() & {"done", "total", "unit"}
    ):
        return None
    first = next((unit for unit in units if type(unit) is dict), {})
    done, total, unit = _number(first.get("index")), _number(first.get("length")), first.get("unit")
    if done is None:
        done, total, unit = _number(first.get("progress")), 1, ""
    return KeptProgress(done or 0, total, unit if type(unit) is str else "", fields)


def _rest(message: Message, said: Iterable[str]) -> Message:
    return {key: value for key, value in message.items() if key not in {"msg", "event_id", *said}}


def _number(value: Any) -> float | None:
    return value if type(value) is int or type(value) is float else None


def _outcome(message: Message, output: Message, *, bare: bool) -> Outcome:
    if not message.get("success", True):
        said = output.get("error")
        text = said if type(said) is str and said else "The function failed."
        return Outcome("failed", {"code": "exception", "message": text, "hint": ""})
    # What `/cancel` puts into the stream: success, and nothing in it.
    return Outcome("cancelled" if bare and not output else "succeeded")
