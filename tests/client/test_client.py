"""The client against a server that misbehaves in every way we have seen networks and servers misbehave.

The server is real (uvicorn, a port of its own) and follows a script: each connection to the stream is one
act. When the script is used up, the last act is the honest one.
"""

import asyncio
import gc
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn

from penstock import errors
from penstock.client import AsyncClient, AsyncRemoteRun, Client
from penstock.client import stream as stream_module
from penstock.client import wire as wire_module
from penstock.errors import (
    BadCursor,
    ClientError,
    ConfigError,
    ConnectionLost,
    InvalidInput,
    NotFound,
    ProtocolError,
    RunFailed,
    StoreFull,
    Unauthorized,
)
from penstock.events import AnyEvent, End, Json, Reset, Text
from penstock.protocol import sse

EPOCH, OTHER = "abcdefgh01", "zyxwvuts98"
WORDS = ["Ein ", "Rohr ", "führt ", "Wasser\n", "zur ", "Mühle ", "🌊", "."]
TEXT = "".join(WORDS)
DEADLINE_S = 10.0

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


def story(end: End | None = None, words: list[str] = WORDS) -> list[AnyEvent]:
    """A run that says its words and returns their number."""
    events: list[AnyEvent] = []
    pos = 0
    for seq, word in enumerate(words, 1):
        events.append(Text(pos, word, seq=seq, at_ms=1))
        pos += len(word)
    last = End("succeeded", result=len(words)) if end is None else end
    last.seq = len(events) + 1
    return [*events, last]


STORY = story()


def frames(events: list[AnyEvent], epoch: str = EPOCH) -> bytes:
    return b"".join([sse.encode_event(event, epoch) for event in events])


class Cut(Exception):
    """Raised in an act: uvicorn fails the connection without ending the body."""


class Stage:
    """One connection to the stream, as an act sees it."""

    def __init__(self, cursor: str | None, receive: Receive, send: Send, rogue: "Rogue") -> None:
        self.cursor = cursor
        self.rogue = rogue
        self._receive = receive
        self._send = send

    async def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer, without a stream."""
        await self.start(status, **headers)
        await self._send({"type": "http.response.body", "body": body})

    async def start(self, status: int = 200, **headers: str) -> None:
        given = {"content-type": "text/event-stream", **{k.replace("_", "-"): v for k, v in headers.items()}}
        raw = [(name.encode(), value.encode()) for name, value in given.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def left(self) -> None:
        """Wait until the client is gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.rogue.gone.set()

    def rest(self, events: list[AnyEvent] = STORY, epoch: str = EPOCH) -> bytes:
        """What an honest server sends to this cursor."""
        after = int(self.cursor.partition("-")[2]) if self.cursor else 0
        return frames([event for event in events if event.seq > after], epoch)


Act = Callable[[Stage], Awaitable[None]]


class Rogue:
    """The ASGI application: a script for the stream, a script for everything else, and what was asked."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.last: Act = honest
        self.cursors: list[str | None] = []
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.answers: list[Act] = []
        self.gone = threading.Event()
        self.url = ""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        stage = Stage(headers.get("last-event-id"), receive, send, self)
        if scope["path"].endswith("/events"):
            self.cursors.append(stage.cursor)
            await (self.acts.pop(0) if self.acts else self.last)(stage)
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path = scope["path"] + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        self.requests.append((scope["method"], path, headers, msgspec.json.decode(body) if body else None))
        await (self.answers.pop(0) if self.answers else says(202, {"run_id": "r1", "state": "queued"}))(stage)


async def honest(stage: Stage) -> None:
    await stage.start()
    await stage.write(sse.FIRST_BYTES + stage.rest(), more=False)


def cut_after(size: int) -> Act:
    """So many bytes of what is due, then a broken connection."""

    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.write(stage.rest()[:size])
        raise Cut

    return act


def ends_after(size: int) -> Act:
    """So many bytes of what is due, then a clean end of the body, as proxies make it."""

    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.write(stage.rest()[:size], more=False)

    return act


def sends(data: bytes, *, then_cut: bool = False) -> Act:
    """These bytes, whatever was asked for."""

    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.write(data, more=then_cut)
        if then_cut:
            raise Cut

    return act


def stays_after(data: bytes) -> Act:
    """These bytes, then silence until the client goes."""

    async def act(stage: Stage) -> None:
        await stage.start()
        await stage.write(data)
        await stage.left()

    return act


def says(status: int, body: Any, **headers: str) -> Act:
    """A JSON answer."""

    async def act(stage: Stage) -> None:
        await stage.answer(status, msgspec.json.encode(body), content_type="application/json", **headers)

    return act


def refuses(status: int, code: str, **headers: str) -> Act:
    return says(status, {"error": {"code": code, "message": "No.", "hint": "Because."}}, **headers)


async def fails(stage: Stage) -> None:
    """What uvicorn makes of it is a 500 that is not in our form."""
    raise Cut


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


class House:
    """One server for all tests, since stopping uvicorn takes a fifth of a second; each test has a path."""

    def __init__(self) -> None:
        self.rogues: dict[str, Rogue] = {}
        self.url = ""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        name, _, path = scope["path"].removeprefix("/").partition("/")
        await self.rogues[name]({**scope, "path": "/" + path}, receive, send)

    def open(self) -> Rogue:
        rogue, name = Rogue(), str(len(self.rogues))
        self.rogues[name], rogue.url = rogue, f"{self.url}/{name}"
        return rogue


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    house = House()
    config = uvicorn.Config(house, port=0, log_config=None, log_level=60, lifespan="off", ws="none")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        house.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(config)
        # Connections wait in the listener's backlog until the server takes them: no need to wait here.
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield house
        server.should_exit = True
        thread.join()


@pytest.fixture
def rogue(house: House) -> Rogue:
    return house.open()


@pytest.fixture
async def client(rogue: Rogue) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(rogue.url, retry_for_s=5.0) as client:
        yield client


@pytest.fixture(autouse=True)
def chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lowest draw always: what is waited for is then what the server asked for, and nothing else."""
    monkeypatch.setattr(wire_module, "_chance", lambda: 0.0)


async def read(run: AsyncRemoteRun, after: str | None = None) -> list[AnyEvent]:
    async with asyncio.timeout(DEADLINE_S), run.events(after) as events:
        return [event async for event in events]


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
    monkeypatch.setattr(stream_module, "LIVED_S", -1.0)
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


# What can't succeed


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (refuses(401, "unauthorized"), Unauthorized),
        (refuses(403, "forbidden_host"), errors.ForbiddenHost),
        (refuses(404, "unknown_run"), errors.UnknownRun),
        (refuses(400, "bad_request"), errors.BadRequest),
        (refuses(410, "gone"), ClientError),
        (sends(b"<html>Not found</html>"), ConnectionLost),
        (says(200, {}), ProtocolError),
        (sends(frames([STORY[0], STORY[2]])), ProtocolError),
        (sends(frames(STORY[:1]) + frames(STORY[1:], OTHER)), ProtocolError),
        (sends(b'id: 1\ndata: {"type":"text","pos":0,"text":"a","seq":1}\n\n'), ProtocolError),
        (sends(b'data: {"type":"text","pos":0,"text":"a","seq":1}\n\n'), ProtocolError),
        (sends(b'id: abcdefgh01-2\ndata: {"type":"text","pos":0,"text":"a","seq":1}\n\n'), ProtocolError),
        (sends(b'id: abcdefgh01-1\ndata: {"type":"of-tomorrow","seq":1}\n\n'), ProtocolError),
        (sends(b"data: {\n\n"), ProtocolError),
        (sends(b"event: status\ndata: {\n\n"), ProtocolError),
    ],
)
async def test_what_can_not_succeed_is_raised_and_not_repeated_for_ever(
    rogue: Rogue, act: Act, error: type[Exception]
) -> None:
    rogue.last = act
    async with AsyncClient(rogue.url, retry_for_s=0.05) as client:
        with pytest.raises(error) as caught:
            await read(client.run("r1"))
    assert type(caught.value) is error
    if error is not ConnectionLost:
        assert len(rogue.cursors) == 1


async def test_the_events_before_a_gap_are_passed_on_first(rogue: Rogue, client: AsyncClient) -> None:
    rogue.last = sends(frames([*STORY[:2], STORY[4]]))
    got: list[AnyEvent] = []

    async def collect() -> None:
        async for event in client.run("r1").events():
            got.append(event)  # noqa: PERF401 - kept when the loop ends in an error

    with pytest.raises(ProtocolError, match="Events 3 to 4 are missing"):
        await collect()
    assert got == STORY[:2]


async def test_a_connection_that_stays_lost_is_given_up_with_the_place_to_read_on(rogue: Rogue) -> None:
    rogue.acts = [sends(frames(STORY[:3]), then_cut=True)]
    rogue.last = fails
    async with AsyncClient(rogue.url, retry_for_s=0.05) as client:
        with pytest.raises(ConnectionLost) as caught:
            await read(client.run("r1"))
    assert f"after='{EPOCH}-3'" in caught.value.hint


async def test_a_refusal_that_stays_is_raised_as_itself(rogue: Rogue) -> None:
    rogue.last = refuses(503, "store_full")
    async with AsyncClient(rogue.url, retry_for_s=0.05) as client:
        with pytest.raises(StoreFull) as caught:
            await read(client.run("r1"))
    assert caught.value.hint == "Because."


async def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with AsyncClient(url, retry_for_s=0.05) as client:
            with pytest.raises(ConnectionLost, match="unreachable"):
                await client.submit("f")
            assert not await client.health()


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host", "http://", "http://host/?token=x", "http://host:port", ""]
)
def test_an_address_that_can_not_be_used_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        AsyncClient(url)


async def test_a_cursor_that_is_none_is_refused_without_asking(rogue: Rogue, client: AsyncClient) -> None:
    with pytest.raises(BadCursor):
        client.run("r1").events(after="yesterday")
    assert rogue.cursors == []


async def test_a_certificate_that_is_not_trusted_is_not_tried_again(tmp_path: Path) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        import ssl

        try:
            raise ssl.SSLCertVerificationError("self-signed certificate")
        except ssl.SSLError as error:
            raise httpx.ConnectError("certificate verify failed") from error

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
        client = AsyncClient("https://host", http=http, retry_for_s=None)
        with pytest.raises(ClientError, match="can't be spoken to"):
            await client.functions()


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


# Plain requests


async def test_a_submission_that_is_repeated_carries_the_same_key(rogue: Rogue, client: AsyncClient) -> None:
    rogue.answers = [fails, refuses(503, "server_closing", retry_after="0")]
    run = await client.submit("answer", {"question": "why?", "key": "an input"}, session="s1")
    assert run.id == "r1"
    bodies = [body for _, _, _, body in rogue.requests]
    assert bodies == [bodies[0]] * 3
    assert bodies[0].pop("key")
    assert bodies[0] == {
        "function": "answer",
        "input": {"question": "why?", "key": "an input"},
        "session": "s1",
    }


async def test_two_submissions_have_keys_of_their_own(rogue: Rogue, client: AsyncClient) -> None:
    await client.submit("f")
    await client.submit("f")
    await client.submit("f", key="mine")
    first, second, third = [body["key"] for _, _, _, body in rogue.requests]
    assert first != second
    assert third == "mine"


async def test_bad_input_names_its_field_and_is_not_repeated(rogue: Rogue, client: AsyncClient) -> None:
    error = {"code": "invalid_input", "message": "Missing.", "hint": "Give it.", "field": "question"}
    rogue.answers = [says(422, {"error": error})]
    with pytest.raises(InvalidInput, match="Missing") as caught:
        await client.submit("answer")
    assert caught.value.as_dict() == error
    assert len(rogue.requests) == 1


async def test_the_other_calls(rogue: Rogue) -> None:
    async with AsyncClient(rogue.url + "/under/", token="secret") as client:
        run = client.run("a/b")
        assert await run.state() == {"run_id": "r1", "state": "queued"}
        rogue.answers = [says(202, {"run_id": "r1", "state": "running", "cancel": "requested"})]
        assert (await run.cancel())["cancel"] == "requested"
        rogue.answers = [says(200, {"runs": [], "next": None})]
        assert await client.runs(function="f", limit=5) == {"runs": [], "next": None}
        rogue.answers = [says(200, {"functions": [{"name": "f"}]})]
        assert await client.functions() == [{"name": "f"}]
        assert await client.health()
    asked = [(method, path) for method, path, _, _ in rogue.requests]
    assert asked == [
        ("GET", "/under/api/runs/a/b"),
        ("POST", "/under/api/runs/a/b/cancel"),
        ("GET", "/under/api/runs?function=f&limit=5"),
        ("GET", "/under/api/functions"),
        ("GET", "/under/healthz"),
    ]
    assert {headers["authorization"] for _, _, headers, _ in rogue.requests} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (sends(b"<html>"), ProtocolError),
        (sends(b'"\xff"'), ProtocolError),
        (sends(b"[" * 100_000), ProtocolError),
        (says(200, []), ProtocolError),
        (says(200, {"functions": 1}), ProtocolError),
        (refuses(404, "not_found"), NotFound),
        (refuses(418, "teapot"), ClientError),
        (says(404, "no page"), ClientError),
        (says(308, None, location="https://elsewhere/"), ClientError),
    ],
)
async def test_answers_that_are_none(
    rogue: Rogue, client: AsyncClient, act: Act, error: type[Exception]
) -> None:
    rogue.answers = [act]
    with pytest.raises(error) as caught:
        await client.functions()
    assert type(caught.value) is error
    assert len(rogue.requests) == 1


def test_every_error_a_server_can_send_comes_back_as_itself() -> None:
    from penstock.client.answers import error_from

    for kind in (
        errors.BadRequest,
        errors.StoreUnavailable,
        errors.BadYield,
        errors.Fenced,
        errors.BadCursor,
    ):
        body = msgspec.json.encode({"error": kind("Message.", hint="Hint.").as_dict()})
        assert type(error_from(kind.status, body)) is kind


# The synchronous client


async def test_sync_reads_through_breaks(rogue: Rogue) -> None:
    rogue.acts = [cut_after(150), ends_after(200), cut_after(333)]

    def use() -> None:
        with Client(rogue.url) as client:
            run = client.submit("f", {"x": 1})
            assert list(run.events()) == STORY
            assert "".join(run.pieces()) == TEXT
            assert run.text() == TEXT
            assert run.result() == len(WORDS)
            assert run.fold().text == TEXT
            assert run.state()["run_id"] == run.cancel()["run_id"] == "r1"
            assert client.health()

    await asyncio.to_thread(use)


async def test_sync_closing_joins_the_thread(rogue: Rogue) -> None:
    def use() -> None:
        client = Client(rogue.url)
        iterator = client.run("r1").events()
        next(iterator)
        assert "penstock-client" in [thread.name for thread in threading.enumerate()]
        client.close()
        client.close()
        assert "penstock-client" not in [thread.name for thread in threading.enumerate()]
        iterator.close()
        with pytest.raises(ClientError, match="closed"):
            client.health()

    rogue.acts = [stays_after(frames(STORY[:3]))]
    await asyncio.to_thread(use)


async def test_sync_break_closes_the_connection(rogue: Rogue) -> None:
    def use() -> None:
        with Client(rogue.url) as client:
            for piece in client.run("r1").pieces():
                assert piece == WORDS[0]
                break
            assert rogue.gone.wait(DEADLINE_S)
            rogue.gone.clear()
            with client.run("r1").events() as events:
                assert next(events) == STORY[0]
            assert rogue.gone.wait(DEADLINE_S)
            assert list(events) == []

    rogue.acts = [stays_after(frames(STORY[:3]))] * 2
    await asyncio.to_thread(use)


async def test_sync_a_reader_that_waits_is_told_when_the_client_closes(rogue: Rogue) -> None:
    rogue.acts = [stays_after(b":\n\n")]
    client = Client(rogue.url)
    waiting = asyncio.create_task(asyncio.to_thread(client.run("r1").text))
    await until(lambda: rogue.cursors == [None])
    await asyncio.to_thread(client.close)
    with pytest.raises(ClientError, match="closed"):
        await waiting


async def test_sync_a_client_that_is_garbage_ends_its_thread(rogue: Rogue) -> None:
    def use() -> None:
        words = list(Client(rogue.url).run("r1").pieces())
        assert words == WORDS
        gc.collect()

    await asyncio.to_thread(use)
    await until(lambda: "penstock-client" not in [thread.name for thread in threading.enumerate()])


def test_sync_ctrl_c_leaves_the_client_in_order(rogue: Rogue) -> None:
    async def interrupt(stage: Stage) -> None:
        await stage.start()
        await stage.write(sse.FIRST_BYTES)
        ident = threading.main_thread().ident
        assert ident is not None
        signal.pthread_kill(ident, signal.SIGUSR1)
        await stage.left()

    rogue.acts = [interrupt]
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    try:
        with Client(rogue.url) as client:
            with pytest.raises(KeyboardInterrupt), client.run("r1").events() as events:
                next(events)
            assert rogue.gone.wait(DEADLINE_S)
            assert client.run("r1").text() == TEXT
    finally:
        signal.signal(signal.SIGUSR1, before)


FORGETFUL = """
import sys
from penstock.client import Client

client = Client(sys.argv[1])
events = client.run("r1").events()
print(next(events).text)
"""


def test_sync_a_program_that_forgets_to_close_ends(rogue: Rogue) -> None:
    rogue.acts = [stays_after(frames(STORY[:3]))]
    command = [sys.executable, "-c", FORGETFUL, rogue.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, WORDS[0] + "\n", "")
    assert rogue.gone.wait(DEADLINE_S)


async def test_sync_errors_are_the_same(rogue: Rogue) -> None:
    rogue.last = refuses(401, "unauthorized")
    with Client(rogue.url) as client, pytest.raises(Unauthorized):
        await asyncio.to_thread(client.run("r1").result)
