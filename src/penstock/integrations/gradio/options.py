"""What `penstock.gradio.install` was asked for."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from ...settings import load
from ...storage import make_store

__all__ = ["Options", "make_options"]

LONGEST_S = 7 * 86400.0
"""A week: nobody comes back to a page later, and until then its work goes on."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options, checked.

    store: as in `penstock.App`. grace_s: seconds for which a page that was lost keeps its session and its work.
    close_grace_s: the same for one that was closed. rate: updates a second of one event at most; 0 merges nothing.
    console: whether it is served at `/penstock`. token: with which programs and operators ask, whoever is logged
    in. operators: names of logins that see everything there; None for each login its own.
    """

    store: str | None = None
    grace_s: float = 60.0
    close_grace_s: float = 5.0
    rate: float = 20.0
    console: bool = True
    operators: frozenset[str] | None = None
    token: str = ""


def make_options(given: dict[str, Any]) -> Options:
    """Check what `install` was given. Raises ConfigError, which names the option."""
    operators = given.pop("operators")
    options = Options(**given, operators=_operators(operators))
    _require_seconds(options)
    if not isinstance(options.console, bool):
        raise ConfigError(f"console is {options.console!r}.", hint="It is True or False.", field="console")
    settings = load({"store": options.store, "rate": options.rate, "token": options.token or None})
    make_store(settings.store)  # not opened: only an address that means nothing is found now
    return Options(
        **vars(options) | {"store": settings.store, "rate": settings.rate, "token": settings.token}
    )


def _require_seconds(options: Options) -> None:
    for name in ("grace_s", "close_grace_s"):
        value = getattr(options, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and 0 <= value <= LONGEST_S):
            hint = f"It is a number of seconds from 0 to {LONGEST_S:.0f}."
            raise ConfigError(f"{name} is {value!r}.", hint=hint, field=name)


def _operators(given: object) -> frozenset[str] | None:
    if given is None:
        return None
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(name, str) for name in names):
        hint = "It is the name of a login, or several of them."
        raise ConfigError(f"operators is {given!r}.", hint=hint, field="operators")
    return frozenset(names)
