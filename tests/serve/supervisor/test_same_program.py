"""Which program a supervisor starts."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.process.supervisor import same_program
from penstock.testing import ServerProcess


def test_the_same_program_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-X", "dev", "bin/penstock", "serve", "app.py"])
    monkeypatch.setattr(sys, "argv", ["bin/penstock", "serve", "app.py"])
    assert same_program(called=False) == [sys.executable, "-X", "dev", "bin/penstock"]
    assert same_program(called=True) == [sys.executable, "-m", "penstock"]


def test_a_program_that_calls_the_command_is_not_started_again(
    write_app: Callable[[str], Path], tmp_path: Path
) -> None:
    write_app("")
    (tmp_path / "program.py").write_text(
        "import sys\nfrom penstock.cli import main\nprint('begun', flush=True)\n"
        "sys.exit(main(['serve', 'app.py', '--port', '0', '--workers', '2']))\n"
    )
    with ServerProcess(argv=[sys.executable, "program.py"], cwd=tmp_path) as server:
        assert server.output.count("begun") == 1
        assert server.terminate() == 0
