"""Copies of what a generator yielded, which the generator can't change any more while it runs on."""

import copy
import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import sys
import types
import uuid
from collections.abc import Callable
from typing import Any

__all__ = ["Unfixable", "snapshot"]

FIXED = frozenset(
    {
        bool,
        bytes,
        complex,
        dt.date,
        dt.datetime,
        dt.time,
        dt.timedelta,
        decimal.Decimal,
        float,
        int,
        range,
        str,
        type(None),
        uuid.UUID,
    }
)
"""Types whose values never change."""

FIXED_FAMILIES = (enum.Enum, pathlib.PurePath)

DEPTH = 64
"""Containers within containers; a value that holds itself is deeper. Conversations are less than ten deep."""

COPIED: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("numpy", "ndarray", lambda array: array.copy()),
    ("numpy", "generic", lambda scalar: scalar),
    ("PIL.Image", "Image", lambda image: image.copy()),
    ("pandas", "DataFrame", lambda frame: frame.copy(deep=True)),
    ("pandas", "Series", lambda series: series.copy(deep=True)),
    ("pandas", "Timestamp", lambda moment: moment),
    ("pydantic", "BaseModel", lambda model: model.model_copy(deep=True)),
    ("gradio.blocks", "Block", lambda component: component),
)
"""Other libraries' types, and how their values are fixed. Components are described when they are made, and only
read after that."""


class Unfixable(Exception):
    """A value of a type that can't be copied here."""


def snapshot(value: Any, depth: int = 0) -> Any:
    """An equal value that stays as it is whatever becomes of this one: itself, where its type never changes.

    Raises:
        Unfixable: there is something in it whose type is not known here.
    """
    kind = type(value)
    if kind in FIXED:
        return value
    if depth > DEPTH:
        raise Unfixable("deeper than any conversation")
    container = CONTAINERS.get(kind)
    if container is not None:
        return container(value, depth + 1)
    if isinstance(value, FIXED_FAMILIES):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _dataclass(value, depth + 1)
    return _foreign(value)


def _list(value: list[Any], depth: int) -> list[Any]:
    return [snapshot(item, depth) for item in value]


def _tuple(value: tuple[Any, ...], depth: int) -> tuple[Any, ...]:
    return tuple([snapshot(item, depth) for item in value])


def _dict(value: dict[Any, Any], depth: int) -> dict[Any, Any]:
    return {key: snapshot(item, depth) for key, item in value.items()}


def _set(value: set[Any], _depth: int) -> set[Any]:
    return set(value)  # what can be in a set does not change


def _namespace(value: types.SimpleNamespace, depth: int) -> types.SimpleNamespace:
    return types.SimpleNamespace(**_dict(vars(value), depth))


CONTAINERS: dict[type, Callable[[Any, int], Any]] = {
    dict: _dict,
    frozenset: lambda value, _depth: value,
    list: _list,
    set: _set,
    tuple: _tuple,
    types.SimpleNamespace: _namespace,
}


def _dataclass(value: Any, depth: int) -> Any:
    fixed = copy.copy(value)
    for field in dataclasses.fields(value):
        # Past `__setattr__`, which a frozen one refuses.
        object.__setattr__(fixed, field.name, snapshot(getattr(value, field.name), depth))
    return fixed


def _foreign(value: Any) -> Any:
    for module, name, fixed in COPIED:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(value, kind):
            return _tried(fixed, value)
    raise Unfixable(type(value).__qualname__)


def _tried(fixed: Callable[[Any], Any], value: Any) -> Any:
    try:
        return fixed(value)
    except Exception as error:
        raise Unfixable(type(value).__qualname__) from error
