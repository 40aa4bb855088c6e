"""What can be served: a file or a module, and an app in it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.errors import ConfigError
from penstock.serve import load_app


def test_targets(tmp_path: Path, write_app: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_app("other = penstock.App(rate=3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert load_app(str(path)).settings.rate == 20
    assert load_app(f"{path}:other").settings.rate == 3
    assert load_app("app:other").settings.rate == 3
    (tmp_path / "one.py").write_text("import penstock\nmine = penstock.App(rate=7)")
    assert load_app("one.py").settings.rate == 7
    (tmp_path / "several.py").write_text("import penstock\na = penstock.App()\nb = penstock.App()")
    with pytest.raises(ConfigError, match=r"has several \(a, b\)"):
        load_app("several.py")
    (tmp_path / "none.py").write_text("x = 1")
    with pytest.raises(ConfigError, match="has none"):
        load_app("none.py")
