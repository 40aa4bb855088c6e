"""One Python source file, read without running it: its docstrings, headers and what it exports."""

import ast
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

__all__ = ["Definition", "Import", "Module", "parse", "syntax_tree"]

MAX_DOC_CHARS = 16_000
"""Longest docstring kept. The standard library's longest useful one (argparse) has 2,500 characters."""

Def = ast.FunctionDef | ast.AsyncFunctionDef


class Definition(msgspec.Struct, frozen=True):
    """A class, function, method or property.

    header: the text from `def` to its colon as it was written; empty where there is none.
    owner: the class it belongs to.
    path: the file it is in, where that is not the file it was found in.
    """

    name: str
    kind: str
    doc: str
    header: str
    parameters: tuple[str, ...]
    line: int
    owner: str = ""
    path: str = ""


class Import(msgspec.Struct, frozen=True):
    """`from module import name as alias`; `name` may be `*`."""

    module: str
    name: str
    alias: str


class Module(msgspec.Struct, frozen=True):
    """A parsed file. `exported` is its `__all__` where that is written out, else None."""

    name: str
    path: str
    doc: str
    exported: frozenset[str] | None
    definitions: tuple[Definition, ...]
    imports: tuple[Import, ...]


_parsing = threading.Lock()


def syntax_tree(source: str) -> ast.Module:
    """`ast.parse`, by one thread at a time. Raises SyntaxError or ValueError.

    Two at once may each get a SystemError in CPython 3.11, which counts the depth of their trees together.
    """
    with _parsing:
        return ast.parse(source)


def parse(path: Path, name: str, shown_path: str) -> Module:
    """Read one file as module `name`. Raises OSError, SyntaxError or UnicodeDecodeError."""
    source = path.read_text(encoding="utf-8")
    tree = syntax_tree(source)
    lines = source.splitlines()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    statements = list(_top_level(tree.body))
    return Module(
        name=name,
        path=shown_path,
        doc=_doc(tree),
        exported=_exported(statements),
        definitions=tuple(_definitions(statements, lines)),
        imports=tuple(_imports(statements, package)),
    )


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run at import, those under `if` and `try` included: platforms differ there."""
    for node in body:
        if isinstance(node, ast.If):
            yield from _top_level(node.body + node.orelse)
        elif isinstance(node, ast.Try):
            yield from _top_level(node.body)
        else:
            yield node


def _doc(node: ast.Module | ast.ClassDef | Def) -> str:
    return (ast.get_docstring(node) or "")[:MAX_DOC_CHARS]


def _exported(statements: list[ast.stmt]) -> frozenset[str] | None:
    values = (value for node in statements if (value := _added(node)) is not None)
    constants = (n.value for value in values for n in ast.walk(value) if isinstance(n, ast.Constant))
    return frozenset(name for name in constants if isinstance(name, str)) or None


def _added(node: ast.stmt) -> ast.expr | None:
    """What a statement puts into `__all__`: by `=`, `+=`, `.append` or `.extend`."""
    match node:
        case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.AugAssign(target=ast.Name(id="__all__")):
            return node.value
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="__all__")))):
            return node.value
    return None


def _imports(statements: list[ast.stmt], package: str) -> Iterator[Import]:
    for node in statements:
        if isinstance(node, ast.ImportFrom):
            module = _absolute(node, package)
            for name in node.names:
                yield Import(module, name.name, name.asname or name.name)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _definitions(statements: list[ast.stmt], lines: list[str]) -> Iterator[Definition]:
    for node in statements:
        if isinstance(node, Def):
            yield _function(node, lines, "function")
        elif isinstance(node, ast.ClassDef):
            yield from _class(node, lines)


def _class(node: ast.ClassDef, lines: list[str]) -> Iterator[Definition]:
    members = [member for member in _top_level(node.body) if isinstance(member, Def)]
    start = next((m for m in members if m.name == "__init__"), None)
    header = _header(start, lines) if start else ""
    parameters = _parameters(start)[1:] if start else ()
    doc = _doc(node) or (_doc(start) if start else "")
    yield Definition(node.name, "class", doc, header, parameters, node.lineno)
    for member in members:
        if not member.name.startswith("_"):
            yield _function(member, lines, _method_kind(member), owner=node.name)


def _method_kind(node: Def) -> str:
    names = {ast.unparse(decorator) for decorator in node.decorator_list}
    if any(name.endswith("property") for name in names):
        return "property"
    return "static method" if "staticmethod" in names else "method"


def _function(node: Def, lines: list[str], kind: str, owner: str = "") -> Definition:
    return Definition(
        node.name, kind, _doc(node), _header(node, lines), _parameters(node), node.lineno, owner
    )


def _parameters(node: Def) -> tuple[str, ...]:
    arguments = node.args
    return tuple(a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))


def _header(node: Def, lines: list[str]) -> str:
    """The text from `def` to its colon. Cheap; making it pretty waits until somebody reads it."""
    first, last = node.lineno - 1, node.body[0].lineno - 1
    if first == last:
        return lines[first][node.col_offset : node.body[0].col_offset].strip()
    return "\n".join(lines[first:last]).strip()
