"""Gradio's diffs of outputs: applied to a value, and made of Penstock's deltas.

A diff is a list of edits `[action, path, value]`: `replace`, `append` (to a text), `add` (a key, or an item before
the one at that index) and `delete`. Pure, like everything on the protocol floor.
"""

from typing import Any

from ....errors import ProtocolError
from ....protocol.delta import Draft, apply

__all__ = ["Edits", "applied", "edits_of"]

Edits = list[list[Any]]


def applied(value: Any, edits: object) -> Any:
    """The value that Gradio's clients make of `value` with a diff; `value` itself stays as it was.

    Where its `diff()` counts from the end by mistake, this does too: indexes may be negative. Raises ProtocolError
    for what is no diff or fits nowhere.
    """
    edited = _Edited(value)
    try:
        for action, path, given in edits:  # type: ignore[attr-defined]
            edited.do(action, path, given)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ProtocolError(f"A diff of Gradio fits nowhere: {error}.") from error
    return edited.whole


class _Edited(Draft):
    def do(self, action: str, path: list[Any], given: Any) -> None:
        container, key = self._place(path)
        if action == "replace":
            container[key] = given
        elif action == "append":
            container[key] = container[key] + given
        elif not path:
            raise ValueError(f"{action} of the whole")
        elif action == "add" and type(container) is list:
            container.insert(int(key), given)
        elif action == "add":
            container[key] = given
        elif action == "delete":
            del container[key]
        else:
            raise ValueError(action)

    def _place(self, path: list[Any]) -> tuple[Any, Any]:
        container: Any = self._top
        key: Any = 0
        for part in path:
            child = container[key]
            if id(child) not in self._own:
                child = container[key] = self._copy(child)
            container, key = child, part
        return container, key


def edits_of(value: Any, delta: list[list[Any]]) -> Edits:
    """A delta (`protocol.delta`) of one output as Gradio's diff, for a client that has `value`.

    Gradio's diffs can't change the middle of a text, so that comes whole. Raises ProtocolError where the delta
    fits nowhere.
    """
    edits: Edits = []
    for place, operation in enumerate(delta):
        after = _none
        if place + 1 < len(delta) or _needs_after(value, operation):
            after = apply(value, [operation])
        edits += _edits(value, after, *operation)
        value = after
    return edits


_none: Any = object()


def _needs_after(value: Any, operation: list[Any]) -> bool:
    op, path, given = operation
    return (op == "insert" and type(given) is str) or (
        op == "remove" and type(path[-1]) is list and type(_at(value, path[:-1])) is str
    )


def _edits(value: Any, after: Any, op: str, path: list[Any], given: Any) -> Edits:
    if op == "set":
        return [["replace", path, given]]
    if op == "append":
        if type(given) is str:
            return [["append", path, given]]
        start = len(_at(value, path))
        return [["add", [*path, start + place], item] for place, item in enumerate(given)]
    inside, last = path[:-1], path[-1]
    if op == "insert" and type(given) is list:
        return [["add", [*inside, last + place], item] for place, item in enumerate(given)]
    if op == "remove" and type(last) is str:
        return [["delete", path, None]]
    if op == "remove" and type(_at(value, inside)) is list:
        return [["delete", [*inside, last[0]], None] for _ in range(last[0], last[1])]
    return [["replace", inside, _at(after, inside)]]


def _at(value: Any, path: list[Any]) -> Any:
    try:
        for part in path:
            value = value[part]
    except (LookupError, TypeError) as error:
        raise ProtocolError("The path of a delta leads nowhere.") from error
    return value
