"""Readers that come late: the current state in one event, then the tail."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import penstock
from penstock.errors import ProtocolError
from penstock.events import End, Folded, Json, decode, decode_message
from penstock.hub import folds
from penstock.protocol.coalesce import Fold
from penstock.protocol.sse import Decoder, Message, encode_fold
from penstock.testing import live_server, until

from .transports import whole_events

if TYPE_CHECKING:
    from tests.conftest import Api
    from tests.server.conftest import Gate, MakeApp, Reading


@pytest.fixture
def app(make_app: "MakeApp", gate: "Gate") -> penstock.App:
    app = make_app()

    @app.function(concurrency_limit=None)
    async def tells(pieces: int = 2000) -> AsyncIterator[Any]:
        for number in range(pieces):
            yield f"{number} "
            if number % 500 == 250:
                yield {"number": number}
                await asyncio.sleep(0)

    @app.function(concurrency_limit=None, cumulative=True)
    async def grows() -> AsyncIterator[str]:
        text = ""
        for number in range(300):
            text += f"{number} "
            yield text

    @app.function(concurrency_limit=None)
    async def rows(count: int, size: int) -> AsyncIterator[dict[str, str]]:
        for number in range(count):
            yield {"row": f"{number} ".ljust(size, "x")}

    @app.function(concurrency_limit=None, retries=1)
    async def falters(run: penstock.Run) -> AsyncIterator[str]:
        yield "one "
        if run.attempt == 1:
            yield "two "
            raise ValueError("the first time")
        yield "three"

    return app


def first_of(messages: list[Message]) -> tuple[Folded, list[Message]]:
    events = [one for one in messages if one.event == "message"]
    folded = decode_message(events[0].data)
    assert isinstance(folded, Folded)
    assert events[0].id.endswith(f"-{folded.seq}")
    return folded, events[1:]


def state_of(events: list[Any]) -> Fold:
    fold = Fold()
    for event in events:
        fold.apply(event)
    return fold


def same(one: Fold, other: Fold) -> bool:
    return (one.text, one.values, one.value, one.end) == (other.text, other.values, other.value, other.end)


@pytest.mark.parametrize(("function", "most"), [("tells", 15), ("grows", 2)])
async def test_a_run_that_has_ended_is_one_event(api: "Api", function: str, most: int) -> None:
    run_id = await api.submit(function)
    await api.ended(run_id)
    plain = [decode(one.data) for one in await api.messages(run_id, rate=0) if one.event == "message"]
    folded, rest = first_of(await api.messages(run_id, fold=1))
    assert rest == []
    assert folded.seq == plain[-1].seq
    assert same(state_of(folded.events), state_of(plain))
    assert len(folded.events) <= most


async def test_while_it_runs_the_tail_follows(api: "Api", gate: "Gate", reading: "Reading") -> None:
    run_id = await api.submit("wait")
    async with reading(api, run_id) as early:
        await early.until(b"before")
        async with reading(api, run_id, fold=1) as late:
            await late.until(b'"fold"')
            gate.open.set()
            folded, rest = first_of(await late.rest())
            await early.rest()
    assert [event.seq for event in folded.events] == [1]
    assert state_of([*folded.events, *(decode(one.data) for one in rest)]).text == "before after"
    assert decode(rest[-1].data).seq == 3


async def test_a_large_state_of_a_run_under_way_is_not_made_anew_for_each_reader(
    api: "Api", app: penstock.App, gate: "Gate", reading: "Reading", monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(data: bytes, seq: int, epoch: str) -> list[bytes]:
        made.append(seq)
        return encode_fold(data, seq, epoch)

    @app.function(rate=0)
    async def large() -> AsyncIterator[dict[str, str]]:
        yield {"row": "x" * 400_000}
        while not gate.open.is_set():
            yield {}
            await asyncio.sleep(0.02)

    monkeypatch.setattr("penstock.protocol.sse.encode_fold", counted)
    run_id = await api.submit("large")
    async with reading(api, run_id) as early:
        for _ in range(5):
            async with reading(api, run_id, fold=1) as late:
                await late.until(b'{"type":"json","value":{}')
        assert len(made) == 1
        async with reading(api, run_id, fold=1) as late:
            await late.until(b'"piece"')
            gate.open.set()
            bodies = [one.data for one in await late.rest() if one.event == "message"]
        await early.rest()
    events = whole_events(map(msgspec.json.decode, bodies))
    assert isinstance(events[-1], End)
    fold = await api.messages(run_id, fold=1)
    assert len(made) == 2, "that of the end has all"
    whole = whole_events(msgspec.json.decode(one.data) for one in fold if one.event == "message")
    assert same(state_of(events), state_of(whole))


async def test_what_a_large_state_leaves_out_follows_at_once_in_another_process_too(
    tmp_path: Path, make_app: "MakeApp", connect: "type[Api]", gate: "Gate", reading: "Reading"
) -> None:
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    here, there = make_app(store=store, heartbeat_s=60), make_app(store=store, heartbeat_s=60)
    for app in (here, there):

        @app.function(rate=0)
        async def large() -> AsyncIterator[dict[str, Any]]:
            yield {"row": "x" * 400_000}
            yield {"number": 1}
            await gate.open.wait()
            yield {"number": 2}
            await asyncio.Event().wait()

    async with (
        live_server(here) as url,
        live_server(there) as other_url,
        connect(url) as api,
        connect(other_url) as other,
    ):
        run_id = await api.submit("large")
        async with reading(api, run_id) as early:
            await early.until(b'{"number":1}')
            async with reading(other, run_id, fold=1) as first:
                await first.until(b'"fold')
                gate.open.set()
                await first.until(b'{"number":2}')
        (await there.start()).hub._tails.clear()  # and nobody has read there for long
        async with reading(other, run_id, fold=1) as late:
            await late.until(b'{"number":2}')


async def test_a_run_that_has_written_nothing_has_an_empty_fold(
    api: "Api", gate: "Gate", reading: "Reading"
) -> None:
    run_id = await api.submit("silent")
    async with reading(api, run_id, fold=1) as reader:
        await reader.until(b'"fold"')
        gate.open.set()
        folded, rest = first_of(await reader.rest())
    assert (folded.seq, folded.events) == (0, [])
    assert [decode(one.data).seq for one in rest] == [1]


async def test_a_cursor_beats_it(api: "Api") -> None:
    run_id = await api.submit("tells", pieces=10)
    await api.ended(run_id)
    cursor = (await api.messages(run_id, rate=0))[4].id
    messages = await api.messages(run_id, cursor, rate=0, fold=1)
    assert [decode(one.data).seq for one in messages] == list(range(6, 12))


async def test_who_has_the_fold_of_the_end_has_everything(api: "Api") -> None:
    run_id = await api.submit("tells", pieces=10)
    await api.ended(run_id)
    (message,) = [one for one in await api.messages(run_id, fold=1) if one.event == "message"]
    answer = await api.get(f"/api/runs/{run_id}/events", headers={"Last-Event-ID": message.id})
    assert answer.status_code == 204


async def test_what_was_withdrawn_is_not_in_it(api: "Api") -> None:
    run_id = await api.submit("falters")
    await api.ended(run_id)
    folded, _ = first_of(await api.messages(run_id, fold=1))
    assert state_of(folded.events).text == "one three"


async def test_by_long_poll(api: "Api") -> None:
    run_id = await api.submit("tells")
    await api.ended(run_id)
    answer = (await api.get(f"/api/runs/{run_id}/events", params={"poll": 1, "fold": 1})).json()
    (folded,) = answer["events"]
    assert (folded["type"], answer["done"]) == ("fold", True)
    assert answer["cursor"].endswith(f"-{folded['seq']}")


async def test_a_long_poll_gives_the_state_at_once_and_then_the_tail(api: "Api", gate: "Gate") -> None:
    run_id = await api.submit("wait")
    path = f"/api/runs/{run_id}/events"
    await api.get(path, params={"poll": 10})
    answer = (await api.get(path, params={"poll": 0, "fold": 1})).json()
    assert [event["type"] for event in answer["events"]] == ["fold"]
    assert (answer["events"][0]["events"][0]["text"], answer["done"]) == ("before ", False)
    gate.open.set()
    await api.ended(run_id)
    answer = (await api.get(path, params={"poll": 0, "fold": 1, "after": answer["cursor"]})).json()
    assert [(event["type"], event["seq"]) for event in answer["events"]] == [("text", 2), ("end", 3)]
    assert answer["done"], "a cursor beats the fold"


async def test_a_long_poll_gives_a_large_state_in_pieces(api: "Api") -> None:
    run_id = await api.submit("rows", count=300, size=1000)
    run = await api.ended(run_id)
    answer = (await api.get(run["events"], params={"poll": 0, "fold": 1})).json()
    parts = answer["events"]
    assert [part["part"] for part in parts] == list(range(parts[0]["parts"]))
    folded = decode_message("".join(part["data"] for part in parts))
    assert isinstance(folded, Folded)
    assert (folded.seq, len(folded.events), answer["done"]) == (run["stored"], run["stored"], True)
    assert answer["cursor"].endswith(f"-{run['stored']}")


async def test_a_state_that_is_too_large_comes_as_it_is_stored(
    api: "Api", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folds, "FOLD_BYTES", 100_000)
    run_id = await api.submit("rows", count=300, size=1000)
    await api.ended(run_id)
    for _ in range(2):
        messages = [one for one in await api.messages(run_id, fold=1) if one.event == "message"]
        assert [decode(one.data).seq for one in messages] == list(range(1, 302))


async def test_states_are_kept_within_a_bound(
    api: "Api", app: penstock.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folds, "KEPT_BYTES", 100_000)
    run_ids = [await api.submit("rows", count=30, size=1000) for _ in range(6)]
    for run_id in run_ids:
        await api.ended(run_id)
        first_of(await api.messages(run_id, fold=1))
    kept = (await app.start()).folds._kept
    assert list(kept) == run_ids[-3:]


async def test_many_who_come_at_once_share_one_reading(
    api: "Api", app: penstock.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await api.submit("tells")
    await api.ended(run_id)
    applied: list[int] = []
    real = Fold.apply

    def apply(fold: Fold, event: Any) -> None:
        applied.append(event.seq)
        real(fold, event)

    monkeypatch.setattr(Fold, "apply", apply)
    answers = await asyncio.gather(*[api.messages(run_id, fold=1) for _ in range(20)])
    assert len({first_of(answer)[0].seq for answer in answers}) == 1
    assert len(applied) <= 2005


async def test_a_stream_that_can_not_be_folded_comes_as_it_is_stored(
    api: "Api", monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(*_: object) -> None:
        raise ProtocolError("no such event")

    run_id = await api.submit("tells", pieces=3)
    await api.ended(run_id)
    monkeypatch.setattr(Fold, "apply", refuses)
    messages = await api.messages(run_id, rate=0, fold=1)
    assert [decode(one.data).seq for one in messages if one.event == "message"] == [1, 2, 3, 4]
    assert "can't be folded" in caplog.text


async def test_a_large_event_among_others_comes_whole(api: "Api", reading: "Reading") -> None:
    run_id = await api.submit("rows", count=3, size=5_000_000)
    await api.ended(run_id)
    for rate in (0, 20):
        messages = await api.messages(run_id, rate=rate)
        bodies = [msgspec.json.decode(one.data) for one in messages if one.event == "message"]
        *rows, end = whole_events(bodies)
        assert [len(row.value["row"]) for row in rows if isinstance(row, Json)] == [5_000_000] * 3
        assert isinstance(end, End)


async def test_bad_fold(api: "Api") -> None:
    run_id = await api.submit("tells", pieces=1)
    answer = await api.get(f"/api/runs/{run_id}/events", params={"fold": "yes"})
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "fold")


def test_decoder_takes_a_fold_as_a_message() -> None:
    (message,) = Decoder().feed(b'id: abcdefgh-0\ndata: {"type":"fold","events":[]}\n\n')
    assert decode_message(message.data) == Folded([])


@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_who_leaves_in_the_middle_of_the_last_frames_is_forgotten(
    api: "Api", app: penstock.App, coding: str, caplog: pytest.LogCaptureFixture
) -> None:
    @app.function
    async def noise() -> AsyncIterator[list[str]]:
        for number in range(2000):
            yield [Random(number).randbytes(1500).hex()]

    run_id = await api.submit("noise")
    await api.ended(run_id)
    members = (await app.start()).pulse._members
    for _ in range(5):
        headers = {"Accept-Encoding": coding}
        url = f"/api/runs/{run_id}/events"
        async with api.stream("GET", url, params={"fold": 1}, headers=headers) as answer:
            await anext(answer.aiter_raw())
            await until(lambda: members)
    await until(lambda: not members)
    assert not [
        record for record in caplog.records if record.levelname == "ERROR" and record.name == "penstock"
    ]
