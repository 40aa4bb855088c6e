"""What a store in memory holds."""

import msgspec

from ...models import Pace, RunRecord
from .audience import Audience
from .lineup import Lineup
from .log import Log

__all__ = ["Kept", "Sign"]


class Sign(msgspec.Struct, frozen=True):
    """Of one worker's life."""

    worker: str
    expires_at_ms: int


class Values:
    """Values by name, each for its time."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[bytes, int]] = {}

    def keep(self, name: str, value: bytes | None, until_ms: int, now_ms: int) -> None:
        """See `ValueStore.keep`."""
        over = [name for name, (_, until_ms) in self._values.items() if until_ms <= now_ms]
        for one in (*over, name):
            self._values.pop(one, None)
        if value is not None:
            self._values[name] = value, until_ms

    def kept(self, name: str, now_ms: int) -> bytes | None:
        """See `ValueStore.kept`."""
        value, until_ms = self._values.get(name, (None, now_ms))
        return value if until_ms > now_ms else None


class Kept:
    """All that a store holds."""

    __slots__ = ("audience", "keys", "lineup", "logs", "paces", "runs", "signs", "values")

    def __init__(self) -> None:
        self.logs: dict[str, Log] = {}
        self.runs: dict[str, RunRecord] = {}  # in order of submission
        self.lineup = Lineup()
        self.keys: dict[tuple[str, str | None], str] = {}
        self.signs: dict[str, Sign] = {}
        self.paces: dict[str, Pace] = {}
        self.audience = Audience(self.runs)
        self.values = Values()
