"""The app that the chaos test serves: ten groups of functions that write down when they are at work.

Each run writes the story of its number and keeps checkpoints on the way, so what it leads to is known beforehand,
whatever happens to its processes.
"""

import asyncio
import contextlib
import functools
import os
import secrets
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

import msgspec

import penstock

FILE = Path(__file__)

RECORD = "record"
"""The file of marks, in the working folder."""

PAUSE_S = (0.004, 0.02)
"""Between two pieces of a story, for each place of the group: runs take 10 ms to 1 s, and all groups are busy for
about as long, so that each kill hits them."""

LONG_PLACES = 30
"""What the group without a limit counts as: its runs take two seconds, so that some are lost several times."""

PIECES = ("plain ", "naïve ", "日本語 ", "🙂👩‍👧 ", "\n\n", "data: x\r\n", "id: 9-9\n", '"\\ ', "\u2028")
"""What a wire could trip over, and what tells code points from bytes."""

SPOILED = 0.25
"""Of the runs of functions with `retries`, how many raise once."""

RATE = 1
"""Starts a second and caller: with one, two processes that don't agree for a millisecond are found out."""


class Part(msgspec.Struct, frozen=True):
    """A run's part in a call. `started_at_ms` is when its start counts, for the rate."""

    run_id: str
    attempt: int
    lane: str
    started_at_ms: int


class Mark(msgspec.Struct, frozen=True):
    """One line of the record: a call of a function has begun, or how it has ended."""

    what: Literal["begun", "returned", "raised", "stopped"]
    at_ns: int
    call: str
    pid: int
    group: str
    parts: list[Part]


class Kind(NamedTuple):
    """How many runs of a function there are to be, and what is promised of its group."""

    group: str
    runs: int
    limit: int | None
    key_limit: int | None = None
    lanes: int = 0
    """Sessions, or callers, among whom the runs are divided evenly."""


KINDS = {
    "alone": Kind("alone", 120, 1),
    "pair": Kind("pair", 220, 2),
    "trio": Kind("trio", 220, 3),
    "quartet": Kind("quartet", 220, 4),
    "quintet": Kind("quintet", 260, 5),
    "weave": Kind("cloth", 100, 3),
    "knit": Kind("cloth", 100, 3),
    "chat": Kind("chat", 200, 4, key_limit=1, lanes=8),
    "paced": Kind("paced", 100, 5, key_limit=5, lanes=7),
    "together": Kind("together", 300, 2),
    "free": Kind("free", 160, None),
}
"""By function."""

LOGGED = ("trio", "quartet")
"""Functions that can't yield: they log their pieces, and return the whole."""


class Hiccup(Exception):
    """What a spoiled run raises, once."""


# --- What is told ---


def story(number: int) -> list[str]:
    """The pieces of text of a run with this number."""
    chance = Random(number)
    return [f"{place} {chance.choice(PIECES)}" for place in range(chance.randint(2, 8))]


def pause_s(number: int, places: int) -> float:
    """How long it waits after each, in a group with so many places."""
    return places * Random(f"pause {number}").uniform(*PAUSE_S)


def tell(run: penstock.Run, number: int) -> Iterator[str]:
    """What is left of the story; checkpoints stand after some of the pieces."""
    kept = run.restored or {"next": 0}
    pieces, chance = story(number), Random(f"{run.id} {run.attempt}")
    for place in range(kept["next"], len(pieces)):
        yield pieces[place]
        if chance.random() < 0.4:
            run.checkpoint({"next": place + 1} | _spoiled(kept))


def tell_spoiled(run: penstock.Run, number: int) -> Iterator[str]:
    """The same; some runs raise once on the way, and have to write a piece again."""
    chance = Random(run.id)
    spoiled = chance.random() < SPOILED and not (run.restored or {}).get("spoiled")
    place = chance.randrange(1, 4) if spoiled else -1
    for told, piece in enumerate(tell(run, number)):
        if told == place:
            # Stored with what stands before it, so it is known to the next attempt if this one's end is.
            run.checkpoint({"next": story(number).index(piece), "spoiled": True})
        yield piece
        if told == place:
            raise Hiccup


def _spoiled(kept: dict[str, object]) -> dict[str, object]:
    return {"spoiled": True} if kept.get("spoiled") else {}


# --- What is written down ---


@functools.cache
def _record() -> int:
    return os.open(RECORD, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def _mark(
    what: Literal["begun", "returned", "raised", "stopped"], call: str, group: str, parts: list[Part]
) -> None:
    mark = Mark(what, time.monotonic_ns(), call, os.getpid(), group, parts)
    # A kill may cut a line short; the next one must not be spoiled by it.
    os.write(_record(), b"\n" + msgspec.json.encode(mark) + b"\n")


@contextlib.contextmanager
def at_work(group: str, *runs: penstock.Run, lane: str = "") -> Iterator[None]:
    """Around all that a call does."""
    parts = [Part(run.id, run.attempt, lane, run._record.started_at_ms or 0) for run in runs]
    call = secrets.token_hex(8)
    _mark("begun", call, group, parts)
    try:
        yield
    except Exception:
        _mark("raised", call, group, parts)
        raise
    except BaseException:
        _mark("stopped", call, group, parts)
        raise
    _mark("returned", call, group, parts)


# --- The functions ---

app = penstock.App()


@app.function(concurrency_limit=1, on_crash="retry")
async def alone(number: int, run: penstock.Run) -> AsyncGenerator[str, None]:
    with at_work("alone", run):
        for piece in tell(run, number):
            yield piece
            await asyncio.sleep(pause_s(number, 1))


@app.function(concurrency_limit=2, on_crash="retry", retries=1)
def pair(number: int, run: penstock.Run) -> Generator[str, None, None]:
    with at_work("pair", run):
        for piece in tell_spoiled(run, number):
            yield piece
            time.sleep(pause_s(number, 2))


@app.function(concurrency_limit=3, on_crash="retry", retries=1)
async def trio(number: int, run: penstock.Run) -> str:
    with at_work("trio", run):
        for piece in tell_spoiled(run, number):
            run.log(piece)
            await asyncio.sleep(pause_s(number, 3))
    return "".join(story(number))


@app.function(concurrency_limit=4, on_crash="retry", retries=1)
def quartet(number: int, run: penstock.Run) -> str:
    with at_work("quartet", run):
        for piece in tell_spoiled(run, number):
            run.log(piece)
            time.sleep(pause_s(number, 4))
    return "".join(story(number))


@app.function(concurrency_limit=5, on_crash="retry", retries=1)
async def quintet(number: int, run: penstock.Run) -> AsyncGenerator[str, None]:
    with at_work("quintet", run):
        pieces = tell_spoiled(run, number)
        while first := next(pieces, ""):
            with run.span("verse"):
                yield first
                await asyncio.sleep(pause_s(number, 5))
                if second := next(pieces, ""):
                    yield second


# The lower of the two limits holds.


@app.function(concurrency_id="cloth", concurrency_limit=3, on_crash="retry")
async def weave(number: int, run: penstock.Run) -> AsyncGenerator[str, None]:
    with at_work("cloth", run):
        for piece in tell(run, number):
            yield piece
            await asyncio.sleep(pause_s(number, 3))


@app.function(concurrency_id="cloth", concurrency_limit=5, on_crash="retry")
def knit(number: int, run: penstock.Run) -> Generator[str, None, None]:
    with at_work("cloth", run):
        for piece in tell(run, number):
            yield piece
            time.sleep(pause_s(number, 3))


@app.function(concurrency_limit=4, concurrency_key="session", on_crash="retry")
def chat(number: int, run: penstock.Run) -> Generator[str, None, None]:
    with at_work("chat", run, lane=run.session or ""):
        for piece in tell(run, number):
            yield piece
            time.sleep(pause_s(number, 4))


@app.function(
    concurrency_limit=5,
    concurrency_key="caller",
    concurrency_key_limit=5,
    rate_limit=f"{RATE}/s",
    on_crash="retry",
)
async def paced(number: int, caller: str, run: penstock.Run) -> AsyncGenerator[str, None]:
    with at_work("paced", run, lane=caller):
        for piece in tell(run, number):
            yield piece
            await asyncio.sleep(pause_s(number, 5))


@app.function(batch=True, max_batch_size=4, max_wait_ms=30, concurrency_limit=2, on_crash="retry")
async def together(number: list[int], run: list[penstock.Run]) -> AsyncGenerator[list[str | None], None]:
    with at_work("together", *run):
        told = [tell(handle, one) for handle, one in zip(run, number, strict=True)]
        while any(pieces := [next(one, None) for one in told]):
            yield pieces
            await asyncio.sleep(pause_s(number[0], 2))


@app.function(queue=False, on_crash="retry")
async def free(number: int, run: penstock.Run) -> AsyncGenerator[str, None]:
    with at_work("free", run):
        for piece in tell(run, number):
            yield piece
            await asyncio.sleep(pause_s(number, LONG_PLACES))
