"""Reading a run over HTTP: frames, headers, cursors, heartbeats, pace, long-poll."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import penstock
from penstock.events import End, Text, decode
from penstock.hub import READ_BYTES, Hub
from penstock.protocol.sse import Decoder, Message
from penstock.testing import live_server, until

if TYPE_CHECKING:
    from tests.conftest import Api
    from tests.server.conftest import Gate, MakeApp, Reading


async def hub_of(app: penstock.App) -> Hub:
    return (await app.start()).hub


def seqs(messages: list[Message]) -> list[int]:
    return [decode(message.data).seq for message in messages if message.event == "message"]


# --- Form ---


async def test_the_form_of_a_stream(api: "Api") -> None:
    run_id = await api.submit("count", to=2)
    answer = await api.get(f"/api/runs/{run_id}/events")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-length" not in answer.headers
    assert answer.content.startswith(b": heartbeat 15\n\nretry: ")
    messages = Decoder().feed(answer.content)
    stored = [message for message in messages if message.event == "message"]
    epoch = stored[0].id.rpartition("-")[0]
    assert [message.id for message in stored] == [f"{epoch}-{seq}" for seq in (1, 2, 3)]
    assert 8 <= len(epoch) <= 32
    events = [decode(message.data) for message in stored]
    assert isinstance(events[-1], End)
    assert [event.text for event in events if isinstance(event, Text)] == ["1 ", "2 "]
    assert all(abs(event.at_ms - time.time() * 1000) < 60_000 for event in events)


async def test_the_first_bytes_come_before_any_event(api: "Api", app: penstock.App) -> None:
    run_id = await api.submit("silent")
    host, port = api.base_url.host, api.base_url.port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /api/runs/%b/events HTTP/1.1\r\nHost: localhost\r\n\r\n" % run_id.encode())
    async with asyncio.timeout(30):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b": heartbeat 15\n\n" in await reader.readuntil(b"\n\n")
    writer.close()
    hub = await hub_of(app)
    await until(lambda: hub.subscribers == 0)


async def test_head_is_the_head_of_get(api: "Api", app: penstock.App) -> None:
    run_id = await api.submit("wait")
    answer = await api.head(f"/api/runs/{run_id}/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (await hub_of(app)).subscribers == 0


async def test_heartbeats_come_in_silence(
    make_app: "MakeApp", gate: "Gate", connect: "type[Api]", reading: "Reading"
) -> None:
    async with live_server(make_app(heartbeat_s=0.05)) as url, connect(url) as api:
        run_id = await api.submit("wait")
        async with reading(api, run_id) as reader:
            raw = await reader.until(b"before")
            assert raw.startswith(b": heartbeat 0.05\n\n")
            raw = (await reader.until(b"\n\n:\n\n:\n\n:\n\n"))[len(raw) :]
            assert set(raw.split(b"\n\n")) == {b":", b""}
            gate.open.set()
            assert seqs(await reader.rest())[-1] == 3


async def test_readers_share_the_stored_frames(api: "Api", gate: "Gate", app: penstock.App) -> None:
    run_id = await api.submit("wait")
    hub = await hub_of(app)
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(api.messages(run_id)) for _ in range(30)]
        await until(lambda: hub.subscribers == 30)
        assert len(hub._tails) == 1
        gate.open.set()
    everything = [reader.result()[-3:] for reader in readers]
    assert all(messages == everything[0] for messages in everything)
    stored = await (await app.start()).store.read(run_id, 0, 1 << 20)
    answer = await api.get(f"/api/runs/{run_id}/events")
    assert answer.content.endswith(b"".join([chunk.data for chunk in stored]))


async def test_a_stalled_reader_slows_nobody(api: "Api", app: penstock.App) -> None:
    run_id = await api.submit("count", to=20_000)
    await api.ended(run_id)
    stalled, writer = await asyncio.open_connection(api.base_url.host, api.base_url.port, limit=1024)
    writer.write(b"GET /api/runs/%b/events HTTP/1.1\r\nHost: localhost\r\n\r\n" % run_id.encode())
    await stalled.readuntil(b"\r\n\r\n")
    assert seqs(await api.messages(run_id, rate=0)) == list(range(1, 20_002))
    hub = await hub_of(app)
    assert hub.subscribers <= 1
    writer.transport.abort()
    await until(lambda: hub.subscribers == 0)


async def test_pacing_keeps_the_readers_rate(
    connect: "type[Api]", make_app: "MakeApp", reading: "Reading"
) -> None:
    async with live_server(make_app()) as url, connect(url) as api:
        run_id = await api.submit("chatter")
        async with reading(api, run_id, rate=10) as reader:
            started = time.monotonic()
            pieces = 0
            while time.monotonic() - started < 1:
                size = len(reader.raw)
                await reader.until(reader.raw + b"i") if size else await reader.until(b":")
                pieces += 1
            assert pieces <= 14


# --- Cursors ---


@pytest.fixture
async def finished(api: "Api") -> tuple[str, str]:
    """A run of six events, and its epoch."""
    run_id = await api.submit("count")
    epoch = (await api.messages(run_id))[-1].id.rpartition("-")[0]
    return run_id, epoch


async def test_the_header_beats_the_query(api: "Api", finished: tuple[str, str]) -> None:
    run_id, epoch = finished
    assert seqs(await api.messages(run_id, f"{epoch}-4", after=f"{epoch}-1")) == [5, 6]


async def test_who_has_the_end_is_told_not_to_come_back(api: "Api", finished: tuple[str, str]) -> None:
    run_id, epoch = finished
    answer = await api.get(f"/api/runs/{run_id}/events", headers={"Last-Event-ID": f"{epoch}-6"})
    assert (answer.status_code, answer.content) == (204, b"")


# --- Long-poll ---


async def test_polls_give_what_is_there_and_go_on(api: "Api", gate: "Gate") -> None:
    run_id = await api.submit("wait")

    async def poll(**query: Any) -> dict[str, Any]:
        answer = await api.get(f"/api/runs/{run_id}/events", params={"poll": 10} | query)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-cache, no-transform"
        body: dict[str, Any] = answer.json()
        assert body.keys() == {"events", "cursor", "done"}
        return body

    first = await poll()
    assert ([event["seq"] for event in first["events"]], first["done"]) == ([1], False)
    nothing = await poll(poll=0.01, after=first["cursor"])
    assert nothing == {"events": [], "cursor": first["cursor"], "done": False}
    waiting = asyncio.create_task(poll(after=first["cursor"]))
    await asyncio.sleep(0)
    gate.open.set()
    found, body = [], await waiting
    while not body["done"]:
        found += body["events"]
        body = await poll(after=body["cursor"])
    found += body["events"]
    assert [event["seq"] for event in found] == [2, 3]
    assert found[-1]["type"] == "end"
    assert await poll(after=body["cursor"]) == {"events": [], "cursor": body["cursor"], "done": True}


async def test_a_poll_waits_no_longer_than_the_server_allows(
    make_app: "MakeApp", connect: "type[Api]"
) -> None:
    async with live_server(make_app(long_poll_timeout_s=0.1)) as url, connect(url) as api:
        run_id = await api.submit("silent")
        started = time.monotonic()
        answer = await api.get(f"/api/runs/{run_id}/events?poll=1000")
        assert 0.1 <= time.monotonic() - started < 5
        assert answer.json()["events"] == []
        assert answer.json()["cursor"].endswith("-0")


async def test_a_long_backlog_comes_in_several_answers(api: "Api") -> None:
    run_id = await api.submit("count", to=20_000)
    await api.ended(run_id)
    cursor, done = "", False
    sizes: list[int] = []
    found: list[int] = []
    while not done:
        answer = await api.get(f"/api/runs/{run_id}/events?poll=10&rate=0&after={cursor}")
        body = answer.json()
        cursor, done = body["cursor"], body["done"]
        sizes.append(len(answer.content))
        found += [event["seq"] for event in body["events"]]
    assert found == list(range(1, 20_002))
    assert len(sizes) > 5
    assert max(sizes) <= READ_BYTES


async def test_a_poller_that_leaves_is_noticed(api: "Api", app: penstock.App) -> None:
    run_id = await api.submit("silent")
    hub = await hub_of(app)
    reader, writer = await asyncio.open_connection(api.base_url.host, api.base_url.port)
    writer.write(b"GET /api/runs/%b/events?poll=20 HTTP/1.1\r\nHost: localhost\r\n\r\n" % run_id.encode())
    await until(lambda: hub.subscribers == 1)
    writer.transport.abort()
    await until(lambda: hub.subscribers == 0)
    del reader


# --- The server leaves ---


async def test_the_farewell_says_when_to_come_back(api: "Api", app: penstock.App, reading: "Reading") -> None:
    run_id = await api.submit("wait")
    async with reading(api, run_id) as reader:
        await reader.until(b"before")
        await app.drain()
        *_, last = await reader.rest()
    retry_ms = msgspec.json.decode(last.data)["retry_ms"]
    assert b"retry: %d\n" % retry_ms in reader.raw
    assert reader.raw.endswith(b"\n\n")


async def test_waiting_polls_are_answered_when_the_server_leaves(api: "Api", app: penstock.App) -> None:
    run_id = await api.submit("silent")
    hub = await hub_of(app)
    waiting = asyncio.create_task(api.get(f"/api/runs/{run_id}/events?poll=20"))
    await until(lambda: hub.subscribers == 1)
    await app.drain()
    async with asyncio.timeout(30):
        assert (await waiting).json()["events"] == []
