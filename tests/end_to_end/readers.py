"""Readers that write down what they were sent.

`Recorder` shares no code with Penstock's clients: what it holds is what was on the wire.
"""

import asyncio
from typing import Any, NamedTuple

import httpx

from penstock import AsyncClient, Client
from penstock.events import AnyEvent, End, decode

RETRY_S = 0.05
"""Between a recorder's tries: quick, and no spin while the server is away."""

SILENCE_S = 0.8
"""After which a reader leaves a silent connection; runs here write 20 times a second."""


class Reader:
    """Reads one run to its `end`, however many connections that takes.

    seen: the events, as they came.
    tries: connections tried so far.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.seen: list[AnyEvent] = []
        self.tries = 0

    @property
    def ended(self) -> bool:
        return bool(self.seen) and isinstance(self.seen[-1], End)

    async def read(self) -> None:
        raise NotImplementedError


class Row(NamedTuple):
    """One event as it is on the wire: its cursor and its JSON."""

    cursor: str
    data: bytes

    @property
    def event(self) -> AnyEvent:
        return decode(self.data)


class Recorder(Reader):
    """Takes the wire apart itself, and comes back with the last cursor it was sent.

    rows: the events, to the byte.
    resets: events without a cursor: the server's word that it can't go on from ours.
    """

    def __init__(self, http: httpx.AsyncClient, url: str, run_id: str) -> None:
        super().__init__(run_id)
        self.rows: list[Row] = []
        self.resets: list[bytes] = []
        self._http = http
        self._url = f"{url}/api/runs/{run_id}/events"

    async def read(self) -> None:
        while not self.ended:
            try:
                await self._connection()
            except httpx.TransportError:
                await asyncio.sleep(RETRY_S)

    async def _connection(self) -> None:
        headers = {"Last-Event-ID": self.rows[-1].cursor} if self.rows else {}
        self.tries += 1
        async with self._http.stream("GET", self._url, headers=headers, timeout=SILENCE_S) as response:
            assert response.status_code == 200
            rest = b""
            async for data in response.aiter_bytes():
                *frames, rest = (rest + data).split(b"\n\n")
                for frame in frames:
                    self._take(frame)

    def _take(self, frame: bytes) -> None:
        fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if b": " in line)
        if b"event" in fields or b"data" not in fields:
            return  # a status, a comment, a retry: no history
        if b"id" not in fields:
            self.resets.append(fields[b"data"])
            return
        self.rows.append(Row(fields[b"id"].decode(), fields[b"data"]))
        self.seen.append(self.rows[-1].event)


class Listener(Reader):
    """The same through Penstock's client, which resumes by itself."""

    def __init__(self, client: AsyncClient, run_id: str) -> None:
        super().__init__(run_id)
        self._run = client.run(run_id, on_status=self._told)

    async def read(self) -> None:
        async with self._run.events() as events:
            async for event in events:
                self.seen.append(event)

    def _told(self, status: dict[str, Any]) -> None:
        self.tries += status.get("connection") in ("connecting", "reconnecting")


class SyncListener(Reader):
    """The same through the client for programs without an event loop, in a thread."""

    def __init__(self, url: str, run_id: str) -> None:
        super().__init__(run_id)
        self._url = url

    async def read(self) -> None:
        await asyncio.to_thread(self._read)

    def _read(self) -> None:
        with (
            Client(self._url, silence_s=SILENCE_S) as client,
            client.run(self.run_id, on_status=self._told).events() as events,
        ):
            for event in events:
                self.seen.append(event)

    def _told(self, status: dict[str, Any]) -> None:
        self.tries += status.get("connection") in ("connecting", "reconnecting")
