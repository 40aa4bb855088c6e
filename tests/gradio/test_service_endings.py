"""Sessions of one hash that end one after the other."""

import asyncio
from types import SimpleNamespace
from typing import Any

from penstock.integrations.gradio.options import Options
from penstock.integrations.gradio.service import Service


async def test_who_comes_waits_for_each_session_of_that_hash_that_ends() -> None:
    nothing: Any = None
    service = Service(Options(), nothing)
    gates = [asyncio.Event(), asyncio.Event()]
    waiting = iter(gates)

    async def over(*_: object) -> None:
        await next(waiting).wait()

    async def at_once(*_: object) -> None:
        pass

    parts: dict[str, Any] = {
        "gradio": None,
        "states": SimpleNamespace(over=over),
        "surfaces": SimpleNamespace(forget_session=lambda *_: None),
        "whose_sessions": SimpleNamespace(learn=at_once, forget=at_once),
    }
    vars(service).update(parts)
    for _ in gates:
        service.sessions.begin("abc", None, {}).expire()
        await asyncio.sleep(0)  # it waits for its gate
    gates[0].set()
    for _ in range(10):  # steps of the first one's end
        await asyncio.sleep(0)
    coming = asyncio.create_task(service.settled("abc"))
    done, _ = await asyncio.wait([coming], timeout=0.1)
    assert not done
    gates[1].set()
    await asyncio.wait_for(coming, 5)
