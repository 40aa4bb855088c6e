"""Several streams over one connection: each event of each once, in order, through cuts and changes of the list."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

import penstock
from penstock.events import End, Json, decode_message
from penstock.protocol.coalesce import Fold
from penstock.protocol.sse import Decoder, Message
from penstock.server.asked import MAX_STREAMS
from penstock.testing import until

from .transports import whole_events

if TYPE_CHECKING:
    from tests.conftest import Api
    from tests.server.conftest import Gate, MakeApp


@pytest.fixture
def app(make_app: "MakeApp", gate: "Gate") -> penstock.App:
    app = make_app(stall_timeout_s=1)

    @app.function(concurrency_limit=None)
    async def tells(pieces: int = 50, pause_s: float = 0.0) -> AsyncIterator[Any]:
        for number in range(pieces):
            yield {"number": number}
            await asyncio.sleep(pause_s)

    @app.function(concurrency_limit=None)
    async def writes(pieces: int = 400) -> AsyncIterator[str]:
        for number in range(pieces):
            yield f"{number} ".ljust(20_000, "x")

    return app


class Reader:
    """One who reads several streams, and keeps what each has said."""

    def __init__(self, api: "Api", names: list[str]) -> None:
        self.api = api
        self.cursors: dict[str, str] = dict.fromkeys(names, "")
        self.seqs: dict[str, list[int]] = {name: [] for name in names}
        self.ended: set[str] = set()
        self.messages: list[Message] = []
        self.last_id = ""

    @property
    def params(self) -> dict[str, str | list[str]]:
        """The streams, each from where its reader stands."""
        named = [f"{name}@{cursor}" if cursor else name for name, cursor in self.cursors.items()]
        return {"rate": "0", "stream": named}

    async def read(self, until_events: int | None = None, headers: dict[str, str] | None = None) -> int:
        """Until so many events have come, or the end; the status of the answer."""
        count, decoder = 0, Decoder()
        async with self.api.stream("GET", "/api/events", params=self.params, headers=headers) as answer:
            async for piece in answer.aiter_raw():
                for message in decoder.feed(piece):
                    self._take(message)
                    count += 1
                    if count == until_events:
                        return answer.status_code
        return answer.status_code

    def _take(self, message: Message) -> None:
        self.messages.append(message)
        if message.event != "message":
            return
        body = msgspec.json.decode(message.data)
        name = body["stream"]
        cursors = dict(zip(self.cursors, message.id.split(","), strict=True))
        assert cursors[name].endswith(f"-{body['seq']}")
        self.cursors = cursors
        self.last_id = message.id
        self.seqs[name] += range(body["seq"] - body.get("n", 1) + 1, body["seq"] + 1)
        if body["type"] == "end":
            self.ended.add(name)


async def test_everything_of_each_comes_once(api: "Api") -> None:
    names = [await api.submit("tells", pieces=10 * index, pause_s=0.001) for index in range(1, 6)]
    reader = Reader(api, names)
    assert await reader.read() == 200
    assert reader.ended == set(names)
    assert [reader.seqs[name] for name in names] == [list(range(1, 10 * i + 2)) for i in range(1, 6)]
    assert await reader.read() == 204, "there is nothing to come back for"


@pytest.mark.parametrize("by", ["header", "streams"])
async def test_through_cuts(api: "Api", by: str) -> None:
    names = [await api.submit("tells", pieces=60, pause_s=0.002) for _ in range(4)]
    reader, chance = Reader(api, names), random.Random(5)
    while reader.ended != set(names):
        # An EventSource comes back with its first URL and its last id; others build a new URL.
        headers = {"Last-Event-ID": reader.last_id} if by == "header" and reader.last_id else {}
        await reader.read(chance.randint(1, 40), headers)
    assert all(reader.seqs[name] == list(range(1, 62)) for name in names)


async def test_streams_come_and_go_and_nothing_is_lost(api: "Api") -> None:
    first, second, third = [await api.submit("tells", pieces=60, pause_s=0.005) for _ in range(3)]
    reader = Reader(api, [first, second])
    await reader.read(20)
    reader.cursors[third], reader.seqs[third] = "", []
    kept = reader.cursors.pop(first)
    await reader.read(20)
    reader.cursors[first] = kept
    await reader.read()
    assert reader.ended == {first, second, third}
    assert all(reader.seqs[name] == list(range(1, 62)) for name in (first, second, third))


async def test_one_that_waits_says_where_it_stands(api: "Api", gate: "Gate", app: penstock.App) -> None:
    app.function(name="one", concurrency_limit=1)(app.functions["wait"].call)
    names = [await api.submit("one") for _ in range(2)]
    reader = Reader(api, names)
    reading = asyncio.create_task(reader.read())
    await until(lambda: any(one.event == "status" for one in reader.messages))
    gate.open.set()
    await reading
    bodies = [msgspec.json.decode(one.data) for one in reader.messages if one.event == "status"]
    assert {"state": "queued", "position": 1, "eta_s": None, "stream": names[1]} in bodies


async def test_a_server_that_leaves_says_so_once_and_ends_all(api: "Api", app: penstock.App) -> None:
    names = [await api.submit("wait") for _ in range(5)]
    reader = Reader(api, names)
    reading = asyncio.create_task(reader.read())
    await until(lambda: len([one for one in reader.messages if one.event == "message"]) == 5)
    await app.drain()
    async with asyncio.timeout(30):
        await reading
    assert [one.event for one in reader.messages].count("draining") == 1
    assert all(reader.seqs[name] == [1] for name in names)


async def test_folds_and_the_tails_of_all(api: "Api") -> None:
    names = [await api.submit("tells", pieces=30) for _ in range(3)]
    for name in names:
        await api.ended(name)
    params = {"fold": "1", "stream": names}
    answer = await api.get("/api/events", params=params)
    bodies = [msgspec.json.decode(one.data) for one in Decoder().feed(answer.content)]
    assert [(body["type"], body["stream"], body["seq"]) for body in bodies] == [
        ("fold", n, 31) for n in names
    ]
    last = Decoder().feed(answer.content)[-1].id
    assert (await api.get("/api/events", params=params, headers={"Last-Event-ID": last})).status_code == 204


async def test_a_cut_before_a_fold_loses_nothing_of_it(api: "Api") -> None:
    """The cursors that come with the first fold do not claim the second."""
    names = [await api.submit("tells", pieces=30) for _ in range(2)]
    for name in names:
        await api.ended(name)
    params = {"fold": "1", "stream": names}
    first = Decoder().feed((await api.get("/api/events", params=params)).content)[0]
    answer = await api.get("/api/events", params=params, headers={"Last-Event-ID": first.id})
    fold = Fold()
    for message in Decoder().feed(answer.content):
        body = msgspec.json.decode(message.data)
        assert body.pop("stream") == names[1]
        fold.apply(decode_message(msgspec.json.encode(body)))  # type: ignore[arg-type]
    assert fold.seq == 31


async def test_a_slow_reader_gets_all_of_all(api: "Api") -> None:
    names = [await api.submit("writes", pieces=100) for _ in range(3)]
    for name in names:
        await api.ended(name)
    reader = Reader(api, names)
    assert await reader.read() == 200
    assert all(reader.seqs[name] == list(range(1, 102)) for name in names)
    # Each in its turn: the second does not wait for the end of the first.
    order = [msgspec.json.decode(one.data)["stream"] for one in reader.messages if one.event == "message"]
    assert order.index(names[1]) < 101


@pytest.mark.parametrize("fold", ["0", "1"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_large_events_of_one_do_not_break_those_of_another(
    api: "Api", app: penstock.App, fold: str, coding: str
) -> None:
    """Each is larger than what is written at once, and all the others have something to say meanwhile."""

    @app.function(concurrency_limit=None)
    async def bulks() -> AsyncIterator[dict[str, str]]:
        for number in range(8):
            yield {"row": f"{number} ".ljust(300_000, "x")}

    names = [await api.submit("bulks") for _ in range(4)]
    for name in names:
        await api.ended(name)
    params = {"fold": fold, "rate": "0", "stream": names}
    decoder, bodies = Decoder(), []
    async with api.stream("GET", "/api/events", params=params, headers={"Accept-Encoding": coding}) as answer:
        async for piece in answer.aiter_bytes(50_000):
            bodies += [msgspec.json.decode(message.data) for message in decoder.feed(piece)]
            await asyncio.sleep(0.001)
    for name in names:
        *rows, end = whole_events(body for body in bodies if body["stream"] == name)
        assert [len(row.value["row"]) for row in rows if isinstance(row, Json)] == [300_000] * 8
        assert isinstance(end, End)


async def test_a_reset_of_one_is_told_again_to_who_was_cut_before_it(api: "Api") -> None:
    names = [await api.submit("tells", pieces=5) for _ in range(2)]
    for name in names:
        await api.ended(name)
    streams = [names[0], f"{names[1]}@elsewhere-3"]
    answer = await api.get("/api/events", params={"rate": "0", "stream": streams})
    messages = Decoder().feed(answer.content)
    reset = next(place for place, message in enumerate(messages) if '"reset"' in message.data)
    for message in messages[:reset]:
        headers = {"Last-Event-ID": message.id}
        again = await api.get("/api/events", params={"rate": "0", "stream": streams}, headers=headers)
        told = [msgspec.json.decode(one.data) for one in Decoder().feed(again.content)]
        assert ("reset", names[1]) in [(one["type"], one["stream"]) for one in told]


async def test_one_that_takes_nothing_is_counted_once(api: "Api", app: penstock.App) -> None:
    names = [await api.submit("writes") for _ in range(3)]
    for name in names:
        await api.ended(name)
    services = await app.start()
    link = await asyncio.open_connection(api.base_url.host, api.base_url.port, limit=1024)
    query = httpx.QueryParams({"stream": names})
    link[1].write(f"GET /api/events?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await until(lambda: services.pulse.flow.stalled == 1)
    await until(lambda: services.hub.subscribers == 0)
    assert services.pulse.flow.stalled == 1
    link[1].transport.abort()


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("", 400, "stream"),
        ("stream=RUN&stream=RUN", 400, "stream"),
        ("stream=RUN@nonsense", 400, "stream"),
        ("stream=RUN&rate=100", 400, "rate"),
        ("stream=RUN&after=abcdefgh-1", 400, "after"),
        ("stream=RUN&poll=5", 400, "poll"),
        ("stream=RUN&fold=maybe", 400, "fold"),
        ("stream=RUN&stream=nobody", 404, None),
        ("&".join(f"stream={number}" for number in range(MAX_STREAMS + 1)), 400, "stream"),
    ],
)
async def test_what_can_t_be_served_is_refused(
    api: "Api", app: penstock.App, query: str, status: int, field: str | None
) -> None:
    run_id = await api.submit("tells", pieces=1)
    answer = await api.get("/api/events?" + query.replace("RUN", run_id))
    assert (answer.status_code, answer.json()["error"].get("field")) == (status, field)
    assert (await app.start()).hub.subscribers == 0


async def test_cursors_of_another_number_of_streams_are_refused(api: "Api") -> None:
    run_id = await api.submit("tells", pieces=1)
    headers = {"Last-Event-ID": "abcdefgh-1,abcdefgh-2"}
    answer = await api.get("/api/events", params={"stream": run_id}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_cursor")
