"""What `import penstock` promises: these names, and nothing loaded before it is used."""

import importlib.metadata
import subprocess
import sys

import pytest

import penstock

NAMES = ["App", "AsyncClient", "Client", "File", "PenstockError", "Replace", "Run", "Span", "__version__"]


def test_the_public_names() -> None:
    assert penstock.__all__ == NAMES
    assert set(penstock._HOMES) == {*NAMES} - {"__version__"}


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name: str) -> None:
    value = getattr(penstock, name)
    assert name == "__version__" or (value.__name__, value.__doc__ is not None) == (name, True)


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="module 'penstock' has no attribute 'Nothing'"):
        _ = penstock.Nothing


def test_the_version_is_the_packages() -> None:
    assert importlib.metadata.version("penstock") == penstock.__version__


@pytest.mark.parametrize(
    ("program", "unloaded"),
    [
        ("import penstock", {"asyncio", "starlette", "uvicorn", "httpx", "sqlite3", "rich", "pydantic"}),
        ("import penstock; penstock.Client", {"starlette", "uvicorn", "sqlite3"}),
        (
            "import penstock; penstock.App(store='memory:')",
            {"uvicorn", "httpx", "sqlite3", "rich", "pydantic"},
        ),
        ("import penstock.cli", {"uvicorn", "sqlite3"}),
    ],
)
def test_nothing_is_loaded_before_it_is_used(program: str, unloaded: set[str]) -> None:
    code = f"{program}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & unloaded
