"""The queue over HTTP: refusals, repeats, receipts, and runs outside the line."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import penstock
from penstock.testing import live_server, until

if TYPE_CHECKING:
    from tests.conftest import Api

TOOK_S = 45


def of_team(given: Mapping[str, Any]) -> str:
    return {"red": "one", "blue": "two"}[given["who"]]


class Hall:
    """An app whose runs are held where the test wants them."""

    def __init__(self, store: str) -> None:
        self.gate = asyncio.Event()
        self.begun: list[str] = []
        self.app = penstock.App(store=store, grace_s=0, rate=0)
        say = self.app.function
        say(name="line", max_size=1)(self.hold)
        say(name="reject", on_repeat="reject")(self.hold)
        say(name="replace", on_repeat="replace")(self.hold)
        say(name="at_once", queue=False)(self.hold)
        say(name="team", concurrency_key=of_team)(self.hold)
        say(name="ranked", priority=of_team)(self.hold)  # type: ignore[arg-type]

    async def hold(self, who: str = "") -> AsyncIterator[str]:
        """Says that it is on, and ends when the test lets it."""
        self.begun.append(who)
        yield "on "
        await self.gate.wait()
        yield "and done"


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Hall]:
    hall = Hall(f"sqlite:///{tmp_path / 'runs.db'}")
    yield hall
    hall.gate.set()


@pytest.fixture
async def api(hall: Hall, connect: "type[Api]") -> "AsyncIterator[Api]":
    async with live_server(hall.app) as url, connect(url) as api:
        yield api


async def post(api: "Api", function: str, given: Any = None, **more: Any) -> httpx.Response:
    return await api.post("/api/runs", json={"function": function, "input": given or {}} | more)


async def running(api: "Api", function: str, **more: Any) -> str:
    """A run that has begun; its id."""
    answer = await post(api, function, **more)
    run_id: str = answer.json()["run_id"]
    await api.get(f"/api/runs/{run_id}/events", params={"poll": 10})
    return run_id


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code; a refusal is JSON with words for a person."""
    assert answer.headers["content-type"] == "application/json"
    (error,) = answer.json().values()
    assert error["message"]
    assert error["hint"]
    return answer.status_code, error["code"]


async def state_of(api: "Api", run_id: str) -> str:
    state: str = (await api.get(f"/api/runs/{run_id}")).json()["state"]
    return state


# --- Full ---


async def test_a_full_line_is_503_and_says_when_to_come_back(
    api: "Api", hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.queue.standings.KNOWN_S", 0)
    late = SimpleNamespace(time_ns=lambda: time.time_ns() + TOOK_S * 10**9, monotonic=time.monotonic)
    with monkeypatch.context() as clock:
        clock.setattr("penstock.worker.journal.time", late)  # its end is stored as of then
        hall.gate.set()
        await api.ended(await api.submit("line"))
    hall.gate.clear()
    await running(api, "line")
    waits = await api.submit("line")
    answer = await post(api, "line")
    assert refusal(answer) == (503, "queue_full")
    assert "line" in answer.json()["error"]["message"]
    assert TOOK_S <= int(answer.headers["retry-after"]) <= TOOK_S + 2
    assert len((await api.get("/api/runs")).json()["runs"]) == 3, "nothing of it was kept"
    assert (await post(api, "reject")).status_code == 202, "another group is not full"
    await api.post(f"/api/runs/{waits}/cancel")
    assert (await post(api, "line")).status_code == 202


async def test_when_nothing_is_known_it_is_worth_another_try_after_a_second(api: "Api") -> None:
    await running(api, "line")
    await api.submit("line")
    answer = await post(api, "line")
    assert refusal(answer) == (503, "queue_full")
    assert answer.headers["retry-after"] == "1"


# --- Repeats ---


async def test_a_repeat_that_is_refused_is_409_and_names_the_run(api: "Api", hall: Hall) -> None:
    first = await running(api, "reject", session="s")
    answer = await post(api, "reject", session="s")
    assert refusal(answer) == (409, "already_running")
    assert answer.json()["error"]["field"] == "session"
    assert first in answer.json()["error"]["message"]
    assert (await post(api, "reject", session="t")).status_code == 202
    assert (await post(api, "reject")).status_code == 202
    hall.gate.set()
    await api.ended(first)
    assert (await post(api, "reject", session="s")).status_code == 202


async def test_a_reader_of_a_replaced_run_is_told(api: "Api", hall: Hall) -> None:
    await running(api, "replace", session="s")
    replaced = (await post(api, "replace", session="s")).json()["run_id"]
    reader = asyncio.create_task(api.messages(replaced))
    answer = (await post(api, "replace", session="s")).json()
    assert answer["state"] == "queued"
    assert '"replaced"' in (await reader)[-1].data
    run = await api.ended(replaced)
    assert (run["state"], run["error"]["code"], run["cancel"]) == ("cancelled", "replaced", "stopped")
    hall.gate.set()
    assert (await api.ended(answer["run_id"]))["state"] == "succeeded"


async def test_a_key_answers_with_its_run_as_it_stands(api: "Api", hall: Hall) -> None:
    await running(api, "line")
    first = await post(api, "line", key="k", session="s")
    again = await post(api, "line", {"who": "else"}, key="k", session="t")
    assert (again.status_code, again.json()) == (202, first.json())
    assert (await api.get(f"/api/runs/{first.json()['run_id']}")).json()["session"] == "s"
    hall.gate.set()
    await api.ended(first.json()["run_id"])
    ended = (await post(api, "line", key="k")).json()
    assert (ended["run_id"], ended["state"], ended["position"], ended["eta_s"]) == (
        first.json()["run_id"],
        "succeeded",
        None,
        None,
    )


# --- Inputs that the app's own functions have no answer for ---


@pytest.mark.parametrize(("function", "option"), [("team", "concurrency_key"), ("ranked", "priority")])
async def test_a_function_of_the_input_that_raises_is_422(
    function: str, option: str, api: "Api", hall: Hall
) -> None:
    answer = await post(api, function, {"who": "green"})
    assert refusal(answer) == (422, "invalid_input")
    assert option in answer.json()["error"]["message"]
    assert "KeyError" in answer.json()["error"]["message"]
    assert hall.begun == []


async def test_one_that_gives_no_priority_is_no_fault_of_the_server(api: "Api") -> None:
    answer = await post(api, "ranked", {"who": "red"})  # "one" is no number
    assert refusal(answer) == (422, "invalid_input")
    assert "priority" in answer.json()["error"]["message"]


# --- Outside the line ---


async def test_without_a_queue_runs_are_stored_and_streamed_at_once_beside_a_full_line(
    api: "Api", hall: Hall
) -> None:
    await running(api, "line")
    await api.submit("line")
    assert refusal(await post(api, "line")) == (503, "queue_full")
    answers = [(await post(api, "at_once")).json() for _ in range(5)]
    assert [(answer["position"], answer["eta_s"]) for answer in answers] == [(1, 0.0)] * 5
    runs = [answer["run_id"] for answer in answers]
    for run_id in runs:
        polled = (await api.get(f"/api/runs/{run_id}/events", params={"poll": 10})).json()
        assert [event["text"] for event in polled["events"]] == ["on "]
    cursor = polled["cursor"]
    groups = (await api.get("/api/queue")).json()["groups"]
    (group,) = [group for group in groups if group["functions"] == ["at_once"]]
    assert (group["running"], group["waiting"], group["concurrency_limit"], group["max_size"]) == (
        5,
        0,
        None,
        None,
    )
    hall.gate.set()
    rest = await api.messages(runs[-1], cursor)
    assert "and done" in rest[0].data
    assert "succeeded" in rest[-1].data
    assert await state_of(api, runs[0]) == "succeeded"


# --- Readers in line ---


async def test_a_long_poll_in_line_is_answered_when_the_run_is_cancelled(api: "Api") -> None:
    await running(api, "line")
    waits = await api.submit("line")
    polling = asyncio.create_task(api.get(f"/api/runs/{waits}/events", params={"poll": 10}))
    empty = (await api.get(f"/api/runs/{waits}/events", params={"poll": 0})).json()
    assert (empty["events"], empty["done"]) == ([], False)
    assert (await api.post(f"/api/runs/{waits}/cancel")).json() == {
        "run_id": waits, "state": "cancelled", "cancel": "stopped",
    }  # fmt: skip
    answer = (await polling).json()
    assert (answer["done"], [event["type"] for event in answer["events"]]) == (True, ["end"])


async def test_statuses_come_without_an_id_and_move_no_cursor(api: "Api", hall: Hall) -> None:
    await running(api, "line")
    waits = await api.submit("line")
    answer = asyncio.create_task(api.get(f"/api/runs/{waits}/events"))
    await until(lambda: hall.app._services is not None and hall.app._services.hub.read == {waits})
    hall.gate.set()
    text = (await answer).text
    status, rest = text[text.index("event: status") :].split("\n\n", 1)
    assert status.startswith('event: status\ndata: {"state":"queued","position":1,')
    assert "id:" not in status
    assert "id: " in rest
