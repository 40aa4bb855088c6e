"""What tests of the queue share: both stores, and functions that stand where a test wants them."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import penstock
from penstock.protocol.sse import Decoder, Message
from penstock.testing import live_server, until

if TYPE_CHECKING:
    from tests.conftest import Api, Bench

LOOKS = 3
"""Looks into the line after which a run that may not start has not started: the first one would have done it."""


class Stage:
    """Functions that note when they begin, and end when they are let go."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.on: list[str] = []
        self.most = 0
        self._open: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self._lock = threading.Lock()

    async def hold(self, who: str = "", user: str = "") -> str:
        """Heeds a stop."""
        with self._part(who):
            while not self._open[who].is_set():
                await asyncio.sleep(0.002)
        return who

    def block(self, who: str = "", user: str = "") -> str:
        """Hears nothing until it is let go."""
        with self._part(who):
            self._open[who].wait()
        return who

    @contextmanager
    def _part(self, who: str) -> Iterator[None]:
        with self._lock:
            self.began.append(who)
            self.on.append(who)
            self.most = max(self.most, len(self.on))
        try:
            yield
        finally:
            with self._lock:
                self.on.remove(who)

    def let_go(self, *names: str) -> None:
        """Let these end; all of them where none is named."""
        for who in names or [*self._open, *self.began]:
            self._open[who].set()

    async def one_by_one(self, count: int) -> list[str]:
        """Let each go as it begins, until so many have; who they were, in order."""
        for number in range(1, count + 1):
            await until(lambda number=number: len(self.began) == number)  # type: ignore[misc]
            self.let_go(self.began[-1])
        return self.began

    async def has(self, *names: str) -> None:
        """Wait until these have begun, in any order, and no others."""
        await until(lambda: sorted(self.began) == sorted(names), what=f"{names} begin; {self.began} did")


class Line:
    """A bench's line."""

    def __init__(self, bench: "Bench") -> None:
        self._bench = bench

    async def looked_at(self) -> None:
        """The worker has looked at the line again and again: who may start has been started."""
        worker = self._bench.services.worker
        for _ in range(LOOKS):
            async with worker._claiming:
                await worker._claim()
            await asyncio.sleep(0)

    async def group(self, name: str) -> dict[str, Any]:
        """What `GET /api/queue` says of a group."""
        overview = await self._bench.services.standings.overview()
        return next(group for group in overview["groups"] if group["group"] == name)

    async def counts(self, name: str) -> tuple[int, int, int]:
        """Runs that wait, run and are held in a group."""
        group = await self.group(name)
        return group["waiting"], group["running"], group["held"]


class Reader:
    """A reader of one run over HTTP, from now until it leaves or the response ends."""

    def __init__(self, api: "Api", run_id: str) -> None:
        self.messages: list[Message] = []
        self.ended = False
        self._task = asyncio.create_task(self._read(api, run_id))

    async def _read(self, api: "Api", run_id: str) -> None:
        decoder = Decoder()
        async with api.stream("GET", f"/api/runs/{run_id}/events") as response:
            assert response.status_code == 200
            async for piece in response.aiter_raw():
                self.messages += decoder.feed(piece)
        self.ended = True

    async def leave(self) -> None:
        """Break the connection."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    @property
    def statuses(self) -> list[dict[str, Any]]:
        """What it was told beside the events."""
        return [msgspec.json.decode(one.data) for one in self.messages if one.event == "status"]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that came, as JSON."""
        return [msgspec.json.decode(one.data) for one in self.messages if one.event == "message"]

    async def told(self, **status: Any) -> dict[str, Any]:
        """Wait until its last status says this."""

        def look() -> dict[str, Any]:
            assert not self._task.done() or self.ended, self._task.exception()
            last = (self.statuses or [{}])[-1]
            return last if {name: last.get(name) for name in status} == status else {}

        return await until(look, what=f"it is told {status}, after {self.messages}")

    async def end(self) -> dict[str, Any]:
        """Wait until the response has ended; its last event."""
        await until(lambda: self.ended, what=f"the response ends, after {self.messages}")
        return self.events[-1]


class Site:
    """An app over HTTP."""

    def __init__(self, app: penstock.App, api: "Api") -> None:
        self.app = app
        self.api = api
        self.readers: list[Reader] = []

    async def post(self, function: str, given: Any = None, **more: Any) -> dict[str, Any]:
        """The answer to a submission, with its status."""
        answer = await self.api.post("/api/runs", json={"function": function, "input": given or {}} | more)
        body: dict[str, Any] = answer.json()
        return body | {"status": answer.status_code}

    async def submit(self, function: str, given: Any = None, **more: Any) -> str:
        """Start a run; its id."""
        run_id: str = (await self.post(function, given, **more))["run_id"]
        return run_id

    async def run(self, run_id: str) -> dict[str, Any]:
        """What the server says of a run."""
        run: dict[str, Any] = (await self.api.get(f"/api/runs/{run_id}")).json()
        return run

    async def queue(self) -> dict[str, dict[str, Any]]:
        """What the server says of its groups."""
        groups = (await self.api.get("/api/queue")).json()["groups"]
        return {group["group"]: group for group in groups}

    async def cancel(self, run_id: str) -> str:
        """Ask for a stop; the receipt."""
        receipt: str = (await self.api.post(f"/api/runs/{run_id}/cancel")).json()["cancel"]
        return receipt

    async def ended(self, run_id: str) -> tuple[str, str]:
        """The run's state and its error's code, once it has ended."""
        run = await self.api.ended(run_id)
        return run["state"], (run["error"] or {}).get("code", "")

    def read(self, run_id: str) -> Reader:
        """A reader from now on."""
        self.readers.append(Reader(self.api, run_id))
        return self.readers[-1]


Serve = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def serve(connect: "type[Api]") -> Serve:
    """`serve(*functions, store=…)` is an app over HTTP; each function may come with its options."""

    @asynccontextmanager
    async def serve(*functions: Any, **settings: Any) -> AsyncIterator[Site]:
        app = penstock.App(**({"store": "memory:", "grace_s": 0} | settings))
        for function in functions:
            call, options = function if isinstance(function, tuple) else (function, {})
            app.function(**options)(call)
        async with live_server(app) as url, connect(url) as api:
            site = Site(app, api)
            yield site
            for reader in site.readers:
                await reader.leave()

    return serve


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where runs are kept: in memory, then in a real file."""
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}"


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A file that several apps may share."""
    return f"sqlite:///{tmp_path / 'shared.db'}"


@pytest.fixture
async def bench(store: str, make_bench: "type[Bench]") -> "AsyncIterator[Bench]":
    """A bench over each store."""
    async with make_bench(store=store) as bench:
        yield bench


@pytest.fixture
def line(bench: "Bench") -> Line:
    """The line of `bench`."""
    return Line(bench)


@pytest.fixture
def line_of() -> type[Line]:
    """`line_of(bench)` is that bench's line."""
    return Line


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage that is cleared at the end, so that no thread stays behind."""
    stage = Stage()
    yield stage
    stage.let_go()
