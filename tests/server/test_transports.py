"""One suite, three transports: what reaches a reader is the same over each, and over both kinds of connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from websockets.exceptions import WebSocketException

import penstock
from penstock.events import End, Json, Log, Reset, SpanEnd, SpanStart, Text
from penstock.hub import TAIL_BYTES, Hub
from penstock.testing import Cut, FaultProxy, until

from .transports import TRANSPORTS, Item, Transport, View, events_of, fold_of, seqs, whole_events

if TYPE_CHECKING:
    from tests.conftest import Api
    from tests.server.conftest import Gate, MakeApp, Served

STEPS = 150
STEPS_TEXT = "".join(f"{number} " for number in range(STEPS))
LARGEST_MESSAGE = 70_000
"""A piece of 32 KiB, every character of which may have to be escaped, and what surrounds it."""
LINE = "a hundred characters of text, as a model might well say them in an answer of some length, so it is. "
PIECES = 5000
WHOLE = "".join(f"{number} {LINE}" for number in range(PIECES))


def value_of(size: int) -> dict[str, str]:
    """It has as many bytes as JSON, half of them in characters of more than one byte or that are escaped."""
    return {"row": 'é"' * (size // 4)}


@pytest.fixture
def app(make_app: "MakeApp") -> penstock.App:
    app = make_app()

    @app.function(concurrency_limit=None)
    async def steps(steps: int = STEPS, pause_s: float = 0.005) -> AsyncIterator[str]:
        for number in range(steps):
            yield f"{number} "
            await asyncio.sleep(pause_s)

    @app.function(concurrency_limit=None)
    async def writes() -> AsyncIterator[str]:
        for number in range(PIECES):
            yield f"{number} {LINE}"
            if number % 500 == 0:
                await asyncio.sleep(0)

    @app.function
    def bulky(size: int, run: penstock.Run) -> Generator[Any, None, list[str]]:
        yield {"small": 1}
        yield value_of(size)
        with run.span("find", input=value_of(size)) as span:
            run.log("found", fields=value_of(size))
            span.output = value_of(size)
        return ["result"] * (size // 10)

    @app.function
    async def large(size: int) -> AsyncIterator[str]:
        yield "small "
        yield "x" * size
        yield " small"

    @app.function(retries=1, concurrency_limit=None)
    async def again(run: penstock.Run) -> AsyncIterator[str]:
        if run.attempt == 1:
            yield "never "
            run.checkpoint(None)
            yield "more"
            raise RuntimeError("a fault of the function's")
        yield "twice"

    return app


async def hub_of(app: penstock.App) -> Hub:
    return (await app.start()).hub


# --- Exactly once, in order, without a gap ---


async def test_a_run_that_has_ended_is_read_to_its_end(transport: Transport, api: "Api") -> None:
    run_id = await api.submit("count")
    await api.ended(run_id)
    items = await transport.read(api, run_id, rate=0)
    assert seqs(items) == [1, 2, 3, 4, 5, 6]
    assert items[-1].type == "end"
    assert fold_of(items).text == "1 2 3 4 5 "
    epoch = str(items[0].cursor).partition("-")[0]
    assert [item.cursor for item in items] == [f"{epoch}-{item.seq}" for item in items]


async def test_what_is_written_comes_while_it_is_written(
    transport: Transport, api: "Api", gate: "Gate"
) -> None:
    run_id = await api.submit("wait")
    async with transport.open(api, run_id) as view:
        await view.until("text")
        assert fold_of(view.seen).text == "before "
        gate.open.set()
        assert fold_of(await view.rest()).text == "before after"
        assert view.done


async def read_in_parts(transport: Transport, api: "Api", run_id: str, chance: Random) -> list[Item]:
    """All of a run, over as many connections as it takes; each ends somewhere."""
    items: list[Item] = []
    cursor: str | None = None
    done = False
    while not done:
        async with transport.open(api, run_id, cursor, rate=chance.choice((0, 20, 60))) as view:
            done = await see_some(view, chance.randrange(1, 12))
            items += view.seen
            cursor = view.cursor or cursor
    return items


async def see_some(view: View, count: int) -> bool:
    try:
        for _ in range(count):
            await view.next()
    except StopAsyncIteration:
        pass
    return view.done


@pytest.mark.parametrize("seed", range(2))
async def test_over_any_number_of_cuts_everything_comes_once(
    transport: Transport, api: "Api", seed: int
) -> None:
    run_id = await api.submit("steps")
    readings = [read_in_parts(transport, api, run_id, Random(seed * 10 + reader)) for reader in range(5)]
    for items in await asyncio.gather(*readings):
        assert fold_of(items).text == STEPS_TEXT
        assert sum(event.n for event in events_of(items)) == STEPS + 1


@pytest.mark.parametrize("seed", range(2))
async def test_over_a_network_that_cuts_anywhere_everything_comes_once(
    transport: Transport, api: "Api", connect: "type[Api]", seed: int
) -> None:
    run_id = await api.submit("steps", steps=400, pause_s=0.002)
    items: list[Item] = []
    done = False
    rate = 0 if transport.tells else 20  # an answer has to get through as a whole
    async with FaultProxy(api.base_url.port or 0, seed=seed) as proxy:
        proxy.fault = Cut(600, 9000)
        while not done:
            async with connect(proxy.url) as cut:
                with contextlib.suppress(httpx.TransportError, WebSocketException, OSError):
                    cursor = items[-1].cursor if items else None
                    async with transport.open(cut, run_id, cursor, rate=rate) as view:
                        try:
                            await view.rest()
                        finally:
                            items += [item for item in view.seen if item.seq]
                            done = view.done or (bool(items) and items[-1].type == "end")
        assert proxy.cuts
    assert fold_of(items).text == "".join(f"{number} " for number in range(400))


async def test_each_transport_takes_up_where_another_left(api: "Api", transport: Transport) -> None:
    run_id = await api.submit("steps")
    items: list[Item] = []
    async with transport.open(api, run_id, rate=0) as view:
        await see_some(view, 10)
        items += view.seen
    for other in TRANSPORTS:
        async with other.open(api, run_id, items[-1].cursor, rate=0) as view:
            await see_some(view, 10)
            items += [item for item in view.seen if item.seq]
    items += await transport.read(api, run_id, items[-1].cursor)
    assert fold_of(items).text == STEPS_TEXT


@pytest.mark.parametrize("when", ["while it runs", "once it has ended"])
async def test_who_comes_late_begins_with_the_state(
    transport: Transport, api: "Api", gate: "Gate", when: str
) -> None:
    run_id = await api.submit("wait")
    if when == "once it has ended":
        gate.open.set()
        await api.ended(run_id)
    async with transport.open(api, run_id, fold=1) as view:
        first = await view.until("fold")
        assert str(first.cursor).endswith(f"-{first.seq}")
        gate.open.set()
        rest = (await view.rest())[view.seen.index(first) + 1 :]
        assert view.done
    assert seqs(rest) == list(range(first.seq + 1, 4))
    assert first.seq == 3 if when == "once it has ended" else first.seq < 3


async def test_what_an_attempt_that_failed_had_written_is_withdrawn(transport: Transport, api: "Api") -> None:
    run_id = await api.submit("again")
    items = await transport.read(api, run_id)
    assert any(isinstance(event, Reset) for event in events_of(items))
    assert fold_of(items).text == "never twice"


@pytest.mark.parametrize("size", [1_000_000, 15_000_000])
async def test_large_events(transport: Transport, api: "Api", size: int) -> None:
    run_id = await api.submit("large", size=size)
    items = await transport.read(api, run_id)
    assert fold_of(items).text == f"small {'x' * size} small"
    assert seqs(await transport.read(api, run_id, items[0].cursor)) == seqs(items[1:])


@pytest.mark.parametrize("size", [40_000, 3_000_000])
async def test_large_values_come_in_pieces_between_any_two_of_which_a_reader_may_come_back(
    transport: Transport, api: "Api", size: int
) -> None:
    run_id = await api.submit("bulky", size=size)
    items = await transport.read(api, run_id)
    assert max(len(msgspec.json.encode(item.body)) for item in items) < LARGEST_MESSAGE
    for after in Random(1).sample([item for item in items if item.cursor], 5):
        rest = await transport.read(api, run_id, after.cursor)
        assert seqs(rest) == seqs(items)[seqs(items).index(after.seq) + 1 :]
        events = events_of([*items[: items.index(after) + 1], *rest])
        assert [event.value for event in events if isinstance(event, Json)] == [{"small": 1}, value_of(size)]
        assert isinstance(events[-1], End)
        assert events[-1].result == ["result"] * (size // 10)
    described = await api.get(f"/api/runs/{run_id}")
    assert described.json()["result"] == ["result"] * (size // 10)


async def test_a_large_state_comes_in_pieces(transport: Transport, api: "Api") -> None:
    run_id = await api.submit("bulky", size=500_000)
    await api.ended(run_id)
    items = await transport.read(api, run_id, fold=1)
    assert max(len(msgspec.json.encode(item.body)) for item in items) < LARGEST_MESSAGE
    assert not any(item.cursor for item in items[:-1] if item.type != "status")
    events = whole_events(item.body for item in items if item.type != "status")
    assert [type(event) for event in events] == [Json, Json, SpanStart, Log, SpanEnd, End]


# --- Pace ---


async def test_who_is_behind_gets_a_few_large_events(transport: Transport, api: "Api") -> None:
    run_id = await api.submit("writes")
    await api.ended(run_id)
    assert len(WHOLE) > TAIL_BYTES
    items = await transport.read(api, run_id)
    assert fold_of(items).text == WHOLE
    assert len(items) < PIECES / 20
    assert sum(event.n for event in events_of(items)) == PIECES + 1, "it can prove that nothing is missing"


async def test_at_rate_0_nothing_is_merged(transport: Transport, api: "Api") -> None:
    run_id = await api.submit("writes")
    await api.ended(run_id)
    items = await transport.read(api, run_id, rate=0)
    assert seqs(items) == list(range(1, PIECES + 2))


async def test_two_readers_at_their_own_pace(transport: Transport, api: "Api") -> None:
    run_id = await api.submit("steps", steps=40, pause_s=0.02)
    brisk, calm = await asyncio.gather(
        transport.read(api, run_id, rate=60), transport.read(api, run_id, rate=2)
    )
    assert fold_of(brisk).text == fold_of(calm).text == "".join(f"{number} " for number in range(40))
    if transport.tells:  # the pace of long-poll is that of the asking
        texts = [event for event in events_of(calm) if isinstance(event, Text)]
        assert len(texts) <= 6 < len(events_of(brisk))


async def test_a_reader_that_does_not_read_slows_nobody(transport: Transport, api: "Api") -> None:
    run_id = await api.submit("writes")
    async with transport.open(api, run_id) as view:
        await view.next()
        assert fold_of(await transport.read(api, run_id)).text == WHOLE
        assert fold_of(await view.rest()).text == WHOLE, "nor does it miss anything by that"


# --- Readers that leave ---


async def test_a_reader_that_leaves_is_noticed(transport: Transport, api: "Api", app: penstock.App) -> None:
    run_id = await api.submit("wait")
    hub = await hub_of(app)
    before = len(asyncio.all_tasks())
    for _ in range(5):
        async with transport.open(api, run_id) as view:
            await view.until("text")
            waiting = asyncio.create_task(view.next())
            await until(lambda: hub.subscribers == 1)
            waiting.cancel()
            await asyncio.wait([waiting])
        await until(lambda: hub.subscribers == 0)
    await until(lambda: len(asyncio.all_tasks()) <= before, 5, "no task is left behind")
    assert (await api.get(f"/api/runs/{run_id}")).json()["state"] == "running"


async def test_one_that_comes_back_at_once_misses_nothing(
    transport: Transport, api: "Api", app: penstock.App
) -> None:
    """The old connection's farewell must not take the new one's place away."""
    run_id = await api.submit("chatter")
    cursor = None
    for _ in range(5):
        async with transport.open(api, run_id, cursor, rate=0) as view:
            await view.until("text")
            cursor = view.cursor
        async with transport.open(api, run_id, cursor, rate=0) as view:
            await see_some(view, 20)
            cursor = view.cursor
    assert int(str(cursor).rpartition("-")[2]) > 50


# --- What is told beside events ---


async def test_a_run_in_line_says_where_it_stands(
    transport: Transport, api: "Api", gate: "Gate", app: penstock.App
) -> None:
    app.function(name="one", concurrency_limit=1)(app.functions["wait"].call)
    first, second = await api.submit("one"), await api.submit("one")
    async with transport.open(api, first) as other, transport.open(api, second) as view:
        await other.until("text")
        if transport.tells:
            item = await view.next()
            assert item == Item({"type": "status", "state": "queued", "position": 1, "eta_s": None}, None)
        gate.open.set()
        assert fold_of(await view.rest()).text == "before after"


@pytest.mark.parametrize("function", ["wait", "chatter"])
async def test_readers_are_told_that_the_server_leaves(
    transport: Transport, api: "Api", app: penstock.App, function: str
) -> None:
    """Those of a run that never pauses too."""
    run_id = await api.submit(function)
    async with transport.open(api, run_id) as view:
        await view.until("text")
        if not transport.tells:
            return
        await app.drain()
        async with asyncio.timeout(30):
            *_, last = await view.rest()
        assert (last.type, last.cursor, view.done) == ("draining", None, False)
        assert 1000 <= last.body["retry_ms"] <= 4000
        assert view.code in (None, 1012)


async def test_a_reader_that_waits_is_not_in_the_servers_way(
    transport: Transport, api: "Api", app: penstock.App
) -> None:
    run_id = await api.submit("silent")
    hub = await hub_of(app)
    async with transport.open(api, run_id) as view:
        waiting = asyncio.create_task(view.rest() if transport.tells else view.next())
        await until(lambda: hub.subscribers == 1)
        await app.drain()
        await until(lambda: hub.subscribers == 0)
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_a_connection_that_has_had_its_time_ends_and_its_reader_resumes(
    transport: Transport, make_app: "MakeApp", connect: "type[Api]", served: "Served"
) -> None:
    app = make_app(max_age_s=0.1)

    @app.function
    async def steps() -> AsyncIterator[str]:
        for number in range(20):
            yield f"{number} "
            await asyncio.sleep(0.02)

    async with served(app) as url, connect(url) as api:
        run_id = await api.submit("steps")
        items: list[Item] = []
        connections, done = 0, False
        while not done:
            cursor = items[-1].cursor if items else None
            async with transport.open(api, run_id, cursor) as view:
                items += [item for item in await view.rest() if item.seq]
                connections, done = connections + 1, view.done
                assert not any(item.type == "draining" for item in view.seen)
                assert view.code in (None, 1000 if done else 1012)
        assert fold_of(items).text == "".join(f"{number} " for number in range(20))
        assert connections > 2 or not transport.tells
