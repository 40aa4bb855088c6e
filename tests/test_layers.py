"""The house stands: imports go down, floor 1 is pure, and each outside thing has one door.

Imports are read from the source, so those for types only and those inside functions count as well: whoever
reads a module has to hold them in mind too.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

FLOORS = (
    ("errors", "events", "files", "meters", "models", "settings", "trouble"),
    ("protocol",),
    ("storage",),
    ("hub", "queue", "worker", "janitor", "memory", "presence", "services"),
    ("server", "faces", "client", "integrations"),
    (
        "app",
        "process",
        "serve",
        "work",
        "gunicorn",
        "gradio",
        "hosting",
        "cli",
        "doctor",
        "deploy",
        "demo",
        "testing",
        "__main__",
        "__init__",
    ),
)
"""The rooms of each floor, ground first. A room is a module or a package directly under `penstock`."""

IMPURE = {
    "asyncio", "datetime", "httpx", "os", "random", "secrets", "socket", "sqlite3", "ssl", "starlette",
    "threading", "time", "uvicorn",
}  # fmt: skip
"""What no rule of floor 1 may import: I/O, clocks and chance come in as arguments."""

DOORS = {"sqlite3": {"storage", "demo"}, "signal": {"process", "worker"}}
"""Modules that only these rooms import. The demo uses SQLite's full-text index as a search library; the worker
kills the processes of isolated functions, and those leave other signals to it."""

ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}

FILE_LINES = 400
FUNCTION_LINES = 30

SRC = Path(__file__).parents[1] / "src"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")


PATHS = {module_name(path): path for path in sorted((SRC / "penstock").rglob("*.py"))}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(PATHS[module].read_text(encoding="utf-8"))


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def floor(module: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room(module) in rooms)


def imported_names(module: str) -> Iterator[str]:
    """Absolute dotted names; `from x import y` gives `x.y`, whether y is a module or a name in one."""
    package = module if PATHS[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            whole = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{whole}.{alias.name}" for alias in node.names)


def imports(module: str) -> set[str]:
    """The modules of this project that `module` imports."""
    found = {name if name in PATHS else name.rpartition(".")[0] for name in imported_names(module)}
    return {name for name in found if name in PATHS}


def packages(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imported_names(module)}


def rooms_that(test: str) -> set[str]:
    return {room(module) for module in PATHS if test in packages(module)}


def functions(module: str) -> Iterator[Function]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: Function) -> int:
    """Lines from the `def` to the end, without the docstring's."""
    whole = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is None:
        return whole
    return whole - ((first.end_lineno or 0) - first.lineno + 1)


def test_there_are_modules_to_look_at() -> None:
    assert "penstock.errors" in PATHS
    assert imports("penstock.protocol.cursor") == {"penstock.errors", "penstock.models"}
    assert imports("penstock.storage") >= {"penstock.storage.base", "penstock.storage.memory"}, (
        "deferred ones count"
    )


@pytest.mark.parametrize("module", PATHS)
def test_every_room_has_a_floor(module: str) -> None:
    assert any(room(module) in rooms for rooms in FLOORS), f"put {room(module)!r} on the floor it belongs to"


@pytest.mark.parametrize("module", PATHS)
def test_imports_go_down(module: str) -> None:
    upward = {name for name in imports(module) if floor(name) > floor(module)}
    assert not upward


def test_the_import_graph_has_no_cycle() -> None:
    graph = {module: imports(module) for module in PATHS}
    while free := {module for module, needs in graph.items() if not needs & graph.keys()}:
        graph = {module: needs for module, needs in graph.items() if module not in free}
    assert not graph, "each of these is in a cycle or imports one that is"


@pytest.mark.parametrize("module", [module for module in PATHS if floor(module) == 1])
def test_protocol_is_pure(module: str) -> None:
    assert not packages(module) & IMPURE


@pytest.mark.parametrize("driver", DOORS)
def test_each_outside_thing_has_its_door(driver: str) -> None:
    assert rooms_that(driver) <= DOORS[driver]


def test_only_settings_reads_the_environment() -> None:
    readers = {
        module
        for module in PATHS
        for node in ast.walk(tree(module))
        if (isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT)
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and ENVIRONMENT & {a.name for a in node.names}
        )
    }
    assert readers <= {"penstock.settings"}


@pytest.mark.parametrize(("one", "other"), [("server", "client"), ("client", "server")])
def test_server_and_client_do_not_know_each_other(one: str, other: str) -> None:
    modules = [module for module in PATHS if room(module) == one]
    assert not {room(name) for module in modules for name in imports(module)} & {other}


def test_nothing_is_called_utils() -> None:
    assert not [
        path for path in PATHS.values() if {"utils", "util", "helpers"} & {path.stem, path.parent.name}
    ]


@pytest.mark.parametrize(
    "path", sorted((SRC / "penstock").rglob("*.[pj][ys]")), ids=lambda path: str(path.name)
)
def test_files_are_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES


@pytest.mark.parametrize("module", PATHS)
def test_functions_are_small(module: str) -> None:
    long = {f"{node.name}, line {node.lineno}": length(node) for node in functions(module)}
    assert not {name: lines for name, lines in long.items() if lines > FUNCTION_LINES}
