"""One event, whatever happens while its run is being started."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock.integrations.gradio.sessions.events import Event
from penstock.models import RunState
from penstock.testing import until
from penstock.worker import Recording

if TYPE_CHECKING:
    from tests.conftest import Bench

GENERATED = {"msg": "process_generating", "output": {"data": ["x"], "is_generating": True}, "success": True}


class Slow:
    """What an event needs of the rest, with a store that has started a run and takes its time to say so."""

    def __init__(self, bench: "Bench") -> None:
        self._worker = bench.services.worker
        self.started, self.answers = asyncio.Event(), asyncio.Event()

    async def record(self, run_id: str, on_stop: Callable[[str], None]) -> Recording | None:
        recording = await self._worker.record(run_id, on_stop)
        self.started.set()
        await self.answers.wait()
        return recording

    async def fail(self, run_id: str, error: dict[str, Any], state: RunState) -> None:
        assert await self._worker.record(run_id, lambda _: None) is None, "it does not wait any more"
        self.answers.set()

    def tell(self, run_id: str, status: dict[str, Any]) -> None:
        raise AssertionError((run_id, status))

    async def cancel_inner(self, event: Event) -> None:
        pass

    async def ending(self, event: Event) -> None:
        pass


async def test_an_event_that_is_lost_while_its_run_is_started_has_ended(bench: "Bench") -> None:
    bench.app.recorded("predict")
    await bench.services.queue.take_in("predict", {"data": []}, run_id="run1", session="s")
    records = Slow(bench)
    event = Event("run1", "s", 0, records)
    event.stored()
    hearing = asyncio.create_task(event.hear({**GENERATED, "event_id": "run1"}))
    await records.started.wait()
    event.end(RunState.FAILED, {"code": "lost", "message": "Gradio has lost it.", "hint": ""})
    await hearing

    async def state() -> bool:
        return (await bench.services.queue.get("run1")).state is RunState.FAILED

    await until(state)
    assert (await bench.services.queue.stored(await bench.services.queue.get("run1")))[0] == 1, "its end"
