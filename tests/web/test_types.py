"""The types of everything the browser gets, as its comments state them, checked by TypeScript's own compiler."""

import subprocess
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent


def test_the_types_hold(needs: Callable[[str], str]) -> None:
    done = subprocess.run([needs("tsc"), "--project", HERE], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
