"""Writes the table in docs/gradio.md: `python -m tests.gradio.table`, from the root.

python -m tests.gradio.table [--only stock|hardened] [--version newest] [--row "page reloaded"] [--short]
"""

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from ..browser.chromium import launched
from . import disturbances  # noqa: F401 - they say what there is
from .scene import DISTURBANCES, LONG, SHORT, Times
from .server import VERSIONS, find_python
from .stage import REOPENING, Cell, Stage

__all__ = ["DOC", "cells_in", "document", "line_in"]

DOC = Path(__file__).parents[2] / "docs" / "gradio.md"

BEGIN = "<!-- Written by python -m tests.gradio.table -->"
END = "<!-- The table's end -->"

CHANCE = re.compile(r"\b(?!0 |60 )\d+ (?=of 60)|(?<=killed at )\d+")
"""Numbers that are others each time: where in the story it happened."""

TESTED = "With Gradio "

COLUMNS = {"stock": False, "hardened": True}


def document(text: str, cells: Mapping[Cell, str], tested: str) -> str:
    """The page with its table made anew."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    rows = [
        f"| {name} | {' | '.join(_cell(cells, name, hard) for hard in COLUMNS.values())} |"
        for name in DISTURBANCES
    ]
    lines = ["| disturbance | stock Gradio | hardened |", "| --- | --- | --- |", *rows]
    return "\n".join([f"{head}{BEGIN}", "", tested, "", *lines, "", f"{END}{tail}"])


def line_in(text: str) -> str:
    """The page's line that says with which versions it was made."""
    return next(line for line in text.splitlines() if line.startswith(TESTED))


def tested() -> str:
    """The same, of the versions that are here."""
    ask = "import importlib.metadata as m; print(m.version('gradio'), end='')"
    said = [subprocess.check_output([find_python(version), "-c", ask], text=True) for version in VERSIONS]
    return f"{TESTED}{', '.join(said[:-1])} and {said[-1]}, the newest."


def _cell(cells: Mapping[Cell, str], name: str, hardened: bool) -> str:
    """Versions that agree, but for chance, are said together, in the newest's words; all of them without names."""
    agreeing: dict[str, list[str]] = {}
    said: dict[str, str] = {}
    for version in VERSIONS:
        if (result := cells.get(Cell(name, version, hardened))) is not None:
            alike = CHANCE.sub("#", result)
            agreeing.setdefault(alike, []).append(version)
            said[alike] = result
    if len(agreeing) == 1 and set(next(iter(agreeing.values()))) == set(VERSIONS):
        return next(iter(said.values()))
    return "<br>".join(f"{', '.join(versions)}: {said[alike]}" for alike, versions in agreeing.items())


def cells_in(text: str) -> dict[Cell, str]:
    """The results in a page."""
    cells: dict[Cell, str] = {}
    for line in text.partition(BEGIN)[2].partition(END)[0].splitlines():
        name, *row = [cell.strip() for cell in line.strip("|").split("|")]
        if name in DISTURBANCES:
            for hardened, cell in zip(COLUMNS.values(), row, strict=True):
                cells |= {Cell(name, version, hardened): result for version, result in _results(cell)}
    return cells


def _results(cell: str) -> Iterable[tuple[str, str]]:
    for part in filter(None, cell.split("<br>")):
        names, colon, result = part.partition(": ")
        versions = names.split(", ")
        if colon and set(versions) <= set(VERSIONS):
            yield from ((version, result) for version in versions)
        else:
            yield from ((version, part) for version in VERSIONS)


async def results(cells: Sequence[Cell], times: Times) -> dict[Cell, str]:
    """What became of each; without those that failed."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    found: dict[Cell, str] = {}
    with TemporaryDirectory() as folder:
        profile, scenes = Path(folder, "profile"), Path(folder, "scenes")
        scenes.mkdir()
        async with (
            launched(program, profile, extension=REOPENING) as chromium,
            Stage(chromium, scenes, times) as stage,
        ):
            stage.begin(cells)
            for cell in cells:
                with _telling(cell):
                    found[cell] = await stage.outcome(cell)
                    print(*cell, found[cell], sep=" · ", flush=True)
    return found


@contextmanager
def _telling(cell: Cell) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the others go on
        print(*cell, f"{error!r} {getattr(error, '__notes__', '')}", sep=" · ", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gradio.table")
    parser.add_argument("--only", choices=COLUMNS)
    parser.add_argument("--version", choices=VERSIONS)
    parser.add_argument("--row", choices=list(DISTURBANCES), action="append")
    parser.add_argument("--short", action="store_true", help="short times; writes nothing")
    return parser.parse_args()


def main() -> int:
    given = _arguments()
    columns = [hardened for name, hardened in COLUMNS.items() if given.only in (None, name)]
    versions = [version for version in VERSIONS if given.version in (None, version)]
    cells = [Cell(*cell) for cell in product(given.row or DISTURBANCES, versions, columns)]
    found = asyncio.run(results(cells, SHORT if given.short else LONG))
    if not given.short:
        text = DOC.read_text(encoding="utf-8")
        rest = {cell: result for cell, result in cells_in(text).items() if cell not in cells}
        DOC.write_text(document(text, rest | found, tested()), encoding="utf-8")
    return int(len(found) < len(cells))


if __name__ == "__main__":
    sys.exit(main())
