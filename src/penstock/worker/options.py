"""What can be said of a function when it is registered, and whether it can be meant."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self, TypedDict

import msgspec
from msgspec import Meta

from ..errors import ConfigError
from ..models import OnRepeat, Rate
from ..protocol.limits import parse_rate
from .emission import plain_text

__all__ = ["CRASH_RETRIES", "FunctionOptions", "Limit", "Options", "shown"]

Limit = Annotated[int, Meta(ge=1)] | Literal["default"] | None
"""Calls of a group at once; "default" is the app's setting, None is no limit."""

CRASH_RETRIES = 3
"""Attempts after the first for `on_crash="retry"`: a run that takes its process down each time must end."""

MOST_S = 1e9
"""Thirty years: what is longer only overflows the store's numbers."""

SHOWN_CHARS = 200
"""What a refusal shows of the value given: enough to find it by."""

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
        _check_texts(function, given)
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
                f"concurrency_key is {shown(key)}",
                "'session', a parameter's name, or a function of the input.",
            ),
            (
                (not isinstance(priority, int) or isinstance(priority, bool)) and not callable(priority),
                f"priority is {shown(priority)}",
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


def shown(value: object) -> str:
    """A value as a refusal shows it, whatever it is."""
    try:
        text = plain_text(repr(value))
    except Exception:  # noqa: BLE001 - one that can't be shown (an endless number, say) is refused all the same
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def _check_texts(function: str, given: Mapping[str, Any]) -> None:
    # Here, with the option's name: the store and every answer that shows it would only fail later.
    for name, value in given.items():
        if not _is_plain(name):
            raise ConfigError(
                f"{function}: there is no option {name!r}.", hint="docs/queue.md has all options."
            )
        if isinstance(value, str) and not _is_plain(value):
            hint = "It takes text that has a form in UTF-8, without NUL."
            raise ConfigError(f"{function}: {name} is {shown(value)}.", hint=hint, field=name)


def _is_plain(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _refusal(function: str, given: Mapping[str, Any], problem: str) -> ConfigError:
    message, _, place = problem.partition(" - at `$.")
    name = place.rstrip("`")
    if not name:  # a name that is not an option's: msgspec says which
        return ConfigError(f"{function}: {message}.", hint="docs/queue.md has all options.")
    hint = message.replace("Expected", "It takes").replace("`", "")
    return ConfigError(f"{function}: {name} is {shown(given[name])}.", hint=f"{hint}.", field=name)
