"""Where a client stands in its session: which events it has of what was joined, and how far."""

import re
from typing import NamedTuple

from ....errors import BadCursor

__all__ = ["Place", "Places", "parse_places"]

MOST_PLACES = 1000
"""Events in one cursor. A session has as many at once as its page has running."""

_MARK = re.compile(r"([a-z0-9]{1,32})\.([0-9]{1,15})", re.ASCII)
_PLACE = re.compile(r"([^@,\s]{1,200})@([A-Za-z0-9]{8,32})-([0-9]{1,18})(\*?)", re.ASCII)


class Place(NamedTuple):
    """How far a client has one event.

    based: it has been told a value, so that what follows can be said as changes to it.
    """

    epoch: str
    seq: int
    based: bool


class Places(NamedTuple):
    """A client's cursor in a session: `<life>.<joined>,<event>@<epoch>-<seq>,…`, `*` where it is based.

    life: of the server that gave it. joined: how many events of the session it was told of, in that life.
    events: those that it does not have to their end.
    """

    life: str
    joined: int
    events: dict[str, Place]

    def __str__(self) -> str:
        standing = [
            f"{name}@{place.epoch}-{place.seq}{'*' * place.based}" for name, place in self.events.items()
        ]
        return ",".join([f"{self.life}.{self.joined}", *standing])


def parse_places(text: str) -> Places:
    """A cursor as it was given. Empty: one that has nothing yet. Raises BadCursor."""
    if not text:
        return Places("", 0, {})
    mark, *rest = text.split(",", MOST_PLACES + 1)
    begins, places = _MARK.fullmatch(mark), [_PLACE.fullmatch(one) for one in rest]
    if begins is None or None in places or len(places) > MOST_PLACES:
        shown = text if len(text) <= 60 else text[:60] + "…"
        raise BadCursor(
            f"{shown!r} is not a cursor.", hint="Send an id as it came, or an empty cursor.", field="cursor"
        )
    events = {one[1]: Place(one[2], int(one[3]), bool(one[4])) for one in places if one is not None}
    return Places(begins[1], int(begins[2]), events)
