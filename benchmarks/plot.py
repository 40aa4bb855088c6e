"""Plots of what was measured: plain bars and lines under `benchmarks/results/`, labelled with the command."""

import importlib.util
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Panel", "bars", "lines"]

RESULTS = Path(__file__).parent / "results"

OURS, THEIRS = "#1f6feb", "#9aa4af"
LINES = ("#1f6feb", "#54aeff", "#57606a", "#bf8700", "#8250df", "#cf222e", "#1a7f37")


@dataclass(frozen=True)
class Panel:
    """One measure of all who were measured: name to value, or name to (x, y) pairs."""

    title: str
    unit: str
    values: Mapping[str, Any]
    goal: float | None = None
    log: bool = False


def bars(name: str, panels: Sequence[Panel]) -> None:
    """A row of bar charts as `benchmarks/results/NAME.png`."""
    figure, axes = _figure(name, panels, 0.4 * max(len(panel.values) for panel in panels) + 1.6)
    for axis, panel in zip(axes, panels, strict=True):
        names = list(panel.values)[::-1]
        values = [panel.values[one] for one in names]
        colours = [OURS if one.startswith("penstock") else THEIRS for one in names]
        drawn = axis.barh(names, values, color=colours)
        axis.bar_label(drawn, [f" {value:,.3g}" if value < 1000 else f" {value:,.0f}" for value in values])
        axis.set_xscale("log" if panel.log else "linear")
        axis.margins(x=0.3)
        _goal(axis.axvline, panel)
    for axis in axes[1:]:
        axis.set_yticklabels([])
    _save(figure, name)


def lines(name: str, panels: Sequence[Panel], x_label: str) -> None:
    """A row of line charts, both axes logarithmic, as `benchmarks/results/NAME.png`."""
    figure, axes = _figure(name, panels, 4.0)
    for axis, panel in zip(axes, panels, strict=True):
        for colour, (who, points) in zip(LINES, panel.values.items(), strict=False):
            axis.plot(*zip(*points, strict=True), marker="o", color=colour, label=who)
        axis.set(xscale="log", yscale="log", xlabel=x_label)
        _goal(axis.axhline, panel)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    _save(figure, name)


def _figure(name: str, panels: Sequence[Panel], height: float) -> tuple[Any, list[Any]]:
    if importlib.util.find_spec("matplotlib") is None:
        raise SystemExit(f"No plot of {name}: pip install -e '.[bench]' brings matplotlib.")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(panels) + 1.5, height), layout="constrained")
    axes = list(figure.subplots(1, len(panels), squeeze=False)[0])
    for axis, panel in zip(axes, panels, strict=True):
        axis.set_title(f"{panel.title} ({panel.unit})", fontsize="medium")
        axis.spines[["top", "right"]].set_visible(False)
    command = shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    figure.suptitle(command, fontsize="small", family="monospace")
    return figure, axes


def _goal(line: Any, panel: Panel) -> None:
    if panel.goal is not None:
        line(panel.goal, color="#cf222e", linestyle="--", linewidth=1)


def _save(figure: Any, name: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.png"
    figure.savefig(path, dpi=110)
    print(f"\nPlot: benchmarks/results/{path.name}")
