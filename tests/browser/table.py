"""Writes docs/browser-faults.md from a run of the tests: `python -m tests.browser.table`, from the root.

The tables are never written by hand; tests/browser/test_table.py sees to it that they name what is tested.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

from . import behind_nginx, in_the_tab, many_tabs, on_the_console, on_the_network, to_the_server
from .scene import DISTURBANCES, WAYS

__all__ = ["DOC", "cells_in", "document"]

DOC = Path(__file__).parents[2] / "docs" / "browser-faults.md"

COLUMNS = {
    "fetch": "fetch",
    "eventsource": "EventSource",
    "websocket": "WebSocket",
    "poll": "long-poll",
    "shared": "shared",
    "auto": "by itself",
    "console": "the console",
}
assert set(WAYS) < set(COLUMNS)

PARTS = {
    "In the tab": in_the_tab,
    "On the network": on_the_network,
    "Behind nginx": behind_nginx,
    "To the server": to_the_server,
    "Many tabs": many_tabs,
    "By hand, on the console": on_the_console,
}

HEAD = """# What a browser's page lives through

Written by `python -m tests.browser.table`, from the tests in `tests/browser/`: a real Chromium, a real server
with Penstock mounted under a path, and faults made for real by `penstock.testing.FaultProxy`, by nginx, by
signals, and by the browser itself, whose tabs hide, freeze and crash. Each page reads a run while the
disturbance befalls it, twice at once: every event, and the state only.

**✓** is proven each time: both states are equal to the fold of what the server's store has, and so is a fold of
the events that the page was handed; it was handed each event exactly once, in order, none missing, and every
merged one is exactly what the store has for it; the counters agree; and the browser's console has no word but
those about the network. The number beside it is how often the connection was lost and taken up again; then the
seconds from the end of the disturbance to the next event, on a busy machine. "stops" is right where nothing can
be received any more: the page is told why, and does not ask again.

The columns are the client's [transports](PROTOCOL.md), each alone; `shared` is the one connection for all tabs,
which a SharedWorker holds; and "by itself" is what a tab without one chooses. On the console a run is open,
whose proof line says that all that is stored was received, and how often it resumed.
"""


def document(cells: Mapping[tuple[str, str], str]) -> str:
    """The page, from results by disturbance and way."""
    return "\n".join([HEAD, *_tables(cells)])


def _tables(cells: Mapping[tuple[str, str], str]) -> Iterator[str]:
    for heading, part in PARTS.items():
        chosen = [one for one in DISTURBANCES.values() if one.act.__module__ == part.__name__]
        ways = [way for way in COLUMNS if any(way in one.ways for one in chosen)]
        yield f"## {heading}\n"
        yield f"| disturbance | {' | '.join(COLUMNS[way] for way in ways)} |"
        yield "| --- |" + " --- |" * len(ways)
        for one in chosen:
            yield f"| {one.name} | {' | '.join(cells.get((one.name, way), '') for way in ways)} |"
        yield ""


def cells_in(text: str) -> dict[tuple[str, str], str]:
    """The results in a page, by disturbance and way."""
    cells: dict[tuple[str, str], str] = {}
    ways: list[str] = []
    names = {title: way for way, title in COLUMNS.items()}
    for line in text.splitlines():
        name, *row = [cell.strip() for cell in line.strip("|").split("|")]
        if name == "disturbance":
            ways = [names[title] for title in row]
        elif line.startswith("| ") and not name.startswith("---"):
            cells |= {(name, way): result for way, result in zip(ways, row, strict=True) if result}
    return cells


def results_in(report: Path) -> dict[tuple[str, str], str]:
    """What the tests said of themselves, in pytest's report."""
    found = ET.parse(report).iterfind(".//property[@name='cell']")
    rows = [json.loads(one.attrib["value"]) for one in found]
    return {(name, way): outcome for name, way, outcome in rows}


def main() -> int:
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        tests = str(Path(__file__).with_name("test_faults.py"))
        reporting = [f"--junitxml={report}", "-o", "junit_family=xunit1"]  # it has room for properties
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", *reporting, tests], check=False)
        if done.returncode == 0:
            DOC.write_text(document(results_in(report)))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
