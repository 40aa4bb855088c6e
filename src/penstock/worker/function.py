"""A registered function: how it is called, what it takes, and under which limit it runs."""

import copy
import functools
import hashlib
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, Unpack

import msgspec

from ..errors import ConfigError, InvalidInput
from ..files import FILE_FORMAT, File
from ..models import Terms
from .emission import message_of, plain_text
from .options import FunctionOptions, Options, shown
from .run import Run

__all__ = ["MOST_PRIORITY", "Find", "Function", "Kind"]

T = TypeVar("T")

Kind = Literal["coroutine", "async generator", "function", "generator"]

Find = Callable[[str], File | None]
"""A finished upload, by its id."""

SESSION = "session"
"""`concurrency_key` that means the run's session, unless a parameter has that name."""

LANE_CHARS = 100
"""Keys up to this length are kept as they are; of a longer one, a whole input perhaps, a digest will do."""

MOST_PRIORITY = 1_000_000
"""Nearly two years of head start: more would only overflow the store's numbers."""

_DEFINITIONS = "#/$defs/"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class Function:
    """A callable with its name, kind, input and options. Made by `App.function`.

    Raises ConfigError, when it is made, for a signature or an option that can't work.
    """

    recorded = False
    """Whether its line is kept, and its runs are executed, elsewhere; see `RecordedFunction`."""

    def __init__(self, call: Callable[..., Any], **options: Unpack[FunctionOptions]) -> None:
        self.call = call
        self.kind = _kind_of(call)
        self.name = _name_of(call, options.get("name"))
        self.options = Options.of(self.name, options)
        self.description = inspect.getdoc(call) or ""
        self._input, self._run_parameter = _input_type(self.name, call, batch=self.options.batch)
        self._check_key()

    def _check_key(self) -> None:
        key = self.options.concurrency_key
        if isinstance(key, str) and key != SESSION and key not in self._input.__struct_fields__:
            raise ConfigError(
                f"{self.name}: concurrency_key names {key!r}, which is no parameter.",
                hint="'session', a parameter's name, or a function of the input.",
                field="concurrency_key",
            )

    @functools.cached_property
    def group(self) -> str:
        """The group whose limit it shares."""
        if not self.options.queue:
            return f"{self.name} (no queue)"
        return self.options.concurrency_id or self.name

    @functools.cached_property
    def terms(self) -> Terms:
        """How its runs may start, beside the group's limit."""
        options = self.options
        return Terms(
            key_limit=None if options.concurrency_key is None else options.concurrency_key_limit,
            rate=options.rate_of_starts,
            batch_size=options.max_batch_size if options.batch else 1,
            batch_wait_ms=round(options.max_wait_ms) if options.batch else 0,
        )

    def lane_of(self, arguments: Mapping[str, Any], session: str | None) -> str:
        """What its concurrency key is worth for this input; runs without a session share one lane.

        Raises InvalidInput where the app's own key function fails.
        """
        key = self.options.concurrency_key
        if key is None:
            return ""
        if callable(key):
            return self._ask("concurrency_key", lambda given: _lane(str(key(given))), arguments)
        return _lane(str(arguments.get(key, session or "")))

    def priority_of(self, arguments: Mapping[str, Any]) -> int:
        """The head start of a run with this input, in minutes of waiting. Raises as `lane_of` does."""
        priority = self.options.priority
        minutes: int = priority
        if callable(priority):
            minutes = self._ask("priority", lambda given: int(priority(given)), arguments)
        return max(-MOST_PRIORITY, min(MOST_PRIORITY, minutes))

    def _ask(self, option: str, call: Callable[[Mapping[str, Any]], T], arguments: Mapping[str, Any]) -> T:
        try:
            return call(arguments)
        except BaseException as error:  # sys.exit() in it refuses one submission, and nothing is awaited here
            message = f"{self.name}: its {option} function gave no answer: {message_of(error)}."
            raise InvalidInput(message, hint="It must give one for every input.") from error

    @property
    def isolated(self) -> bool:
        """It runs in a process of its own."""
        return self.options.isolation == "process"

    @property
    def threaded(self) -> bool:
        """It takes one of the `max_threads`: plain `def`, in a thread of its own, and whatever is isolated."""
        return self.kind in ("function", "generator") or self.isolated

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

    @functools.cached_property
    def takes_files(self) -> bool:
        """Whether a part of its input may be an uploaded file."""
        return f'"{FILE_FORMAT}"'.encode() in msgspec.json.encode(self.input_schema)

    def arguments(self, given: bytes | msgspec.Raw, find: Find = lambda _: None) -> dict[str, Any]:
        """The input's members as arguments. Raises InvalidInput naming the member that does not fit.

        find: where it takes files; asked once for each. Raises what that does, too.
        """
        if self.takes_files:  # an input may name one a hundred thousand times
            find = functools.cache(find)
        try:
            value = msgspec.json.decode(given, type=self._input, dec_hook=functools.partial(_convert, find))
        except msgspec.DecodeError as error:
            raise _invalid(error) from error
        except (UnicodeDecodeError, RecursionError) as error:
            hint = "Send UTF-8, nested no deeper than a person could read."
            raise InvalidInput(f"The input can't be read: {error}.", hint=hint, field="input") from error
        return {name: getattr(value, name) for name in value.__struct_fields__}

    def start(self, arguments: dict[str, Any], run: Run | list[Run]) -> Any:
        """Call it: a coroutine, a generator of either kind, or, from a plain function, its result."""
        extra = {} if self._run_parameter is None else {self._run_parameter: run}
        return self.call(**arguments, **extra)


def _lane(worth: str) -> str:
    # Two prefixes, so that no key can pass for another's digest.
    if len(worth) <= LANE_CHARS:
        return "=" + plain_text(worth)
    return "#" + hashlib.sha256(worth.encode(errors="surrogatepass")).hexdigest()


def _name_of(call: Callable[..., Any], given: object) -> str:
    name = str(getattr(call, "__name__", "")) if given is None or given == "" else given
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        hint = "Pass name= of letters, digits and _ . -, 100 characters at most."
        raise ConfigError(f"{shown(name)} can't name a function.", hint=hint, field="name")
    return name


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


def _input_type(
    name: str, call: Callable[..., Any], *, batch: bool
) -> tuple[type[msgspec.Struct], str | None]:
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
            continue
        if batch:
            hint = _element(name, parameter, hint)
        if parameter.default is parameter.empty:
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


def _element(name: str, parameter: inspect.Parameter, hint: Any) -> Any:
    """What one run gives to a batch's parameter, which takes a list with one value of each run."""
    if parameter.default is not parameter.empty:
        raise ConfigError(
            f"{name}: {parameter.name} has a default, which a batch can't.", hint="Leave it out."
        )
    if hint in (Any, list):
        return Any
    if typing.get_origin(hint) in (list, Sequence) and typing.get_args(hint):
        return typing.get_args(hint)[0]
    raise ConfigError(
        f"{name}: with batch=True, {parameter.name} takes a list with one value of each run.",
        hint=f"Annotate it as list[…], not {hint}.",
    )


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


def _convert(find: Find, wanted: type, value: Any) -> Any:
    """Types that msgspec does not know: files, and pydantic's models."""
    if wanted is File:
        file = find(value) if isinstance(value, str) else None
        if file is None:  # msgspec adds the place
            raise ValueError(f"{shown(value)} is not the id of a finished upload")
        return file
    validate = getattr(wanted, "model_validate", None)
    if validate is None:
        raise NotImplementedError(f"{wanted!r} can't be made from JSON")
    return validate(value)


def _schema_of(wanted: type) -> dict[str, Any]:
    if wanted is File:
        return {"type": "string", "format": FILE_FORMAT}
    describe = getattr(wanted, "model_json_schema", None)
    if describe is None:
        raise NotImplementedError(f"{wanted!r} has no JSON form")
    schema: dict[str, Any] = describe()
    return schema


def _invalid(error: msgspec.DecodeError) -> InvalidInput:
    # msgspec names the place last: "Expected `int` - at `$.items[0].count`", or "at `key` in `$.table`".
    message, _, place = str(error).partition(" - at ")
    inside = re.search(r"`\$\.(\w+(?:\.\w+|\[\d+\])*)", place)
    named = re.search(r"field `(\w+)`", message)
    field = ".".join(found[1] for found in (inside, named) if found) or None
    shown = message
    if "missing required" in message:
        shown = "It is required"
    elif "unknown field" in message:
        shown = "There is no such member" if inside else "There is no such parameter"
    return InvalidInput(
        f"{field}: {shown}." if field else f"{shown}.",
        hint="GET /api/functions describes the input of each function.",
        field=field,
    )
