"""The demo's agent: plans, searches, reads and answers, each step a span of its run."""

import asyncio
import inspect
import platform
import re
import textwrap
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from msgspec import Meta

from ..worker import Run
from . import model
from .index import Hit, Index, Shared
from .library import Entry, library_path
from .plan import Plan, make_plan
from .prose import example, signature, summary
from .writing import Source, compose, is_answerable, source_list, unanswered

__all__ = ["PACE_MS", "answer"]

PACE_MS = 20
"""Pause after each token: there is no model to wait for, and this is how fast a good one writes."""

MAX_PACE_MS = 1_000
MAX_QUESTION_CHARS = 2_000
"""A question, not a document."""

SEARCHED, READ = 8, 5
"""Hits that are shown, and how many of them are read."""

NEARBY = 0.6
"""Hits that score less than this part of the best one are about something else."""

EXCERPT_LINES = 12
"""First lines of a source, as many as show what a function is about."""

BUILD_TICK_S = 0.05
"""How often progress of the build is looked at: one update of the page at its usual 20 a second."""

shared = Shared()
"""The one index of this process."""

_TOKEN = re.compile(r"\s*\S+")


async def answer(
    question: Annotated[
        str, Meta(min_length=1, max_length=MAX_QUESTION_CHARS, description="About the standard library")
    ],
    run: Run,
    pace_ms: Annotated[
        int, Meta(ge=0, le=MAX_PACE_MS, description="Milliseconds between tokens; 0 is as fast as it goes")
    ] = PACE_MS,
) -> AsyncGenerator[str, None]:
    """Ask about the Python standard library; the answer cites the documentation installed with Python."""
    plan = _planned(question, run)
    index = await _opened(run)
    hits = _searched(index, plan, run)
    if not is_answerable(hits):
        written = await asyncio.to_thread(unanswered, plan, index, platform.python_version())
        async for token in _paced(written, pace_ms):
            yield token
        return
    best = [hit for hit in hits if hit.score >= NEARBY * hits[0].score][:READ]
    sources = [await _read(number, hit.entry, index, run) for number, hit in enumerate(best, start=1)]
    async with aclosing(_written(question, plan, index, sources, run, pace_ms)) as tokens:
        async for token in tokens:
            yield token


def _planned(question: str, run: Run) -> Plan:
    with run.span("plan", kind="plan", input=question) as span:
        plan = make_plan(question)
        others = {
            word: [t for t, _ in group.alternatives[1:]]
            for word, group in zip(plan.words, plan.groups, strict=True)
        }
        span.output = {"words": others, "names": plan.names, "think of": plan.hints}
    return plan


async def _opened(run: Run) -> Index:
    """The index; the first run of a process builds it, and those that come meanwhile wait with it.

    Cancelling a run that waits leaves the build to go on for the next.
    """
    with run.span("open the index", kind="tool") as span:
        promise = shared.start()
        waited = not promise.done()
        built = asyncio.wrap_future(promise)
        told = -1
        while not (await asyncio.wait([built], timeout=BUILD_TICK_S))[0]:
            if shared.done != told:
                told = shared.done
                run.progress(told, shared.total, "files")
        index = built.result()
        if waited:
            run.progress(shared.done, shared.total, "files")
        size = {"entries": len(index.entries), "terms": index.terms, "files": shared.total}
        span.output = {**size, "built_s": round(shared.built_s or 0, 2), "waited for it": waited}
    return index


def _searched(index: Index, plan: Plan, run: Run) -> list[Hit]:
    """One or two milliseconds, so it needs no thread."""
    shown = {"words": plan.words, "names": plan.names}
    with run.span("search", kind="tool", input=shown) as span:
        hits = index.search(plan.groups, plan.names, plan.hints, SEARCHED)
        span.output = [
            {"name": hit.entry.name, "score": round(hit.score, 1), "coverage": round(hit.coverage, 2)}
            for hit in hits
        ]
    return hits


async def _read(number: int, entry: Entry, index: Index, run: Run) -> Source:
    with run.span(f"read {entry.name}", kind="tool", input=entry.name) as span:
        excerpt = await asyncio.to_thread(_excerpt, entry)
        members = index.members(entry) if entry.kind == "module" else ()
        span.output = {
            "signature": signature(entry),
            "summary": summary(entry),
            "example": example(entry.doc),
            "source": excerpt,
            "where": f"{entry.path}:{entry.line}" if entry.path else "built in",
        }
    return Source(number, entry, excerpt, members)


def _excerpt(entry: Entry) -> str:
    """The first lines of a definition's source; empty for modules, whose docstring says more, and for C."""
    if not entry.path or entry.kind == "module":
        return ""
    try:
        lines = (library_path() / entry.path).read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):  # the answer goes on from the docstring
        return ""
    return textwrap.dedent("".join(inspect.getblock(lines[entry.line - 1 :])[:EXCERPT_LINES])).rstrip()


async def _written(
    question: str, plan: Plan, index: Index, sources: list[Source], run: Run, pace_ms: int
) -> AsyncGenerator[str, None]:
    chosen = model.configured()
    if chosen is None:
        run.log("Writing the answer from sentences of the sources; no model is set up.", sources=len(sources))
        body = _paced(_composed(plan, index, sources, run), pace_ms)
    else:
        run.log("Writing the answer with a model.", model=chosen.name, sources=len(sources))
        body = _by_model(chosen, question, sources, run)
    async with aclosing(body) as tokens:
        async for token in tokens:
            yield token
    async for token in _paced("\n\n" + source_list(sources), pace_ms):
        yield token


def _composed(plan: Plan, index: Index, sources: list[Source], run: Run) -> str:
    with run.span("write", kind="tool", input={"sources": len(sources)}) as span:
        written = compose(plan, index, sources)
        span.usage(output_tokens=len(_TOKEN.findall(written)))
    return written


async def _by_model(
    chosen: model.Model, question: str, sources: list[Source], run: Run
) -> AsyncGenerator[str, None]:
    """The model's answer. Its call is a span in a task of its own: so the text is the run's, not the span's."""
    pieces: asyncio.Queue[str | None] = asyncio.Queue()  # the model bounds its answer: tens of kilobytes

    async def call() -> None:
        given = {"model": chosen.name, "sources": len(sources)}
        try:
            with run.span("write", kind="llm", input=given) as span:
                async with aclosing(model.stream(chosen, question, sources, span)) as answered:
                    async for piece in answered:
                        pieces.put_nowait(piece)
        finally:
            pieces.put_nowait(None)

    task = asyncio.create_task(call())
    try:
        while (piece := await pieces.get()) is not None:
            yield piece
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _paced(text: str, pace_ms: int) -> AsyncGenerator[str, None]:
    for token in _TOKEN.findall(text):
        yield token
        if pace_ms:
            await asyncio.sleep(pace_ms / 1000)
