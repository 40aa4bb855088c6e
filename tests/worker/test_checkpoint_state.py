"""What a checkpoint holds, and who may make one."""

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import penstock
from penstock.errors import BadYield
from penstock.events import MAX_EVENT_BYTES
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Bench

pytestmark = pytest.mark.usefixtures("at_once")


@pytest.fixture
def bench(either: "Bench") -> "Bench":
    """A bench over each store."""
    return either


@pytest.mark.parametrize(
    "state",
    [0, "", [], {}, False, None, -1.5, "täxt\0\n\u2028😀", [None, {"": [1]}], 2**53],
    ids=repr,
)
async def test_a_state_comes_back_as_it_was(state: Any, bench: "Bench") -> None:
    async def function(run: penstock.Run) -> list[Any]:
        if run.attempt == 1:
            run.checkpoint("an earlier one")
            run.checkpoint(state)
            raise ValueError("cut")
        return [run.restored]

    end = await (await bench.start(function, retries=1)).end()
    assert end.result == [state]
    assert type(end.result[0]) is type(state)


async def test_what_becomes_of_an_object_later_does_not_matter(bench: "Bench") -> None:
    async def function(run: penstock.Run) -> Any:
        if run.attempt == 1:
            state = {"steps": [1]}
            run.checkpoint(state)
            state["steps"].append(2)
            raise ValueError("cut")
        run.restored["steps"].append(3)
        return run.restored

    assert (await (await bench.start(function, retries=1)).end()).result == {"steps": [1]}


async def test_a_large_state_and_one_that_is_too_large(bench: "Bench") -> None:
    async def function(size: int, run: penstock.Run) -> int:
        if run.restored is None:
            run.log("before")
            run.checkpoint("x" * size)
            run.log("after")
            raise ValueError("cut")
        return len(run.restored)

    run = await bench.start(function, {"size": 2_000_000}, retries=1, name="large")
    assert (await run.end()).result == 2_000_000
    run = await bench.start(function, {"size": MAX_EVENT_BYTES}, retries=1, name="too_large")
    assert await run.outcome() == ("failed", "event_too_large")


@pytest.mark.parametrize(
    "state", [object(), {"a": {1, object()}}, msgspec.Raw(b"{")], ids=["object", "in a set", "raw"]
)
async def test_a_state_without_a_json_form_fails_the_run_unless_it_is_caught(
    state: Any, bench: "Bench"
) -> None:
    async def fails(run: penstock.Run) -> None:
        run.checkpoint(state)

    async def catches(run: penstock.Run) -> Any:
        if run.attempt == 1:
            run.checkpoint("good")
            with pytest.raises(BadYield, match="can't be stored"):
                run.checkpoint(state)
            raise ValueError("cut")
        return run.restored

    assert await (await bench.start(fails, retries=1)).outcome() == ("failed", "bad_yield")
    assert (await (await bench.start(catches, retries=1)).end()).result == "good", "the one before stands"


# --- Threads and tasks ---


async def test_the_threads_and_tasks_of_a_function_may_make_them_too(bench: "Bench") -> None:
    def in_threads(run: penstock.Run) -> Any:
        if run.attempt == 1:
            threads = [threading.Thread(target=run.checkpoint, args=(number,)) for number in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            run.checkpoint("last")
            raise ValueError("cut")
        return run.restored

    async def in_tasks(run: penstock.Run) -> Any:
        async def make(number: int) -> None:
            await asyncio.sleep(0)
            run.checkpoint(number)

        if run.attempt == 1:
            await asyncio.gather(*[make(number) for number in range(20)])
            await asyncio.to_thread(run.checkpoint, "last")
            raise ValueError("cut")
        return run.restored

    for call in (in_threads, in_tasks):
        assert (await (await bench.start(call, retries=1)).end()).result == "last"


async def test_one_made_once_the_run_was_stopped_raises_in_a_thread(bench: "Bench") -> None:
    begun, raised = threading.Event(), threading.Event()

    def function(run: penstock.Run) -> None:
        begun.set()
        try:
            while True:
                run.checkpoint(1)
        finally:
            raised.set()

    run = await bench.start(function, retries=1)
    await until(begun.is_set)
    await run.cancel()
    assert await run.outcome() == ("cancelled", "")
    assert raised.is_set()
