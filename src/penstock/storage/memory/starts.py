"""The last starts of functions with a rate."""

from collections.abc import Sequence

from ...models import Rate
from ...protocol.limits import STARTS_KEPT_MS

__all__ = ["Starts"]

LOOK_THROUGH_AT = 64
"""Places from which on old ones are looked for, and again each time that there are twice as many: so a start costs
the same however many keys there are."""

Place = tuple[str, str]
"""Function and lane."""


class Starts:
    """By function and lane, oldest first, as many as the rate counts."""

    def __init__(self) -> None:
        self._at_ms: dict[Place, list[int]] = {}
        self._until_ms: dict[Place, int] = {}
        self._enough = LOOK_THROUGH_AT

    def __len__(self) -> int:
        return len(self._at_ms)

    def of(self, place: Place) -> Sequence[int]:
        """When the last ones were."""
        return self._at_ms.get(place, ())

    def note(self, place: Place, rate: Rate, now_ms: int) -> None:
        """One more."""
        starts = self._at_ms.setdefault(place, [])
        starts.append(now_ms)
        del starts[: -rate.count]
        self._until_ms[place] = now_ms + rate.period_ms
        if len(self._at_ms) > self._enough:
            self._forget(now_ms - STARTS_KEPT_MS)

    def _forget(self, before_ms: int) -> None:
        for place in [place for place, until_ms in self._until_ms.items() if until_ms < before_ms]:
            del self._at_ms[place], self._until_ms[place]
        self._enough = max(LOOK_THROUGH_AT, 2 * len(self._at_ms))
