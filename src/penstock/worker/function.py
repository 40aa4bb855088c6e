"""A registered function: how it is called, what it takes, and under which limit it runs."""

import copy
import functools
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypedDict, Unpack

import msgspec

from ..errors import ConfigError, InvalidInput
from .run import Run

__all__ = ["CRASH_RETRIES", "Function", "FunctionOptions", "Kind", "Limit"]

Kind = Literal["coroutine", "async generator", "function", "generator"]
Limit = int | Literal["default"] | None
"""Runs of a group at once; "default" is the app's setting, None is no limit."""

_DEFINITIONS = "#/$defs/"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


CRASH_RETRIES = 3
"""Attempts after the first for `on_crash="retry"`: a run that takes its process down each time must end."""


class FunctionOptions(TypedDict, total=False):
    """What `App.function` takes, and describes."""

    name: str | None
    concurrency_limit: Limit
    concurrency_id: str | None
    rate: float | None
    cumulative: bool
    on_crash: Literal["fail", "retry"]


class Function:
    """A callable with its name, kind, input and limits. Made by `App.function`.

    Raises ConfigError, when it is made, for a signature or an option that can't work.
    """

    def __init__(self, call: Callable[..., Any], **options: Unpack[FunctionOptions]) -> None:
        self.call = call
        self.name = options.get("name") or str(getattr(call, "__name__", ""))
        self.kind = _kind_of(call)
        self.description = inspect.getdoc(call) or ""
        self.concurrency_limit = options.get("concurrency_limit", "default")
        self.group = options.get("concurrency_id") or self.name
        self.rate = options.get("rate")
        self.cumulative = options.get("cumulative", False)
        self.on_crash = options.get("on_crash", "fail")
        self._check()
        self._input, self._run_parameter = _input_type(self.name, call)

    def _check(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name!r} can't name a function.", hint="Pass name= of letters, digits and _ . -"
            )
        limit = self.concurrency_limit
        if limit not in ("default", None) and (not isinstance(limit, int) or limit < 1):
            raise ConfigError(
                f"{self.name}: concurrency_limit is {limit!r}.", hint="1 or more, or None for no limit."
            )
        if self.rate is not None and not 0 <= self.rate <= 1000:
            raise ConfigError(
                f"{self.name}: rate is {self.rate}.", hint="0 to 1000 a second; 0 merges nothing."
            )
        if self.on_crash not in ("fail", "retry"):
            raise ConfigError(f"{self.name}: on_crash is {self.on_crash!r}.", hint="'fail' or 'retry'.")

    @property
    def retries(self) -> int:
        """Attempts that may follow one whose process died."""
        return CRASH_RETRIES if self.on_crash == "retry" else 0

    @property
    def threaded(self) -> bool:
        """Plain `def`: it runs in a thread of its own."""
        return self.kind in ("function", "generator")

    @property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the input object."""
        (reference,), components = msgspec.json.schema_components(
            [self._input], schema_hook=_schema_of, ref_template=f"{_DEFINITIONS}{{name}}"
        )
        own: dict[str, Any] = components.pop(reference["$ref"].removeprefix(_DEFINITIONS))
        own.pop("title", None)
        # pydantic brings each model's own definitions along, inside; references look for them at the top.
        for inner in list(_inner_definitions(own)) + list(_inner_definitions(components)):
            components |= inner
        return own | ({"$defs": components} if components else {})

    def arguments(self, given: bytes | msgspec.Raw) -> dict[str, Any]:
        """The input's members as arguments. Raises InvalidInput naming the member that does not fit."""
        try:
            value = msgspec.json.decode(given, type=self._input, dec_hook=_convert)
        except msgspec.DecodeError as error:
            raise _invalid(error) from error
        except (UnicodeDecodeError, RecursionError) as error:
            hint = "Send UTF-8, nested no deeper than a person could read."
            raise InvalidInput(f"The input can't be read: {error}.", hint=hint, field="input") from error
        return {name: getattr(value, name) for name in value.__struct_fields__}

    def start(self, arguments: dict[str, Any], run: Run) -> Any:
        """Call it: a coroutine, a generator of either kind, or, from a plain function, its result."""
        extra = {} if self._run_parameter is None else {self._run_parameter: run}
        return self.call(**arguments, **extra)


def _kind_of(call: Callable[..., Any]) -> Kind:
    if not callable(call):
        raise ConfigError(f"{call!r} is not callable.")
    probe = inspect.unwrap(_routine_of(call), stop=_has_own_kind)
    if inspect.isasyncgenfunction(probe):
        return "async generator"
    if inspect.iscoroutinefunction(probe):
        return "coroutine"
    return "generator" if inspect.isgeneratorfunction(probe) else "function"


def _has_own_kind(call: Callable[..., Any]) -> bool:
    # An `async def` that wraps a plain function is called as what it is, not as what it wraps.
    kinds = (inspect.isasyncgenfunction, inspect.iscoroutinefunction, inspect.isgeneratorfunction)
    return any(is_kind(call) for is_kind in kinds)


def _routine_of(call: Callable[..., Any]) -> Callable[..., Any]:
    """What is called in the end: the function in a partial, the method of a callable object."""
    while isinstance(call, functools.partial):
        call = call.func
    return call if inspect.isroutine(call) else type(call).__call__


def _input_type(name: str, call: Callable[..., Any]) -> tuple[type[msgspec.Struct], str | None]:
    hints = _hints(name, call)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    run_parameter = None
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(
                f"{name}: parameter {parameter} can't be filled from a JSON object.", hint="Name it plainly."
            )
        hint = hints.get(parameter.name, Any)
        if hint is Run or Run in typing.get_args(hint):
            run_parameter = parameter.name
        elif parameter.default is parameter.empty:
            fields.append((parameter.name, hint))
        else:
            fields.append((parameter.name, hint, _default(parameter.default)))
    try:
        made = msgspec.defstruct("Input", fields, kw_only=True, forbid_unknown_fields=True)
        msgspec.json.schema_components([made], schema_hook=_schema_of)
    except (TypeError, NotImplementedError) as error:
        raise ConfigError(f"{name}: a parameter's type can't come from JSON: {error}.") from error
    return made, run_parameter


def _hints(name: str, call: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(_routine_of(call), include_extras=True)
    except NameError as error:
        raise ConfigError(
            f"{name}: an annotation can't be resolved: {error}.", hint="Define or import it."
        ) from error


def _default(value: Any) -> Any:
    # A mutable default is shared between calls in Python; between runs of different people it must not be.
    if isinstance(value, list | dict | set):
        return msgspec.field(default_factory=functools.partial(copy.deepcopy, value))
    return value


def _inner_definitions(schema: Any) -> Iterator[dict[str, Any]]:
    """The `$defs` inside of a schema, taken out of it."""
    if isinstance(schema, dict):
        if "$defs" in schema:
            yield schema.pop("$defs")
        schema = list(schema.values())
    if isinstance(schema, list):
        for item in schema:
            yield from _inner_definitions(item)


def _convert(wanted: type, value: Any) -> Any:
    """Types that msgspec does not know: pydantic's models."""
    validate = getattr(wanted, "model_validate", None)
    if validate is None:
        raise NotImplementedError(f"{wanted!r} can't be made from JSON")
    return validate(value)


def _schema_of(wanted: type) -> dict[str, Any]:
    describe = getattr(wanted, "model_json_schema", None)
    if describe is None:
        raise NotImplementedError(f"{wanted!r} has no JSON form")
    schema: dict[str, Any] = describe()
    return schema


def _invalid(error: msgspec.DecodeError) -> InvalidInput:
    # msgspec names the place at the end: "Expected `int`, got `str` - at `$.count`", or "at `key` in `$.table`".
    message, _, place = str(error).partition(" - at ")
    inside = re.search(r"`\$\.(\w+)", place)
    named = inside or re.search(r"field `(\w+)`", message)
    field = named[1] if named else None
    shown = message
    if not inside and "missing required" in message:
        shown = "It is required"
    elif not inside and "unknown field" in message:
        shown = "There is no such parameter"
    return InvalidInput(
        f"{field}: {shown}." if field else f"{shown}.",
        hint="GET /api/functions describes the input of each function.",
        field=field,
    )
