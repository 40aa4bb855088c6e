"""One reader's view of a run, in whatever way it is transported: what the shared suite is written against."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from penstock.events import AnyEvent, End, Folded, decode_message
from penstock.protocol.coalesce import Fold
from penstock.protocol.cursor import Position
from penstock.protocol.pieces import Begun, Pieces
from penstock.protocol.sse import Decoder

if TYPE_CHECKING:
    from tests.conftest import Api

DEADLINE_S = 30


class Refused(Exception):
    """A reader is not let in."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.error: dict[str, str] = msgspec.json.decode(body)["error"] if body else {}
        super().__init__(f"{status} {self.error}")


class Item(NamedTuple):
    """What one reader is told: an event, or a status under its name."""

    body: dict[str, Any]
    cursor: str | None

    @property
    def type(self) -> str:
        return str(self.body["type"])

    @property
    def seq(self) -> int:
        return int(self.body.get("seq", 0))


class View:
    """What one reader sees. done: it has everything, and would not come back. code: how a WebSocket was closed."""

    def __init__(self) -> None:
        self.seen: list[Item] = []
        self.done = False
        self.code: int | None = None
        self.items: AsyncGenerator[Item]

    async def next(self) -> Item:
        """Raises StopAsyncIteration at the end."""
        async with asyncio.timeout(DEADLINE_S):
            item = await anext(self.items)
        self.seen.append(item)
        return item

    async def until(self, kind: str) -> Item:
        """Read on until something of this type has come."""
        while (item := await self.next()).type != kind:
            pass
        return item

    async def rest(self) -> list[Item]:
        """All there was, once it is over."""
        try:
            while True:
                await self.next()
        except StopAsyncIteration:
            return self.seen

    @property
    def cursor(self) -> str | None:
        """Where it would go on."""
        return next((item.cursor for item in reversed(self.seen) if item.cursor), None)


class Wish(NamedTuple):
    """What a reader asks for. `host` is what it calls the server, where that is not its name."""

    api: "Api"
    run_id: str
    query: dict[str, Any]
    headers: dict[str, str]
    host: str

    def request(self, **query: Any) -> dict[str, Any]:
        """What httpx takes."""
        named = {"Host": self.host} if self.host else {}
        return {
            "url": f"/api/runs/{self.run_id}/events",
            "params": self.query | query,
            "headers": self.headers | named,
        }


class Transport(ABC):
    """A way to read a run. tells: status and the server's leaving are told; else they are not its business."""

    name: str
    tells = True

    @asynccontextmanager
    async def open(
        self,
        api: "Api",
        run_id: str,
        after: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        host: str = "",
        **query: Any,
    ) -> AsyncIterator[View]:
        """Read from a cursor on. Raises Refused, with the first item at last."""
        asked = query if after is None else {"after": after} | query
        view = View()
        async with AsyncExitStack() as leaving:
            wish = Wish(api, run_id, asked, dict(headers or {}), host)
            view.items = await leaving.enter_async_context(aclosing(await self._begin(view, wish, leaving)))
            yield view

    @abstractmethod
    async def _begin(self, view: View, wish: Wish, leaving: AsyncExitStack) -> AsyncGenerator[Item]: ...

    async def read(self, api: "Api", run_id: str, after: str | None = None, **query: Any) -> list[Item]:
        """All there is to the end."""
        async with self.open(api, run_id, after, **query) as view:
            items = await view.rest()
            assert view.done
        return items


class _End:
    """Looks for the `end`, however it comes."""

    def __init__(self) -> None:
        self._pieces = Pieces()

    def is_in(self, body: dict[str, Any]) -> bool:
        try:
            whole = self._pieces.add(decode_message(msgspec.json.encode(body)))
        except Begun:  # read from between pieces: whatever it is of, the last one ends it
            return bool(body["part"] == body["parts"] - 1)
        last = whole.events[-1] if isinstance(whole, Folded) and whole.events else whole
        return isinstance(last, End)


class ServerSentEvents(Transport):
    name = "sse"

    async def _begin(self, view: View, wish: Wish, leaving: AsyncExitStack) -> AsyncGenerator[Item]:
        response = await leaving.enter_async_context(wish.api.stream("GET", **wish.request()))
        await check(response)
        return self._items(view, response)

    async def _items(self, view: View, response: httpx.Response) -> AsyncGenerator[Item]:
        view.done = response.status_code == 204
        decoder, end = Decoder(), _End()
        async for piece in response.aiter_raw():
            for message in decoder.feed(piece):
                body = msgspec.json.decode(message.data)
                if message.event == "message":
                    view.done = end.is_in(body)
                    yield Item(body, message.id if message.own_id else None)
                else:
                    yield Item({"type": message.event} | body, None)


class WebSockets(Transport):
    name = "websocket"

    async def _begin(self, view: View, wish: Wish, leaving: AsyncExitStack) -> AsyncGenerator[Item]:
        return self._items(view, await leaving.enter_async_context(open_socket(wish)))

    async def _items(self, view: View, socket: ClientConnection) -> AsyncGenerator[Item]:
        with suppress(ConnectionClosed):
            async for text in socket:
                body = msgspec.json.decode(text)
                if body["type"] != "heartbeat":
                    yield Item(body, body.pop("cursor", None))
        view.code = socket.close_code
        view.done = view.code == 1000


@asynccontextmanager
async def open_socket(wish: Wish, **options: Any) -> AsyncIterator[ClientConnection]:
    """A WebSocket that reads a run. Raises Refused."""
    url = wish.api.base_url
    place = wish.host or f"{url.host}:{url.port}"
    path = f"{url.path.rstrip('/')}/api/runs/{wish.run_id}/ws?{urlencode(wish.query)}"
    connecting = connect(
        f"ws://{place}{path}",
        additional_headers=wish.headers,
        **{"host": url.host, "port": url.port, "proxy": None, "max_size": None, "ping_interval": None}
        | options,
    )
    try:
        async with connecting as socket:
            yield socket
    except InvalidStatus as error:
        raise Refused(error.response.status_code, bytes(error.response.body or b"")) from error


class LongPoll(Transport):
    name = "long-poll"
    tells = False

    async def _begin(self, view: View, wish: Wish, leaving: AsyncExitStack) -> AsyncGenerator[Item]:
        return self._items(view, wish)

    async def _items(self, view: View, wish: Wish) -> AsyncGenerator[Item]:
        after = wish.query.get("after", "")
        while not view.done:
            answer = await wish.api.get(**wish.request(poll=10, after=after))
            await check(answer)
            found = msgspec.json.decode(answer.content)
            after = found["cursor"]
            epoch = after.rpartition("-")[0]
            for body in found["events"]:
                yield Item(body, f"{epoch}-{body['seq']}" if "seq" in body else None)
            view.done = found["done"]


async def check(response: httpx.Response) -> None:
    if response.status_code >= 400:
        raise Refused(response.status_code, await response.aread())


TRANSPORTS: tuple[Transport, ...] = (ServerSentEvents(), WebSockets(), LongPoll())


def events_of(items: list[Item]) -> list[AnyEvent]:
    """The events among them, in the order in which they came, put together; not those about a cursor."""
    return whole_events(item.body for item in items if item.seq)


def whole_events(bodies: Iterable[dict[str, Any]]) -> list[AnyEvent]:
    """Events as they came, the large ones put together; in place of a fold what is in it."""
    pieces, found = Pieces(), list[AnyEvent]()
    for body in bodies:
        whole = pieces.add(decode_message(msgspec.json.encode(body)))
        found += whole.events if isinstance(whole, Folded) else [whole] if whole is not None else []
    return found


def seqs(items: list[Item]) -> list[int]:
    return [item.seq for item in items if item.seq]


def fold_of(items: list[Item]) -> Fold:
    """What they lead to. Fails where one came twice, out of order, or one is missing."""
    fold, position = Fold(), Position()
    for event in events_of(items):
        assert position.accept(event.seq, event.n), f"{event.seq} came twice"
        fold.apply(event)
    return fold
