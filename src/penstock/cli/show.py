"""What people see: notes and errors on standard error, tables and text on standard output."""

import json
import sys
import time
from typing import Any

from ..errors import PenstockError
from ..events import AnyEvent, Log, Progress, SpanEnd, SpanStart

__all__ = ["age", "complain", "note", "print_event", "print_json", "print_runs"]

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


def print_event(event: AnyEvent) -> None:
    """A step, a log line or progress, dimmed, on standard error."""
    match event:
        case SpanStart():
            _dim(f"▸ {event.name}" + (f" ({event.kind})" if event.kind else ""))
        case SpanEnd(error=dict() as error):
            _dim(f"✗ {error.get('message', '')}")
        case Log():
            _dim(f"{event.level}: {event.message}")
        case Progress():
            total = "" if event.total is None else f" of {event.total:g}"
            _dim(f"{event.done:g}{total} {event.unit}".rstrip())
        case _:
            return


def _dim(text: str) -> None:
    note(f"\033[2m{text}\033[0m" if sys.stderr.isatty() else text)


def print_runs(runs: list[dict[str, Any]]) -> None:
    """A table of runs."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("RUN", "FUNCTION", "STATE", "AGE", "TOOK"):
        table.add_column(column, no_wrap=True, overflow="fold")
    now_ms = time.time() * 1000
    for run in runs:
        state = run["state"]
        style = STATE_STYLE.get(state, "")
        code = (run.get("error") or {}).get("code")
        shown = f"[{style}]{state}[/]" + (f" ({code})" if code else "")
        created, started = run["created_at_ms"], run["started_at_ms"]
        took = "" if started is None else age((run["ended_at_ms"] or now_ms) - started)
        table.add_row(run["run_id"], run["function"], shown, age(now_ms - created), took)
    Console().print(table)


def age(span_ms: float) -> str:
    """A length of time, in the two units that matter."""
    seconds = max(0.0, span_ms / 1000)
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, seconds = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 48 else f"{hours // 24}d"
