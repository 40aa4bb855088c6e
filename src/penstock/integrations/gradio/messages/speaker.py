"""A run's log as Gradio's messages, for one reader of one event. Pure.

`web/gradio/messages.js` has the same rules; `messages` says what is recorded.
"""

from typing import Any

import msgspec

from ....errors import ProtocolError
from ....events import AnyEvent, End, Folded, Json, Log, Progress, Replace, Reset
from ....protocol.delta import apply
from .diffs import Edits, edits_of

__all__ = ["BARE", "BEFORE", "EFFECTS", "INTERRUPTED", "MORE", "PART", "RENDER", "STATES", "Speaker"]

MORE = "penstock"
"""The member of a recorded value that is ours; see `messages`."""

STATES, RENDER, EFFECTS, BEFORE, BARE = "states", "render", "effects", "before", "bare"

PART = "part"
"""Under `MORE`: what stands here is a part of a value that is too large for one event."""

INTERRUPTED = (
    "The server was restarted while this was running. What had come until then is kept; run it again."
)
"""What a user reads of a run that was lost in a restart."""

Message = dict[str, Any]
Value = dict[str, Any]


class Speaker:
    """Says one event to one reader: `process_starts` once and first, and `process_completed` once and last.

    It is always given the log from its beginning, or a fold of it, and says what the reader does not have. Between
    two events it holds the last value only, which what follows may be said against; nothing after the end.

    Args:
        event_id: As Gradio and the reader call it.
        heard: Everything up to this seq was said to the reader before: it is listened to, and not said again.
        has_base: It was said data against which the next are said. The log alone would not tell, of a run that
            began again.

    Attributes:
        heard, has_base: The same as they are now: together the reader's cursor. It is behind a `process_completed`
            that waits for the end of its run.
    """

    def __init__(self, event_id: str, *, heard: int = 0, has_base: bool = False) -> None:
        self._event_id = event_id
        self.heard = heard
        self.has_base = has_base
        self._has_started = heard > 0 or has_base
        self._has_ended = False
        self._until = heard  # of the reader before
        self._position = 0
        self._value: Value | None = None
        self._unsaid: int | None = None  # before this the reader has everything; None: now, too
        self._parts: list[str] = []  # of a large value that is not complete yet
        self._told: dict[str, int] = {}
        self._told_renders = 0

    # Where it stands: status, not history

    def waits(
        self, position: int | None, eta_s: float | None, queue_size: int | None = None
    ) -> list[Message]:
        """Its place in line, 1 for the next; nothing once it has started."""
        if self._has_started or self._has_ended:
            return []
        size = max(queue_size or 0, position or 0)
        rank = None if position is None else position - 1
        return [self._said({"msg": "estimation", "rank": rank, "queue_size": size, "rank_eta": eta_s})]

    def starts(self, eta_s: float | None = None) -> list[Message]:
        """It runs. Said by itself before what a run says first; nothing the second time."""
        if self._has_started or self._has_ended:
            return []
        self._has_started = True
        return [self._said({"msg": "process_starts", "eta": eta_s})]

    # The log

    def say(self, event: AnyEvent | Folded) -> list[Message]:
        """The messages of one event, or of a fold, in order; none for what was said before.

        Raises ProtocolError for a delta without the value that it was made against. Nothing has changed then.
        """
        if isinstance(event, Folded):
            messages = [message for one in event.events for message in self.say(one)]
            self._stand(max(self._position, event.seq))
            return messages
        if isinstance(event, Reset) and event.seq == 0:  # about a cursor: another log, or what it was before
            self._withdraw()
            self._position = self._until = self.heard = event.to
        elif event.seq > self._position:
            messages = self._messages(event)
            self._stand(event.seq)
            return messages
        return []

    def _stand(self, seq: int) -> None:
        self._position = seq
        self.heard = max(self.heard, seq if self._unsaid is None else self._unsaid)

    def _messages(self, event: AnyEvent) -> list[Message]:
        if isinstance(event, Replace):
            return self._replaced(event)
        if isinstance(event, Reset):
            self._withdraw()
        said = _plain(event)
        if said is not None and said.get(MORE) == PART:
            return self._part(event, said)
        if event.seq <= self._until:
            return []
        if isinstance(event, End):
            return self._end(event)
        return [] if said is None else [*self.starts(), self._said(said)]

    def _withdraw(self) -> None:
        # The reader keeps what it was shown until other data come, which a run that begins again says whole.
        self._value = self._unsaid = None
        self._parts = []
        self._told, self._told_renders = {}, 0

    def _said(self, message: Message) -> Message:
        return {**message, "event_id": self._event_id}

    # Values

    def _part(self, event: AnyEvent, part: Message) -> list[Message]:
        if part["part"] == 0:
            self._parts, self._unsaid = [], event.seq - event.n
        self._parts.append(part["text"])
        if part["part"] + 1 < part["parts"]:
            return []
        begin, value = self._unsaid or 0, msgspec.json.decode("".join(self._parts))
        self._parts, self._unsaid = [], None
        return self._replaced(Replace(value, seq=event.seq, n=event.seq - begin))

    def _replaced(self, event: Replace) -> list[Message]:
        before, value = self._value, self._value_of(event)
        if value is None:  # not one of Gradio's
            return []
        begin = event.seq - event.n
        self._value = value
        if event.seq <= self._until:
            self._note(value)
            return []
        delta = event.delta if before is not None and begin >= self._until else None
        changes = _Changes(before, value, delta if type(delta) is list else None)
        is_merged = event.seq - max(begin, self._until, self._position) > 1
        messages = self._values(changes, is_merged=is_merged)
        if value["msg"] == "process_completed":
            self._unsaid = event.seq - 1 if messages else begin
        return [*self.starts(), *messages] if messages else []

    def _value_of(self, event: Replace) -> Value | None:
        if event.delta is msgspec.UNSET:
            value = event.value
            if isinstance(value, msgspec.Raw):
                value = msgspec.json.decode(value)
        elif self._value is None or event.seq - event.n < self._position:
            raise ProtocolError(f"Event {event.seq} is a delta, and the value before it has not come.")
        else:
            value = apply(self._value, event.delta)
        return value if type(value) is dict and type(value.get("output")) is dict else None

    def _values(self, changes: "_Changes", *, is_merged: bool) -> list[Message]:
        value = changes.value
        more = value.get(MORE, {})
        effects = more.get(EFFECTS, {}) if is_merged else {}
        small = value
        if value["msg"] == "process_completed":  # that itself is said at the end, when it stands
            if not (is_merged and BEFORE in more and (BARE in more or effects)):
                return []
            small = more[BEFORE]
        messages = []
        if effects:
            changes = _Changes(changes.before, {**value, "output": _with_effects(value["output"], effects)})
            messages.append(self._data(small, changes))
            changes = _Changes(changes.value, value, only=effects)
        return [*messages, self._data(small, changes)]

    def _data(self, small: Value, changes: "_Changes") -> Message:
        output = _without(small["output"], "data")
        whole = changes.value["output"].get("data")
        if type(whole) is list:
            is_generating = small["msg"] == "process_generating"
            output["data"] = changes.edits() if is_generating and self.has_base else whole
            self.has_base = self.has_base or is_generating
        return self._with_states(small, output, changes.value)

    def _with_states(self, small: Value, output: Value, value: Value) -> Message:
        states, render = self._untold(value)
        if states:
            output["changed_state_ids"] = states
        if render is not None:
            output["render_config"] = render
        self._note(value)
        return self._said({**_without(small, MORE), "output": output})

    def _untold(self, value: Value) -> tuple[list[Any], Any]:
        """What has changed since the reader was last told: states, and what was rendered."""
        more = value.get(MORE, {})
        counts = more.get(STATES, {})
        states = sorted((_id(name) for name in counts if counts[name] > self._told.get(name, 0)), key=_order)
        render = more.get(RENDER)
        return states, render["config"] if render and render["count"] > self._told_renders else None

    def _note(self, value: Value) -> None:
        more = value.get(MORE, {})
        self._told = more.get(STATES, {})
        self._told_renders = more.get(RENDER, {}).get("count", 0)

    # The end

    def _end(self, end: End) -> list[Message]:
        value, self._value, self._unsaid = self._value, None, None
        if value is None or value["msg"] != "process_completed":
            self._has_ended = True
            return [self._said(_made(end))]
        starts, self._has_ended = self.starts(), True
        output = value["output"]
        if BARE in value.get(MORE, {}):
            output = _without(output, "data")
        return [*starts, self._with_states(value, dict(output), value)]


class _Changes:
    """From the value that the reader has to another one.

    delta: what makes the one of the other. None: each output comes whole, or only those of `only`, the others
        being the same.
    """

    def __init__(
        self, before: Value | None, value: Value, delta: list[Any] | None = None, only: Any = None
    ) -> None:
        self.before = before
        self.value = value
        self._delta = delta
        self._only = only

    def edits(self) -> list[Edits]:
        """A diff of each output."""
        data = self.value["output"]["data"]
        had = self.before["output"].get("data") if self.before is not None else None
        rows = _rows(self._delta, had, len(data))
        if rows is not None:
            return [edits_of(had[place], row) for place, row in enumerate(rows)]  # type: ignore[index]
        return [
            [["replace", [], whole]] if self._only is None or str(place) in self._only else []
            for place, whole in enumerate(data)
        ]


def _rows(delta: list[Any] | None, had: Any, count: int) -> list[list[Any]] | None:
    """A delta's operations by output; None where there are other outputs than before, or no base for it."""
    if delta is None or type(had) is not list or len(had) != count:
        return None
    rows: list[list[Any]] = [[] for _ in range(count)]
    for op, path, given in delta:
        if path[:2] != ["output", "data"]:
            if len(path) < 2 and path in ([], ["output"]):
                return None
        elif len(path) < 3 or type(path[2]) is not int or (len(path) == 3 and op in ("insert", "remove")):
            return None
        else:
            rows[path[2]].append([op, path[3:], given])
    return rows


def _with_effects(output: Value, effects: Value) -> Value:
    data = list(output["data"])
    for place, left in effects.items():
        now = data[int(place)]
        is_update = type(now) is dict and now.get("__type__") == "update"
        data[int(place)] = {"__type__": "update", **left, **(now if is_update else {"value": now})}
    return {**output, "data": data}


def _plain(event: AnyEvent) -> Message | None:
    """What stands by itself; None for what is not of Gradio."""
    if isinstance(event, Json):
        value = msgspec.json.decode(event.value) if isinstance(event.value, msgspec.Raw) else event.value
        return value if type(value) is dict and ("msg" in value or MORE in value) else None
    if isinstance(event, Progress | Log):
        fields = msgspec.json.decode(event.fields) if isinstance(event.fields, msgspec.Raw) else event.fields
        more = fields if type(fields) is dict else {}
        if isinstance(event, Log):
            return {"msg": "log", "log": event.message, "level": event.level, **more}
        return {"msg": "progress", "progress_data": [], **more}
    return None


def _made(end: End) -> Message:
    """Of a run of which Gradio never said that it was over."""
    if end.state == "cancelled":
        return {"msg": "process_completed", "output": {}, "success": True, "title": None}
    if end.state == "succeeded":
        return {"msg": "process_completed", "output": {"data": []}, "success": True, "title": None}
    is_lost = end.state == "interrupted"
    title = "Interrupted" if is_lost else "Error"
    text = INTERRUPTED if is_lost else (end.error or {}).get("message")
    output = {"error": text, "duration": None, "visible": True, "title": title}
    return {"msg": "process_completed", "output": output, "success": False, "title": title}


def _id(name: str) -> Any:
    return int(name) if name.isdecimal() else name


def _order(name: Any) -> tuple[bool, Any]:
    return type(name) is str, name


def _without(message: Message, name: str) -> Message:
    return {key: value for key, value in message.items() if key != name}
