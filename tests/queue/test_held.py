"""Threads that will not stop: their runs end, their places stay taken, and everybody can see it."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from penstock.models import Ending
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench
    from tests.queue.conftest import Line, Serve, Stage

CANCELLED = ("cancelled", "")
NOW: Any = {"stop_grace_s": 0}


async def test_its_place_is_taken_until_the_thread_returns(
    store: str, serve: "Serve", stage: "Stage"
) -> None:
    async with serve((stage.block, NOW | {"concurrency_limit": 2}), store=store) as site:
        runs = [await site.submit("block", {"who": who}) for who in "abcd"]
        await stage.has("a", "b")
        assert await site.cancel(runs[0]) == "acknowledged"
        assert await site.ended(runs[0]) == CANCELLED
        group = (await site.queue())["block"]
        assert (group["waiting"], group["running"], group["held"]) == (2, 1, 1)
        stage.let_go("b")
        await stage.has("a", "b", "c")
        stage.let_go("c")
        await stage.has("a", "b", "c", "d")
        group = (await site.queue())["block"]
        assert (group["running"], group["held"], stage.most) == (1, 1, 2)
        stage.let_go("a")

        async def free() -> bool:
            return bool((await site.queue())["block"]["held"] == 0)

        await until(free)
        stage.let_go("d")
        assert await site.ended(runs[3]) == ("succeeded", "")


@pytest.mark.parametrize("why", ["time_limit", "stalled", "replaced"])
async def test_whatever_the_reason_for_the_stop(
    why: str, bench: "Bench", line: "Line", stage: "Stage"
) -> None:
    options: Any = {
        "time_limit": {"time_limit_s": 0.05},
        "stalled": {"stall_timeout_s": 0.05},
        "replaced": {"on_repeat": "interrupt"},
    }[why]
    bench.app.function(**NOW, **options)(stage.block)
    first, _ = await bench.services.queue.submit("block", b'{"who": "a"}', session="s")
    await stage.has("a")
    await bench.services.queue.submit("block", b'{"who": "b"}', session="s")

    async def ended() -> Any:
        run = await bench.services.queue.get(first.id)
        return run if run.state.ended else None

    assert ((await until(ended)).error or {})["code"] == why
    await line.looked_at()
    assert await line.counts("block") == (1, 0, 1)
    stage.let_go("a")
    await stage.has("a", "b")


async def test_a_task_that_will_not_stop_is_held_too(bench: "Bench", line: "Line", stage: "Stage") -> None:
    release = asyncio.Event()

    async def deaf() -> None:
        stage.began.append("a")
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    run = await bench.start(deaf, **NOW)
    await stage.has("a")
    await run.cancel()
    assert await run.outcome() == CANCELLED
    assert await line.counts("deaf") == (0, 0, 1)
    release.set()

    async def free() -> bool:
        return await line.counts("deaf") == (0, 0, 0)

    await until(free)


async def test_it_counts_in_every_process_of_the_file(file: str, serve: "Serve", stage: "Stage") -> None:
    function = (stage.block, NOW)
    async with serve(function, store=file) as one, serve(function, store=file) as other:
        bench = await other.app.start()
        bench.worker.hold()
        runs = [await one.submit("block", {"who": who}) for who in "ab"]
        await stage.has("a")
        (await one.app.start()).worker.hold()
        bench.worker._draining = False
        await one.cancel(runs[0])
        assert await other.ended(runs[0]) == CANCELLED
        for _ in range(3):
            await bench.worker._claim()
        for site in (one, other):
            group = (await site.queue())["block"]
            assert (group["waiting"], group["running"], group["held"]) == (1, 0, 1)
        stage.let_go("a")
        await stage.has("a", "b")
        stage.let_go("b")
        assert await one.ended(runs[1]) == ("succeeded", "")


async def test_a_process_that_leaves_takes_its_threads_along(
    file: str, make_bench: "type[Bench]", line_of: "type[Line]", stage: "Stage"
) -> None:
    async with make_bench(store=file) as other:
        other.app.function(**NOW)(stage.block)
        async with make_bench(store=file) as one:
            one.app.function(**NOW)(stage.block)
            other.services.worker.hold()
            run = await one.start(stage.block, {"who": "a"})
            await stage.has("a")
            await run.cancel()
            assert await run.outcome() == CANCELLED
            assert await line_of(other).counts("block") == (0, 0, 1)
        assert await line_of(other).counts("block") == (0, 0, 0)
        other.services.worker._draining = False
        await other.start(stage.block, {"who": "b"})
        await stage.has("a", "b")


async def test_a_thread_that_returns_while_its_runs_end_is_being_stored_frees_its_place(
    bench: "Bench", line: "Line", stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = bench.services.store.finish_all

    async def slow(ends: Sequence[Ending]) -> list[bool]:
        assert all(end.lingers for end in ends)
        stage.let_go("a")
        await until(lambda: not stage.on)
        await until(lambda: not any("penstock-run" in thread.name for thread in threading.enumerate()))
        await asyncio.sleep(0)
        return await finish(ends)

    run = await bench.start(stage.block, {"who": "a"}, **NOW)
    await stage.has("a")
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(bench.services.store, "finish_all", slow)
        await run.cancel()
        assert await run.outcome() == CANCELLED

    async def free() -> bool:
        return await line.counts("block") == (0, 0, 0)

    await until(free)
    await bench.start(stage.block, {"who": "b"})
    await stage.has("a", "b")


async def test_its_thread_counts_among_the_threads(
    store: str, make_bench: "type[Bench]", line_of: "type[Line]", stage: "Stage"
) -> None:
    async with make_bench(store=store, max_threads=1) as bench:
        run = await bench.start(stage.block, {"who": "a"}, name="one", **NOW)
        await stage.has("a")
        await run.cancel()
        assert await run.outcome() == CANCELLED
        await bench.start(stage.block, {"who": "b"}, name="other")
        await line_of(bench).looked_at()
        assert stage.began == ["a"]
        stage.let_go("a")
        await stage.has("a", "b")
