"""Large events, which come in pieces: put together through whatever happens to the connection."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import msgspec
import pytest

from penstock.client import AsyncClient
from penstock.errors import ProtocolError
from penstock.events import AnyEvent, End, Folded, Json, Piece, Reset, encode
from penstock.protocol import sse
from penstock.protocol.pieces import cut

from .rogue import EPOCH, Act, Rogue, cut_after, ends_after, frames, honest, read, sends

LARGE = {"row": 'é"' * 20_000}


def large_story() -> tuple[list[AnyEvent], list[AnyEvent]]:
    """What a server sends of a run with large events, and what it means."""
    whole: list[AnyEvent] = [
        Json(1, seq=1),
        Json(LARGE, seq=2),
        Json(2, seq=3),
        End("succeeded", LARGE, seq=4),
    ]
    sent = list(cut((event, len(frames([event]))) for event in map(msgspec.structs.replace, whole)))
    assert len(sent) == 8
    return sent, whole


def said(events: list[AnyEvent]) -> list[AnyEvent]:
    """Events wherever they stand."""
    return [msgspec.structs.replace(event, seq=0, n=1) for event in events]


@pytest.mark.parametrize("fault", [cut_after, ends_after])
async def test_a_break_in_a_large_event_costs_the_piece_in_which_it_was(
    rogue: Rogue, client: AsyncClient, fault: Callable[[int], Act]
) -> None:
    rogue.story, whole = large_story()
    bounds = list(accumulate(len(frames([event])) for event in rogue.story))
    rogue.acts = [fault(size) for bound in bounds[:-1] for size in (bound - 1, bound, bound + 1)]
    events = await read(client.run("r1"))
    assert said(events) == said(whole)
    assert [(event.seq, event.n) for event in events] == [(1, 1), (4, 3), (5, 1), (8, 3)]
    places = [int(cursor.partition("-")[2]) for cursor in rogue.cursors if cursor]
    assert places == sorted(places)
    assert {2, 3} & set(places), "it went on between pieces of the one"
    assert {6, 7} & set(places), "and of the other"


@pytest.mark.parametrize(("after", "first"), [(2, 1), (3, 1), (6, 3), (7, 3)])
async def test_a_cursor_between_pieces_is_taken_back_to_the_first_of_them(
    rogue: Rogue, client: AsyncClient, after: int, first: int
) -> None:
    rogue.story, whole = large_story()
    assert said(await read(client.run("r1"), after=f"{EPOCH}-{after}")) == said(whole)[first:]
    assert len(rogue.cursors) == 2


async def test_a_piece_is_progress(rogue: Rogue, client: AsyncClient) -> None:
    rogue.story, whole = large_story()
    longest = max(len(frames([event])) for event in rogue.story)
    rogue.acts = [act for _ in range(3) for act in (cut_after(longest), cut_after(0))]
    told: list[dict[str, Any]] = []
    assert said(await read(client.run("r1", on_status=told.append))) == said(whole)
    assert [s["attempt"] for s in told if s["connection"] == "reconnecting"] == [1, 2, 1, 2, 1, 2]


async def test_that_is_no_failure(rogue: Rogue) -> None:
    rogue.story, whole = large_story()
    async with AsyncClient(rogue.url, retry_for_s=0) as client:
        assert said(await read(client.run("r1"), after=f"{EPOCH}-2")) == said(whole)[1:]


async def test_a_server_that_never_sends_the_first_piece_breaks_the_protocol(
    rogue: Rogue, client: AsyncClient
) -> None:
    rogue.last = sends(frames([Piece(1, 3, "x", seq=5, n=4)]))
    with pytest.raises(ProtocolError, match="Piece 1 of an event came, and none before it"):
        await read(client.run("r1"), after=f"{EPOCH}-4")
    assert rogue.cursors == [f"{EPOCH}-4", f"{EPOCH}-3"]


async def test_a_large_event_that_was_never_completed_is_passed_over(
    rogue: Rogue, client: AsyncClient
) -> None:
    sent, _ = large_story()
    rogue.story = [*sent[:3], Reset(0, "again", seq=4), End("succeeded", 3, seq=5)]
    events = await read(client.run("r1"))
    assert [(type(event), event.seq, event.n) for event in events] == [
        (Json, 1, 1), (Reset, 4, 3), (End, 5, 1),
    ]  # fmt: skip


async def test_a_large_state_comes_in_pieces_and_anew_after_a_break(
    rogue: Rogue, client: AsyncClient
) -> None:
    rogue.story, whole = large_story()
    fold = sse.encode_fold(encode(Folded(whole, seq=8)), 8, EPOCH)
    assert len(fold) > 2
    rogue.acts = [sends(b"".join(fold[:-1]), then_cut=True), honest]
    assert (await client.run("r1").fold()).values == [1, LARGE, 2]
    rogue.acts = [sends(b"".join(fold))]
    assert await client.run("r1").result() == LARGE
    assert rogue.cursors == [None, None, None]


async def test_pieces_that_make_no_event_break_the_protocol(rogue: Rogue, client: AsyncClient) -> None:
    rogue.story = [Piece(0, 2, '{"type":', seq=1), Piece(1, 2, "}", seq=2)]
    with pytest.raises(ProtocolError, match="came in pieces is not an event"):
        await read(client.run("r1"))
