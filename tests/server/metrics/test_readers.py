"""Readers: how many there are, what reaches them, how far behind they are, and how they are cut off."""

import asyncio
from typing import TYPE_CHECKING

import penstock
from penstock.server.connection import Connection
from penstock.testing import live_server, until

from .scraping import scraped

if TYPE_CHECKING:
    from tests.conftest import Api, Scrape
    from tests.server.conftest import MakeApp, Reading


async def test_readers_are_counted_by_transport(api: "Api", reading: "Reading") -> None:
    run_id = await api.submit("silent")
    assert (await api.scrape())("readers") == 0
    async with reading(api, run_id) as first, reading(api, run_id) as second:
        await first.until(b"running")
        await second.until(b"running")
        polling = asyncio.create_task(api.get(f"/api/runs/{run_id}/events?poll=20"))
        scrape = await scraped(api, "readers", 1, transport="poll")
        assert scrape("readers", transport="sse") == 2
        assert scrape("reads_total") == 3
        polling.cancel()
    scrape = await scraped(api, "readers", 0)
    assert scrape("reads_total") == 3


async def test_what_reaches_readers_is_counted_singly_and_what_was_merged(
    api: "Api", app: penstock.App
) -> None:
    run_id = await api.submit("count", to=99)
    await api.ended(run_id)
    singly = await api.messages(run_id, rate=0)
    scrape = await api.scrape()
    assert len([one for one in singly if one.event == "message"]) == 100
    assert (scrape("events_delivered_total"), scrape("events_merged_total")) == (100, 0)
    updates, sent = scrape("updates_total"), scrape("sent_bytes_total")
    assert 1 <= updates <= 100
    merged = await api.messages(run_id)
    frames = len([one for one in merged if one.event == "message"])
    scrape = await api.scrape()
    assert frames < 10
    assert (scrape("events_delivered_total"), scrape("events_merged_total")) == (200, 100 - frames)
    assert scrape("updates_total") > updates
    assert sent < scrape("sent_bytes_total") < 2 * sent


async def test_a_long_polls_events_count_as_well(api: "Api") -> None:
    run_id = await api.submit("count", to=9)
    await api.ended(run_id)
    answer = await api.get(f"/api/runs/{run_id}/events?poll=1")
    scrape = await api.scrape()
    assert (scrape("events_delivered_total"), scrape("events_merged_total")) == (10, 0)
    assert (scrape("updates_total"), scrape("sent_bytes_total")) == (1, len(answer.content))


async def test_bytes_are_those_of_the_answer(api: "Api") -> None:
    run_id = await api.submit("count", to=9)
    await api.ended(run_id)
    answer = await api.get(f"/api/runs/{run_id}/events")
    assert (await api.scrape())("sent_bytes_total") == len(answer.content)


async def test_a_reader_that_takes_nothing_is_behind_and_then_cut_off(api: "Api") -> None:
    run_id = await api.submit("megabytes")
    await api.ended(run_id)
    _, writer = await asyncio.open_connection(api.base_url.host, api.base_url.port, limit=1024)
    try:
        writer.write(f"GET /api/runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

        async def lags() -> "Scrape | None":
            scrape = await api.scrape()
            return scrape if scrape("reader_lag_events") else None

        scrape = await until(lags)
        assert scrape is not None
        assert 0 < scrape("reader_lag_events") <= 401
        assert scrape("reader_lag_max_events") == scrape("reader_lag_events")
        assert scrape("readers_stalled_total") == 0
        scrape = await scraped(api, "readers_stalled_total", 1)
        assert (scrape("readers"), scrape("reader_lag_events"), scrape("reader_lag_max_events")) == (0, 0, 0)
    finally:
        writer.transport.abort()


async def test_a_reader_that_is_sent_round_is_counted(make_app: "MakeApp", connect: "type[Api]") -> None:
    async with (
        live_server(make_app(max_age_s=0.1), http=Connection) as url,
        connect(url) as api,
    ):
        run_id = await api.submit("silent")
        for _ in range(2):
            await api.messages(run_id)
        scrape = await api.scrape()
        assert (scrape("readers_rotated_total"), scrape("readers_stalled_total")) == (2, 0)
