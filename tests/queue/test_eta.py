"""When a run is likely to start: told from how long others took."""

import statistics
import time
from typing import TYPE_CHECKING, Any

import pytest

from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench, Started
    from tests.queue.conftest import Line, Stage

ROUNDED_S = 0.051
"""ETAs come with one digit."""


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has just been learned is used at once, not within the second."""
    monkeypatch.setattr("penstock.queue.standings.KNOWN_S", 0)


class Slow:
    """A clock by which runs take as long as the test says; what is measured is their record."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.more_s = 0.0
        self.monotonic = time.monotonic
        monkeypatch.setattr("penstock.worker.journal.time", self)

    def time_ns(self) -> int:
        return time.time_ns() + round(self.more_s * 10**9)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(monkeypatch)


async def durations(bench: "Bench", runs: list["Started"]) -> list[float]:
    records = [await bench.services.queue.get(run.id) for run in runs]
    return [((run.ended_at_ms or 0) - (run.started_at_ms or 0)) / 1000 for run in records]


async def status(bench: "Bench", run: "Started") -> dict[str, Any]:
    record = await bench.services.queue.get(run.id)
    return (await bench.services.standings.of([record]))[run.id]


async def took(
    bench: "Bench", stage: "Stage", slow: Slow, seconds: list[float], **options: Any
) -> list["Started"]:
    """Runs that took about so long, one after the other."""
    stage.let_go("quick")
    runs = []
    for slow.more_s in seconds:
        runs.append(await bench.start(stage.hold, {"who": "quick"}, **({"name": "work"} | options)))
        await runs[-1].end()
    slow.more_s = 0
    await until(lambda: bench.running == 0)
    return runs


@pytest.mark.parametrize("limit", [1, 3])
async def test_it_is_the_mean_of_what_others_took_and_comes_with_its_spread(
    limit: int, bench: "Bench", line: "Line", stage: "Stage", slow: Slow
) -> None:
    work = await took(bench, stage, slow, [20, 40, 30, 10, 50], concurrency_id="gpu", concurrency_limit=limit)
    (seconds,) = [await durations(bench, work)]
    mean, spread = statistics.fmean(seconds), statistics.pstdev(seconds)
    learned = (await line.group("gpu"))["durations"]["work"]
    assert learned["runs"] == 5
    assert learned["mean_s"] == pytest.approx(mean, abs=0.001)
    assert learned["spread_s"] == pytest.approx(spread, abs=0.001)
    for number in range(limit):
        await bench.start(stage.hold, {"who": f"on {number}"}, concurrency_id="gpu", concurrency_limit=limit)
    await until(lambda: len(stage.on) == limit)
    waiting = [await bench.start(stage.hold, {"who": "later"}, name="work") for _ in range(4)]
    for place, run in enumerate(waiting, 1):
        said = await status(bench, run)
        assert said["position"] == place
        assert said["eta_s"] == pytest.approx(place * mean / limit, abs=ROUNDED_S)
        assert said["eta_spread_s"] == pytest.approx(place**0.5 * spread / limit, abs=ROUNDED_S)
    assert (await line.group("gpu"))["eta_s"] == pytest.approx(5 * mean / limit, abs=ROUNDED_S)


async def test_nothing_is_said_before_a_run_has_succeeded(
    bench: "Bench", line: "Line", stage: "Stage", slow: Slow
) -> None:
    async def fail() -> None:
        raise ValueError

    slow.more_s = 30
    options: dict[str, Any] = {"concurrency_id": "gpu", "concurrency_limit": 1}
    await (await bench.start(fail, **options)).end()
    cancelled = await bench.start(stage.hold, {"who": "c"}, **options)
    await stage.has("c")
    await cancelled.cancel()
    await cancelled.end()
    first = await bench.start(stage.hold, {"who": "a"})
    await stage.has("c", "a")
    second = await bench.start(stage.hold, {"who": "b"})
    assert (await status(bench, second))["eta_s"] is None
    assert "eta_spread_s" not in await status(bench, second)
    assert (await line.group("gpu"))["durations"] == {}
    stage.let_go("a")
    await first.end()
    await stage.has("c", "a", "b")
    third = await bench.start(stage.hold, {"who": "d"})
    assert (await status(bench, third))["eta_s"] == pytest.approx(30, abs=2)


async def test_who_can_start_at_once_need_not_wait(bench: "Bench", stage: "Stage", slow: Slow) -> None:
    await took(bench, stage, slow, [60], concurrency_id="gpu", concurrency_limit=2)
    bench.services.worker.hold()
    first, second, third = [await bench.start(stage.hold, name="work") for _ in range(3)]
    assert (await status(bench, first))["eta_s"] == 0
    assert (await status(bench, second))["eta_s"] == 0
    assert (await status(bench, third))["eta_s"] > 0


@pytest.mark.parametrize(
    "options",
    [
        {"rate_limit": "1/h", "concurrency_limit": None},
        {"concurrency_key": "user", "concurrency_limit": None},
        {"concurrency_key": "user", "concurrency_limit": 5},
    ],
    ids=str,
)
async def test_who_waits_for_its_rate_or_its_key_is_not_told_that_it_starts_now(
    options: Any, bench: "Bench", line: "Line", stage: "Stage", slow: Slow
) -> None:
    await took(bench, stage, slow, [60], name="work", **options)
    first, second, third = [await bench.start(stage.hold, {"who": "on"}, name="work") for _ in range(3)]
    await line.looked_at()
    waiting = [run for run in (first, second, third) if (await status(bench, run))["state"] == "queued"]
    assert len(waiting) >= 2
    said = [await status(bench, run) for run in waiting]
    assert [one["position"] for one in said] == list(range(1, len(said) + 1))
    assert all(one["eta_s"] is None or one["eta_s"] > 0 for one in said)


async def test_who_waits_for_another_attempt_is_not_told_that_it_starts_now(
    bench: "Bench", slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.worker.executor.retry_delay_s", lambda attempt, chance: 60.0)

    async def fails() -> None:
        raise ValueError

    run = await bench.start(fails, retries=1)

    async def given_back() -> bool:
        record = await bench.services.queue.get(run.id)
        return record.failures == 1 and record.state == "queued"

    await until(given_back)
    said = await status(bench, run)
    assert said["eta_s"] is None or said["eta_s"] > 50


async def test_it_follows_when_runs_become_slower(
    bench: "Bench", line: "Line", stage: "Stage", slow: Slow
) -> None:
    await took(bench, stage, slow, [1] * 30)
    await took(bench, stage, slow, [100] * 30)
    mean_s = (await line.group("work"))["durations"]["work"]["mean_s"]
    assert 70 < mean_s < 100


async def test_functions_of_one_group_count_as_they_stand_in_line(
    bench: "Bench", stage: "Stage", slow: Slow
) -> None:
    options: dict[str, Any] = {"concurrency_id": "gpu", "concurrency_limit": 1}
    await took(bench, stage, slow, [10], name="short", **options)
    await took(bench, stage, slow, [100], name="long", **options)
    await bench.start(stage.hold, {"who": "on"}, **options)
    await until(lambda: stage.on == ["on"])
    for _ in range(9):
        await bench.start(stage.hold, {"who": "later"}, name="short")
    last = await bench.start(stage.hold, {"who": "later"}, name="long")
    assert 10 * 15 < (await status(bench, last))["eta_s"] < 10 * 25, "nine in ten are short"


async def test_a_batch_moves_the_line_by_as_many_as_it_takes(
    bench: "Bench", stage: "Stage", slow: Slow
) -> None:
    async def batched(who: list[str]) -> None:
        await stage.hold(who[0])

    stage.let_go("quick")
    slow.more_s = 10
    await (await bench.start(batched, {"who": "quick"}, batch=True, max_batch_size=4)).end()
    await bench.start(batched, {"who": "on"})
    await stage.has("quick", "on")
    runs = [await bench.start(batched, {"who": "later"}) for _ in range(8)]
    etas = [(await status(bench, run))["eta_s"] for run in runs]
    assert etas[0] == etas[3] < etas[4] == etas[7]
    assert etas[7] == pytest.approx(20, abs=2)
