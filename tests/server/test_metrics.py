"""/metrics: every figure moved by what it is about, in a real server, and read as Prometheus reads it."""

import asyncio
import re
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from starlette.applications import Starlette
from starlette.routing import Mount

import penstock
from penstock.meters import Appends, Moments, Spells, added
from penstock.server.connection import Connection
from penstock.server.families import METRICS
from penstock.storage.sqlite import SqliteStore, connection
from penstock.storage.sqlite.store import READERS
from penstock.testing import ServerProcess, live_server, until

from .faults import locked

if TYPE_CHECKING:
    from tests.conftest import Api, Scrape
    from tests.server.conftest import Gate, MakeApp, Reading

STALL_TIMEOUT_S = 0.4
LINE = "x" * 20_000

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def app(make_app: "MakeApp", gate: "Gate", path: Path) -> penstock.App:
    app = make_app(store=f"sqlite:///{path}", stall_timeout_s=STALL_TIMEOUT_S)

    @app.function
    async def fail() -> None:
        raise ValueError("it had to")

    @app.function(concurrency_id="narrow", concurrency_limit=1, max_size=1)
    async def narrow() -> None:
        await gate.open.wait()

    @app.function(stop_grace_s=0.05)
    async def deaf() -> None:
        while not gate.open.is_set():
            try:
                await gate.open.wait()
            except asyncio.CancelledError:
                continue

    @app.function
    async def megabytes() -> AsyncIterator[str]:
        for _ in range(400):
            yield LINE

    return app


@pytest.fixture
def http() -> Any:
    return Connection


async def scraped(api: "Api", name: str, value: float, **labels: str) -> "Scrape":
    """A scrape in which the metric has this value."""

    async def look() -> "Scrape | None":
        scrape = await api.scrape()
        return scrape if scrape(name, **labels) == value else None

    found = await until(look, 10, f"{name} is {value}")
    assert found is not None
    return found


# --- Readers ---


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


# --- The store ---


async def test_appends_are_counted_with_the_time_they_took(api: "Api", path: Path) -> None:
    run_id = await api.submit("count", to=9)
    await api.ended(run_id)
    scrape = await api.scrape()
    with closing(sqlite3.connect(path)) as file:
        chunks, size = file.execute("SELECT count(*), sum(length(data)) FROM chunks").fetchone()
    assert (scrape("appends_total"), scrape("appended_bytes_total")) == (chunks, size)
    assert scrape("events_appended_total") == 10
    assert scrape("append_duration_seconds_count") == chunks
    assert scrape("append_duration_seconds_bucket", le="10.0") == chunks
    assert 0 <= scrape("append_duration_seconds_sum") < 10
    commits = scrape("commit_duration_seconds_count")
    assert commits >= chunks >= 2
    assert 0 < scrape("commit_duration_seconds_sum") < 10
    await api.ended(await api.submit("count"))
    assert (await api.scrape())("commit_duration_seconds_count") > commits


async def test_a_store_that_refuses_writes_is_up_and_counts_errors(
    api: "Api", path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.1)
    assert (await api.scrape())("store_errors_total") == 0
    with locked(path):
        assert (await api.post("/api/runs", json={"function": "count"})).status_code == 503
        scrape = await api.scrape()
    assert (scrape("store_errors_total", operation="write"), scrape("store_up")) == (1, 1)
    assert scrape("runs_rejected_total", reason="store_locked") == 1
    assert scrape("runs_submitted_total", function="count") == 0


async def test_a_store_that_can_not_be_read_is_told_with_the_rest(api: "Api", path: Path) -> None:
    await api.ended(await api.submit("count"))
    scrape = await api.scrape()
    assert (scrape("store_up"), scrape("workers"), scrape.has("queue_waiting")) == (1, 1, True)
    for name in ("runs.db", "runs.db-wal", "runs.db-shm"):
        path.with_name(name).rename(path.with_name(f"{name}.away"))
    scrape = await scraped(api, "store_up", 0)
    assert scrape("runs_ended_total", function="count", state="succeeded") == 1
    assert scrape("store_errors_total", operation="read") >= 1
    assert not any(map(scrape.has, ("queue_waiting", "queue_limit", "workers")))
    for name in ("runs.db", "runs.db-wal", "runs.db-shm"):
        path.with_name(f"{name}.away").replace(path.with_name(name))
    await scraped(api, "store_up", 1)


async def test_an_app_that_can_not_start_says_so(tmp_path: Path, connect: "type[Api]") -> None:
    path = tmp_path / "notes.db"
    path.write_bytes(b"notes, not a database. " * 200)
    app = penstock.App(store=f"sqlite:///{path}", token="secret")
    async with live_server(Starlette(routes=[Mount("/p", app)])) as url, connect(f"{url}/p") as api:
        assert (await api.get("/metrics")).status_code == 401
        api.headers["Authorization"] = "Bearer secret"
        scrape = await api.scrape()
    assert scrape("store_up") == 0
    assert scrape("store_errors_total", operation="write") >= 1
    assert scrape("build_info", version=penstock.__version__) == 1


async def test_a_scrape_does_not_wait_for_a_store_that_takes_long(api: "Api", app: penstock.App) -> None:
    store = (await app.start()).store
    assert isinstance(store, SqliteStore)
    free = threading.Event()
    reads = [asyncio.create_task(store._read(lambda _: free.wait(20))) for _ in range(READERS)]
    try:
        scrape = await api.scrape()
        assert (scrape("store_up"), scrape("processes")) == (0, 1)
        assert not free.is_set()
    finally:
        free.set()
        await asyncio.gather(*reads)
    await scraped(api, "store_up", 1)


async def test_a_scrape_does_not_wait_for_threads_that_functions_took(api: "Api") -> None:
    free = threading.Event()
    taken = [asyncio.create_task(asyncio.to_thread(free.wait, 20)) for _ in range(100)]
    await asyncio.sleep(0)  # they are begun
    try:
        assert (await api.scrape())("store_up") == 1
    finally:
        free.set()
        await asyncio.gather(*taken)


# --- The queue ---


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


# --- The process ---


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


# --- The form ---


@asynccontextmanager
async def guarded(make_app: "MakeApp", connect: "type[Api]") -> "AsyncIterator[Api]":
    async with live_server(make_app(token="secret")) as url, connect(url) as api:
        yield api


async def test_a_scrape_needs_the_token(make_app: "MakeApp", connect: "type[Api]") -> None:
    async with guarded(make_app, connect) as api:
        assert (await api.get("/metrics")).status_code == 401
        assert (await api.get("/metrics", headers={"Authorization": "Bearer secret"})).status_code == 200


async def test_both_formats_are_spoken(api: "Api") -> None:
    await api.ended(await api.submit("count"))
    plain = await api.get("/metrics", headers={"Accept": "*/*"})
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert plain.headers["cache-control"] == "no-store"
    asked = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
    open_ = await api.get("/metrics", headers=asked)
    assert open_.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    found = openmetrics.text_string_to_metric_families(open_.text)  # type: ignore[no-untyped-call]
    families = {family.name: family for family in found}
    assert families["penstock_runs_ended"].type == "counter"
    assert (await api.post("/metrics")).status_code == 405


async def test_nothing_that_there_may_be_many_of_is_a_label(api: "Api") -> None:
    run_id = await api.submit("count")
    await api.ended(run_id)
    await api.post("/api/runs", json={"function": "count", "session": "ada", "key": "k-1"})
    scrape = await api.scrape()
    found = {label for family in scrape.families.values() for s in family.samples for label in s.labels}
    assert found == {"transport", "operation", "group", "function", "state", "le", "version"}
    assert not re.search(f"{run_id}|ada|k-1|no_such", scrape.text)
    await api.post("/api/runs", json={"function": "no_such"})
    assert "no_such" not in (await api.scrape()).text


UNITS = {"seconds", "bytes"}
NOT_BASE = {"ms", "milliseconds", "minutes", "hours", "kb", "mb", "kilobytes", "megabytes", "percent"}


async def test_names_keep_to_the_conventions(api: "Api") -> None:
    """Those of promtool's linter and https://prometheus.io/docs/practices/naming/."""
    await api.ended(await api.submit("count"))
    scrape = await api.scrape()
    assert len(scrape.families) == len(METRICS) == len({metric.name for metric in METRICS})
    for metric in METRICS:
        words = metric.name.split("_")
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name)
        assert metric.help.endswith(".")
        assert (metric.kind == "counter") == (words[-1] == "total"), metric.name
        assert not NOT_BASE & set(words)
        assert words[-1] not in {"count", "sum", "bucket"}
        unit = words[-2] if metric.kind == "counter" else words[-1]
        assert not UNITS & set(words) or unit in UNITS, f"{metric.name}: the unit comes last"
        assert metric.kind != "histogram" or unit == "seconds"
        assert not set(metric.labels) & set(words), "no label's name in the metric's"
        family = scrape.families[f"penstock_{metric.name.removesuffix('_total')}"]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert {label for s in family.samples for label in s.labels} <= {*metric.labels, "le"}


def test_the_documentation_has_this_table() -> None:
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{one}`' for one in metric.labels)} | {metric.help} |"
        for metric in METRICS
    ]
    found = re.findall(r"^\| `\w+` \| (?:counter|gauge|histogram) \|.*$", PAGE, re.MULTILINE)
    assert found == rows


def test_the_example_alerts_ask_for_metrics_that_exist() -> None:
    (rules,) = re.findall(r"```yaml\ngroups:\n.*?```", PAGE, re.DOTALL)
    names = {f"penstock_{metric.name}": metric for metric in METRICS}
    used = {name.removesuffix("_bucket") for name in re.findall(r"penstock_\w+", rules)}
    assert len(re.findall("- alert:", rules)) == 3
    assert used <= names.keys()


# --- Counting ---


@pytest.mark.parametrize("kind", [Moments, Spells])
def test_durations_fall_into_their_buckets(kind: type[Moments | Spells]) -> None:
    timings = kind()
    assert list(kind.BOUNDS_S) == sorted(set(kind.BOUNDS_S))
    for seconds in (-1.0, 0.0, kind.BOUNDS_S[0], kind.BOUNDS_S[0] * 1.01, 1e9):
        timings.add(seconds)
    assert (timings.counts[0], timings.counts[1], timings.counts[-1]) == (3, 1, 1)
    assert timings.total_s == pytest.approx(1e9 + kind.BOUNDS_S[0] * 2.01)


def test_counts_of_different_versions_are_added() -> None:
    one = {"a": 1, "only": 2, "list": [1, 2], "deep": {"x": 1}}
    other = {"a": 2, "new": 5, "list": [1, 1, 7], "deep": {"y": 2}}
    whole = {"a": 3, "only": 2, "new": 5, "list": [2, 3, 7], "deep": {"x": 1, "y": 2}}
    assert added(one, other) == added(other, one) == whole
    assert added({}, one) == one


def test_a_hint_that_something_was_appended_elsewhere_is_no_append() -> None:
    appends = Appends()
    appends.heard("r", None)
    appends.heard(None, None)
    assert appends == Appends()
