"""Which functions share a limit, and what it is."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..models import Group, Intake, Terms
from ..settings import Settings
from .function import Function

__all__ = ["Groups"]


PLAIN = Terms()


class _Facts(NamedTuple):
    """What is asked of a group at each claim and each submission."""

    members: list[Function]
    limit: int | None
    max_size: int | None
    batches: bool
    in_order: bool


class Groups:
    """An app's functions by group. `functions` may grow."""

    def __init__(self, functions: Mapping[str, Function], settings: Settings) -> None:
        self._functions = functions
        self._settings = settings
        # Asked for at each claim and each submission. Functions are only ever added, so their number tells; where
        # one takes another's place, `refresh` does.
        self._known: dict[tuple[bool, bool, int], list[Group]] = {}
        self._facts_known: dict[tuple[str, int], _Facts] = {}

    def of(self) -> list[Group]:
        """All groups."""
        return self._kept(threaded=True, recorded=True)

    def claimable(self, *, threaded: bool) -> list[Group]:
        """Those of which a worker may claim; without their `threaded` functions where those are not wanted."""
        return self._kept(threaded=threaded, recorded=False)

    def _kept(self, *, threaded: bool, recorded: bool) -> list[Group]:
        place = threaded, recorded, len(self._functions)
        if place not in self._known:
            self._known[place] = self._made(threaded=threaded, recorded=recorded)
        return self._known[place]

    def refresh(self) -> None:
        """A function has taken the place of another."""
        self._known.clear()
        self._facts_known.clear()

    def _made(self, *, threaded: bool, recorded: bool) -> list[Group]:
        members: dict[str, list[Function]] = {}
        for function in self._functions.values():
            if (threaded or not function.threaded) and (recorded or not function.recorded):
                members.setdefault(function.group, []).append(function)
        return [self._group(name, functions) for name, functions in members.items()]

    def _group(self, name: str, functions: Iterable[Function]) -> Group:
        terms = {function.name: function.terms for function in functions}
        return Group(name, tuple(terms), self.limit_of(name), terms)

    def _of(self, group: str) -> _Facts:
        place = group, len(self._functions)
        if place not in self._facts_known:
            members = [function for function in self._functions.values() if function.group == group]
            limit, max_size = self._limit(members), self._max_size(members)
            batches = any(member.options.batch for member in members)
            self._facts_known[place] = _Facts(members, limit, max_size, batches, all(map(_in_order, members)))
        return self._facts_known[place]

    def members(self, group: str) -> list[Function]:
        """The group's functions."""
        return self._of(group).members

    def limit_of(self, group: str) -> int | None:
        """The lowest limit given in the group; None where none is."""
        return self._of(group).limit

    def max_size_of(self, group: str) -> int | None:
        """The lowest bound of the waiting runs that is given in the group, or the app's."""
        return self._of(group).max_size

    def _limit(self, members: Iterable[Function]) -> int | None:
        if any(not function.options.queue for function in members):
            return None
        given = [function.options.concurrency_limit for function in members]
        limits = [limit for limit in given if limit != "default"]
        if not limits:
            return self._settings.default_concurrency_limit
        return min([limit for limit in limits if limit is not None], default=None)

    def _max_size(self, members: Iterable[Function]) -> int | None:
        if any(not function.options.queue for function in members):
            return None
        sizes = [function.options.max_size for function in members]
        return min([size for size in sizes if size is not None], default=self._settings.max_size)

    def is_plain(self, function: str) -> bool:
        """Whether its runs wait for nothing but their group's room."""
        known = self._functions.get(function)
        return known is None or known.terms == PLAIN

    def goes_in_order(self, group: str) -> bool:
        """Whether its runs start as they were submitted, and wait for nothing but its room."""
        return self._of(group).in_order

    def intake_of(self, function: Function) -> Intake:
        """Under what runs of the function are taken in."""
        of = self._of(function.group)
        return Intake(of.max_size, of.limit, function.options.on_repeat, of.batches, function.terms)

    def conflicts(self) -> list[str]:
        """What those who gave the options may not have meant, in words."""
        groups = {function.group: self.members(function.group) for function in self._functions.values()}
        found = [
            said
            for name, members in groups.items()
            for said in (self._several_limits(name, members), _named_alike(name, members))
        ]
        return [said for said in found if said]

    def _several_limits(self, group: str, members: Iterable[Function]) -> str:
        given = {f.name: f.options.concurrency_limit for f in members}
        given = {name: limit for name, limit in given.items() if limit != "default"}
        if len(set(given.values())) <= 1:
            return ""
        said = ", ".join(f"{name} {limit}" for name, limit in given.items())
        return f"The group {group!r} was given several limits ({said}): {self.limit_of(group)} holds."


def _in_order(function: Function) -> bool:
    options = function.options
    return function.terms == PLAIN and options.concurrency_key is None and options.priority == 0


def _named_alike(group: str, members: Iterable[Function]) -> str:
    others = [function.name for function in members if function.options.concurrency_id is not None]
    if group in others or not others or all(function.name != group for function in members):
        return ""
    return (
        f"The function {group!r} shares the limit of {', '.join(others)}, whose concurrency_id is its name: "
        "give it one of its own, unless that is meant."
    )
