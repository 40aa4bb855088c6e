"""The process: its memory and its time, and whose counts are whose."""

from typing import TYPE_CHECKING

import penstock
from penstock.testing import live_server

from .scraping import scraped

if TYPE_CHECKING:
    from tests.conftest import Api
    from tests.server.conftest import MakeApp


async def test_the_process_tells_of_itself(api: "Api") -> None:
    scrape = await api.scrape()
    assert scrape("processes") == 1
    assert scrape("build_info", version=penstock.__version__) == 1
    assert 10e6 < scrape("resident_memory_bytes") < 10e9
    spent = scrape("cpu_seconds_total")
    assert 0 < spent < (await api.scrape())("cpu_seconds_total")


async def test_memory_is_told_with_its_limit(make_app: "MakeApp", connect: "type[Api]") -> None:
    async with live_server(make_app(memory_limit_mb=1)) as url, connect(url) as api:
        scrape = await scraped(api, "memory_tight", 1)  # an interpreter has more
        assert scrape("memory_limit_bytes") == 1024 * 1024 < scrape("memory_used_bytes")
        assert (await api.post("/api/runs", json={"function": "count"})).status_code == 503
        assert (await api.scrape())("runs_rejected_total", reason="memory_limit") == 1
    async with live_server(make_app(memory_limit_mb=0)) as url, connect(url) as api:
        scrape = await api.scrape()
        assert not any(map(scrape.has, ("memory_limit_bytes", "memory_used_bytes", "memory_tight")))


async def test_two_apps_of_one_process_count_for_themselves(
    make_app: "MakeApp", connect: "type[Api]"
) -> None:
    async with live_server(make_app()) as one, live_server(make_app()) as other:
        async with connect(one) as api:
            await api.ended(await api.submit("count"))
            assert (await api.scrape())("runs_ended_total") == 1
        async with connect(other) as api:
            assert (await api.scrape())("runs_ended_total") == 0


async def test_what_an_app_counted_survives_its_stop(make_app: "MakeApp", connect: "type[Api]") -> None:
    app = make_app()
    for runs in (1, 2):
        async with live_server(app) as url, connect(url) as api:
            await api.ended(await api.submit("count"))
            assert (await api.scrape())("runs_ended_total") == runs
