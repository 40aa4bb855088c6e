"""What a step has used: tokens and money, added up over its calls."""

import math
import threading
from typing import Any

from ..errors import BadYield
from .emission import plain_text

__all__ = ["Usage"]

MOST_TOKENS = 2**53
"""JSON's numbers are exact up to there, in a browser too."""

COST_DIGITS = 12
"""Decimals of a sum of costs: finer than any price of a token, coarser than what adding floats leaves behind."""

NAME_CHARS = 200
"""Of a model's name, or a currency's."""


class Usage:
    """Of one span. Calls may come from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given: dict[str, Any] = {}

    def as_dict(self) -> dict[str, Any] | None:
        """What was given; None for nothing."""
        return dict(self._given) or None

    def add(
        self,
        *,
        input_tokens: int | None,
        output_tokens: int | None,
        cost: float | None,
        currency: str | None,
        model: str | None,
    ) -> None:
        """Counts and costs are added, the latest model stands. Nothing is where anything is wrong.

        Raises BadYield, with the field's name.
        """
        counts = {"input_tokens": input_tokens, "output_tokens": output_tokens}
        sums = {name: _count(name, value) for name, value in counts.items() if value is not None}
        names = {"currency": currency, "model": model}
        texts = {name: _name(name, value) for name, value in names.items() if value is not None}
        paid = None if cost is None else _cost(cost)
        with self._lock:
            self._check_currency(texts.get("currency"))
            given = self._given | texts
            given |= {name: _within(name, self._given.get(name, 0) + value) for name, value in sums.items()}
            if paid is not None:
                given["cost"] = round(self._given.get("cost", 0.0) + paid, COST_DIGITS)
            self._given = given

    def _check_currency(self, currency: str | None) -> None:
        known = self._given.get("currency", currency)
        if currency is not None and known != currency:
            raise BadYield(
                f"currency is {currency!r}, and was {known!r} before.",
                hint="The costs of a span are added: give them in one currency.",
                field="currency",
            )


def _count(name: str, value: object) -> int:
    if not isinstance(value, bool):
        try:
            count = value.__index__()  # type: ignore[attr-defined]  # NumPy's whole numbers have it too
        except (AttributeError, TypeError):
            pass
        else:
            return _within(name, int(count))
    raise BadYield(f"{name} is {value!r}.", hint="Tokens are counted in whole numbers.", field=name)


def _within(name: str, count: int) -> int:
    if 0 <= count <= MOST_TOKENS:
        return count
    raise BadYield(f"{name} is {count}.", hint=f"A whole number from 0 to {MOST_TOKENS}.", field=name)


def _cost(value: Any) -> float:
    try:
        cost = float(value) if not isinstance(value, bool | str | bytes) else math.nan
    except (TypeError, ValueError, OverflowError):
        cost = math.nan
    if math.isfinite(cost) and 0 <= cost <= MOST_TOKENS:
        return cost
    raise BadYield(f"cost is {value!r}.", hint="A number, 0 or more, in the currency's unit.", field="cost")


def _name(name: str, value: object) -> str:
    if isinstance(value, str) and 1 <= len(value) <= NAME_CHARS:
        return plain_text(value)
    raise BadYield(f"{name} is {value!r}.", hint=f"Text of 1 to {NAME_CHARS} characters.", field=name)
