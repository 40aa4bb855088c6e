"""What test_usage.py runs, in processes of their own too, which import this by its name."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import penstock

PAUSE_S = 0.05


async def spend(run: penstock.Run) -> AsyncIterator[str]:
    with run.span("calls", kind="llm") as span:
        for number in (1, 2):
            yield f"{number} "
            span.usage(
                input_tokens=100 * number, output_tokens=7, cost=0.1, currency="USD", model=f"m{number}"
            )
            await asyncio.sleep(0)
    with run.span("free") as free:
        free.usage(output_tokens=3)
    with run.span("plain"):
        pass


def spend_in_thread(run: penstock.Run) -> Iterator[str]:
    with run.span("calls", kind="llm") as span:
        for number in (1, 2):
            yield f"{number} "
            span.usage(
                input_tokens=100 * number, output_tokens=7, cost=0.1, currency="USD", model=f"m{number}"
            )
    with run.span("free") as free:
        free.usage(output_tokens=3)
    with run.span("plain"):
        pass


async def speak_late(run: penstock.Run) -> AsyncIterator[Any]:
    with run.span("outer"):
        with run.span("silent"):
            run.log("no output")
        with run.span("inner"):
            await asyncio.sleep(PAUSE_S)
            yield "first "
            yield "second"
        await asyncio.sleep(PAUSE_S)
        yield {"row": 1}


def speak_late_in_thread(run: penstock.Run) -> Iterator[Any]:
    with run.span("outer"):
        with run.span("silent"):
            run.log("no output")
        with run.span("inner"):
            time.sleep(PAUSE_S)
            yield "first "
            yield "second"
        time.sleep(PAUSE_S)
        yield {"row": 1}
