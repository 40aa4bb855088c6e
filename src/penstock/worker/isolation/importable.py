"""Whether a function can be found by a process that was not there when it was made, and how."""

import inspect
import io
import os
import pickle
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ...errors import ConfigError
from ..function import Function
from .forkserver import Program, Setup
from .pipe import Recipe

__all__ = ["check_importable", "recipe_of", "setup_for"]


def check_importable(function: Function) -> None:
    """Before anything starts: is what another process must import there, under the name that leads to it?

    A function goes by its own name and its module's; a partial or a callable object by its class, and what is in
    it goes along: as `pickle` has it.

    Raises:
        ConfigError: It can't be found there; the hint says how it could.
    """
    if not hasattr(os, "fork"):
        raise ConfigError(
            f"{function.name}: isolation='process' needs fork, which this system has not.",
            hint="Use Linux or macOS, or no isolation.",
        )
    for name in _modules_of(_pickled(function)):
        if name == "__main__":
            _program(function)
            continue
        for part in _ancestry(name):
            _check_module(function, part)


def setup_for(functions: Iterable[Function]) -> Setup:
    """What the fork server is to import: those that are isolated. Raises ConfigError."""
    recipes: dict[str, Recipe] = {}
    program = None
    for function in functions:
        if not function.isolated:
            continue
        recipes[function.name] = recipe = recipe_of(function)
        if "__main__" in _modules_of(recipe.call):
            program = _program(function)
    return Setup(sys.argv, program, recipes)


def recipe_of(function: Function) -> Recipe:
    """How another process makes it. Raises ConfigError."""
    return Recipe(_pickled(function), function.options.cumulative)


def _pickled(function: Function) -> bytes:
    try:
        return pickle.dumps(function.call)
    except Exception as error:
        raise ConfigError(
            f"{function.name}: a process of its own would not find it: {error}.", hint=_mend(function.call)
        ) from error


def _mend(call: Any) -> str:
    call = getattr(call, "func", call)  # of a partial
    name = getattr(call, "__qualname__", "")
    if "<locals>" in name or "<lambda>" in name:
        return "Define it with `def`, at the top of its module."
    if inspect.isroutine(call):
        return "Put @app.function above its other decorators, and leave it the name that it was given."
    return "Keep in it only what pickle takes, and make the rest when it is called."


class _Witness(pickle.Unpickler):
    def __init__(self, pickled: bytes) -> None:
        super().__init__(io.BytesIO(pickled))
        self.modules: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.modules.add(module)
        return super().find_class(module, name)


def _modules_of(pickled: bytes) -> set[str]:
    witness = _Witness(pickled)
    witness.load()
    return witness.modules


def _program(function: Function) -> Program:
    module = sys.modules["__main__"]
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).is_file():
        raise ConfigError(
            f"{function.name}: a process of its own would not find it: what was started is no file.",
            hint="Define it in a file.",
        )
    return Program(str(Path(file).absolute()), module.__package__ or None)


def _ancestry(name: str) -> Iterator[str]:
    """`a`, `a.b`, `a.b.c`."""
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _check_module(function: Function, name: str) -> None:
    found = _found(name)
    if found in ("", _file_of(sys.modules.get(name))):
        return
    what = "no module" if found is None else f"another module, {found},"
    raise ConfigError(
        f"{function.name}: a process of its own would find {what} named {name!r}.",
        hint="Name the file as a module can be named, and as no other is, in a folder of sys.path.",
    )


def _found(name: str) -> str | None:
    """The file that an import would find if nothing were imported yet; empty for what is part of Python."""
    parent = sys.modules.get(name.rpartition(".")[0])
    path = getattr(parent, "__path__", None)
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path)
        if spec is not None:
            return _resolved(spec.origin if spec.has_location else None)
    return None


def _file_of(module: ModuleType | None) -> str | None:
    return None if module is None else _resolved(getattr(module, "__file__", None))


def _resolved(file: str | None) -> str:
    return "" if file is None else str(Path(file).resolve())
