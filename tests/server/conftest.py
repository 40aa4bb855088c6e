"""What tests of the server share: an app whose runs wait for the test, and readers that look into a stream."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock.protocol.sse import Decoder, Message
from penstock.server.connection import Connection, socket_connection
from penstock.testing import live_server

from .transports import TRANSPORTS, Transport

if TYPE_CHECKING:
    from tests.conftest import Api


class Gate:
    """Lets a function go on when the test says so."""

    def __init__(self) -> None:
        self.open = asyncio.Event()


class Reader:
    """One open response."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._decoder = Decoder()
        self.raw = b""
        self.messages: list[Message] = []

    async def until(self, text: bytes) -> bytes:
        """Everything up to now, once `text` is in it."""
        async with asyncio.timeout(30):
            while text not in self.raw:
                await self._feed(await anext(self._pieces))
        return self.raw

    async def more(self, count: int) -> None:
        """Return once so many bytes more have come."""
        enough = len(self.raw) + count
        async with asyncio.timeout(30):
            while len(self.raw) < enough:
                await self._feed(await anext(self._pieces))

    async def rest(self) -> list[Message]:
        """All messages, once the response has ended."""
        async with asyncio.timeout(30):
            async for piece in self._pieces:
                await self._feed(piece)
        return self.messages

    async def _feed(self, piece: bytes) -> None:
        self.raw += piece
        self.messages += self._decoder.feed(piece)


MakeApp = Callable[..., penstock.App]
Reading = Callable[..., AbstractAsyncContextManager[Reader]]
Served = Callable[[Any], AbstractAsyncContextManager[str]]


@pytest.fixture
def gate() -> Gate:
    """What the functions of `app` wait for."""
    return Gate()


@pytest.fixture
def make_app(gate: Gate) -> MakeApp:
    """For an app with settings of its own; what its functions wait for is `gate`."""

    def make(**settings: Any) -> penstock.App:
        app = penstock.App(**({"store": "memory:", "rate": 0, "grace_s": 0} | settings))

        @app.function
        async def count(to: int = 5) -> AsyncIterator[str]:
            for number in range(1, to + 1):
                yield f"{number} "

        @app.function(concurrency_limit=None)
        async def wait() -> AsyncIterator[str]:
            yield "before "
            await gate.open.wait()
            yield "after"

        @app.function(concurrency_limit=None)
        async def silent() -> None:
            await gate.open.wait()

        @app.function(concurrency_limit=None)
        async def chatter() -> AsyncIterator[str]:
            while True:
                yield "x"
                await asyncio.sleep(0.001)

        return app

    return make


@pytest.fixture
def app(make_app: MakeApp) -> penstock.App:
    """An app whose runs last as long as a test wants them to."""
    return make_app()


@pytest.fixture(params=["own connection", "any server"])
def http(request: pytest.FixtureRequest) -> Any:
    """What uvicorn speaks HTTP with: ours, under which responses are taken over, or its own."""
    return Connection if request.param == "own connection" else "httptools"


@pytest.fixture
def served(http: Any) -> Served:
    """`async with served(app) as url`, over one kind of connection and then over the other."""
    return partial(live_server, http=http, ws=socket_connection if http is Connection else "auto")


@pytest.fixture
async def api(app: penstock.App, connect: "type[Api]", served: Served) -> "AsyncIterator[Api]":
    """A client of `app`."""
    async with served(app) as url, connect(url) as api:
        yield api


@pytest.fixture(params=TRANSPORTS, ids=lambda transport: transport.name)
def transport(request: pytest.FixtureRequest) -> Transport:
    """Each way to read a run."""
    given: Transport = request.param
    return given


@pytest.fixture
def reading() -> Reading:
    """`async with reading(api, run_id, rate=…)` is one open response."""

    @asynccontextmanager
    async def reading(api: "Api", run_id: str, **query: Any) -> AsyncIterator[Reader]:
        async with api.stream("GET", f"/api/runs/{run_id}/events", params=query) as response:
            assert response.status_code == 200
            yield Reader(response.aiter_raw())

    return reading
