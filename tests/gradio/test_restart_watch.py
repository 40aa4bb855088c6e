"""What is held until its person is back: how often it is asked for, and what of it is kept."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from penstock.integrations.gradio.sessions import restart
from penstock.integrations.gradio.sessions.kept import Kept, Request
from penstock.models import RunRecord, RunState


class Record(RunRecord, frozen=True, weakref=True):
    """A run whose end can be seen."""


class Store:
    """Runs of somebody who has not logged in again, as the service gives them."""

    def __init__(self, count: int) -> None:
        self._unadopted = [str(number) for number in range(count)]
        self.looks = 0
        self.asked: list[str] = []
        self.made: list[weakref.ref[Record]] = []

    def _record(self, run_id: str) -> Record:
        request = Request("abc", "/gradio_api/queue/join", "user:ann", "ann", 0)
        given = msgspec.Raw(msgspec.json.encode(Kept(["x"], request)))
        record = Record(run_id, "f", "f", RunState.QUEUED, 0, given)
        self.made.append(weakref.ref(record))
        return record

    async def waiting(self, limit: int) -> list[RunRecord]:
        self.looks += 1
        found, self._unadopted = self._unadopted[:limit], self._unadopted[limit:]
        return [self._record(run_id) for run_id in found]

    async def run(self, run_id: str) -> RunRecord:
        self.asked.append(run_id)
        return self._record(run_id)

    def index_of(self, _function: str) -> int:
        return 0

    def home_of(self, _function: str) -> str:
        return ""


@contextlib.contextmanager
def nobody_is_back(*_: object) -> Iterator[None]:
    yield None


async def at_once(*_: object) -> None:
    pass


@contextlib.asynccontextmanager
async def watching(store: Store) -> AsyncIterator[asyncio.Event]:
    """`watch` at work; what is yielded wakes it."""
    service: Any = SimpleNamespace(
        runs=store,
        wake=asyncio.Event(),
        options=SimpleNamespace(grace_s=60),
        gradio=None,
        sessions=SimpleNamespace(find=lambda _: None, owner_of=lambda _, asking: asking),
        states=SimpleNamespace(restore=at_once),
        surfaces=SimpleNamespace(login_as=nobody_is_back),
        settled=at_once,
    )
    task = asyncio.create_task(restart.watch(service))
    try:
        yield service.wake
    finally:
        task.cancel()
        await asyncio.wait([task])


async def look(store: Store, wake: asyncio.Event) -> None:
    """Have it look once more, to the end."""
    for _ in range(2):  # when the second begins, the first is over
        awaited = store.looks + 1
        wake.set()
        while store.looks < awaited:
            await asyncio.sleep(0)


async def test_what_waits_for_its_person_is_asked_for_once_a_second_and_only_its_id_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 0.0
    monkeypatch.setattr(restart, "time", SimpleNamespace(monotonic=lambda: now_s))
    store = Store(3)
    async with watching(store) as wake:
        for _ in range(5):
            await look(store, wake)
        assert store.asked == ["0", "1", "2"]
        now_s = 1.0
        await look(store, wake)
        assert store.asked == ["0", "1", "2"] * 2
        gc.collect()
        assert len([one for one in store.made if one() is not None]) <= 1  # the one that was looked at last
