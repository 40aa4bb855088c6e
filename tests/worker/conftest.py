"""What tests of isolated functions share: modules that another process can import."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, of the functions too."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of what is run here, found as a user's would be."""
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("isolated_functions")


@pytest.fixture
def write_module(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], ModuleType]:
    """`write_module(name, source)` makes a module in the working folder, and imports it for this test."""
    monkeypatch.syspath_prepend(place)

    def write(name: str, source: str) -> ModuleType:
        (place / f"{name}.py").write_text(source)
        monkeypatch.setitem(sys.modules, name, None)  # so that it is forgotten at the end
        del sys.modules[name]
        return importlib.import_module(name)

    return write
