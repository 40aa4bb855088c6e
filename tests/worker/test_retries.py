"""Attempts that follow one that failed, or whose process died."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.events import Reset, Text, decode
from penstock.protocol.coalesce import Fold
from penstock.protocol.runs import RETRY_CAP_S
from penstock.testing import ServerProcess, until

if TYPE_CHECKING:
    from tests.conftest import Api, Bench

KINDS = ["coroutine", "async_generator", "function", "generator"]
WELL = ("succeeded", "")


@pytest.fixture
def bench(either: "Bench") -> "Bench":
    """A bench over each store."""
    return either


class Flaky:
    """Functions of each kind that write two words, and fail so many times."""

    def __init__(self, fails: int, error: type[BaseException] = ValueError) -> None:
        self.attempts: list[int] = []
        self._fails = fails
        self._error = error

    def _try(self, run: penstock.Run) -> str:
        self.attempts.append(run.attempt)
        if len(self.attempts) <= self._fails:
            raise self._error(f"no {run.attempt}")
        return "done"

    async def coroutine(self, run: penstock.Run) -> str:
        run.log("began")
        return self._try(run)

    def function(self, run: penstock.Run) -> str:
        run.log("began")
        return self._try(run)

    async def async_generator(self, run: penstock.Run) -> AsyncIterator[str]:
        yield "began "
        yield self._try(run)

    def generator(self, run: penstock.Run) -> Iterator[str]:
        yield "began "
        yield self._try(run)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_tried_again_until_it_succeeds(kind: str, bench: "Bench") -> None:
    flaky = Flaky(2)
    run = await bench.start(getattr(flaky, kind), retries=2)
    assert await run.outcome() == WELL
    assert flaky.attempts == [1, 2, 3]
    events = await run.events()
    resets = [event for event in events if isinstance(event, Reset)]
    assert [reset.to for reset in resets] == [0, 0]
    assert ["no 1" in resets[0].reason, "no 2" in resets[1].reason] == [True, True]
    assert all("again" in reset.reason for reset in resets)
    assert [event.seq - event.n for event in events] == [0, *(event.seq for event in events[:-1])]
    fold = await run.fold()
    assert fold.text == ("began done" if "generator" in kind else "")
    record = await bench.services.queue.get(run.id)
    assert (record.attempt, record.failures, record.error) == (3, 2, None)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_the_last_attempts_error_ends_it(retries: int, bench: "Bench") -> None:
    flaky = Flaky(99)
    run = await bench.start(flaky.async_generator, retries=retries)
    end = await run.end()
    assert (end.state, (end.error or {})["code"]) == ("failed", "exception")
    assert (end.error or {})["message"] == f"ValueError: no {retries + 1}"
    assert flaky.attempts == list(range(1, retries + 2))
    assert (await bench.services.queue.get(run.id)).attempt == retries + 1


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, BaseException, asyncio.CancelledError])
async def test_whatever_is_raised_is_tried_again(error: type[BaseException], bench: "Bench") -> None:
    flaky = Flaky(1, error)
    assert await (await bench.start(flaky.coroutine, retries=1)).outcome() == WELL


@pytest.mark.usefixtures("at_once")
async def test_what_would_fail_again_or_was_stopped_is_not_tried_again(bench: "Bench") -> None:
    begun: list[str] = []

    async def bad(run: penstock.Run) -> AsyncIterator[object]:
        begun.append("bad")
        yield object()

    async def slow(run: penstock.Run) -> AsyncIterator[str]:
        begun.append("slow")
        yield "on"
        await asyncio.Event().wait()

    options: Any = {"retries": 5, "concurrency_limit": None}
    assert await (await bench.start(bad, **options)).outcome() == ("failed", "bad_yield")
    late = await bench.start(slow, name="late", time_limit_s=0.05, **options)
    assert await late.outcome() == ("failed", "time_limit")
    still = await bench.start(slow, name="still", stall_timeout_s=0.05, **options)
    assert await still.outcome() == ("failed", "stalled")
    stopped = await bench.start(slow, name="stopped", **options)
    await stopped.see(lambda fold: fold.text)
    await stopped.cancel()
    assert await stopped.outcome() == ("cancelled", "")
    assert begun == ["bad", "slow", "slow", "slow"]


async def test_attempts_wait_longer_and_longer_and_hold_no_place_meanwhile(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backoff, with chance as its jitter; the wait is looked at, not waited for."""
    monkeypatch.setattr("penstock.worker.executor.random.random", lambda: 0.999)
    now_ms = time.time_ns() // 1_000_000
    flaky = Flaky(99)
    run = await bench.start(flaky.coroutine, retries=20)
    waits = []
    for failures in range(1, 9):

        async def given_back(failures: int = failures) -> Any:
            record = await bench.services.queue.get(run.id)
            return record if record.state == "queued" and record.failures == failures else None

        record = await until(given_back)
        waits.append((record.not_before_ms - time.time_ns() / 1e6) / 1000)
        assert (record.error or {})["message"] == f"ValueError: no {failures}"
        if failures == 8:
            break
        claimed = await bench.services.store.claim(
            bench.services.worker.name, bench.services.worker.groups.of(), now_ms + 10**9, 1
        )
        bench.services.worker._executor.begin(claimed)
    assert 1 < waits[0] < 3, "not at once, as after a crash"
    assert all(later > 1.5 * earlier for earlier, later in itertools.pairwise(waits[:4]))
    assert all(RETRY_CAP_S - 3 < wait <= RETRY_CAP_S for wait in waits[-3:])
    assert await run.cancel() == "stopped"
    assert await run.outcome() == ("cancelled", "")


async def test_who_waits_for_another_attempt_holds_no_place(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.worker.executor.retry_delay_s", lambda attempt, chance: 60.0)
    options: Any = {"concurrency_id": "gpu", "concurrency_limit": 1, "concurrency_key": lambda given: "one"}
    first = await bench.start(Flaky(1).coroutine, name="waits", retries=1, **options)
    assert await (await bench.start(Flaky(0).coroutine, **options)).outcome() == WELL
    record = await bench.services.queue.get(first.id)
    assert (record.state, record.attempt, record.failures) == ("queued", 1, 1)
    assert (record.error or {})["code"] == "exception"


async def test_a_stop_that_comes_while_an_attempt_fails_is_not_put_off_until_the_next(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was noted by another process, and this one has not seen it when the run goes back into the queue."""
    monkeypatch.setattr("penstock.worker.executor.retry_delay_s", lambda attempt, chance: 60.0)

    async def fails(run: penstock.Run) -> None:
        await bench.services.store.request_cancel(run.id, "cancelled")
        raise ValueError

    run = await bench.start(fails, retries=1)
    assert await run.outcome() == ("cancelled", "")


async def test_a_retry_begins_when_its_time_has_come_without_being_asked(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.worker.executor.random.random", lambda: 0.1)  # of 2 s, then of 4
    flaky = Flaky(2)
    run = await bench.start(flaky.generator, retries=2)
    began = time.monotonic()
    assert await run.outcome() == WELL
    assert time.monotonic() - began >= 0.5


@pytest.mark.usefixtures("at_once")
async def test_readers_see_the_reset_as_it_happens(bench: "Bench") -> None:
    """One who is there from the beginning, one who comes between the attempts, one who comes at the end."""
    gates = [asyncio.Event(), asyncio.Event()]

    async def generator(run: penstock.Run) -> AsyncIterator[str]:
        yield f"attempt {run.attempt}"
        await gates[run.attempt - 1].wait()
        if run.attempt == 1:
            raise ValueError

    run = await bench.start(generator, retries=1)
    first = asyncio.create_task(run.fold())
    await run.see(lambda fold: fold.text == "attempt 1")
    gates[0].set()
    await run.see(lambda fold: fold.text == "attempt 2")
    second = asyncio.create_task(run.fold())
    gates[1].set()
    assert [fold.text for fold in (await first, await second, await run.fold())] == ["attempt 2"] * 3
    assert [event.text for event in await run.events() if isinstance(event, Text)] == [
        "attempt 1",
        "attempt 2",
    ]


SOURCE = """
import asyncio, os, pathlib
SEEN = pathlib.Path("seen")

@app.function(on_crash="retry", concurrency_limit=None)
async def count(to: int, run: penstock.Run):
    start = run.restored or 0
    with SEEN.open("a") as seen:
        seen.write(f"{run.attempt}:{start}\\n")
    for number in range(start, to):
        yield f"{number} "
        run.checkpoint(number + 1)
        if run.attempt == 1 and number == to // 2:
            yield "never to be seen again "
            await asyncio.Event().wait()

@app.function(on_crash="retry", concurrency_limit=None)
def anew(run: penstock.Run):
    yield f"attempt {run.attempt} "
    if run.attempt == 1:
        import time; time.sleep(60)
    yield "done"

@app.function(concurrency_limit=None)
def fails(run: penstock.Run):
    yield "on"
    import time; time.sleep(60)
"""


async def test_after_a_kill_runs_go_on_from_their_checkpoints(
    write_app: Callable[[str], Path], tmp_path: Path, connect: "type[Api]"
) -> None:
    write_app(SOURCE)
    async with ServerProcess("app.py", "--grace-s", "0", cwd=tmp_path) as server, connect(server.url) as api:
        counts = [await api.submit("count", to=to) for to in (10, 11)]
        anew, fails = await api.submit("anew"), await api.submit("fails")

        async def seen(run_id: str, text: str) -> bool:
            answer = await api.get(f"/api/runs/{run_id}/events", params={"poll": 0})
            return text in answer.text

        for run_id, text in [*((run_id, "never") for run_id in counts), (anew, "attempt"), (fails, "on")]:
            await until(lambda run_id=run_id, text=text: seen(run_id, text))  # type: ignore[misc]
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.restart)
        ended = {run_id: await api.ended(run_id) for run_id in [*counts, anew, fails]}
        assert [ended[run_id]["state"] for run_id in counts] == ["succeeded"] * 2
        assert [ended[run_id]["attempt"] for run_id in counts] == [2, 2]
        assert (ended[fails]["state"], ended[fails]["error"]["code"]) == ("interrupted", "worker_lost")
        assert sorted((tmp_path / "seen").read_text().split()) == ["1:0", "1:0", "2:6", "2:6"]

        async def text_of(run_id: str) -> str:
            fold = Fold()
            for message in await api.messages(run_id):
                if message.event == "message":
                    fold.apply(decode(message.data))
            return fold.text

        for run_id, to in zip(counts, (10, 11), strict=True):
            assert await text_of(run_id) == "".join(f"{number} " for number in range(to))
        assert await text_of(anew) == "attempt 2 done"
