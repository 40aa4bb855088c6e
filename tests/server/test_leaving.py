"""Readers that leave are noticed, and readers are told when the server leaves."""

import asyncio
from typing import TYPE_CHECKING

import msgspec

import penstock
from penstock.hub import Hub
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Api
    from tests.server.conftest import Gate, Reading


async def hub_of(app: penstock.App) -> Hub:
    return (await app.start()).hub


# --- Readers that leave ---


async def test_a_reader_that_leaves_is_noticed(api: "Api", app: penstock.App, reading: "Reading") -> None:
    run_id = await api.submit("wait")
    hub = await hub_of(app)
    before = len(asyncio.all_tasks())
    for _ in range(10):
        async with reading(api, run_id) as reader:
            await reader.until(b"before")
            assert hub.subscribers == 1
        await until(lambda: hub.subscribers == 0, 2)
    await until(lambda: len(asyncio.all_tasks()) <= before, 5, "no task is left behind")
    assert not any(tail.subscribers for tail in hub._tails.values())
    assert (await api.get(f"/api/runs/{run_id}")).json()["state"] == "running"


async def test_a_poller_that_leaves_is_noticed(api: "Api", app: penstock.App) -> None:
    run_id = await api.submit("silent")
    hub = await hub_of(app)
    reader, writer = await asyncio.open_connection(api.base_url.host, api.base_url.port)
    writer.write(b"GET /api/runs/%b/events?poll=20 HTTP/1.1\r\nHost: localhost\r\n\r\n" % run_id.encode())
    await until(lambda: hub.subscribers == 1)
    writer.transport.abort()
    await until(lambda: hub.subscribers == 0, 5)
    del reader


async def test_one_that_comes_back_at_once_misses_nothing(
    api: "Api", app: penstock.App, gate: "Gate", reading: "Reading"
) -> None:
    """The old connection's farewell must not take the new one's place away."""
    run_id = await api.submit("chatter")
    hub = await hub_of(app)
    for _ in range(5):
        async with reading(api, run_id) as reader:
            await reader.until(b'"text"')
        async with reading(api, run_id) as reader:
            await until(lambda: hub.subscribers == 1)
            await until(lambda: hub._tails.get(run_id) is not None, 2, "its stream is watched")
            await reader.more(1000)


# --- The server leaves ---


async def test_readers_are_told_that_the_server_leaves(
    api: "Api", app: penstock.App, reading: "Reading"
) -> None:
    run_id = await api.submit("wait")
    async with reading(api, run_id) as reader:
        await reader.until(b"before")
        await app.drain()
        *_, last = await reader.rest()
    assert (last.event, last.own_id) == ("draining", False)
    retry_ms = msgspec.json.decode(last.data)["retry_ms"]
    assert 1000 <= retry_ms <= 4000
    assert b"retry: %d\n" % retry_ms in reader.raw
    assert reader.raw.endswith(b"\n\n")


async def test_readers_of_a_run_that_never_pauses_are_told_too(
    api: "Api", app: penstock.App, reading: "Reading"
) -> None:
    run_id = await api.submit("chatter")
    async with reading(api, run_id) as reader:
        await reader.until(b'"text"')
        await app.drain()
        async with asyncio.timeout(2):
            assert (await reader.rest())[-1].event == "draining"


async def test_waiting_polls_are_answered_when_the_server_leaves(api: "Api", app: penstock.App) -> None:
    run_id = await api.submit("silent")
    hub = await hub_of(app)
    waiting = asyncio.create_task(api.get(f"/api/runs/{run_id}/events?poll=20"))
    await until(lambda: hub.subscribers == 1)
    await app.drain()
    async with asyncio.timeout(5):
        assert (await waiting).json()["events"] == []
