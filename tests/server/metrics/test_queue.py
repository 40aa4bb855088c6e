"""The queue: groups, the runs that pass through them, and attempts that are lost."""

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.testing import ServerProcess

from .scraping import scraped

if TYPE_CHECKING:
    from tests.conftest import Api
    from tests.server.conftest import Gate


async def test_the_queue_is_told_by_group(api: "Api", gate: "Gate") -> None:
    first, second = await api.submit("narrow"), await api.submit("narrow")
    scrape = await scraped(api, "queue_running", 1, group="narrow")
    assert (scrape("queue_waiting", group="narrow"), scrape("queue_limit", group="narrow")) == (1, 1)
    assert scrape("queue_waiting", group="count") == 0, "a group with nothing to do is there, too"
    assert not re.search(r'queue_limit\{group="wait"\}', scrape.text), "it has no limit"
    refused = await api.post("/api/runs", json={"function": "narrow"})
    assert refused.status_code == 503
    assert scrape("queue_wait_seconds_count", group="narrow") == 1
    gate.open.set()
    await api.ended(first)
    await api.ended(second)
    scrape = await api.scrape()
    assert scrape("runs_rejected_total", reason="queue_full") == 1
    assert scrape("queue_wait_seconds_count", group="narrow") == 2
    assert 0 <= scrape("queue_wait_seconds_sum", group="narrow") < 10
    assert (scrape("queue_running"), scrape("queue_waiting")) == (0, 0)


async def test_a_place_that_stays_taken_is_told(api: "Api", gate: "Gate") -> None:
    run_id = await api.submit("deaf")
    await scraped(api, "queue_running", 1, group="deaf")
    await api.post(f"/api/runs/{run_id}/cancel")
    await scraped(api, "queue_held", 1, group="deaf")
    gate.open.set()
    await scraped(api, "queue_held", 0, group="deaf")


async def test_runs_are_counted_by_function_and_state(api: "Api") -> None:
    scrape = await api.scrape()
    assert scrape("runs_ended_total", function="fail", state="failed") == 0, "known before its first"
    for function in ("count", "count", "fail"):
        await api.ended(await api.submit(function))
    waiting = [await api.submit("narrow") for _ in range(2)]
    for run_id in reversed(waiting):  # one that has not started ends at once
        await api.post(f"/api/runs/{run_id}/cancel")
        await api.ended(run_id)
    scrape = await api.scrape()
    assert scrape("runs_submitted_total", function="count") == 2
    assert scrape("runs_ended_total", function="count", state="succeeded") == 2
    assert scrape("runs_ended_total", function="fail", state="failed") == 1
    assert scrape("runs_ended_total", function="narrow", state="cancelled") == 2
    assert scrape("runs_ended_total") == 5
    assert scrape("run_duration_seconds_count", function="count") == 2
    assert scrape("run_duration_seconds_count", function="narrow") == 1, "the other one never ran"
    assert 0 <= scrape("run_duration_seconds_sum", function="count") < 10


async def test_a_repeated_submission_is_not_another_run(api: "Api") -> None:
    body = {"function": "count", "key": "once"}
    one, other = [(await api.post("/api/runs", json=body)).json()["run_id"] for _ in range(2)]
    assert one == other
    assert (await api.scrape())("runs_submitted_total") == 1


async def test_a_process_of_a_function_that_dies_is_an_attempt_lost(
    tmp_path: Path, connect: "type[Api]", write_app: Any
) -> None:
    write_app("import os\n@app.function(isolation='process')\ndef dies():\n    os._exit(3)\n")
    async with ServerProcess("app.py", cwd=tmp_path) as server, connect(server.url) as api:
        await api.ended(await api.submit("dies"))
        scrape = await api.scrape()
    assert scrape("attempts_lost_total", function="dies") == 1
    assert scrape("runs_ended_total", function="dies", state="failed") == 1


async def test_what_a_killed_server_was_executing_is_counted_by_the_next(
    tmp_path: Path, connect: "type[Api]", write_app: Any
) -> None:
    write_app(
        "import asyncio\n@app.function\nasync def hang():\n    yield 'on'\n    await asyncio.Event().wait()\n"
    )
    async with ServerProcess("app.py", "--grace-s", "0", cwd=tmp_path) as server:
        async with connect(server.url) as api:
            run_id = await api.submit("hang")
            await scraped(api, "appends_total", 1)
        await asyncio.to_thread(server.restart)
        async with connect(server.url) as api:
            await api.ended(run_id)
            scrape = await api.scrape()
    assert scrape("attempts_lost_total", function="hang") == 1
    assert scrape("runs_ended_total", function="hang", state="interrupted") == 1
