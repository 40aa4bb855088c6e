"""Reading a run through whatever happens to the connection: nothing is lost, nothing comes twice."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from penstock.client import AsyncClient, AsyncRemoteRun, stream
from penstock.errors import ClientError, ProtocolError, RunFailed
from penstock.events import AnyEvent, End, Json, Reset, Text
from penstock.protocol import sse
from penstock.testing import until

from .rogue import (
    EPOCH,
    OTHER,
    STORY,
    TEXT,
    WORDS,
    Act,
    Rogue,
    Stage,
    cut_after,
    ends_after,
    fails,
    frames,
    read,
    refuses,
    sends,
    stays_after,
    story,
)

# Reading through failures


@pytest.mark.parametrize("fault", [cut_after, ends_after])
async def test_a_break_at_any_byte_neither_loses_nor_repeats_an_event(
    rogue: Rogue, client: AsyncClient, fault: Callable[[int], Act]
) -> None:
    for size in range(0, len(frames(STORY)) - 1, 3):
        rogue.acts = [fault(size)]
        assert await read(client.run("r1")) == STORY, f"broken after {size} bytes"


async def test_many_breaks_in_one_reading(rogue: Rogue, client: AsyncClient) -> None:
    frame = max(len(sse.encode_event(event, EPOCH)) for event in STORY)
    rogue.acts = [act(frame + extra) for extra in range(8) for act in (cut_after, ends_after)]
    assert await read(client.run("r1")) == STORY
    assert len(rogue.cursors) > 4


async def test_the_id_of_an_event_that_was_cut_off_does_not_move_the_cursor(
    rogue: Rogue, client: AsyncClient
) -> None:
    first = sse.encode_event(STORY[0], EPOCH)
    rogue.acts = [sends(first + b"id: %b-2\ndata: {" % EPOCH.encode(), then_cut=True)]
    assert await read(client.run("r1")) == STORY
    assert rogue.cursors == [None, f"{EPOCH}-1"]


async def test_a_server_that_fails_is_tried_again(rogue: Rogue, client: AsyncClient) -> None:
    rogue.acts = [fails, fails]
    assert await read(client.run("r1")) == STORY


async def test_events_that_come_twice_are_passed_on_once(rogue: Rogue, client: AsyncClient) -> None:
    everything = sends(frames(STORY[:4]) + frames(STORY[2:6]), then_cut=True)
    rogue.acts = [everything, everything]
    rogue.last = sends(frames(STORY))
    assert await read(client.run("r1")) == STORY


async def test_a_silent_connection_is_left(rogue: Rogue) -> None:
    rogue.acts = [stays_after(frames(STORY[:3]))]
    async with AsyncClient(rogue.url, silence_s=0.2) as client:
        assert await read(client.run("r1")) == STORY
    assert rogue.cursors == [None, f"{EPOCH}-3"]
    await until(rogue.gone.is_set)


async def test_reading_goes_on_after_a_cursor(rogue: Rogue, client: AsyncClient) -> None:
    assert await read(client.run("r1"), after=f"{EPOCH}-5") == STORY[5:]
    assert rogue.cursors == [f"{EPOCH}-5"]


async def test_204_is_the_end(rogue: Rogue, client: AsyncClient) -> None:
    async def finished(stage: Stage) -> None:
        await stage.answer(204)

    rogue.acts = [finished]
    assert await read(client.run("r1"), after=f"{EPOCH}-9") == []
    rogue.acts = [finished]
    with pytest.raises(ProtocolError, match="has sent no end"):
        await client.run("r1").result()


async def test_nothing_after_the_end_is_read(rogue: Rogue, client: AsyncClient) -> None:
    rogue.acts = [stays_after(frames(STORY) + b"data: nonsense\n\n")]
    assert await read(client.run("r1")) == STORY
    await until(rogue.gone.is_set)


# What the server asks for


async def test_retry_after_is_obeyed(rogue: Rogue, client: AsyncClient) -> None:
    rogue.acts = [refuses(503, "store_locked", retry_after="1")]
    told: list[dict[str, Any]] = []
    assert await read(client.run("r1", on_status=told.append)) == STORY
    assert told == [
        {"connection": "connecting"},
        {"connection": "reconnecting", "attempt": 1, "wait_s": 1.0, "reason": "No."},
        {"connection": "live"},
    ]


async def test_a_draining_server_is_left_for_as_long_as_it_says(rogue: Rogue, client: AsyncClient) -> None:
    status = sse.status("status", {"state": "queued", "position": 3, "eta_s": None})
    rogue.acts = [sends(status + frames(STORY[:2]) + sse.draining(50))]
    told: list[dict[str, Any]] = []
    assert await read(client.run("r1", on_status=told.append)) == STORY
    assert told[1:4] == [
        {"connection": "live"},
        {"state": "queued", "position": 3, "eta_s": None},
        {"connection": "draining"},
    ]
    assert told[4]["wait_s"] == 0.05


async def test_the_retry_field_for_browsers_does_not_slow_a_client_that_backs_off_by_itself(
    rogue: Rogue, client: AsyncClient
) -> None:
    rogue.acts = [sends(b"retry: 60000\n\n" + frames(STORY[:2]))]
    assert await read(client.run("r1")) == STORY


async def test_a_stream_that_never_gets_anywhere_backs_off(rogue: Rogue, client: AsyncClient) -> None:
    rogue.acts = [ends_after(0)] * 3 + [cut_after(10)] * 3
    told: list[dict[str, Any]] = []
    assert await read(client.run("r1", on_status=told.append)) == STORY
    tries = [status["attempt"] for status in told if status["connection"] == "reconnecting"]
    assert tries == [1, 2, 3, 4, 5, 6]


async def test_progress_begins_the_count_anew(rogue: Rogue, client: AsyncClient) -> None:
    frame = max(len(sse.encode_event(event, EPOCH)) for event in STORY)
    rogue.acts = [cut_after(frame), cut_after(0), cut_after(frame), cut_after(0)]
    told: list[dict[str, Any]] = []
    assert await read(client.run("r1", on_status=told.append)) == STORY
    assert [s["attempt"] for s in told if s["connection"] == "reconnecting"] == [1, 2, 1, 2]


async def test_a_long_wait_in_the_queue_is_no_reason_to_give_up(
    rogue: Rogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LIVED_S", -1.0)
    rogue.acts = [sends(sse.HEARTBEAT) for _ in range(200)]
    async with AsyncClient(rogue.url, retry_for_s=0.1) as client:
        assert await read(client.run("r1")) == STORY


# Resets


async def test_a_reset_about_the_cursor_is_passed_on_and_the_stream_begins_again(
    rogue: Rogue, client: AsyncClient
) -> None:
    reset = Reset(0, "the cursor belongs to another stream")
    rogue.acts = [sends(frames(STORY[:3]), then_cut=True), sends(frames([reset, *STORY], OTHER))]
    assert await read(client.run("r1")) == [*STORY[:3], reset, *STORY]
    assert rogue.cursors == [None, f"{EPOCH}-3"]


async def test_a_cut_right_after_a_reset_does_not_bring_the_old_cursor_back(
    rogue: Rogue, client: AsyncClient
) -> None:
    reset = Reset(0, "gone")
    rogue.acts = [cut_after(300), sends(frames([reset], OTHER), then_cut=True)]
    events = await read(client.run("r1"))
    assert events[-len(STORY) - 1 :] == [reset, *STORY]
    assert rogue.cursors[-1] is None


async def test_a_stored_reset_is_an_event_like_any_other(rogue: Rogue, client: AsyncClient) -> None:
    retried: list[AnyEvent] = [Text(0, "lost", seq=1), Reset(0, "worker lost", seq=2), Text(0, "kept", seq=3)]
    events = [*retried, End("succeeded", seq=4)]
    rogue.last = sends(frames(events))
    assert await read(client.run("r1")) == events
    assert await client.run("r1").text() == "kept"


async def test_410_starts_over_and_says_so(rogue: Rogue, client: AsyncClient) -> None:
    rogue.acts = [sends(frames(STORY[:3]), then_cut=True), refuses(410, "gone")]
    events = await read(client.run("r1"))
    assert events[:3] == STORY[:3]
    assert isinstance(events[3], Reset)
    assert events[4:] == STORY
    assert rogue.cursors == [None, f"{EPOCH}-3", None]


async def test_servers_with_stores_of_their_own_behind_one_address_are_noticed(
    rogue: Rogue, client: AsyncClient
) -> None:
    rogue.last = sends(frames([Reset(0, "another stream"), *STORY[:2]], OTHER), then_cut=True)
    with pytest.raises(ProtocolError, match="was reset 9 times"):
        await read(client.run("r1"))


# Leaving in the middle


async def test_leaving_the_loop_closes_the_connection(rogue: Rogue, client: AsyncClient) -> None:
    rogue.acts = [stays_after(frames(STORY[:3]))]
    async with client.run("r1").events() as events:
        async for _ in events:
            break
    await until(rogue.gone.is_set)
    assert [event async for event in events] == []


async def test_an_iterator_that_is_dropped_closes_its_connection(rogue: Rogue, client: AsyncClient) -> None:
    rogue.acts = [stays_after(frames(STORY[:3]))]
    async for _ in client.run("r1").pieces():
        break
    gc.collect()
    await until(rogue.gone.is_set)


async def test_cancelling_the_reader_closes_its_connection(rogue: Rogue, client: AsyncClient) -> None:
    rogue.acts = [stays_after(frames(STORY[:3]))]
    reader = asyncio.create_task(client.run("r1").fold())
    await until(lambda: rogue.cursors == [None])
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await until(rogue.gone.is_set)


async def test_a_closed_client_says_so(rogue: Rogue) -> None:
    rogue.acts = [stays_after(frames(STORY[:1]))]
    async with AsyncClient(rogue.url) as client:
        run = client.run("r1")
        events = run.events()
        assert await anext(events) == STORY[0]
    await until(rogue.gone.is_set)
    with pytest.raises(ClientError, match="closed"):
        await anext(events)
    with pytest.raises(ClientError, match="closed"):
        await run.state()
    with pytest.raises(ClientError, match="closed"):
        await run.text()


# What a run gives


async def test_text_result_and_fold(client: AsyncClient) -> None:
    run = client.run("r1")
    assert await run.text() == TEXT
    assert await run.result() == len(WORDS)
    assert [piece async for piece in run.pieces()] == WORDS
    fold = await run.fold()
    assert (fold.text, fold.end, fold.seq) == (TEXT, STORY[-1], len(STORY))


async def test_pieces_of_merged_text_overlap_without_a_repeated_letter(
    rogue: Rogue, client: AsyncClient
) -> None:
    merged = Text(4, TEXT[4:], seq=8, n=7)
    rogue.acts = [sends(frames(STORY[:3]), then_cut=True), sends(frames([merged, STORY[-1]]))]
    assert "".join([piece async for piece in client.run("r1").pieces()]) == TEXT


async def test_pieces_that_are_withdrawn_are_not_withdrawn_silently(
    rogue: Rogue, client: AsyncClient
) -> None:
    rogue.last = sends(frames([*STORY[:2], Reset(1, "worker lost", seq=3), End("succeeded", seq=4)]))
    got: list[str] = []

    async def collect() -> None:
        async for piece in client.run("r1").pieces():
            got.append(piece)  # noqa: PERF401 - kept when the loop ends in an error

    with pytest.raises(ClientError, match="withdrawn: worker lost"):
        await collect()
    assert got == WORDS[:2]
    assert await client.run("r1").text() == WORDS[0]


async def test_a_reset_of_nothing_that_was_handed_out_is_no_matter(rogue: Rogue, client: AsyncClient) -> None:
    events = [*STORY[:2], Json(1, seq=3), Reset(2, seq=4), Text(len("".join(WORDS[:2])), "!", seq=5)]
    rogue.last = sends(frames([*events, End("succeeded", seq=6)]))
    assert "".join([piece async for piece in client.run("r1").pieces()]) == "".join(WORDS[:2]) + "!"


async def _all_pieces(run: AsyncRemoteRun) -> None:
    assert [piece async for piece in run.pieces()] == []


@pytest.mark.parametrize("wanted", [AsyncRemoteRun.text, AsyncRemoteRun.result, _all_pieces])
async def test_a_run_that_failed_raises(
    rogue: Rogue, client: AsyncClient, wanted: Callable[[AsyncRemoteRun], Awaitable[Any]]
) -> None:
    error = {"code": "exception", "message": "division by zero", "hint": "Don't."}
    rogue.last = sends(frames(story(End("failed", error=error))))
    run = client.run("r1")
    with pytest.raises(RunFailed, match="Run r1 ended as failed: division by zero") as caught:
        await wanted(run)
    assert (caught.value.state, caught.value.error, caught.value.hint) == ("failed", error, "Don't.")
