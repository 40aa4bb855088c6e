"""The store in memory is the event loop's: what takes long there must not be done on it."""

import asyncio
import threading

import pytest

from penstock.models import RunFilter, RunRecord, RunState
from penstock.protocol.search import Search
from penstock.storage import make_store


async def test_a_search_holds_up_neither_the_loop_nor_submissions(monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store("memory:")
    await store.open()
    began, goes_on = threading.Event(), threading.Event()
    finds = Search.finds

    def slow(search: Search, *given: object) -> bool:
        began.set()
        assert goes_on.wait(10)
        return finds(search, *given)  # type: ignore[arg-type]

    async def submit(number: int) -> None:
        run = RunRecord(id=f"run_{number}", function="f", group="f", state=RunState.QUEUED, created_at_ms=1)
        await store.submit(run, f"epoch{number:03d}")

    for number in range(3):
        await submit(number)
    monkeypatch.setattr(Search, "finds", slow)
    search = asyncio.create_task(store.runs(RunFilter(text="run_"), limit=10))
    assert await asyncio.to_thread(began.wait, 10)
    await submit(3)
    goes_on.set()
    assert [run.id for run in (await search).runs] == ["run_2", "run_1", "run_0"]
    await store.close()
