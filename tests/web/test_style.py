"""The browser's code keeps to measures of the house; `prettier --print-width 120 --single-quote` formats it."""

from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "src" / "penstock" / "web"
FILE_LINES = 400
LINE_CHARACTERS = 135
"""The formatter keeps code within 120; comments before a member may go on."""

FILES = sorted([*WEB.rglob("*.js"), *WEB.rglob("*.css")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(WEB)))
def test_files_and_lines_are_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= FILE_LINES
    if path.suffix == ".js":
        assert [line for line in lines if len(line) > LINE_CHARACTERS] == []
