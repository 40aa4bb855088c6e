"""How long one look at the places of 1, 500 and 5,000 waiting readers takes, 100,000 runs waiting.

Goal: the line is walked once however many ask, so that a reader more costs microseconds, wherever it stands. A
process looks once a second for all its readers. The ratio is to a look for one of them.
"""

import asyncio
import tempfile
from functools import partial
from pathlib import Path

from penstock.models import Terms

from .claim_time import SHAPES, Line, Shape, filled
from .compare import interleave, percentile, report
from .servers import LOAD_CORE, pin

REPEATS = 3
LOOKS = 5
WAITING = 100_000
READERS = (500, 5000, 1)  # the last one is what the others are compared with

LOOKED_AT = {
    "no keys": SHAPES["no keys"],
    "priorities of three kinds": Shape(lambda _: "", Terms(), lambda number: number % 3),
    "1,000 keys": SHAPES["1,000 keys"],
    "a key for each run": SHAPES["a key for each run"],
}


async def _looks(line: Line, readers: int) -> list[float]:
    return [await line.look(readers) for _ in range(LOOKS)]


def measure(shape: Shape) -> dict[str, list[list[float]]]:
    """Rounds of looks at one line, for each number of readers in turns."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        line = runner.run(filled(Path(folder) / "line.db", shape, WAITING))
        measures = {
            f"asked for {count:,}": partial(lambda count: runner.run(_looks(line, count)), count)
            for count in READERS
        }
        try:
            return interleave(measures, REPEATS)
        finally:
            runner.run(line.close())


def main() -> None:
    """Print the p50 of a look for each shape."""
    pin(LOAD_CORE)
    for name, shape in LOOKED_AT.items():
        found = {who: [percentile(one, 0.5) for one in many] for who, many in measure(shape).items()}
        report(f"One look at a line of {WAITING:,}, {name}", found, "ms")


if __name__ == "__main__":
    main()
