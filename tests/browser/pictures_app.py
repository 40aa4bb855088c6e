"""The app on the documentation's pictures: an agent that thinks, a line before two graphics cards, an import."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

import penstock

FILE = Path(__file__)

app = penstock.App()

QUESTION = "Why does the Pelton wheel at Achlain lose power when the reservoir is full?"

PLAN = (
    "The head is greatest when the reservoir is full, so the jet is fastest then. I should look at the nozzle, "
    "at the governor's log and at the bearing's temperature, in this order: the cheapest explanation first. "
)

ANSWER = (
    "The wheel does not lose power because of the water, but because of its governor. With the reservoir full the "
    "jet leaves the nozzle at 46 m/s, and the governor closes the spear to 61 % to hold the speed [1]. Below 65 % "
    "the spear vibrates: the log of 3 November shows it hunting between 58 and 66 % every 4 seconds [2].\n\n"
    "What helps:\n\n"
    "- Raise the governor's dead band from 0.2 to 0.6 %: the hunting stops, and the speed stays within 1 %.\n"
    "- At the next stop, fit the smaller nozzle (`N-38`) that the wheel was delivered with [3].\n\n"
    "The bearing is not the cause: at 54 °C it is where it should be.\n"
)


class Options(msgspec.Struct):
    """How thorough it is to be."""

    depth: Annotated[int, msgspec.Meta(ge=1, le=5, description="Rounds of reading")] = 2
    cite: Annotated[bool, msgspec.Meta(description="Mark what comes from where")] = True


async def _speak(text: str, pause_s: float) -> AsyncGenerator[str, None]:
    for word in text.split(" "):
        yield f"{word} "
        await asyncio.sleep(pause_s)


async def _ask_bearing(wait_s: float) -> None:
    await asyncio.sleep(wait_s)
    raise TimeoutError("bearing-2 did not answer within 5 s")


@app.function(concurrency_limit=4)
async def research(
    question: Annotated[str, msgspec.Meta(description="What is to be found out")],
    run: penstock.Run,
    model: Annotated[Literal["small", "large"], msgspec.Meta(description="Large ones take longer")] = "large",
    options: Options | None = None,
    notes: Annotated[penstock.File | None, msgspec.Meta(description="What is known already")] = None,
    pause_ms: Annotated[int, msgspec.Meta(ge=0, le=1000, description="Between two words")] = 12,
) -> AsyncGenerator[str, None]:
    """Read the documents of the plant, and answer with sources."""
    pause_s, name = pause_ms / 1000, f"mill-{model}"
    with run.span("plan", kind="llm", input=question) as plan:
        async for word in _speak(PLAN, pause_s):
            yield word
        plan.usage(input_tokens=412, output_tokens=58, cost=0.0021, currency="USD", model=name)
    with run.span("read", kind="chain"):
        with run.span("search", kind="tool", input={"query": "nozzle spear vibration", "limit": 8}) as search:
            await asyncio.sleep(12 * pause_s)
            search.output = [
                {"title": "Governor log, 3 Nov", "score": 0.91},
                {"title": "Commissioning report", "score": 0.87},
            ]
        with run.span("open", kind="tool", input="Governor log, 3 Nov") as page:
            await asyncio.sleep(20 * pause_s)
            page.output = {"lines": 5760, "spear": {"least": 58, "most": 66}, "period_s": 4.1}
        try:
            with run.span("measure", kind="tool", input={"sensor": "bearing-2", "unit": "°C"}):
                await _ask_bearing(25 * pause_s)
        except TimeoutError:
            run.log("bearing-2 is asked a second time", level="warning")
        with run.span("measure", kind="tool", input={"sensor": "bearing-2", "unit": "°C"}) as again:
            await asyncio.sleep(8 * pause_s)
            again.output = {"value": 54.2}
    with run.span("write", kind="llm", input={"sources": 3}) as write:
        async for word in _speak(ANSWER, pause_s):
            yield word
        write.usage(input_tokens=6120, output_tokens=171, cost=0.0236, currency="USD", model=name)


@app.function(
    concurrency_limit=2, concurrency_id="gpu", max_size=50, priority=lambda given: given["priority"]
)
async def render(scene: str, run: penstock.Run, frames: int = 240, priority: int = 0) -> None:
    """Draw the frames of a scene, two scenes at a time."""
    for frame in run.tqdm(range(frames), unit="frames"):
        await asyncio.sleep(0.05)
        if scene == "sluice at night" and frame == 20:
            raise MemoryError("the card has 24 GB, and this scene takes 31")


@app.function(concurrency_limit=1)
async def import_readings(month: str, run: penstock.Run) -> dict[str, Any]:
    """Take over a month of the gauges' readings."""
    for day in run.tqdm(range(30), unit="days"):
        await asyncio.sleep(0.02)
        if day % 10 == 9:
            run.log(f"{month}: day {day + 1} is done", rows=1440 * (day + 1))
    return {"month": month, "rows": 43_200}
