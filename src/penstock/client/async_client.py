"""The asynchronous client."""

import secrets
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from .answers import member
from .async_run import AsyncRemoteRun, Readings
from .stream import StatusCallback
from .wire import Wire

__all__ = ["AsyncClient"]


class AsyncClient:
    """A Penstock server, for programs with an event loop: `async with penstock.AsyncClient(url) as client`.

    url: `http://HOST:PORT`, with the path where the server is mounted under one. Raises ConfigError.
    token: the server's token, if it has one.
    retry_for_s: how many seconds a call, or a reading, keeps trying without any progress; None for ever.
    silence_s: seconds without a byte after which a connection counts as dead. Keep it above the server's
        heartbeat of 15 s.
    http: an HTTP client to use (proxies, certificates); the caller closes it. By default one is made, which
        honours the usual proxy variables.

    Every call raises the server's error as its own class from `penstock.errors`, ConnectionLost once
    `retry_for_s` is up, and ProtocolError where something else than a Penstock server answers. All calls may
    be repeated and cancelled; a cancelled `submit` or `cancel` may have reached the server.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        retry_for_s: float | None = 60.0,
        silence_s: float = 45.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._wire = Wire(url, token, retry_for_s, silence_s, http)
        self._readings = Readings()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. Runs go on; readings of them raise ClientError."""
        await self._wire.close()
        for reading in list(self._readings):
            await reading.forsake()

    async def submit(
        self,
        function: str,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - the wire's word for it
        *,
        key: str | None = None,
        session: str | None = None,
        on_status: StatusCallback | None = None,
    ) -> AsyncRemoteRun:
        """Start a run of `function` with one member of `input` for each of its parameters.

        key: an idempotency key: submitting the same function with it again gives the same run. By default it
            is random, so that an answer that was lost on the way never leads to a second run.
        session: a name under which runs belong together.
        on_status: see `run`.
        """
        body: dict[str, Any] = {
            "function": function,
            "input": {} if input is None else dict(input),
            "key": secrets.token_hex(16) if key is None else key,
        }
        answer = await self._wire.call(
            "POST", "/api/runs", body=body if session is None else {**body, "session": session}
        )
        return self.run(member(answer, "run_id", str), on_status=on_status)

    def run(self, run_id: str, *, on_status: StatusCallback | None = None) -> AsyncRemoteRun:
        """A run by its id, without asking the server.

        on_status: called while the run is read, with the server's status (`{"state": "queued", "position": 3,
            "eta_s": …}`) and the connection's: `{"connection": "connecting" | "live" | "draining"}` or
            `{"connection": "reconnecting", "attempt", "wait_s", "reason"}`. It must not block.
        """
        return AsyncRemoteRun(self._wire, self._readings, run_id, on_status)

    async def runs(
        self,
        *,
        function: str | None = None,
        state: str | None = None,
        limit: int | None = None,
        before: str | None = None,
    ) -> dict[str, Any]:
        """A page of runs, newest first: `{"runs": […], "next": …}`; `next` is the next page's `before`."""
        wanted = {"function": function, "state": state, "limit": limit, "before": before}
        params = {name: str(value) for name, value in wanted.items() if value is not None}
        page: dict[str, Any] = await self._wire.call("GET", "/api/runs", params=params)
        member(page, "runs", list)
        return page

    async def functions(self) -> list[dict[str, Any]]:
        """The server's functions: `name`, `description` and the JSON Schema of their input."""
        return member(await self._wire.call("GET", "/api/functions"), "functions", list)

    async def queue(self) -> dict[str, Any]:
        """What `GET /api/queue` tells of what runs and waits: `{"groups": […], "workers", "max_threads"}`."""
        found: dict[str, Any] = await self._wire.call("GET", "/api/queue")
        member(found, "groups", list)
        return found

    async def health(self) -> bool:
        """Whether the server answers that it is well. Asked once, without retries; raises nothing."""
        return await self._wire.answers("/healthz")
