"""Requests: plain ones, tried again while that can help, and the opening of event streams."""

import asyncio
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from ..errors import ClientError, ConfigError, ConnectionLost, PenstockError, ProtocolError
from .answers import error_from, json_from
from .reconnect import Action, Decision, Patience, Trouble, retry_after_s

__all__ = ["Failed", "Wire"]

CONNECT_S = 10.0
"""A server that takes longer to accept a connection is down or overloaded; trying later serves both."""

WRITE_S = 30.0
"""Longest stall while a request is sent: the largest body is 4 MiB."""

ERROR_BYTES = 64 * 1024
"""What is read of an error's body: ours are under 1 KiB, a proxy's page is not worth more."""

_chance = secrets.SystemRandom().random


class Failed(Exception):
    """One try in vain: an HTTP status or a trouble, the error to raise if it was the last, the hint given."""

    def __init__(self, outcome: int | Trouble, error: PenstockError, hint_s: float | None = None) -> None:
        super().__init__(str(error))
        self.outcome = outcome
        self.error = error
        self.hint_s = hint_s


class Wire:
    """The way to one server. Everything here belongs to one event loop."""

    def __init__(
        self,
        url: str,
        token: str | None,
        retry_for_s: float | None,
        silence_s: float,
        http: httpx.AsyncClient | None,
    ) -> None:
        if not silence_s > 0:
            raise ConfigError(
                "`silence_s` must be more than 0 seconds.", hint="Servers send a byte every 15 s."
            )
        self.base = _base(url)
        self.retry_for_s = retry_for_s
        self._timeout = httpx.Timeout(connect=CONNECT_S, read=silence_s, write=WRITE_S, pool=None)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._own = http is None
        # Each stream holds a connection for as long as its run: httpx's limit of 100 would be a deadlock.
        self._http = http or httpx.AsyncClient(limits=httpx.Limits(max_connections=None))
        self._closed = False

    async def close(self) -> None:
        """Close the connections, unless the HTTP client was given. Later calls raise ClientError."""
        self._closed = True
        if self._own:
            await self._http.aclose()

    async def call(
        self, method: str, path: str, *, body: Any = None, params: Mapping[str, str] | None = None
    ) -> Any:
        """One request's JSON answer, tried again until `retry_for_s` is up.

        Requests must be harmless to repeat. Raises the server's error as its own class, ConnectionLost, or
        ProtocolError. Cancelling leaves open whether the server carried the request out.
        """
        patience = Patience(self.retry_for_s)
        while True:
            try:
                return json_from(await self._try(method, path, body, params))
            except Failed as failed:
                await self.pause(self.judge(failed, patience), failed)

    async def answers(self, path: str) -> bool:
        """Whether one GET, tried once, is answered with success."""
        try:
            await self._try("GET", path, None, None)
        except Failed:
            return False
        return True

    async def _try(self, method: str, path: str, body: Any, params: Mapping[str, str] | None) -> bytes:
        self._check_open()
        content = None if body is None else msgspec.json.encode(body)
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        try:
            response = await self._http.request(
                method,
                self.base + path,
                content=content,
                headers=headers,
                params=params,
                timeout=self._timeout,
            )
        except httpx.RequestError as error:
            raise _trouble(error) from error
        if not response.is_success:
            raise _refusal(response, response.content)
        return response.content

    @asynccontextmanager
    async def stream(self, path: str, cursor: str | None) -> AsyncIterator[httpx.Response]:
        """An event stream that has begun; leaving closes it. Raises Failed, also for what breaks inside."""
        self._check_open()
        headers = {**self._headers, "Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if cursor is not None:
            headers["Last-Event-ID"] = cursor
        try:
            async with self._http.stream(
                "GET", self.base + path, headers=headers, timeout=self._timeout
            ) as response:
                await _check_stream(response)
                yield response
        except httpx.RequestError as error:
            raise _trouble(error) from error

    def judge(self, failed: Failed, patience: Patience, *, has_cursor: bool = False) -> Decision:
        """What follows from a try in vain."""
        return patience.decide(
            failed.outcome, time.monotonic(), _chance(), hint_s=failed.hint_s, has_cursor=has_cursor
        )

    async def pause(self, decision: Decision, failed: Failed) -> None:
        """Wait as decided, or raise the error if nothing is left to try."""
        if decision.action is not Action.WAIT:
            raise failed.error from failed.__cause__
        await asyncio.sleep(decision.wait_s)

    def _check_open(self) -> None:
        if self._closed:
            raise ClientError("The client is closed.")


def _base(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"{url!r} is not an address: {error}.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise ConfigError(
            f"{url!r} can't be used as a server's address.",
            hint="It looks like http://HOST:PORT or https://HOST/PREFIX; a token goes into `token=`.",
        )
    return str(parsed).rstrip("/")


async def _check_stream(response: httpx.Response) -> None:
    if response.status_code != 200:
        raise _refusal(response, await _beginning(response))
    kind = response.headers.get("Content-Type", "")
    if kind.partition(";")[0].strip().lower() != "text/event-stream":
        error = ProtocolError(
            f"Asked for an event stream, the server sent {kind or 'something without a type'!r}.",
            hint="A proxy or a login page may have answered; does the address hold the path of the mount?",
        )
        raise Failed(Trouble.UNUSABLE, error)


async def _beginning(response: httpx.Response) -> bytes:
    body = b""
    async for data in response.aiter_bytes():
        body += data
        if len(body) >= ERROR_BYTES:
            break
    return body


def _refusal(response: httpx.Response, body: bytes) -> Failed:
    error = error_from(response.status_code, body, location=response.headers.get("Location"))
    hint_s = retry_after_s(response.headers.get("Retry-After"), time.time())
    return Failed(response.status_code, error, hint_s)


def _trouble(error: httpx.RequestError) -> Failed:
    outcome = _kind(error)
    reason = str(error) or type(error).__name__
    if outcome in (Trouble.UNTRUSTED, Trouble.UNUSABLE):
        return Failed(outcome, ClientError(f"The server can't be spoken to: {reason}."))
    return Failed(outcome, ConnectionLost(f"The connection to the server is lost ({outcome}): {reason}."))


def _kind(error: httpx.RequestError) -> Trouble:
    if _caused_by(error, ssl.SSLCertVerificationError):
        return Trouble.UNTRUSTED
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.TooManyRedirects)):
        return Trouble.UNUSABLE
    if isinstance(error, httpx.ReadTimeout):
        return Trouble.SILENT
    return (
        Trouble.UNREACHABLE if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)) else Trouble.CUT
    )


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
