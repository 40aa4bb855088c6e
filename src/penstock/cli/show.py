"""What people see: notes and errors on standard error, tables and text on standard output."""

import json
import math
import sys
import time
from typing import TYPE_CHECKING, Any

from ..errors import PenstockError
from ..events import AnyEvent, Log, Progress, SpanEnd, SpanStart

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Margin", "age", "complain", "eta", "note", "print_groups", "print_json", "print_runs"]

PROGRESS_S = 1.0
"""Between two lines of progress in a file: a person skims it, and the last one is always there."""

STATE_STYLE = {
    "queued": "yellow",
    "running": "cyan",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "magenta",
    "interrupted": "red",
}


def note(text: str) -> None:
    """A line beside the output."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def complain(error: PenstockError) -> None:
    """An error with what to do about it."""
    note(f"penstock: {error.message}" + (f"\n  {error.hint}" if error.hint else ""))


def print_json(value: Any) -> None:
    """One object on a line of standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
    sys.stdout.flush()


class Margin:
    """What is told beside the output, dimmed, on standard error: steps, log lines and progress.

    On a terminal progress rewrites its line; elsewhere it is told `PROGRESS_S` apart.
    """

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._rewriting = False
        self._progress = ""
        self._told_at = float("-inf")

    def show(self, event: AnyEvent) -> None:
        """One event; those that belong to the output are passed over."""
        match event:
            case SpanStart():
                self._line(f"▸ {event.name}" + (f" ({event.kind})" if event.kind else ""))
            case SpanEnd(error=dict() as error):
                self._line(f"✗ {error.get('message', '')}")
            case Log():
                self._line(f"{event.level}: {event.message}")
            case Progress():
                self._advance(event)
            case _:
                return

    def _advance(self, event: Progress) -> None:
        total = "" if event.total is None else f" of {event.total:g}"
        text = f"{event.done:g}{total} {event.unit}".rstrip()
        if text == self._progress:
            return
        self._progress = text
        if self._on_terminal:
            sys.stderr.write(f"\r\033[K\033[2m{text}\033[0m")
            sys.stderr.flush()
            self._rewriting = True
        elif event.done == event.total or time.monotonic() - self._told_at >= PROGRESS_S:
            self._told_at = time.monotonic()
            note(text)

    def _line(self, text: str) -> None:
        self.leave()
        note(f"\033[2m{text}\033[0m" if self._on_terminal else text)

    def leave(self) -> None:
        """End the line that progress was rewriting: something else is to be written."""
        if self._rewriting:
            self._rewriting = False
            note("")


def print_groups(groups: list[dict[str, Any]]) -> None:
    """A table of groups: what runs and waits, and when a run that comes now would start."""
    from rich.text import Text

    table = _table("GROUP", "RUNNING", "WAITING", "HELD", "ETA")
    for group in groups:
        table.add_row(
            Text(_members(group)),
            _running(group),
            str(group["waiting"]),
            str(group["held"]),
            eta(group),
        )
    _print(table)


def _running(group: dict[str, Any]) -> str:
    running, calls, limit = group["running"], group["calls"], group["concurrency_limit"]
    places = str(calls) if limit is None else f"{calls} of {limit}"
    return places if calls == running else f"{places} ({running} runs)"


def _members(group: dict[str, Any]) -> str:
    name, functions = group["group"], group["functions"]
    # Most groups are one function's own, and named after it.
    own = len(functions) == 1 and name.startswith(functions[0])
    return str(name) if own or not functions else f"{name}: {', '.join(functions)}"


def print_runs(runs: list[dict[str, Any]]) -> None:
    """A table of runs; where some wait, with their places in line."""
    from rich.text import Text

    waits = any(run["state"] == "queued" for run in runs)
    table = _table("RUN", "FUNCTION", "STATE", "AGE", "TOOK", *(("POS", "ETA") if waits else ()))
    now_ms = time.time() * 1000
    for run in runs:
        created, started = run["created_at_ms"], run["started_at_ms"]
        took = "" if started is None else age((run["ended_at_ms"] or now_ms) - started)
        state = Text.assemble((run["state"], STATE_STYLE.get(run["state"], "")), _remark(run))
        line = (str(run["position"] or "?"), eta(run)) if run["state"] == "queued" else ()
        table.add_row(run["run_id"], run["function"], state, age(now_ms - created), took, *line)
    _print(table)


def _remark(run: dict[str, Any]) -> str:
    if run["state"] in ("queued", "running") and run.get("cancel"):
        return f" (stop {run['cancel']})"
    code = (run.get("error") or {}).get("code")
    return f" ({code})" if code else ""


def eta(standing: dict[str, Any]) -> str:
    """When a run is likely to start, in whole seconds: `41s ±6s`, `now`, or `?` where nothing is known yet."""
    eta_s, spread_s = standing.get("eta_s"), standing.get("eta_spread_s")
    if not eta_s:
        return "?" if eta_s is None else "now"
    spread = f" ±{age(math.ceil(spread_s) * 1000, whole=True)}" if spread_s else ""
    return age(math.ceil(eta_s) * 1000, whole=True) + spread


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="fold")
    return table


def _print(table: "Table") -> None:
    from rich.console import Console

    Console().print(table)


def age(span_ms: float, *, whole: bool = False) -> str:
    """A length of time, in the two units that matter; short ones in tenths of a second, or whole ones."""
    seconds = max(0.0, span_ms / 1000)
    if seconds < 60:
        return f"{seconds:.0f}s" if whole else f"{seconds:.1f}s"
    minutes, seconds = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 48 else f"{hours // 24}d"
