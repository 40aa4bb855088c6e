"""What the checks are made of: small runs, chunks and groups, and short ways to a started run."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...models import Append, Chunk, Claimed, Group, RunRecord, RunState, Terms
from ...storage.base import Store

__all__ = [
    "DEADLINE_S",
    "EPOCH",
    "NO_LIMIT_BYTES",
    "append",
    "calls",
    "chunk",
    "end",
    "finish",
    "group",
    "ids",
    "queued",
    "raising",
    "read_all",
    "record",
    "started",
    "submit",
    "until",
]

EPOCH = "epoch678"

NO_LIMIT_BYTES = 1 << 30

DEADLINE_S = 20.0
"""How long a check waits for what is only promised to come: a busy machine is not a broken store."""


def queued(run_id: str, *, function: str = "f", group: str = "g", **more: Any) -> RunRecord:
    """A run to submit."""
    return RunRecord(
        id=run_id, function=function, group=group, state=RunState.QUEUED, **{"created_at_ms": 1000} | more
    )


def chunk(first_seq: int, last_seq: int | None = None, data: bytes | None = None) -> Chunk:
    """Events `first_seq … last_seq`, one where no last is given."""
    last_seq = first_seq if last_seq is None else last_seq
    return Chunk(first_seq, last_seq, b"%d..%d" % (first_seq, last_seq) if data is None else data)


def end(seq: int) -> Chunk:
    """A chunk with an `end` event alone."""
    return Chunk(seq, seq, b"end", final=True)


def group(
    limit: int | None = None,
    *,
    name: str = "g",
    functions: tuple[str, ...] = ("f",),
    terms: Mapping[str, Terms] | None = None,
    **of_all: Any,
) -> Group:
    """A group to claim from. `of_all` are the terms of all its functions, where `terms` has no others."""
    common = dict.fromkeys(functions, Terms(**of_all)) if of_all else {}
    return Group(name, functions, limit, common | dict(terms or {}))


def ids(claimed: list[Claimed]) -> list[str]:
    """Which runs were claimed, in order."""
    return [one.run.id for one in claimed]


def calls(claimed: list[Claimed]) -> list[list[str]]:
    """Which runs were claimed, by the call that serves them."""
    served: dict[str | None, list[str]] = {}
    for one in claimed:
        served.setdefault(one.run.call, []).append(one.run.id)
    return list(served.values())


async def submit(store: Store, *run_ids: str, **more: Any) -> None:
    """Submit runs of the same kind, in order."""
    for run_id in run_ids:
        await store.submit(queued(run_id, **more), EPOCH)


async def started(store: Store, run_id: str = "r", *, worker: str = "w", crash_retries: int = 0) -> Claimed:
    """A run that `worker` is executing, alone in a group of its own."""
    await submit(store, run_id, group=f"group of {run_id}", crash_retries=crash_retries)
    claimed = await store.claim(worker, [group(name=f"group of {run_id}")], 2000, 1)
    assert ids(claimed) == [run_id], "a queued run that nothing holds back is claimed"
    return claimed[0]


async def finish(store: Store, claimed: Claimed, now_ms: int = 3000, **more: Any) -> None:
    """End a claimed run that has written nothing: it has succeeded."""
    await store.finish(claimed.lease, RunState.SUCCEEDED, None, end(1), now_ms, **more)


async def record(store: Store, run_id: str) -> RunRecord:
    """A run that there is."""
    run = await store.run(run_id)
    assert run is not None, f"{run_id} is kept"
    return run


async def append(store: Store, claimed: Claimed, *chunks: Chunk) -> list[bool]:
    """Append to a claimed run's stream, in one batch."""
    return await store.append([Append(claimed.run.id, claimed.lease.fence, one) for one in chunks])


async def read_all(store: Store, stream: str) -> list[Chunk]:
    """Everything in a stream; fails where it has a gap or an overlap."""
    found = await store.read(stream, 0, NO_LIMIT_BYTES)
    tail = 0
    for one in found:
        assert one.first_seq == tail + 1, f"{stream} is gap-free"
        tail = one.last_seq
    return found


@contextmanager
def raising(kind: type[Exception], promise: str) -> Iterator[None]:
    """Fails unless the block raises this kind of error."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised: {promise}")


async def until(condition: Callable[[], bool], promise: str) -> None:
    """Wait for what comes by itself, `DEADLINE_S` at most."""
    give_up_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_at, promise
        await asyncio.sleep(0.001)
