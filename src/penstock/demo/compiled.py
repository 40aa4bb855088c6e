"""What is written in C has no source to read: these modules are imported and asked."""

import importlib
import inspect
from collections.abc import Iterator
from contextlib import suppress
from types import CodeType, ModuleType
from typing import Any

from .parsed import MAX_DOC_CHARS, Definition

__all__ = ["ASKED", "ask"]

_ASKED = """
    builtins array asyncio binascii bisect cmath collections contextvars csv datetime decimal fcntl
    functools gc hashlib heapq io itertools json math mmap operator os pickle random re resource
    select signal socket sqlite3 ssl statistics string struct sys tempfile threading time types
    unicodedata weakref zlib zoneinfo
"""
ASKED = tuple(_ASKED.split())
"""Modules known to do nothing at import but define names. No other module is ever imported."""

MAX_LEAD_CHARS = 24
"""What may stand before a signature in a docstring: a class name and a dot, at most."""


def ask(name: str) -> Iterator[Definition]:
    """Public definitions of module `name`; none where this interpreter was built without it."""
    with suppress(ImportError):
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", dir(module)):
            thing = getattr(module, public, None)
            if not public.startswith("_") and not _borrowed(thing, name):
                yield from _described(public, thing)


def _borrowed(thing: Any, module: str) -> bool:
    """It belongs to another public module, which tells of it itself."""
    home = getattr(thing, "__module__", None) or module
    inner = home.startswith(("_", f"{module}.")) or home in (module, "posix", "nt")
    return module != "builtins" and not inner


def _described(name: str, thing: Any) -> Iterator[Definition]:
    if isinstance(thing, ModuleType) or not callable(thing):
        return
    yield _definition(name, thing, "class" if inspect.isclass(thing) else "function")
    if inspect.isclass(thing):
        for method, value in vars(thing).items():
            if not method.startswith("_") and getattr(value, "__doc__", None):
                bound = getattr(thing, method, value)
                yield _definition(method, bound, "method" if callable(bound) else "property", owner=name)


def _definition(name: str, thing: Any, kind: str, owner: str = "") -> Definition:
    doc = (inspect.getdoc(thing) or "")[:MAX_DOC_CHARS]
    header, doc = _from_doc(name, doc) or (_signature(thing, kind), doc)
    code = getattr(inspect.unwrap(thing) if callable(thing) else thing, "__code__", None)
    line, path = (code.co_firstlineno, code.co_filename) if isinstance(code, CodeType) else (0, "")
    header = header and f"def {name}{header}"
    return Definition(name, kind, doc, header, _parameters(thing), line, owner, path)


def _from_doc(name: str, doc: str) -> tuple[str, str] | None:
    """Old C docstrings begin with the signature: `chain(*iterables) --> chain object`."""
    first, _, rest = doc.partition("\n")
    start = first.find(name + "(")
    if not 0 <= start <= MAX_LEAD_CHARS or ")" not in first or not rest.strip():
        return None
    if rest.lstrip().startswith(name + "("):  # several ways to call it: none of them is the signature
        return None
    call = first[start + len(name) :]
    return call[: call.index(")") + 1], rest.strip()


def _signature(thing: Any, kind: str) -> str:
    found = None if kind == "property" else _signed(thing)
    return "" if found is None else str(found)


def _parameters(thing: Any) -> tuple[str, ...]:
    found = _signed(thing)
    return () if found is None else tuple(found.parameters)


def _signed(thing: Any) -> inspect.Signature | None:
    # Defaults of C functions are looked up by name, where Python 3.13 does not always find them (select.EPOLLIN).
    with suppress(ValueError, TypeError, AttributeError, NameError):
        return inspect.signature(thing)
    return None
