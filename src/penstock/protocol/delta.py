"""Cumulative values as deltas: what changed from one JSON value to the next.

A delta is a list of operations `[op, path, value]`, done one after the other. `path` is a list of keys (of
objects) and indexes (of arrays) that leads from the whole value to a place in it; `[]` is the whole.

- `append`: `value`, a string or an array, goes to the end of the string or array at `path`.
- `set`: `value` takes the place of what is at `path`; an object need not have had that key.
- `insert`: `value`, a string or an array, goes before item `i` of the string or array at `path[:-1]`; `i`, the
  path's last part, may be the length.
- `remove`: the key that is the path's last part goes from its object; where that is a pair `[start, end]`, the
  items from `start` up to `end` go from the string or array at `path[:-1]`. `value` is null.

Items of strings are Unicode code points. A delta is exact: `apply(old, diff(old, new))` has the JSON of `new`, the
kinds of its numbers and `true` beside `1` included; only the order of an object's keys is not kept.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from ..errors import ProtocolError

__all__ = ["Delta", "Draft", "apply", "checked", "diff"]

Delta = list[list[Any]]

MAX_DEPTH = 64
"""Levels of a value that are looked into; what differs deeper is set as a whole. Two Python frames a level must
stay well under the interpreter's limit."""

REWRITE_CHARS = 40
"""What `remove` and `insert` cost beside the text that they bring: a shorter string is rather set as a whole."""


# --- Reading a delta


def checked(delta: object) -> Delta:
    """The delta, if it is made of operations. Whether they fit a value shows when they are applied.

    Raises ProtocolError.
    """
    if type(delta) is not list:
        raise ProtocolError(f"A delta is a list, not a {type(delta).__name__}.")
    for operation in delta:
        if not _is_operation(operation):
            raise ProtocolError(f"{_short(operation)} is not an operation of a delta.")
    return delta


def _is_operation(operation: object) -> bool:
    if type(operation) is not list or len(operation) != 3:
        return False
    op, path, value = operation
    fits = _SHAPES.get(op) if type(op) is str else None
    return fits is not None and type(path) is list and fits(path, value)


def _is_text_or_list(value: object) -> bool:
    return type(value) is str or type(value) is list


def is_index(part: object) -> bool:
    """Whether it is one of an array or a string. `True` is none, though it is an `int`."""
    return type(part) is int and part >= 0


def _is_range(part: object) -> bool:
    return type(part) is list and len(part) == 2 and all(map(is_index, part)) and part[0] <= part[1]


def _leads(path: list[Any]) -> bool:
    return all(type(part) is str or is_index(part) for part in path)


_SHAPES: dict[str, Callable[[list[Any], Any], bool]] = {
    "append": lambda path, value: _leads(path) and _is_text_or_list(value),
    "set": lambda path, _: _leads(path),
    "insert": lambda path, value: (
        bool(path) and is_index(path[-1]) and _leads(path) and _is_text_or_list(value)
    ),
    "remove": lambda path, _: (
        bool(path) and (type(path[-1]) is str or _is_range(path[-1])) and _leads(path[:-1])
    ),
}


def _short(what: object) -> str:
    try:
        shown = repr(what)
    except RecursionError:
        return "Something deep"
    return shown if len(shown) <= 80 else shown[:77] + "…"


# --- Applying one


def apply(value: Any, delta: object) -> Any:
    """The value that the delta makes of `value`, which itself stays as it was; parts are shared between the two.

    Raises ProtocolError where the delta is none, or a path leads nowhere.
    """
    changed = _Changed(value)
    for op, path, given in checked(delta):
        changed.do(op, path, given)
    return changed.whole


class Draft:
    """A value under change: each container is copied once, before the first change in it."""

    def __init__(self, value: Any) -> None:
        self._top = [value]
        self._own: dict[int, Any] = {id(self._top): self._top}  # held, so that no id is given out again

    @property
    def whole(self) -> Any:
        """The value as it is by now."""
        return self._top[0]

    def _copy(self, container: Any) -> Any:
        """A copy that is ours to change."""
        copy = container.copy()
        self._own[id(copy)] = copy
        return copy


class _Changed(Draft):
    def do(self, op: str, path: list[Any], given: Any) -> None:
        if op == "set":
            container, key = self._place(path)
            if type(container) is not dict and key >= len(container):
                raise _nowhere(path)
            container[key] = given
        elif op == "append":
            self._splice(path, None, given)
        elif op == "insert":
            self._splice(path[:-1], (path[-1], path[-1]), given)
        elif type(path[-1]) is list:
            self._splice(path[:-1], (path[-1][0], path[-1][1]), None)
        else:
            container, key = self._place(path)
            if key not in container:
                raise _nowhere(path)
            del container[key]

    def _place(self, path: list[Any]) -> tuple[Any, Any]:
        """The container that the path's last part is of, ours to change, and that part."""
        container: Any = self._top
        key: Any = 0
        for part in path:
            child = _item(container, key, path)
            if id(child) not in self._own:
                child = container[key] = self._copied(child, path)
            container, key = child, part
            if type(key) is not (str if type(container) is dict else int):
                raise _nowhere(path)
        return container, key

    def _copied(self, child: Any, path: list[Any]) -> Any:
        if type(child) is not list and type(child) is not dict:
            raise _nowhere(path)
        return self._copy(child)

    def _splice(self, path: list[Any], span: tuple[int, int] | None, given: Any) -> None:
        """Put `given`, None for nothing, in the place of these items; at the end where there is no span."""
        container, key = self._place(path)
        target = _item(container, key, path)
        kind = type(target)
        if (kind is not str and kind is not list) or (given is not None and type(given) is not kind):
            raise _nowhere(path)
        start, end = (len(target), len(target)) if span is None else span
        if end > len(target):
            raise _nowhere([*path, end])
        if kind is str:
            container[key] = target[:start] + (given or "") + target[end:]
            return
        if id(target) not in self._own:
            target = container[key] = self._copied(target, path)
        target[start:end] = given or []


def _item(container: Any, key: Any, path: list[Any]) -> Any:
    if key in container if type(container) is dict else key < len(container):
        return container[key]
    raise _nowhere(path)


def _nowhere(path: list[Any]) -> ProtocolError:
    return ProtocolError(
        f"The path {_short(path)} of a delta leads nowhere.",
        hint="The value before it may be another than the one that it was made against.",
    )


# --- Making one


def diff(old: Any, new: Any) -> Delta:
    """What makes `new` of `old`, both as JSON is decoded: strings, numbers, lists, dicts with string keys, ….

    Costs a comparison of the two, at the speed of memory for strings, and beyond it about what has changed. It
    is meant for what grows or changes in places: parts that have moved are set anew. Paths and values of the
    delta are parts of `new`, not copies.
    """
    operations: Delta = []
    _diff(old, new, (), operations)
    return operations


Path = tuple[Any, ...]


def _diff(old: Any, new: Any, path: Path, out: Delta) -> None:
    kind = type(new)
    if type(old) is kind and len(path) < MAX_DEPTH and kind in _DIFFS:
        _DIFFS[kind](old, new, path, out)
    elif not _same(old, new):
        out.append(["set", list(path), new])


def _same(old: Any, new: Any) -> bool:
    # Python's 1, 1.0 and True are equal, and 0.0 and -0.0; their JSON is not. Another order of keys counts as
    # another value here, and then nothing is found that differs.
    if type(old) is not type(new) or old != new:
        return False
    return type(new) is str or _encode(old) == _encode(new)


_encode = msgspec.json.Encoder().encode


def _diff_dict(old: dict[str, Any], new: dict[str, Any], path: Path, out: Delta) -> None:
    out += [["remove", [*path, key], None] for key in old if key not in new]
    for key, value in new.items():
        if key not in old:
            out.append(["set", [*path, key], value])
        elif value is not old[key]:
            _diff(old[key], value, (*path, key), out)


def _diff_list(old: list[Any], new: list[Any], path: Path, out: Delta) -> None:
    start, end = _ends(old, new, _same)
    gone, come = len(old) - start - end, len(new) - start - end
    both = min(gone, come)
    for index in range(start, start + both):
        _diff(old[index], new[index], (*path, index), out)
    if gone > both:
        out.append(["remove", [*path, [start + both, start + gone]], None])
    elif come > both:
        fresh = new[start + both : start + come]
        out.append(_added(path, start + both, fresh, at_end=end == 0))


def _diff_text(old: str, new: str, path: Path, out: Delta) -> None:
    if new.startswith(old):
        if len(new) > len(old):
            out.append(["append", list(path), new[len(old) :]])
        return
    start, end = _ends(old, new, str.__eq__)
    fresh = new[start : len(new) - end]
    if len(fresh) + REWRITE_CHARS > len(new):
        out.append(["set", list(path), new])
        return
    if (gone := len(old) - end) > start:
        out.append(["remove", [*path, [start, gone]], None])
    if fresh:
        out.append(_added(path, start, fresh, at_end=False))


def _added(path: Path, index: int, fresh: Any, *, at_end: bool) -> list[Any]:
    # Where something was removed too, the index is said even at the end: so the next such change, composed with
    # this one, finds what it takes back.
    return ["append", list(path), fresh] if at_end else ["insert", [*path, index], fresh]


_DIFFS: dict[type, Callable[[Any, Any, Path, Delta], None]] = {
    str: _diff_text,
    list: _diff_list,
    dict: _diff_dict,
}


def _ends(old: Any, new: Any, same: Callable[[Any, Any], bool]) -> tuple[int, int]:
    """How many items two strings or lists have in common at the beginning, and at the end behind those."""
    start = _common(min(len(old), len(new)), lambda low, high: same(old[low:high], new[low:high]))
    a, b = old[start:], new[start:]
    end = _common(
        min(len(a), len(b)),
        lambda low, high: same(a[len(a) - high : len(a) - low], b[len(b) - high : len(b) - low]),
    )
    return start, end


def _common(most: int, same: Callable[[int, int], bool]) -> int:
    """The largest count, up to `most`, of items that are the same; `same(low, high)` compares a part of them.

    First just before `most`, since what grows has mostly changed there, then by halves.
    """
    low, high, back = max(0, most - 1), most, 4
    while low > 0 and not same(0, low):
        high = low - 1
        low, back = max(0, most - back), back * 4
    while low < high:
        middle = (low + high + 1) // 2
        if same(low, middle):
            low = middle
        else:
            high = middle - 1
    return low
