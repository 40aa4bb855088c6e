"""Deltas one after the other as one: the merge of cumulative values, at the cost of what changed.

Operations are taken in order, and each is joined with the last that it continues: appended text with appended
text, a value set with one set at the same place before, text that was inserted with its removal. Operations that
concern other places stand in between; where it is not certain that two do, both stay as they are.
"""

from typing import Any

from .delta import Delta, checked

__all__ = ["Composer", "compose"]

LOOK_BACK = 32
"""Operations of other places over which one looks for what it continues: more than a yield mostly has, and so
few that a row of deltas costs in proportion to its length."""


def compose(*deltas: object) -> Delta:
    """One delta that does what these do one after the other. Raises ProtocolError for what is no delta.

    It may bring more than the value itself, where much was written and removed again.
    """
    composer = Composer()
    for delta in deltas:
        composer.add(delta)
    return composer.delta


class Composer:
    """Takes deltas in order; `delta` is the one that does what they do. Changes none of them."""

    def __init__(self) -> None:
        self._operations: list[_Operation] = []

    def add(self, delta: object) -> None:
        """Take the next one. Raises ProtocolError for what is no delta, and has taken nothing of it then."""
        for op, path, value in checked(delta):
            # What mostly grows is one text: its pieces are taken without a look at anything else.
            last = self._operations[-1] if self._operations else None
            if not (last is not None and op == "append" == last.op and last.goes_on(path, value)):
                self._push(_Operation(op, path, value))

    @property
    def delta(self) -> Delta:
        """All of them as one."""
        return [operation.plain for operation in self._operations]

    def _push(self, new: "_Operation") -> None:
        done = self._operations
        for place in range(len(done) - 1, max(-1, len(done) - 1 - LOOK_BACK), -1):
            old = done[place]
            if new.covers(old):
                del done[place]
            elif old.takes(new):
                return
            elif (instead := old.cut(new)) is not None:
                self._replace(place, instead)
                return
            elif not old.is_apart_from(new):
                break
        done.append(new)

    def _replace(self, place: int, instead: list["_Operation"]) -> None:
        others = self._operations[place + 1 :]  # of other places: they may come after as well
        del self._operations[place:]
        for operation in instead:
            self._push(operation)
        self._operations += others


class _Operation:
    """One operation. What an `append` or `insert` brings is kept in parts until it is asked for."""

    __slots__ = ("begin", "end", "length", "op", "parts", "path", "target", "value")

    def __init__(self, op: str, path: list[Any], value: Any) -> None:
        self.op = op
        self.path = path
        self.target = path
        """The string or list that is changed, where one is."""
        self.begin = self.end = 0
        self.value = value
        self.parts: list[Any] = [value]
        self.length = 0
        if op == "insert":
            self.target, self.begin = path[:-1], path[-1]
            self.length = len(value)
        elif op == "remove" and type(path[-1]) is list:
            self.target, (self.begin, self.end) = path[:-1], path[-1]

    @property
    def plain(self) -> list[Any]:
        """As it stands in a delta."""
        if self.op == "append":
            return [self.op, self.path, self.joined()]
        if self.op == "insert":
            return [self.op, [*self.target, self.begin], self.joined()]
        if self.removes_items:
            return [self.op, [*self.target, [self.begin, self.end]], None]
        return [self.op, self.path, self.value]

    def joined(self) -> Any:
        if len(self.parts) > 1:
            text = type(self.parts[0]) is str
            self.parts = ["".join(self.parts) if text else [item for part in self.parts for item in part]]
        return self.parts[0]

    @property
    def removes_items(self) -> bool:
        return self.op == "remove" and type(self.path[-1]) is list

    def goes_on(self, path: list[Any], value: Any) -> bool:
        """Append this too, if it is more of the same."""
        if path != self.path or type(value) is not type(self.parts[0]):
            return False
        self.parts.append(value)
        return True

    def covers(self, old: "_Operation") -> bool:
        """Whether nothing is left of an earlier operation after this one."""
        if self.op != "set" or old.path[: len(self.path)] != self.path:
            return False
        if len(old.path) > len(self.path):
            return True
        return old.op in ("set", "append") or (old.op == "remove" and not old.removes_items)

    def takes(self, new: "_Operation") -> bool:
        """Do the later one's work too, where it continues this one; whether it does."""
        if self.op != new.op or self.target != new.target:
            return False
        if self.op == "append":
            return self._put(new, None)
        if self.op == "insert":
            return self.begin <= new.begin <= self.begin + self.length and self._put(
                new, new.begin - self.begin
            )
        if self.removes_items and new.removes_items and new.begin <= self.begin <= new.end:
            self.begin, self.end = new.begin, new.end + self.end - self.begin
            return True
        return False

    def _put(self, new: "_Operation", offset: int | None) -> bool:
        if type(self.parts[0]) is not type(new.parts[0]):
            return False  # one of them fits nothing, and applying them will say so
        if offset is None or offset == self.length:
            self.parts += new.parts
        else:
            whole = self.joined()
            self.parts = [whole[:offset] + new.joined() + whole[offset:]]
        self.length += new.length
        return True

    def cut(self, new: "_Operation") -> "list[_Operation] | None":
        """For an insertion of which a later operation removes some: what to do in the place of both."""
        if self.op != "insert" or not new.removes_items or self.target != new.target:
            return None
        finish = self.begin + self.length
        if new.end < self.begin or new.begin > finish:
            return None
        whole = self.joined()
        rest = whole[: max(0, new.begin - self.begin)] + whole[max(0, new.end - self.begin) :]
        start = min(self.begin, new.begin)
        end = self.begin + max(0, new.end - finish)
        instead = [_Operation("remove", [*self.target, [start, end]], None)] if end > start else []
        return instead + ([_Operation("insert", [*self.target, start], rest)] if rest else [])

    def is_apart_from(self, other: "_Operation") -> bool:
        """Whether the two may change places: they concern different keys or indexes of something."""
        for depth, (one, two) in enumerate(zip(self.path, other.path, strict=False)):
            if one != two:
                if type(one) is str and type(two) is str:
                    return True
                return type(one) is int and type(two) is int and not (self.moves(depth) or other.moves(depth))
        return False

    def moves(self, depth: int) -> bool:
        return self.op in ("insert", "remove") and depth == len(self.path) - 1
