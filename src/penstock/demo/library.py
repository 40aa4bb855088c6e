"""The documentation of the Python standard library, as it is installed with the interpreter.

Source files are parsed, never run; only what is written in C is imported (`compiled.py`). A definition is
known by the shortest public name under which it can be imported: `asyncio.run`, not `asyncio.runners.run`.
"""

import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from .compiled import ASKED, ask
from .parsed import Definition, Import, Module, parse

__all__ = ["Entry", "collect", "library_path"]

_LEFT_OUT = """
    test tests idlelib lib2to3 turtledemo ensurepip pydoc_data encodings distutils antigravity this
    site-packages __pycache__ __phello__ __main__
"""
LEFT_OUT = frozenset(_LEFT_OUT.split())
"""Not for users of the library: its tests, its editor, tables of character sets, and jokes."""

SPOKEN = {"posixpath": "os.path"}
"""Modules that people know under another name."""

INSIDE = frozenset({"genericpath", "ntpath", "sre_compile", "sre_parse", "sre_constants", "nturl2path"})
"""Modules that are private although their names do not say so."""


class Entry(msgspec.Struct, frozen=True):
    """One thing that can be cited.

    name: as it is written after `import`: `functools.lru_cache`, `str.split`.
    kind: module, class, function, method, static method or property.
    path, line: where its source is, relative to the library's folder; "" and 0 for what is written in C.
    listed: it is in its module's `__all__`, or its module has none.
    """

    name: str
    module: str
    kind: str
    doc: str
    header: str
    parameters: tuple[str, ...]
    path: str
    line: int
    listed: bool = True


def library_path() -> Path:
    """Folder of the installed standard library."""
    return Path(sysconfig.get_path("stdlib"))


def collect(progress: Callable[[int, int], None]) -> list[Entry]:
    """Every public thing in the library, by name. Takes about a second of one core; call it in a thread.

    progress: told (files read, files in all) after each file.
    """
    root = library_path()
    paths = sorted(_files(root))
    modules: dict[str, Module] = {}
    for done, path in enumerate(paths, 1):
        with suppress(OSError, SyntaxError, UnicodeDecodeError, ValueError):
            name = _module_name(path.relative_to(root))
            modules[name] = parse(path, name, path.relative_to(root).as_posix())
        progress(done, len(paths))
    entries = {entry.name: entry for entry in _parsed(modules)}
    for entry in _compiled(root):
        if entry.name not in entries or (entry.doc and not entries[entry.name].doc):
            entries[entry.name] = entry
    return sorted(entries.values(), key=lambda entry: entry.name)


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.removesuffix(".py") in LEFT_OUT:
            continue
        if path.suffix == ".py":
            yield path
        elif path.is_dir() and (path / "__init__.py").exists():
            yield from _files(path)


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _private(name: str) -> bool:
    return name in INSIDE or any(part.startswith("_") for part in name.split("."))


def _parsed(modules: dict[str, Module]) -> Iterator[Entry]:
    public = _public_names(modules)
    for module in modules.values():
        if not _private(module.name):
            spoken = SPOKEN.get(module.name, module.name)
            yield Entry(spoken, spoken, "module", module.doc, "", (), module.path, 1)
        for definition in module.definitions:
            home = public.get((module.name, definition.owner or definition.name))
            if home and not definition.name.startswith("_"):
                yield _entry(module, definition, home)


def _entry(module: Module, definition: Definition, home: str) -> Entry:
    name = f"{home}.{definition.name}" if definition.owner else home
    exported = module.exported
    listed = exported is None or (definition.owner or definition.name) in exported
    return Entry(
        name=name,
        module=home.rpartition(".")[0],
        kind=definition.kind,
        doc=definition.doc,
        header=definition.header,
        parameters=definition.parameters,
        path=module.path,
        line=definition.line,
        listed=listed,
    )


def _public_names(modules: dict[str, Module]) -> dict[tuple[str, str], str]:
    """(module, name) of each top-level definition to the best name it can be imported by."""
    names: dict[tuple[str, str], str] = {}
    for module in modules.values():
        if _private(module.name):
            continue
        own = ((module.name, definition.name, definition.name) for definition in module.definitions)
        for source, name, alias in (*own, *_taken_in(module, modules)):
            if not alias.startswith("_"):
                candidate = f"{SPOKEN.get(module.name, module.name)}.{alias}"
                names[source, name] = min(names.get((source, name), candidate), candidate, key=_length)
    return names


def _length(name: str) -> tuple[int, int]:
    return name.count("."), len(name)


def _taken_in(module: Module, modules: dict[str, Module]) -> Iterator[tuple[str, str, str]]:
    """What `module` imports in order to offer it: (module it is from, name there, name here)."""
    for imported in module.imports:
        source = modules.get(imported.module)
        if source is not None and _offers(module, imported):
            for name in _names(source, imported):
                yield source.name, name, name if imported.name == "*" else imported.alias
    yield from _promised(module, modules)


def _promised(module: Module, modules: dict[str, Module]) -> Iterator[tuple[str, str, str]]:
    """What a package lists in `__all__` and imports only when asked: `concurrent.futures` does so."""
    inside = (
        (m for name, m in modules.items() if name.startswith(module.name + ".")) if module.exported else ()
    )
    for child in inside:
        for definition in child.definitions:
            if not definition.owner and definition.name in (module.exported or ()):
                yield child.name, definition.name, definition.name


def _offers(module: Module, imported: Import) -> bool:
    inside = imported.module.startswith(module.name + ".") or _private(imported.module)
    return inside or (module.exported is not None and imported.alias in module.exported)


def _names(source: Module, imported: Import) -> Iterable[str]:
    if imported.name != "*":
        return (imported.name,)
    return source.exported or [
        d.name for d in source.definitions if not d.owner and not d.name.startswith("_")
    ]


def _compiled(root: Path) -> Iterator[Entry]:
    for module in ASKED:
        if module in sys.builtin_module_names or module in sys.stdlib_module_names:
            yield from (_compiled_entry(root, module, definition) for definition in ask(module))
            doc = getattr(sys.modules.get(module), "__doc__", None) or ""
            yield Entry(module, module, "module", doc, "", (), "", 0)


def _compiled_entry(root: Path, module: str, definition: Definition) -> Entry:
    parts = [module] if module != "builtins" else []
    parts += [definition.owner] if definition.owner else []
    inside = definition.path.startswith(f"{root}/")
    return Entry(
        name=".".join([*parts, definition.name]),
        module=module,
        kind=definition.kind,
        doc=definition.doc,
        header=definition.header,
        parameters=definition.parameters,
        path=definition.path.removeprefix(f"{root}/") if inside else "",
        line=definition.line if inside else 0,
    )
