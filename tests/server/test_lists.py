"""Lists of runs over HTTP: filters, searches, and the members that a page is drawn from."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.testing import live_server

if TYPE_CHECKING:
    from tests.conftest import Api


@pytest.fixture
async def api(connect: "type[Api]") -> "AsyncIterator[Api]":
    app = penstock.App(store="memory:", grace_s=0)

    @app.function(priority=lambda given: 5 if given["question"] == "now" else 0, concurrency_key="question")
    async def ask(question: str) -> AsyncIterator[str]:
        yield "a"
        if question == "wait":
            await asyncio.Event().wait()
        if question == "fail":
            raise ValueError("Out of Ink")

    @app.function
    async def other() -> None:
        return

    async with live_server(app) as url, connect(url) as api:
        yield api


async def listed(api: "Api", **query: Any) -> list[str]:
    return [run["run_id"] for run in (await api.get("/api/runs", params=query)).json()["runs"]]


async def test_a_run_says_how_many_events_are_stored(api: "Api") -> None:
    run = await api.ended(await api.submit("ask", question="why"))
    assert run["stored"] == 2
    events = (await api.get(f"{run['events']}?poll=0")).json()
    assert events["cursor"].endswith("-2")
    (one,) = (await api.get("/api/runs")).json()["runs"]
    assert "stored" not in one, "lists would have to look at each stream"


async def test_runs_say_their_priority_and_key(api: "Api") -> None:
    first = await api.ended(await api.submit("ask", question="now"))
    assert (first["priority"], first["concurrency_key"]) == (5, "now")
    second = await api.ended(await api.submit("other"))
    assert (second["priority"], second["concurrency_key"]) == (0, None)
    runs = (await api.get("/api/runs")).json()["runs"]
    assert [(run["priority"], run["concurrency_key"]) for run in runs] == [(0, None), (5, "now")]
    long = await api.ended(await api.submit("ask", question="x" * 500))
    assert long["concurrency_key"].startswith("#"), "the digest of a long one"


async def test_a_list_says_how_inputs_begin(api: "Api") -> None:
    alone = await api.ended(await api.submit("ask", question="é" * 500))
    (listed,) = (await api.get("/api/runs")).json()["runs"]
    begins = '{"question":"' + "é" * 93  # 199 bytes: half a character is not sent
    assert listed["input_start"] == begins
    assert "input_start" not in alone
    assert "input" not in listed


async def test_searches_find_inputs_and_errors(api: "Api") -> None:
    failed = (await api.ended(await api.submit("ask", question="fail")))["run_id"]
    plain = (await api.ended(await api.submit("ask", question="Été")))["run_id"]
    assert await listed(api, q="out of ink") == [failed]
    assert await listed(api, q="éTÉ") == [plain]
    assert await listed(api, q="ask") == [plain, failed]
    assert await listed(api, q=plain[-8:].upper()) == [plain]
    assert await listed(api, q="") == [plain, failed]


async def test_lists_of_several_states(api: "Api") -> None:
    ended = (await api.ended(await api.submit("ask", question="x")))["run_id"]
    failed = (await api.ended(await api.submit("ask", question="fail")))["run_id"]
    running = await api.submit("ask", question="wait")
    await api.get(f"/api/runs/{running}/events?poll=10")
    assert await listed(api, state="queued,running") == [running]
    assert await listed(api, state="failed,running") == [running, failed]
    assert await listed(api, state="succeeded") == [ended]


async def test_lists_of_runs_by_id_are_paged_as_well(api: "Api") -> None:
    ids = [await api.submit("other") for _ in range(4)]
    assert await listed(api, ids=",".join(ids[:2])) == [ids[1], ids[0]]
    assert await listed(api, ids=f"nobody's,{ids[3]}") == [ids[3]]
    page = (await api.get("/api/runs", params={"ids": ",".join(ids[1:]), "limit": 2, "q": "other"})).json()
    assert [run["run_id"] for run in page["runs"]] == [ids[3], ids[2]]
    more = {"ids": ",".join(ids[1:]), "limit": 2, "q": "other", "before": page["next"]}
    assert await listed(api, **more) == [ids[1]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"state": "queued,gone"}, "state"),
        ({"state": ""}, "state"),
        ({"ids": ""}, "ids"),
        ({"ids": "a,,b"}, "ids"),
        ({"ids": ",".join(f"r{n}" for n in range(101))}, "ids"),
        ({"q": "x" * 201}, "q"),
        ({"q": "a\0b"}, "q"),
    ],
)
async def test_what_no_list_can_be_asked_for(api: "Api", query: dict[str, str], field: str) -> None:
    answer = await api.get("/api/runs", params=query)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (400, "bad_request", field)
