"""Functions as they are registered: kinds, inputs, schemas, and signatures that can't work."""

import asyncio
import dataclasses
import datetime as dt
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest

import penstock
from penstock.errors import ConfigError, InvalidInput
from penstock.worker import Function, FunctionOptions


class Inner(pydantic.BaseModel):
    name: str
    size: int = 1


class Model(pydantic.BaseModel):
    inner: Inner
    tags: list[str] = []


class Struct(msgspec.Struct):
    x: int
    when: dt.date | None = None


class Input(msgspec.Struct):
    """Named as the type that a function's input is made into."""

    y: int


@dataclasses.dataclass
class Data:
    x: int


# --- Kinds ---


async def coroutine() -> None: ...


async def async_generator() -> AsyncIterator[int]:
    yield 1


def function() -> None: ...


def generator() -> Iterator[int]:
    yield 1


class Object:
    async def __call__(self, a: int) -> int:
        return a

    def method(self, a: int) -> Iterator[int]:
        yield a

    @staticmethod
    async def static(a: int) -> AsyncIterator[int]:
        yield a


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (coroutine, "coroutine"),
        (async_generator, "async generator"),
        (function, "function"),
        (generator, "generator"),
        (Object(), "coroutine"),
        (Object().method, "generator"),
        (Object.static, "async generator"),
        (functools.partial(Object().method, a=1), "generator"),
        (functools.partial(coroutine), "coroutine"),
    ],
)
def test_kinds(call: Any, kind: str) -> None:
    made = Function(call, name="f")
    assert made.kind == kind
    assert made.threaded is (kind in ("function", "generator"))


def test_its_name_and_description() -> None:
    def answer() -> None:
        """Answers.

        At length.
        """

    made = Function(answer)
    assert (made.name, made.description) == ("answer", "Answers.\n\nAt length.")
    assert (made.group, made.options.rate, made.options.crash_retries) == ("answer", None, 0)
    assert Function(answer, name="other", on_crash="retry").options.crash_retries == 3
    assert Function(answer, concurrency_id="gpu").group == "gpu"


# --- Inputs ---


def take(
    text: str,
    number: int = 3,
    *,
    many: list[int] = [],  # noqa: B006 - the subject of a test
    model: Model | None = None,
    struct: Struct | None = None,
    data: Data | None = None,
    choice: Literal["a", "b"] = "a",
    short: Annotated[str, msgspec.Meta(max_length=3)] = "",
    anything: Any = None,
    run: penstock.Run | None = None,
) -> None: ...


TAKE = Function(take)


def test_everything_fits_its_type() -> None:
    given = {
        "text": "x", "number": 4, "many": [1], "model": {"inner": {"name": "n"}}, "choice": "b",
        "struct": {"x": 1, "when": "2026-01-02"}, "data": {"x": 2}, "short": "abc", "anything": {"a": 1},
    }  # fmt: skip
    assert TAKE.arguments(msgspec.json.encode(given)) == {
        "text": "x", "number": 4, "many": [1], "model": Model(inner=Inner(name="n")), "choice": "b",
        "struct": Struct(1, dt.date(2026, 1, 2)), "data": Data(2), "short": "abc", "anything": {"a": 1},
    }  # fmt: skip


def test_defaults_fill_in_and_are_nobody_elses() -> None:
    first = TAKE.arguments(b'{"text":"x"}')
    assert (first["number"], first["many"], first["model"], first["choice"]) == (3, [], None, "a")
    first["many"].append(1)
    assert TAKE.arguments(b'{"text":"x"}')["many"] == []


def test_a_deep_default_is_nobody_elses() -> None:
    def deep(options: dict[str, list[int]] = {"a": []}) -> None: ...  # noqa: B006

    made = Function(deep)
    made.arguments(b"{}")["options"]["a"].append(1)
    assert made.arguments(b"{}")["options"] == {"a": []}


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ("{}", "text", "text: It is required."),
        ('{"text": 3}', "text", "text: Expected `str`, got `int`."),
        ('{"text": null}', "text", "text: Expected `str`, got `null`."),
        ('{"text": "x", "more": 1}', "more", "more: There is no such parameter."),
        ('{"text": "x", "run": 1}', "run", "run: There is no such parameter."),
        ('{"text": "x", "number": "4"}', "number", None),
        ('{"text": "x", "many": [1, "2"]}', "many[1]", None),
        ('{"text": "x", "choice": "c"}', "choice", None),
        ('{"text": "x", "short": "abcd"}', "short", None),
        ('{"text": "x", "struct": {"x": "1"}}', "struct.x", None),
        ('{"text": "x", "struct": {}}', "struct.x", "struct.x: It is required."),
        ('{"text": "x", "data": {}}', "data.x", None),
        ('{"text": "x", "model": {}}', "model", None),
        ('{"text": "x", "model": {"inner": {"name": 3}}}', "model", None),
        ("[]", None, None),
        ("{", None, None),
    ],
)
def test_what_does_not_fit_is_named(given: str, field: str | None, message: str | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        TAKE.arguments(given.encode())
    assert caught.value.field == field
    assert message is None or str(caught.value) == message
    assert caught.value.hint


def test_a_key_that_does_not_fit_names_its_parameter() -> None:
    def keyed(table: dict[int, str]) -> None: ...

    with pytest.raises(InvalidInput) as caught:
        Function(keyed).arguments(b'{"table": {"x": "y"}}')
    assert caught.value.field == "table"


def test_parameters_without_annotations_take_anything() -> None:
    def free(a, b=None):  # type: ignore[no-untyped-def]
        return a, b

    assert Function(free).arguments(b'{"a": [1, {"b": 2}]}') == {"a": [1, {"b": 2}], "b": None}


# --- Schemas ---


def references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from references(item)


def test_the_schema_describes_the_input() -> None:
    schema = TAKE.input_schema
    assert (schema["type"], schema["required"]) == ("object", ["text"])
    properties = schema["properties"]
    assert properties["text"] == {"type": "string"}
    assert properties["number"] == {"type": "integer", "default": 3}
    assert sorted(properties["choice"]["enum"]) == ["a", "b"]
    assert properties["short"]["maxLength"] == 3
    assert "run" not in properties
    assert msgspec.json.encode(schema)


def test_every_reference_in_a_schema_leads_somewhere() -> None:
    schema = TAKE.input_schema
    found = set(references(schema))
    assert found >= {"#/$defs/Struct", "#/$defs/Data", "#/$defs/Inner"}
    assert found <= {f"#/$defs/{name}" for name in schema["$defs"]}


def test_a_parameters_type_may_have_the_name_of_ours() -> None:
    def named(a: Input) -> None: ...

    made = Function(named)
    schema = made.input_schema
    assert list(schema["properties"]) == ["a"]
    assert set(references(schema)) <= {f"#/$defs/{name}" for name in schema["$defs"]}
    assert made.arguments(b'{"a": {"y": 1}}') == {"a": Input(1)}


# --- Refusals ---


def starred(*args: int) -> None: ...


def double_starred(**more: int) -> None: ...


def positional(a: int, /) -> None: ...


def unresolved(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


def impossible(a: Object) -> None: ...


@pytest.mark.parametrize(
    ("call", "options", "message"),
    [
        (starred, {}, r"\*args.*can't be filled"),
        (double_starred, {}, r"\*\*more.*can't be filled"),
        (positional, {}, "can't be filled"),
        (unresolved, {}, "can't be resolved.*Nowhere"),
        (impossible, {}, "can't come from JSON"),
        (3, {}, "not callable"),
        (lambda: 1, {}, "can't name a function"),
        (function, {"name": "a b"}, "can't name a function"),
        (function, {"name": "x" * 101}, "can't name a function"),
        (function, {"name": 1}, "1 can't name a function"),
        (function, {"name": b"x"}, "b'x' can't name a function"),
        (function, {"name": False}, "False can't name a function"),
        (function, {"name": function}, "can't name a function"),
        (function, {"concurrency_limit": 0}, "concurrency_limit is 0"),
        (function, {"concurrency_limit": "many"}, "concurrency_limit is 'many'"),
        (function, {"rate": -1}, "rate is -1"),
        (function, {"rate": float("nan")}, "rate is nan"),
        (function, {"on_crash": "shrug"}, "on_crash is 'shrug'"),
    ],
)
def test_what_can_not_work_is_refused(call: Any, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Function(call, **options)


@pytest.mark.parametrize("text", ["\ud800", "a\0b"])
@pytest.mark.parametrize("option", list(FunctionOptions.__annotations__))
def test_text_that_no_store_can_keep_is_refused_with_its_options_name(option: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Function(function, **{option: text})  # type: ignore[arg-type]
    assert caught.value.field == option
    assert caught.value.hint
    assert caught.value.message.isprintable()


class Unshowable:
    def __repr__(self) -> str:
        raise ValueError


@pytest.mark.parametrize("value", [Unshowable(), -(10**5000), ["x" * 100_000]], ids=type)
@pytest.mark.parametrize("option", ["name", "retries", "concurrency_id", "rate", "concurrency_key"])
def test_a_value_that_can_hardly_be_shown_is_refused_all_the_same(option: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Function(function, **{option: value})
    assert len(caught.value.message) < 400


def test_an_option_that_there_is_not_is_refused_whatever_its_name() -> None:
    for name in ("nope", "\ud800"):
        with pytest.raises(ConfigError):
            Function(function, **{name: 1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]
)
def test_a_key_or_a_priority_that_can_not_be_found_refuses_the_input(error: type[BaseException]) -> None:
    def fail(given: Any) -> int:
        raise error("oh")

    made = Function(function, concurrency_key=fail, priority=fail)
    for option, ask in (
        ("concurrency_key", lambda: made.lane_of({}, None)),
        ("priority", lambda: made.priority_of({})),
    ):
        with pytest.raises(InvalidInput) as caught:
            ask()
        assert (
            caught.value.message == f"function: its {option} function gave no answer: {error.__name__}: oh."
        )
        assert caught.value.hint


def test_two_of_one_name() -> None:
    app = penstock.App(store="memory:")
    app.function(function)
    with pytest.raises(ConfigError, match="two functions named 'function'"):
        app.function(function)
    app.function(name="other")(function)
    assert list(app.functions) == ["function", "other"]


def test_the_decorator_gives_the_function_back() -> None:
    app = penstock.App(store="memory:")
    assert app.function(function) is function
    assert app.function(name="b", concurrency_limit=2)(function) is function


@pytest.mark.parametrize("option", ["concurrency_key", "priority"])
def test_what_is_asked_at_a_submission_can_not_be_async(option: str) -> None:
    """Each run would else have a lane of its own, named after a coroutine."""

    async def ask(given: Any) -> str:
        return "key"

    options: dict[str, Any] = {option: ask}
    with pytest.raises(ConfigError, match="can't be async"):
        Function(lambda text: text, name="f", **options)
