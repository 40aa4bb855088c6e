"""What can be said of a function when it is registered, and whether it can be meant."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self, TypedDict

import msgspec
from msgspec import Meta

from ..errors import ConfigError
from ..models import OnRepeat, Rate
from ..protocol.limits import parse_rate

__all__ = ["CRASH_RETRIES", "FunctionOptions", "Limit", "Options"]

Limit = Annotated[int, Meta(ge=1)] | Literal["default"] | None
"""Calls of a group at once; "default" is the app's setting, None is no limit."""

CRASH_RETRIES = 3
"""Attempts after the first for `on_crash="retry"`: a run that takes its process down each time must end."""

MOST_S = 1e9
"""Thirty years: what is longer only overflows the store's numbers."""

_Seconds = Annotated[float, Meta(gt=0, le=MOST_S)]


class FunctionOptions(TypedDict, total=False):
    """What `App.function` takes, and describes."""

    name: str | None
    concurrency_limit: int | Literal["default"] | None
    concurrency_id: str | None
    concurrency_key: str | Callable[[Mapping[str, Any]], Any] | None
    concurrency_key_limit: int
    queue: bool
    max_size: int | None
    priority: int | Callable[[Mapping[str, Any]], int]
    rate_limit: str | None
    batch: bool
    max_batch_size: int
    max_wait_ms: float
    on_repeat: OnRepeat
    time_limit_s: float | None
    queue_timeout_s: float | None
    stall_timeout_s: float | None
    on_abandon: Literal["continue", "cancel"]
    abandon_grace_s: float
    retries: int
    on_crash: Literal["fail", "retry"]
    isolation: Literal["process"] | None
    stop_grace_s: float | None
    rate: float | None
    cumulative: bool


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options with their defaults. Made by `of`, which checks them."""

    name: str | None = None
    concurrency_limit: Limit = "default"
    concurrency_id: str | None = None
    concurrency_key: Any = None
    concurrency_key_limit: Annotated[int, Meta(ge=1)] = 1
    queue: bool = True
    max_size: Annotated[int, Meta(ge=0)] | None = None
    priority: Any = 0
    rate_limit: str | None = None
    batch: bool = False
    max_batch_size: Annotated[int, Meta(ge=1, le=1000)] = 4
    max_wait_ms: Annotated[float, Meta(ge=0, le=60_000)] = 0
    on_repeat: OnRepeat = "enqueue"
    time_limit_s: _Seconds | None = None
    queue_timeout_s: _Seconds | None = None
    stall_timeout_s: _Seconds | None = None
    on_abandon: Literal["continue", "cancel"] = "continue"
    abandon_grace_s: Annotated[float, Meta(ge=1, le=MOST_S)] = 60
    retries: Annotated[int, Meta(ge=0)] = 0
    on_crash: Literal["fail", "retry"] = "fail"
    isolation: Literal["process"] | None = None
    stop_grace_s: Annotated[float, Meta(ge=0, le=MOST_S)] | None = None
    rate: Annotated[float, Meta(ge=0, le=1000)] | None = None
    cumulative: bool = False

    @classmethod
    def of(cls, function: str, given: Mapping[str, Any]) -> Self:
        """The options given for a function. Raises ConfigError naming the one that can't be used."""
        try:
            options = msgspec.convert(dict(given), cls)
        except msgspec.ValidationError as error:
            raise _refusal(function, given, str(error)) from error
        options.check(function)
        return options

    def check(self, function: str) -> None:
        """Raise ConfigError for options that can't be meant together."""
        for wrong, problem, hint in self._conflicts():
            if wrong:
                raise ConfigError(f"{function}: {problem}.", hint=hint)
        try:
            _ = self.rate_of_starts
        except ConfigError as error:
            raise ConfigError(f"{function}: {error.message}", hint=error.hint, field="rate_limit") from error

    def _conflicts(self) -> list[tuple[bool, str, str]]:
        queued = self.concurrency_id or self.concurrency_key or self.max_size is not None or self.batch
        queued = queued or self.concurrency_limit not in ("default", None)
        key, priority = self.concurrency_key, self.priority
        return [
            (
                not self.queue and bool(queued or self.rate_limit or self.queue_timeout_s),
                "queue=False runs at once, so nothing that is said of a line can hold",
                "Leave out queue=False, or what needs a line: a limit, a key, a batch, a rate, a timeout.",
            ),
            (
                key is not None and not isinstance(key, str) and not callable(key),
                f"concurrency_key is {key!r}",
                "'session', a parameter's name, or a function of the input.",
            ),
            (
                (not isinstance(priority, int) or isinstance(priority, bool)) and not callable(priority),
                f"priority is {priority!r}",
                "A whole number, or a function of the input that gives one.",
            ),
            (
                self.batch and self.isolation is not None,
                "batch=True can't be isolated",
                "One call serves many runs: stopping one must not kill the others.",
            ),
        ]

    @property
    def rate_of_starts(self) -> Rate | None:
        """`rate_limit`, as it is counted."""
        return None if self.rate_limit is None else parse_rate(self.rate_limit)

    @property
    def crash_retries(self) -> int:
        """Attempts that may follow one whose process died."""
        return CRASH_RETRIES if self.on_crash == "retry" else 0


def _refusal(function: str, given: Mapping[str, Any], problem: str) -> ConfigError:
    message, _, place = problem.partition(" - at `$.")
    name = place.rstrip("`")
    if not name:  # a name that is not an option's: msgspec says which
        return ConfigError(f"{function}: {message}.", hint="docs/queue.md has all options.")
    hint = message.replace("Expected", "It takes").replace("`", "")
    return ConfigError(f"{function}: {name} is {given[name]!r}.", hint=f"{hint}.", field=name)
