"""Gradio's side of a stream, for the tests of what is recorded of it: a server that says, and a page that listens.

Diffs are made and applied by Gradio's own functions.
"""

import copy
import json
import random
from typing import Any

from gradio.utils import diff
from gradio_client.utils import apply_diff

__all__ = ["Page", "said_by_gradio"]

Message = dict[str, Any]

TOKENS = ("The ", "answer", " is", " 42", "…", " 😀", "\n", "é", "<b>", "")


class Page:
    """What a client of Gradio makes of messages; for each output also what its component shows.

    data: the outputs as diffs lead to them. shown: properties of each component. result: the data of the end.
    told: ids of changed states, with the places of the messages in which they were.
    """

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.data: list[Any] | None = None
        self.result: Any = None
        self.shown: dict[int, dict[str, Any]] = {}
        self.logs: list[Any] = []
        self.others: list[Message] = []
        self.progress: Any = None
        self.completed: list[Message] = []
        self.told: dict[Any, list[int]] = {}
        self.rendered: Any = None
        self.starts = 0
        self._base: list[Any] | None = None

    def hear(self, message: Message) -> None:
        assert not self.completed, "nothing follows the end"
        self.heard.append(message)
        output = message.get("output", {})
        for changed in output.get("changed_state_ids") or ():
            self.told.setdefault(changed, []).append(len(self.heard))
        self.rendered = output.get("render_config") or self.rendered
        getattr(self, f"_{message['msg']}", self.others.append)(message)

    def _process_starts(self, _: Message) -> None:
        assert len(self.heard) == 1, "it is said first"
        self.starts += 1

    def _process_generating(self, message: Message) -> None:
        data = message["output"].get("data", [])
        if self._base is None:
            self._base = list(data)
        else:
            self._base = [apply_diff(was, edits) for was, edits in zip(self._base, data, strict=True)]
        self._show(copy.deepcopy(self._base))

    def _process_streaming(self, message: Message) -> None:
        self._show(message["output"]["data"])

    def _process_completed(self, message: Message) -> None:
        self.completed.append(message)
        self.result = message["output"].get("data")
        if message["success"] and self.result is not None:
            self._show(self.result)

    def _show(self, data: list[Any]) -> None:
        self.data = data
        for place, value in enumerate(data):
            is_update = isinstance(value, dict) and value.get("__type__") == "update"
            props = {k: v for k, v in value.items() if k != "__type__"} if is_update else {"value": value}
            self.shown.setdefault(place, {}).update(props)

    def _progress(self, message: Message) -> None:
        self.progress = message["progress_data"]

    def _log(self, message: Message) -> None:
        self.logs.append({name: value for name, value in message.items() if name != "event_id"})


def said_by_gradio(chance: random.Random) -> list[Message]:
    """What one event of some function leads to, as its server sends it."""
    kind = chance.choice(["process_generating", "process_generating", "process_streaming", "function"])
    outputs = chance.randint(0, 3)
    yields = 1 if kind == "function" else chance.randint(1, 8)
    messages: list[Message] = [{"msg": "process_starts", "eta": chance.choice([None, 1.5])}]
    data = [_begun(chance) for _ in range(outputs)]
    last: list[Any] | None = None
    for _ in range(yields):
        messages += [_beside(chance) for _ in range(chance.choice([0, 0, 1, 2]))]
        if kind != "function":
            data = [_next(value, chance) for value in data]
            said = _diffs(last, data) if kind == "process_generating" else data
            messages.append(_spoken(kind, said, chance, is_last=False))
            last = data
    messages.append(_end(data, chance))
    return [json.loads(json.dumps({**message, "event_id": "e1"})) for message in messages]


def _diffs(last: list[Any] | None, data: list[Any]) -> list[Any]:
    if last is None:
        return data
    made = [diff(was, now) for was, now in zip(last, data, strict=True)]
    # Gradio's own diff goes wrong where items are removed from lists in a list; not what is tested here.
    return [
        edits if _leads(was, edits, now) else [["replace", [], now]]
        for was, edits, now in zip(last, made, data, strict=True)
    ]


def _leads(was: Any, edits: list[Any], now: Any) -> bool:
    try:
        return bool(apply_diff(was, edits) == now)
    except (IndexError, KeyError, TypeError):
        return False


def _spoken(msg: str, data: list[Any], chance: random.Random, *, is_last: bool) -> Message:
    output = {
        "data": data,
        "is_generating": not is_last,
        "duration": chance.choice([0.1, 0.25]),
        "average_duration": 0.2,
        "render_config": chance.choice([None, None, {"render_id": 1, "components": [chance.randint(0, 9)]}]),
        "changed_state_ids": sorted({chance.randint(3, 12) for _ in range(chance.choice([0, 0, 1, 3]))}),
    }
    if chance.random() < 0.5:  # of later versions
        output["used_cache"] = None
    return {"msg": msg, "output": output, "success": True, "time_limit": chance.choice([None, 30])}


def _end(data: list[Any], chance: random.Random) -> Message:
    ending = chance.choice(["well", "well", "failed", "cancelled"])
    if ending == "well":
        more = {"title": None, "used_cache": None, "cache_duration": 0.1, "avg_time": 0.2}
        return {**_spoken("process_completed", data, chance, is_last=True), **more}
    if ending == "cancelled":
        return {"msg": "process_completed", "output": {}, "success": True, "title": None}
    error = chance.choice([None, "It broke."])
    output = {"error": error, "duration": 10, "visible": True, "title": "Error"} if error else {"error": None}
    return {"msg": "process_completed", "output": output, "success": False, "title": "Error"}


def _beside(chance: random.Random) -> Message:
    number = chance.randint(0, 99)
    log = {
        "msg": "log",
        "log": f"line {number}",
        "level": "info",
        "duration": 10,
        "visible": True,
        "title": "",
    }
    return chance.choice(
        [
            log,
            {**log, "level": "warning", "duration": None, "title": "Careful"},
            {"msg": "progress", "progress_data": [_unit(number), _unit(number + 1)]},
            {"msg": "progress", "progress_data": []},
            {"msg": "of_a_later_version", "number": number},
            {"msg": "estimation", "rank": 0, "queue_size": 1, "rank_eta": None},
        ]
    )


def _unit(number: int) -> dict[str, Any]:
    return {"index": number, "length": 100, "unit": "steps", "progress": None, "desc": "Working"}


def _begun(chance: random.Random) -> Any:
    return chance.choice(
        [
            None,
            "",
            "Hello, this is long. " * chance.randint(1, 30),
            "And so is this one, by itself. " * 30,
            [],
            [{"role": "user", "content": "Hi", "metadata": None}],
            {"path": "/tmp/a.png", "url": "http://x/file=/tmp/a.png", "meta": {"_type": "gradio.FileData"}},
            {"headers": ["a", "b"], "data": [[1, 2.5], [3, None]], "metadata": None},
            {"__type__": "update"},
            {"__type__": "update", "visible": True, "value": "seen"},
            7,
        ]
    )


def _next(value: Any, chance: random.Random) -> Any:
    value = copy.deepcopy(value)
    draw = chance.random()
    if draw < 0.12:
        return {"__type__": "update"}
    if draw < 0.24:
        props = {"visible": chance.random() < 0.5, "value": "set", "choices": [["a", "a"]], "label": "L"}
        return {"__type__": "update", **dict(chance.sample(sorted(props.items()), chance.randint(0, 3)))}
    if draw < 0.3:
        return _begun(chance)
    return _grown(value, chance)


def _grown(value: Any, chance: random.Random) -> Any:
    if isinstance(value, str):
        cut = chance.randint(0, len(value)) if chance.random() < 0.2 else len(value)
        return value[:cut] + chance.choice(TOKENS)
    if isinstance(value, list):
        return _grown_list(value, chance)
    if isinstance(value, dict):
        name = chance.choice([*value, "more"])
        if chance.random() < 0.1:
            value.pop(name, None)
        elif name != "__type__":
            value[name] = _grown(value.get(name, ""), chance)
        return value
    return chance.choice([value, None, chance.randint(0, 9), True, 1.0])


def _grown_list(value: list[Any], chance: random.Random) -> list[Any]:
    draw = chance.random()
    if not value or draw < 0.3:
        more = [{"role": "assistant", "content": "Because", "metadata": None}, 1, [None, "cell"]]
        return [*value, *chance.sample(more, chance.randint(1, 2))]
    place = chance.randrange(len(value))
    if draw < 0.45:
        del value[place]
    elif draw < 0.6:
        value.insert(place, "new")
    else:
        value[place] = _grown(value[place], chance)
    return value
