"""Every route's answers and refusals, from a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import penstock
from penstock.testing import live_server, until

if TYPE_CHECKING:
    from tests.conftest import Api


def make_app(**settings: Any) -> penstock.App:
    app = penstock.App(**({"store": "memory:", "max_body_bytes": 2048} | settings))

    @app.function
    def add(a: int, b: int = 1) -> int:
        """Adds."""
        return a + b

    @app.function(concurrency_limit=1)
    async def hang() -> AsyncIterator[str]:
        yield "on"
        await asyncio.Event().wait()

    @app.function
    async def fail() -> None:
        raise ValueError("too much")

    return app


RESULTS: dict[str, Any] = {
    "null": None, "true": True, "false": False, "zero": 0, "large": 2**63 - 1, "float": -1.5e-7, "empty": "",
    "text": 'héllo "\\\u2028\0\U0001f58b', "list": [], "nested": [[None, {"": {"a": [1, "x", False]}}]],
    "object": {}, "megabytes": {"text": "ä\n" * 700_000},
}  # fmt: skip


@pytest.fixture
def app() -> penstock.App:
    return make_app(grace_s=0)


@pytest.fixture
async def api(app: penstock.App, connect: "type[Api]") -> "AsyncIterator[Api]":
    async with live_server(app) as url, connect(url) as api:
        yield api


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and field; every refusal has a message and says what to do."""
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error["message"]
    assert isinstance(error["hint"], str)
    return answer.status_code, error["code"], error.get("field")


async def test_functions(api: "Api") -> None:
    listed = (await api.get("/api/functions")).json()["functions"]
    assert [one["name"] for one in listed] == ["add", "hang", "fail"]
    assert listed[0]["description"] == "Adds."
    assert listed[0]["input_schema"] == {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 1}},
        "required": ["a"],
        "additionalProperties": False,
    }


async def test_submit_answers_with_where_to_read(api: "Api") -> None:
    answer = await api.post("/api/runs", json={"function": "add", "input": {"a": 1}})
    body = answer.json()
    assert answer.status_code == 202
    assert body.keys() == {"run_id", "state", "position", "eta_s", "events"}
    assert (body["state"], body["position"]) == ("queued", 1)
    assert body["events"] == f"/api/runs/{body['run_id']}/events"
    assert (await api.get(body["events"])).status_code == 200


async def test_a_run_once_it_has_ended(api: "Api") -> None:
    answer = await api.post(
        "/api/runs", json={"function": "add", "input": {"a": 1, "b": 2}, "key": "k", "session": "s"}
    )
    run = await api.ended(answer.json()["run_id"])
    assert run["created_at_ms"] <= run["started_at_ms"] <= run["ended_at_ms"]
    expected = {
        "function": "add", "state": "succeeded", "position": None, "eta_s": None, "attempt": 1, "session": "s",
        "key": "k", "cancel": None, "error": None, "result": 3, "input": {"a": 1, "b": 2},
        "events": f"/api/runs/{run['run_id']}/events",
    }  # fmt: skip
    assert {name: run[name] for name in expected} == expected


async def test_results_of_every_kind(api: "Api", app: penstock.App) -> None:
    @app.function
    def give(name: str) -> Any:
        return RESULTS[name]

    for name, value in RESULTS.items():
        run = await api.ended(await api.submit("give", name=name))
        assert run["state"] == "succeeded"
        assert "result" in run
        assert (type(run["result"]), run["result"]) == (type(value), value), name


async def test_a_failed_run_says_why(api: "Api") -> None:
    run = await api.ended(await api.submit("fail"))
    assert (run["state"], run["result"]) == ("failed", None)
    assert run["error"] == {"code": "exception", "message": "ValueError: too much", "hint": ""}


async def test_a_key_gives_the_earlier_run(api: "Api") -> None:
    body = {"function": "add", "input": {"a": 1}, "key": "once"}
    first, second = [(await api.post("/api/runs", json=body)).json()["run_id"] for _ in range(2)]
    assert first == second


async def test_positions_in_line(api: "Api") -> None:
    first = await api.submit("hang")
    await api.get(f"/api/runs/{first}/events", params={"poll": 10})
    line = [await api.submit("hang") for _ in range(3)]
    assert [(await api.get(f"/api/runs/{run}")).json()["position"] for run in [first, *line]] == [
        None,
        1,
        2,
        3,
    ]


async def test_the_list_filters_and_pages(api: "Api") -> None:
    done = [await api.submit("add", a=number) for number in range(5)]
    for run in done:
        await api.ended(run)
    failed = await api.submit("fail")
    await api.ended(failed)

    async def listed(**query: Any) -> tuple[list[str], str | None]:
        page = (await api.get("/api/runs", params=query)).json()
        return [run["run_id"] for run in page["runs"]], page["next"]

    assert await listed() == ([failed, *reversed(done)], None)
    assert await listed(function="add") == (done[::-1], None)
    assert await listed(state="failed") == ([failed], None)
    page, further = await listed(limit=4, function="add")
    assert (page, further is not None) == (done[:0:-1], True)
    assert await listed(limit=4, function="add", before=further) == (done[:1], None)


async def test_cancel_has_a_receipt_that_stays_true(api: "Api") -> None:
    running = await api.submit("hang")
    await api.get(f"/api/runs/{running}/events", params={"poll": 10})
    waiting = await api.submit("hang")
    receipts = [(await api.post(f"/api/runs/{run}/cancel")) for run in (waiting, running)]
    assert [answer.status_code for answer in receipts] == [202, 202]
    assert receipts[0].json() == {"run_id": waiting, "state": "cancelled", "cancel": "stopped"}
    assert receipts[1].json() == {"run_id": running, "state": "running", "cancel": "acknowledged"}
    run = await api.ended(running)
    assert (run["state"], run["cancel"], run["error"]) == ("cancelled", "stopped", None)
    again = await api.post(f"/api/runs/{running}/cancel")
    assert again.json() == {"run_id": running, "state": "cancelled", "cancel": "stopped"}


async def test_cancelling_what_has_succeeded_changes_nothing(api: "Api") -> None:
    run_id = await api.submit("add", a=1)
    await api.ended(run_id)
    answer = await api.post(f"/api/runs/{run_id}/cancel")
    assert answer.json() == {"run_id": run_id, "state": "succeeded", "cancel": "stopped"}
    assert (await api.get(f"/api/runs/{run_id}")).json()["cancel"] is None


async def test_operations(api: "Api", app: penstock.App) -> None:
    assert (await api.get("/healthz")).json() == {"status": "ok"}
    assert (await api.get("/readyz")).json() == {"status": "ready"}
    await app.drain()
    answer = await api.get("/readyz")
    assert refusal(answer) == (503, "server_closing", None)
    assert int(answer.headers["retry-after"]) >= 1
    assert (await api.get("/healthz")).status_code == 200
    refused = await api.post("/api/runs", json={"function": "add", "input": {"a": 1}})
    assert refusal(refused) == (503, "server_closing", None)
    assert refused.headers["retry-after"] == "1"


async def test_the_page_and_its_files(api: "Api") -> None:
    page = await api.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    module = await api.get("/web/console/console.js")
    assert module.headers["content-type"].partition(";")[0] == "text/javascript"
    for answer in (page, module, await api.get("/web/console/index.html")):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-cache"
    again = await api.get("/web/console/console.js", headers={"If-None-Match": module.headers["etag"]})
    assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")
    assert refusal(await api.get("/web/nothing.js")) == (404, "not_found", None)
    assert refusal(await api.get("/web/../server/auth.py")) == (404, "not_found", None)
    assert refusal(await api.get("/web/%2e%2e/server/auth.py")) == (404, "not_found", None)


async def test_a_large_result_that_grows_on_its_way(api: "Api", app: penstock.App) -> None:
    """In pieces it is JSON in JSON: here each of its bytes but the commas is escaped."""

    @app.function
    def quotes() -> list[str]:
        return [""] * 5_500_000

    run_id = await api.submit("quotes")
    await api.ended(run_id)
    assert (await api.get(f"/api/runs/{run_id}")).json()["result"] == [""] * 5_500_000


async def test_white_space_is_json(api: "Api") -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    body = b' { "function" : "add" , "input" :\n\t { "a" : 1 } } '
    assert (await api.post("/api/runs", content=body, headers=headers)).status_code == 202


async def test_the_largest_body_is_taken(api: "Api") -> None:
    body = json.dumps({"function": "add", "input": {"a": 1}}).encode().ljust(2048)
    headers = {"Content-Type": "application/json"}
    assert (await api.post("/api/runs", content=body, headers=headers)).status_code == 202


async def test_a_bug_of_ours_is_500_and_does_not_show_itself(
    api: "Api", app: penstock.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise LookupError("secret")

    monkeypatch.setattr((await app.start()).store, "run", broken)
    answer = await api.get("/api/runs/run_x")
    assert refusal(answer) == (500, "error", None)
    assert "secret" not in answer.text


async def test_nothing_is_left_of_the_readers(api: "Api", app: penstock.App) -> None:
    hub = (await app.start()).hub
    run_id = await api.submit("add", a=1)
    await asyncio.gather(*[api.messages(run_id) for _ in range(20)])
    await until(lambda: hub.subscribers == 0)
    assert hub._tails == {}
