"""What tests share: functions run by a real worker, a client that reads frames, programs that may be missing."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Generator
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

import penstock
from penstock.events import AnyEvent, End, Folded
from penstock.protocol.coalesce import Fold
from penstock.protocol.pieces import Pieces
from penstock.protocol.sse import Decoder, Message, events_in
from penstock.testing import until

DEADLINE_S = 30.0
"""Every wait ends after this: far above what anything here takes, even on a machine that is slow and busy."""

ALIASES = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "nginx": ("nginx", "/usr/sbin/nginx"),  # people have no sbin on their path
}


def pytest_configure() -> None:
    """Have processes that tests start end by signals, whatever the tests were started with.

    `nohup` and jobs in the background ignore some, and that is handed on.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, dict[str, Any] | None, Any]:
    """Have a report pass whatever a test logs: half a surrogate pair, say, which is not sent between processes."""
    return _sendable((yield))


def _sendable(part: Any) -> Any:
    if isinstance(part, str):
        return part.encode(errors="backslashreplace").decode()
    if isinstance(part, dict):
        return {key: _sendable(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_sendable(value) for value in part]
    if isinstance(part, tuple):
        return tuple(_sendable(value) for value in part)
    return part


def find(program: str) -> str:
    """Where a program is. Without it the test is skipped, loudly; in CI it fails, as nobody reads skips there."""
    for name in ALIASES.get(program, (program,)):
        if (path := shutil.which(name)) is not None:
            return path
    message = f"{program} is not installed, and this test needs it: run tests/install-parts"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def needs() -> Callable[[str], str]:
    """`needs("node")` is the program's path, or the end of the test."""
    return find


class Started:
    """A run on a bench."""

    def __init__(self, bench: "Bench", run_id: str) -> None:
        self.id = run_id
        self._bench = bench

    async def follow(self, after: int = 0) -> AsyncIterator[AnyEvent]:
        """Its events, as stored, until the end; large ones put together."""
        pieces = Pieces()
        with self._bench.services.hub.subscribe(self.id, after) as subscriber:
            while not subscriber.ended:
                chunks = await subscriber.take()
                for chunk in chunks:
                    for event in map(pieces.add, events_in(chunk.data)):
                        if event is not None and not isinstance(event, Folded):
                            yield event
                if not chunks:
                    await subscriber.news(1)

    async def see(self, condition: Callable[[Fold], Any]) -> Fold:
        """Read on until the state satisfies `condition`."""
        fold = Fold()
        async with asyncio.timeout(DEADLINE_S):
            async for event in self.follow():
                fold.apply(event)
                if condition(fold):
                    return fold
        raise AssertionError("the run ended before")

    async def events(self) -> list[AnyEvent]:
        """All its events, once it has ended."""
        async with asyncio.timeout(DEADLINE_S):
            return [event async for event in self.follow()]

    async def end(self) -> End:
        """Its last event."""
        last = (await self.events())[-1]
        assert isinstance(last, End)
        return last

    async def outcome(self) -> tuple[str, str]:
        """Its state and its error's code."""
        end = await self.end()
        return end.state, (end.error or {}).get("code", "")

    async def fold(self) -> Fold:
        """The state it led to."""
        fold = Fold()
        for event in await self.events():
            fold.apply(event)
        return fold

    async def cancel(self) -> str:
        """Ask for a stop; the receipt."""
        _, receipt = await self._bench.services.queue.cancel(self.id)
        return receipt


class Bench:
    """Runs functions with all of an app's services, but without HTTP."""

    def __init__(self, **settings: Any) -> None:
        self.app = penstock.App(**({"store": "memory:"} | settings))

    async def __aenter__(self) -> Self:
        self.services = await self.app.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.app.configure(grace_s=0)
        await self.app.stop()

    async def start(
        self, call: Callable[..., Any], given: dict[str, Any] | None = None, **options: Any
    ) -> Started:
        """Register the function, if it is new, and submit a run of it."""
        name = options.get("name") or call.__name__
        if name not in self.app.functions:
            self.app.function(**options)(call)
        run, _ = await self.services.queue.submit(name, msgspec.json.encode(given or {}))
        return Started(self, run.id)

    async def interrupt(self) -> None:
        """What a shutdown does when the grace time is nearly over, with seconds for what takes milliseconds."""
        self.services.worker.hold()
        await self.services.worker.interrupt(DEADLINE_S)

    @property
    def running(self) -> int:
        """Runs under way."""
        return self.services.worker.running


@pytest.fixture
def make_bench() -> type[Bench]:
    """For a bench with settings of its own."""
    return Bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A bench over a store in memory."""
    async with Bench() as bench:
        yield bench


class Scrape:
    """One answer of /metrics, read as Prometheus reads it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples `penstock_<name>` that have these labels."""
        found = [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == f"penstock_{name}" and labels.items() <= sample.labels.items()
        ]
        assert found, f"there is no {name} {labels}"
        return sum(found)

    def has(self, name: str) -> bool:
        """Whether the metric has any samples."""
        return bool(self.families[f"penstock_{name}"].samples)


class Api(httpx.AsyncClient):
    """The HTTP surface, without the comfort of `penstock.Client`, which would hide what is to be tested."""

    def __init__(self, url: str, **options: Any) -> None:
        headers = {"Accept-Encoding": "identity"} | options.pop(
            "headers", {}
        )  # bytes are looked at as they come
        super().__init__(base_url=url, timeout=DEADLINE_S, trust_env=False, headers=headers, **options)

    async def submit(self, function: str, **given: Any) -> str:
        """Start a run; its id."""
        answer = await self.post("/api/runs", json={"function": function, "input": given})
        assert answer.status_code == 202, answer.text
        run_id: str = answer.json()["run_id"]
        return run_id

    async def messages(self, run_id: str, cursor: str | None = None, **query: Any) -> list[Message]:
        """The whole response of one reader."""
        headers = {} if cursor is None else {"Last-Event-ID": cursor}
        answer = await self.get(f"/api/runs/{run_id}/events", headers=headers, params=query)
        assert answer.status_code == 200, answer.text
        return Decoder().feed(answer.content)

    async def scrape(self) -> Scrape:
        """What /metrics says now."""
        answer = await self.get("/metrics")
        assert answer.status_code == 200, answer.text
        return Scrape(answer.text)

    async def ended(self, run_id: str) -> dict[str, Any]:
        """The run, once it has ended."""

        async def look() -> dict[str, Any]:
            run: dict[str, Any] = (await self.get(f"/api/runs/{run_id}")).json()
            return run if run["ended_at_ms"] else {}

        return await until(look, DEADLINE_S, f"{run_id} ends")


@pytest.fixture
def connect() -> type[Api]:
    """`connect(url)` is a client of that server."""
    return Api


@pytest.fixture
def write_app(tmp_path: Path) -> Callable[[str], Path]:
    """`write_app(source)` puts an app.py into the test's folder; `penstock` and `app` are defined in it."""

    def write(source: str) -> Path:
        path = tmp_path / "app.py"
        path.write_text(f"import penstock\napp = penstock.App()\n{source}")
        return path

    return write
