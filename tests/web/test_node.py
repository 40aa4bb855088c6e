"""The page's pure modules, tested by node's own runner."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MISSING = "node is not installed; the page's JavaScript tests need it (version 20 or later)"


def _node() -> str:
    """Where node is. Skips the test without it, except in CI, where a silent skip would hide a failure."""
    node = shutil.which("node")
    if node is not None:
        return node
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING)
    pytest.skip(MISSING)


@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.js")), ids=lambda file: file.name)
def test_javascript(file: Path) -> None:
    done = subprocess.run([_node(), "--test", str(file)], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
