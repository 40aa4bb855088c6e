"""How long one claim takes with 100, 10,000 and 100,000 runs waiting. Goal: the line's length makes no difference.

A claim starts one run through the store, in a file, at `synchronous=full`: the hop to the writer's thread and the
commit are in it. Runs are ended and submitted again between the claims, so that as many wait at each.
"""

import asyncio
import random
import tempfile
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from penstock.models import Chunk, Claimed, Group, RunRecord, RunState, Terms
from penstock.storage import make_store
from penstock.storage.base import Store

from .compare import interleave, percentile, report
from .servers import LOAD_CORE, pin

REPEATS = 5
CLAIMS = 200
WAITING = (100_000, 10_000, 100)
AT_ONCE = 1_000
"""Submissions under way while a line is filled: they share commits."""

RUNNING = 5
"""Runs under way at each claim: with a key's limit of one, their keys are passed over."""

KEYED = Terms(key_limit=1)
END = b'id: abcdefgh-1\ndata: {"type":"end","state":"succeeded","seq":1,"at_ms":1}\n\n'


class Shape(NamedTuple):
    """How the waiting runs are spread: the key and the priority of each number, and the function's terms."""

    key: Callable[[int], str]
    terms: Terms
    priority: Callable[[int], int] = lambda _: 0


SHAPES = {
    "no keys": Shape(lambda _: "", Terms()),
    "1,000 keys": Shape(lambda number: f"key {number % 1000}", KEYED),
    "a key for each run": Shape(lambda number: f"key {number}", KEYED),
    "one key has nine of ten runs": Shape(
        lambda number: f"key {number}" if number % 10 == 0 else "greedy", KEYED
    ),
}


class Line:
    """A store with a number of runs waiting."""

    def __init__(self, store: Store, shape: Shape) -> None:
        self._store = store
        self._shape = shape
        self._groups = [Group("f", ("f",), 2 * RUNNING, {"f": shape.terms})]
        self._running: deque[Claimed] = deque()
        self._submitted = 0

    async def fill(self, waiting: int) -> None:
        """Have so many wait."""
        for start in range(0, waiting, AT_ONCE):
            numbers = range(start, min(waiting, start + AT_ONCE))
            await asyncio.gather(*[self._submit(self._shape.key(number)) for number in numbers])
        for _ in range(RUNNING):
            await self.claim()

    async def claim(self) -> float:
        """Milliseconds of one claim."""
        started = time.perf_counter()
        (claimed,) = await self._store.claim("bench", self._groups, _now_ms(), 1)
        took_s = time.perf_counter() - started
        self._running.append(claimed)
        await self._submit(claimed.run.lane)
        if len(self._running) > RUNNING:
            ended = self._running.popleft()
            await self._store.finish(ended.lease, RunState.SUCCEEDED, None, Chunk(1, 1, END, True), _now_ms())
        return took_s * 1000

    async def close(self) -> None:
        """Let go of the file."""
        await self._store.close()

    async def _submit(self, lane: str) -> None:
        self._submitted += 1
        run = RunRecord(
            id=run_id(self._submitted),
            function="f",
            group="f",
            state=RunState.QUEUED,
            created_at_ms=_now_ms(),
            lane=lane,
            priority=self._shape.priority(self._submitted),
        )
        await self._store.submit(run, "abcdefgh")

    async def look(self, count: int) -> float:
        """Milliseconds of one look at the places of so many runs, spread over the whole line."""
        asked = [run_id(number) for number in random.sample(range(RUNNING + 1, self._submitted), count)]
        started = time.perf_counter()
        found = await self._store.standings(asked)
        took_s = time.perf_counter() - started
        assert len(found) > count // 2
        return took_s * 1000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def run_id(number: int) -> str:
    """The id of the run that was submitted as number so and so."""
    return f"run_{number:024}"


async def filled(path: Path, shape: Shape, waiting: int) -> Line:
    store = make_store(f"sqlite:///{path}", synchronous="full")
    await store.open()
    await store.sign("bench", 2**53)
    line = Line(store, shape)
    await line.fill(waiting)
    return line


async def _claims(line: Line) -> list[float]:
    return [await line.claim() for _ in range(CLAIMS)]


def measure(shape: Shape) -> dict[str, list[list[float]]]:
    """Rounds of claims of one shape, from lines of each length in turns."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        lines = [runner.run(filled(Path(folder) / f"{count}.db", shape, count)) for count in WAITING]
        measures = {
            f"{count:,} waiting": partial(lambda line: runner.run(_claims(line)), line)
            for count, line in zip(WAITING, lines, strict=True)
        }
        try:
            return interleave(measures, REPEATS)
        finally:
            for line in lines:
                runner.run(line.close())


def main() -> None:
    """Print p50 and p99 of a claim for each shape, and their ratio to those of the short line."""
    pin(LOAD_CORE)
    for name, shape in SHAPES.items():
        rounds = measure(shape)
        for share, goal in ((0.5, "1 x"), (0.99, "")):
            found = {who: [percentile(one, share) for one in many] for who, many in rounds.items()}
            report(f"One claim, {name}, p{share * 100:g}", found, "ms", goal=goal)


if __name__ == "__main__":
    main()
