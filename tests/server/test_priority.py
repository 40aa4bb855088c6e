"""An operator gives a waiting run another place in line."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.testing import live_server

if TYPE_CHECKING:
    from tests.conftest import Api


@pytest.fixture(params=["memory:", "sqlite:///{}/runs.db"])
async def api(request: pytest.FixtureRequest, connect: "type[Api]", tmp_path: Any) -> "AsyncIterator[Api]":
    app = penstock.App(store=request.param.format(tmp_path), grace_s=0)
    app.go = asyncio.Event()  # type: ignore[attr-defined]

    @app.function
    async def wait(name: str) -> str:
        if name == "first":
            await app.go.wait()  # type: ignore[attr-defined]
        return name

    async with live_server(app) as url, connect(url) as api:
        api.go = app.go  # type: ignore[attr-defined]
        yield api


async def test_a_waiting_run_goes_to_the_front(api: "Api") -> None:
    first = await api.submit("wait", name="first")
    await api.get(f"/api/runs/{first}/events?poll=0.5")
    ids = [await api.submit("wait", name=name) for name in ("a", "b", "c")]
    answer = await api.post(f"/api/runs/{ids[2]}/priority", json={"priority": 10})
    body = answer.json()
    assert (answer.status_code, body["priority"], body["position"], body["state"]) == (200, 10, 1, "queued")
    runs = (await api.get("/api/runs", params={"ids": ",".join(ids)})).json()["runs"]
    assert [(run["priority"], run["position"]) for run in runs] == [(10, 1), (0, 3), (0, 2)]
    api.go.set()  # type: ignore[attr-defined]
    ended = [await api.ended(run_id) for run_id in ids]
    assert ended[2]["started_at_ms"] <= ended[0]["started_at_ms"] <= ended[1]["started_at_ms"]


async def test_what_no_priority_can_be_given(api: "Api") -> None:
    run_id = (await api.ended(await api.submit("wait", name="x")))["run_id"]

    async def tried(run_id: str, body: Any) -> tuple[int, str, str | None]:
        answer = await api.post(f"/api/runs/{run_id}/priority", json=body)
        error = answer.json()["error"]
        return answer.status_code, error["code"], error.get("field")

    assert await tried(run_id, {"priority": 1}) == (409, "not_waiting", None)
    assert await tried("nobody's", {"priority": 1}) == (404, "unknown_run", None)
    assert await tried(run_id, {"priority": "high"}) == (400, "bad_request", "priority")
    assert await tried(run_id, {"priority": 10**7}) == (400, "bad_request", "priority")
    assert await tried(run_id, {"priority": 1, "more": 2}) == (400, "bad_request", "more")
    assert await tried(run_id, {}) == (400, "bad_request", "priority")
