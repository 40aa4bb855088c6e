"""What all benchmarks share: medians of interleaved repeats, ratios, and one way to print them."""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

__all__ = ["interleave", "percentile", "report"]


T = TypeVar("T")


def interleave(measures: Mapping[str, Callable[[], T]], repeats: int) -> dict[str, list[T]]:
    """Each measure `repeats` times, in turns: what else the machine does then falls on all alike."""
    found: dict[str, list[T]] = {name: [] for name in measures}
    for turn in range(repeats):
        for name, measure in measures.items():
            found[name].append(measure())
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{turn + 1}/{repeats} {name:40}\r")
    return found


def report(
    title: str, found: Mapping[str, Sequence[float]], unit: str, *, goal: str = ""
) -> dict[str, float]:
    """Print the medians, the spread, and each one's ratio to the last, which is the peer."""
    medians = {name: statistics.median(values) for name, values in found.items()}
    *_, peer = medians
    print(f"\n{title}" + (f"   (goal: {goal})" if goal else ""))
    for name, values in found.items():
        ratio = (
            "" if name == peer or not medians[peer] else f"   {medians[name] / medians[peer]:.2f} x {peer}"
        )
        spread = f"{min(values):,.4g} to {max(values):,.4g}"
        print(f"  {name:34} {medians[name]:>10,.4g} {unit}   ({spread}){ratio}")
    return medians


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
