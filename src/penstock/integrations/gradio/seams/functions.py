"""Gradio's functions as Penstock knows them, and the marks that their authors put on them."""

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeVar

__all__ = ["Dependency", "dependency", "fit", "idempotent", "is_idempotent"]

F = TypeVar("F", bound=Callable[..., Any])

MARK = "__penstock_idempotent__"

DEPTH = 8
"""Wrappers around wrappers; Gradio itself puts three around a function of a ChatInterface."""

INTERFACE_METHODS = ("_submit_fn", "_stream_fn", "_examples_fn", "_examples_stream_fn")
"""Methods of Gradio's interfaces that call the user's function; their others are Gradio's own affair."""

LONGEST_NAME = 80
"""Characters; Penstock's own limit is 100, and the app's place may come before it."""

LONGEST_ID_DIGITS = 9
"""A `concurrency_id` of more digits is the address of a function, which is another one after each restart."""


@dataclass(frozen=True)
class Dependency:
    """A function that Gradio's events call.

    name: under which its runs are kept, the same after a restart. concurrency_limit: None is no limit.
    concurrency_id: of those that share a limit; None for a line of its own. generator: it yields.
    streams_media: some output is streamed sound or pictures. connection: "sse", or "stream" for an input that is
    fed. queue: it waits in line. home: the name of the file that its author wrote it in; empty where that can't be
    told. passwords: places of inputs that are not to be read by anybody.
    """

    index: int
    name: str
    api_name: str | None = None
    concurrency_limit: int | None = 1
    concurrency_id: str | None = None
    batch: bool = False
    generator: bool = False
    streams_media: bool = False
    connection: str = "sse"
    queue: bool = True
    idempotent: bool = False
    description: str = ""
    home: str = ""
    passwords: tuple[int, ...] = ()


def idempotent(call: F) -> F:
    """Mark a function that may run again after a restart has interrupted it: doing it twice is as good as once.

    A decorator, for the function that is given to Gradio, or any that a `functools.partial`, a method or a
    wrapper (with `__wrapped__`, as `functools.wraps` leaves it) leads to. Its readers see its values once more
    from the first.
    """
    target = getattr(call, "__func__", call)
    try:
        setattr(target, MARK, True)
    except AttributeError:
        kept = functools.partial(call)
        setattr(kept, MARK, True)
        return kept  # type: ignore[return-value]  # called alike: what is built in takes no marks
    return call


def is_idempotent(call: Callable[..., Any] | None) -> bool:
    """Whether it, or what it stands for, was marked."""
    return any(map(_is_marked, _layers(call)))


def _layers(call: Callable[..., Any] | None) -> Iterator[Any]:
    """It, and what it leads to, from the outside in."""
    found, seen = [call] if call is not None else [], set[int]()
    for _ in range(DEPTH):
        yield from found
        seen |= set(map(id, found))
        found = [inner for one in found for inner in _below(one) if id(inner) not in seen]


def _home(call: Callable[..., Any] | None) -> str:
    """Two programs that share a store may each have a function of the same name."""
    for one in _layers(call):
        code = getattr(one, "__code__", None)
        if code is not None and str(getattr(one, "__module__", "")).partition(".")[0] != "gradio":
            return PurePath(code.co_filename).name
    return ""


def _is_marked(call: object) -> bool:
    return getattr(call, MARK, False) is True


def _below(call: Any) -> Iterator[Any]:
    yield from (getattr(call, name) for name in ("__wrapped__", "__func__") if hasattr(call, name))
    if isinstance(call, functools.partial | functools.partialmethod):
        yield call.func
    owner = getattr(call, "__self__", None)
    if getattr(call, "__name__", "") in INTERFACE_METHODS and callable(inner := getattr(owner, "fn", None)):
        yield inner
    if not inspect.isroutine(call) and not isinstance(call, type):
        yield inspect.getattr_static(type(call), "__call__", None)
    yield from _enclosed(call)


def _enclosed(call: Any) -> Iterator[Any]:
    # Only of Gradio's own wrappers: what a user's function merely knows says nothing of it.
    if str(getattr(call, "__module__", "")).partition(".")[0] != "gradio":
        return
    for cell in getattr(call, "__closure__", None) or ():
        try:
            content = cell.cell_contents
        except ValueError:  # not filled yet
            continue
        if callable(content) and not isinstance(content, type):
            yield content


def dependency(
    index: int, function: Any, all_of_them: Mapping[int, Any], default_limit: int | None
) -> Dependency:
    """What is known of a function of Gradio's; what this version doesn't say is as it usually is."""
    limit: Any = getattr(function, "concurrency_limit", "default")
    call = getattr(function, "fn", None)
    api_name = getattr(function, "api_name", None)
    return Dependency(
        index=index,
        name=_name(index, function),
        api_name=api_name if isinstance(api_name, str) else None,
        concurrency_limit=default_limit if limit == "default" else limit,
        concurrency_id=_group(function, all_of_them),
        batch=bool(getattr(function, "batch", False)),
        generator=bool(getattr(function, "types_generator", False)),
        streams_media=any(_streams(output) for output in getattr(function, "outputs", ())),
        connection=getattr(function, "connection", "sse"),
        queue=bool(getattr(function, "queue", True)),
        idempotent=is_idempotent(call),
        description=_description(function, call),
        home=_home(call),
        passwords=_passwords(function),
    )


def _name(index: int, function: Any) -> str:
    api_name = getattr(function, "api_name", None)
    if isinstance(api_name, str) and api_name and fit(api_name) == api_name:
        return api_name
    return fit(f"{api_name or getattr(function, 'name', None) or 'function'}_{index}")


def fit(name: str) -> str:
    """A name that Penstock's functions may have."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[-LONGEST_NAME:]


def _group(function: Any, all_of_them: Mapping[int, Any]) -> str | None:
    name = getattr(function, "concurrency_id", None)
    if not isinstance(name, str):
        return None
    if not (name.isdigit() and len(name) > LONGEST_ID_DIGITS):
        return name
    sharing = [
        index for index, other in all_of_them.items() if getattr(other, "concurrency_id", None) == name
    ]
    return _name(sharing[0], all_of_them[sharing[0]]) if len(sharing) > 1 else None


def _passwords(function: Any) -> tuple[int, ...]:
    inputs = enumerate(getattr(function, "inputs", ()))
    return tuple(place for place, one in inputs if getattr(one, "type", None) == "password")


def _streams(output: Any) -> bool:
    return bool(getattr(output, "streaming", False)) and hasattr(output, "stream_output")


def _description(function: Any, call: Any) -> str:
    said = getattr(function, "api_description", None)
    if said is False:
        return ""
    while isinstance(call, functools.partial):  # its own words are about partials
        call = call.func
    text = said or (inspect.getdoc(call) if inspect.isroutine(call) else "") or ""
    return str(text).strip().partition("\n")[0]
