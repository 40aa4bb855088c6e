"""Standing in line: what those who wait are told, and how often."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from penstock.testing import until

if TYPE_CHECKING:
    from tests.queue.conftest import Serve, Stage

QUICK_S = 0.02
"""In place of the second between two tellings, where a test is not about it."""

LEAST_GAP_S = 0.9
"""Between two tellings of one reader, whenever it came: looks come each second, and may be a little early."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.queue.standings.TELL_S", QUICK_S)


def places(statuses: list[dict[str, Any]]) -> list[Any]:
    return [status["position"] or status["state"] for status in statuses]


@pytest.mark.usefixtures("quick")
async def test_a_reader_sees_the_line_move_up_to_its_own_start(
    store: str, serve: "Serve", stage: "Stage"
) -> None:
    async with serve(stage.hold, store=store) as site:
        runs = {who: await site.submit("hold", {"who": who}) for who in "abcd"}
        await stage.has("a")
        readers = {who: site.read(run_id) for who, run_id in runs.items()}
        for moved, who in enumerate("abcd"):
            assert (await readers[who].told(state="running"))["position"] is None
            for place, other in enumerate("abcd"[moved + 1 :], 1):
                await readers[other].told(position=place, state="queued")
            stage.let_go(who)
            assert (await readers[who].end())["state"] == "succeeded"
        assert places(readers["a"].statuses) == ["running"]
        assert places(readers["d"].statuses) == [3, 2, 1, "running"]
        for reader in readers.values():
            assert all(message.own_id == (message.event == "message") for message in reader.messages)
            assert all(status.keys() >= {"state", "position", "eta_s"} for status in reader.statuses)


@pytest.mark.usefixtures("quick")
async def test_any_process_of_the_file_tells_its_readers(file: str, serve: "Serve", stage: "Stage") -> None:
    async with serve(stage.hold, store=file) as one:
        runs = [await one.submit("hold", {"who": who}) for who in "abc"]
        await stage.has("a")
        async with serve(stage.hold, store=file) as other:
            reader = other.read(runs[2])
            await reader.told(position=2)
            await other.cancel(runs[1])
            await reader.told(position=1)
            overviews = await asyncio.gather(one.queue(), other.queue())
            assert overviews[0] == overviews[1]
            assert (overviews[0]["hold"]["running"], overviews[0]["hold"]["waiting"]) == (1, 1)
            stage.let_go("a")
            await reader.told(state="running", position=None)
            stage.let_go("c")
            assert (await reader.end())["state"] == "succeeded"


@pytest.mark.usefixtures("quick")
async def test_nobody_is_told_again_what_has_not_changed(
    serve: "Serve", stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(stage.hold) as site:
        services = await site.app.start()
        runs = [await site.submit("hold", {"who": who}) for who in "abcd"]
        await stage.has("a")
        readers = [site.read(run_id) for run_id in runs[1:]]
        for place, reader in enumerate(readers, 1):
            await reader.told(position=place)
        looked: list[set[str]] = []
        standings = services.store.standings

        async def look(run_ids: Any) -> Any:
            looked.append(set(run_ids))
            return await standings(run_ids)

        monkeypatch.setattr(services.store, "standings", look)
        waiting = set(runs[1:])
        await until(
            lambda: waiting in looked
        )  # a reader that came late is none that has heard nothing for long
        began = looked.index(waiting)
        await until(lambda: len(looked) >= began + 5)
        assert [len(reader.statuses) for reader in readers] == [1, 1, 1]
        assert looked[began:] == [waiting] * len(looked[began:]), "one look for all who wait"
        assert all(one <= waiting for one in looked), "and for none who runs"


async def test_a_reader_is_told_once_a_second_however_fast_the_line_moves(
    serve: "Serve", stage: "Stage"
) -> None:
    count = 40
    async with serve(stage.hold) as site:
        runs = [await site.submit("hold", {"who": str(number)}) for number in range(count)]
        reader = site.read(runs[-1])
        await reader.told(position=count - 1)
        began = time.monotonic()
        await stage.one_by_one(count - 1)
        await reader.told(state="running")
        assert len(reader.statuses) <= 1 + (time.monotonic() - began) / LEAST_GAP_S
        stage.let_go()
        assert (await reader.end())["state"] == "succeeded"


@pytest.mark.usefixtures("quick")
async def test_who_is_cancelled_in_line_hears_of_its_end_and_the_others_move_up(
    file: str, serve: "Serve", stage: "Stage"
) -> None:
    async with serve(stage.hold, store=file) as site:
        runs = [await site.submit("hold", {"who": who}) for who in "abc"]
        await stage.has("a")
        second, third = site.read(runs[1]), site.read(runs[2])
        await second.told(position=1)
        await third.told(position=2)
        assert await site.cancel(runs[1]) == "stopped"
        end = await second.end()
        assert (end["type"], end["state"], end["seq"]) == ("end", "cancelled", 1)
        await third.told(position=1)
        answer = await site.api.get(f"/api/runs/{runs[1]}/events", params={"poll": 5})
        assert (answer.json()["done"], len(answer.json()["events"])) == (True, 1)


@pytest.mark.usefixtures("quick")
async def test_who_comes_late_is_told_at_once(file: str, serve: "Serve", stage: "Stage") -> None:
    async with serve(stage.hold, store=file) as site:
        first, second = [await site.submit("hold", {"who": who}) for who in "ab"]
        await stage.has("a")
        for _ in range(3):
            reader = site.read(second)
            assert (await reader.told(position=1))["state"] == "queued"
            await reader.leave()
        assert places([await site.read(first).told(position=None)]) == ["running"]


async def test_the_first_that_a_reader_is_told_is_where_its_run_stands_now(
    file: str, serve: "Serve", stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where it stood when it was submitted, to whichever process its reader comes."""
    monkeypatch.setattr("penstock.hub.hub.FRESH_S", 0)  # that is longer ago
    async with serve(stage.hold, store=file) as one, serve(stage.hold, store=file) as other:
        (await one.app.start()).worker.hold()
        runs = [await one.submit("hold", {"who": who}) for who in "abc"]
        await stage.has("a")
        stage.let_go("a")
        await stage.has("a", "b")
        for site in (one, other):
            for run_id, place in ((runs[1], "running"), (runs[2], 1)):
                reader = site.read(run_id)
                await until(lambda reader=reader: reader.statuses)  # type: ignore[misc]
                assert places(reader.statuses[:1]) == [place]


@pytest.mark.usefixtures("quick")
async def test_a_reader_hears_that_its_run_waits_for_another_attempt(
    store: str, serve: "Serve", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only one that connects then: for those who were there the text would seem to have stalled."""
    monkeypatch.setattr("penstock.worker.executor.retry_at_ms", lambda _: time.time_ns() // 1_000_000 + 1000)
    attempts: list[int] = []

    async def flaky() -> AsyncIterator[str]:
        attempts.append(len(attempts) + 1)
        yield f"attempt {attempts[-1]}"
        if attempts == [1]:
            await until(lambda: reader.events)
            raise ConnectionError("the model is busy")

    async with serve((flaky, {"retries": 1}), store=store) as site:
        reader = site.read(await site.submit("flaky"))
        await until(lambda: [one for one in reader.statuses if 0 < (one["eta_s"] or 0) <= 1])
        await reader.told(state="queued", position=1)
        assert [event["type"] for event in reader.events] == ["text"]
        assert (await reader.end())["state"] == "succeeded"
        assert [event["type"] for event in reader.events] == ["text", "reset", "text", "end"]


async def test_the_answer_the_run_and_the_list_say_where_it_stands(
    file: str, serve: "Serve", stage: "Stage"
) -> None:
    async with serve((stage.hold, {"concurrency_limit": 2}), store=file) as site:
        answers = [await site.post("hold", {"who": who}) for who in "ab"]
        await stage.has("a", "b")
        answers += [await site.post("hold", {"who": who}) for who in "cde"]
        assert [answer["status"] for answer in answers] == [202] * 5
        assert [(answer["state"], answer["position"]) for answer in answers[2:]] == [
            ("queued", 1), ("queued", 2), ("queued", 3),
        ]  # fmt: skip
        ids = [answer["run_id"] for answer in answers]
        listed = (await site.api.get("/api/runs")).json()["runs"]
        assert [run["run_id"] for run in listed] == ids[::-1]
        assert [run["position"] for run in listed] == [3, 2, 1, None, None]
        assert [(await site.run(run_id))["position"] for run_id in ids] == [None, None, 1, 2, 3]
        queued = (await site.api.get("/api/runs", params={"state": "queued", "limit": 1})).json()["runs"]
        assert [run["position"] for run in queued] == [3]


async def test_the_whole_queue_at_a_glance(store: str, serve: "Serve", stage: "Stage") -> None:
    functions: Any = [
        (stage.hold, {"concurrency_limit": 2, "concurrency_id": "gpu", "max_size": 5}),
        (stage.hold, {"name": "other", "concurrency_id": "gpu", "rate_limit": "9/min"}),
        (stage.hold, {"name": "at_once", "queue": False}),
        (stage.hold, {"name": "idle"}),
    ]
    async with serve(*functions, store=store, max_threads=7, default_concurrency_limit=3) as site:
        for function, who in zip(["hold", "other", "hold", "other", "at_once"], "abcde", strict=True):
            await site.submit(function, {"who": who})
        await stage.has("a", "b", "e")
        overview = (await site.api.get("/api/queue")).json()
        assert {name: overview[name] for name in overview if name != "groups"} == {
            "workers": 1,
            "max_threads": 7,
        }
        gpu, at_once, idle = overview["groups"]
        assert gpu == {
            "group": "gpu", "functions": ["hold", "other"], "concurrency_limit": 2, "max_size": 5,
            "rate_limits": {"other": "9/min"}, "waiting": 2, "running": 2, "calls": 2, "held": 0,
            "eta_s": None,
            "durations": {},
        }  # fmt: skip
        assert (at_once["functions"], at_once["concurrency_limit"], at_once["running"]) == (
            ["at_once"],
            None,
            1,
        )
        assert (idle["group"], idle["concurrency_limit"], idle["waiting"], idle["running"]) == (
            "idle",
            3,
            0,
            0,
        )


async def test_a_batch_is_one_call_in_the_overview_and_takes_one_place(store: str, serve: "Serve") -> None:
    gate = asyncio.Event()

    async def embed(text: list[str]) -> list[str]:
        await gate.wait()
        return text

    options = {"batch": True, "max_batch_size": 8, "max_wait_ms": 2000, "concurrency_limit": 2}
    async with serve((embed, options), store=store) as site:
        runs = [await site.submit("embed", {"text": "x"}) for _ in range(8)]

        async def all_run() -> bool:
            return bool((await site.queue())["embed"]["running"] == 8)

        await until(all_run)
        group = (await site.queue())["embed"]
        assert (group["calls"], group["held"], group["eta_s"]) == (1, 0, 0.0), "a place is free"
        gate.set()
        for run_id in runs:
            assert (await site.ended(run_id))[0] == "succeeded"


async def test_a_newcomer_is_told_of_those_who_go_before_it(
    store: str, serve: "Serve", stage: "Stage"
) -> None:
    async with serve(
        (stage.hold, {"priority": lambda given: 10 if given["user"] == "vip" else 0}), store=store
    ) as site:
        await site.submit("hold", {"who": "a"})
        await stage.has("a")
        users = {"b": "", "c": "vip", "d": ""}
        answers = [await site.post("hold", {"who": who, "user": user}) for who, user in users.items()]
        assert [answer["position"] for answer in answers] == [1, 1, 3]
        listed = {answer["run_id"]: (await site.run(answer["run_id"]))["position"] for answer in answers}
        assert list(listed.values()) == [2, 1, 3]
        stage.let_go()
