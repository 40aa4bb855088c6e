"""When many runs speak at once their chunks go together; and when few do, each goes soon."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from penstock.testing import until
from penstock.worker import journal

if TYPE_CHECKING:
    from tests.conftest import Bench

MANY_RUNS = 4 * journal.MANY
WORDS = 30


async def test_many_runs_that_speak_at_once_are_stored_in_fewer_chunks_and_whole(bench: "Bench") -> None:
    async def speak(count: int) -> AsyncIterator[str]:
        for number in range(count):
            yield f"{number} "
            await asyncio.sleep(0.03)

    async def greet() -> AsyncIterator[str]:
        yield "hello"

    runs = [await bench.start(speak, {"count": WORDS}, concurrency_limit=None) for _ in range(MANY_RUNS)]
    ticks = bench.services.worker._journal
    await until(lambda: ticks._many_until > time.monotonic(), 15, "many speak at once")
    started = time.monotonic()
    urgent = await bench.start(greet, rate=0)
    assert (await urgent.fold()).text == "hello"
    assert ticks._many_until > started
    whole = "".join(f"{number} " for number in range(WORDS))
    assert {(await run.fold()).text for run in runs} == {whole}

    alone = await bench.start(speak, {"count": 2})
    await until(lambda: ticks._many_until < time.monotonic(), 15, "few speak")
    assert (await alone.fold()).text == "0 1 "
