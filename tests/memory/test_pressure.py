"""The wait of a function while memory is tight: it ends when memory is eased, and after a while in any case."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from penstock.memory import Hold, Pressure
from penstock.testing import until
from penstock.worker.execute import run_in_thread

Waiting = Callable[[Hold], "asyncio.Future[Any]"]


@pytest.fixture(params=["task", "thread"])
def begin(request: pytest.FixtureRequest) -> Waiting:
    """Begins the wait of a function, in the event loop or in a thread."""

    def task(hold: Hold) -> "asyncio.Future[Any]":
        return asyncio.ensure_future(hold.wait())

    def thread(hold: Hold) -> "asyncio.Future[Any]":
        return run_in_thread(hold.wait_in_thread, "held")

    return task if request.param == "task" else thread


@pytest.fixture
def held_s(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Sets for how long a function is held."""
    return lambda first, most: monkeypatch.setattr("penstock.memory.pressure.HELD_S", (first, most))


@pytest.fixture
def pressure(held_s: Callable[[float, float], None]) -> Pressure:
    held_s(60, 60)
    pressure = Pressure()
    pressure.turn(tight=True)
    return pressure


async def over(waiting: Awaitable[Any]) -> None:
    await asyncio.wait_for(waiting, 30)


async def is_held(hold: Hold) -> None:
    await until(lambda: hold.waiting)


def test_nobody_waits_while_memory_is_not_tight() -> None:
    hold = Hold(Pressure())
    assert not hold.due
    hold.wait_in_thread()


async def test_it_waits_until_memory_is_eased(pressure: Pressure, begin: Waiting) -> None:
    touched: list[int] = []
    hold = Hold(pressure, lambda: touched.append(1))
    waiting = begin(hold)
    await is_held(hold)
    assert not waiting.done()
    pressure.turn(tight=True)
    pressure.turn(tight=False)
    await over(waiting)
    assert (hold.waiting, touched, pressure.times) == (False, [1], 1)
    assert pressure.tight_s > 0


async def test_one_that_is_to_stop_waits_no_more(pressure: Pressure, begin: Waiting) -> None:
    hold = Hold(pressure)
    waiting = begin(hold)
    await is_held(hold)
    hold.end()
    await over(waiting)
    assert not hold.due
    assert pressure.tight


async def test_a_task_that_is_cancelled_leaves_nothing_behind(pressure: Pressure) -> None:
    hold = Hold(pressure)
    waiting = asyncio.ensure_future(hold.wait())
    await is_held(hold)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert not hold.waiting
    assert not pressure._listeners


async def test_it_goes_on_after_a_while_and_is_held_for_longer_then(
    pressure: Pressure, begin: Waiting, held_s: Callable[[float, float], None]
) -> None:
    held_s(0.02, 0.07)
    hold = Hold(pressure)
    loop = asyncio.get_running_loop()
    for expected in (0.02, 0.04, 0.07, 0.07):
        begun = loop.time()
        await over(begin(hold))
        assert loop.time() - begun >= expected - 0.005
        assert hold.due
    pressure.turn(tight=False)
    pressure.turn(tight=True)
    assert hold._next_wait_s() == 0.02, "it begins anew with each time"


async def test_the_oldest_that_was_held_goes_on_while_there_is_some_to_spare(
    pressure: Pressure, begin: Waiting, held_s: Callable[[float, float], None]
) -> None:
    old, young = Hold(pressure), Hold(pressure)
    held_s(0.3, 60)
    pressure.turn(tight=True, spare=True)
    first, second = begin(young), begin(old)
    await is_held(young)
    await is_held(old)
    assert [one.due for one in (old, young)] == [True, True], "each is held once"
    held_s(60, 60)
    await over(second)
    assert [one.due for one in (old, young)] == [False, True]
    assert not first.done()
    pressure.turn(tight=True, spare=False)
    assert [one.due for one in (old, young)] == [True, True], "nothing is to spare any more"
    pressure.turn(tight=True, spare=True)
    old.end()
    await over(first)
    assert [one.due for one in (old, young)] == [False, False], "the other is the oldest now"


async def test_who_listens_is_told_of_each_turn_in_its_loop() -> None:
    pressure, told = Pressure(), []
    unlisten = pressure.listen_in_loop(lambda: told.append((pressure.tight, threading.get_ident())))
    await asyncio.to_thread(pressure.turn, tight=True)
    await until(lambda: told == [(True, threading.get_ident())])
    unlisten()
    pressure.turn(tight=False)
    await asyncio.sleep(0)
    assert len(told) == 1
