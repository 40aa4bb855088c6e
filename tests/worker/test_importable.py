"""Whether another process would find a function is known before the start."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from penstock.errors import ConfigError
from penstock.worker.function import Function
from penstock.worker.isolation.importable import check_importable


def test_what_another_process_can_find_is_accepted(functions: ModuleType) -> None:
    for call in (functions.where, functions.called, functions.part, functions.Called.__call__):
        check_importable(Function(call, name="f", isolation="process"))


def refused(call: Callable[..., Any]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        check_importable(Function(call, name="f", isolation="process"))
    return caught.value


def test_what_has_no_name_of_its_own_is_refused_before_the_start(
    functions: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "top of its module" in refused(functions.nested()).hint
    assert "top of its module" in refused(functions.nameless).hint
    where = functions.where
    monkeypatch.setattr(functions, "where", functions.function)
    assert "above its other decorators" in refused(where).hint


def test_what_can_not_go_along_is_refused_before_the_start(functions: ModuleType) -> None:
    assert "Keep in it only" in refused(functions.Called(number for number in range(3))).hint


def test_a_module_that_another_process_would_not_find_is_refused_before_the_start(
    functions: ModuleType, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "isolated_functions.py").touch()
    monkeypatch.syspath_prepend(place)
    assert f"another module, {place / 'isolated_functions.py'}" in refused(functions.where).message
    monkeypatch.setattr(
        sys, "path", [path for path in sys.path if path not in (str(Path(__file__).parent), str(place))]
    )
    assert "no module named 'isolated_functions'" in refused(functions.where).message
