"""A session's messages for `Client`, over as many connections as it takes: each once, in order, none missing."""

import contextlib
import json
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any, NamedTuple

import httpx

from ....client.reconnect import Action, Patience, Trouble, retry_after_s
from ....errors import ProtocolError
from ....protocol.sse import Decoder

__all__ = ["Asking", "Inbox", "Inboxes", "MessageStream", "trouble_of"]

CONNECT_S = 10.0
"""A server that takes longer to accept a connection is down or overloaded; trying later serves both."""

SILENCE_S = 45.0
"""Gradio says something every 15 s: after three of those in vain the connection is dead."""

LIVED_S = 5.0
"""A connection on which something still comes after this long counts as progress, whatever it is."""

MOST_NAMED = 100
"""Awaited events named in one request, so that its address stays within what proxies take (8 KiB). More are found
by the session that they are of."""

MOST_DONE = 10_000
"""Ended events that are remembered, to know them when a server that was restarted tells of them again."""

UNKNOWN = "The server does not know this event any more."
LOST = "The connection to the server was lost, and could not be had again"

Message = dict[str, Any]

_chance = secrets.SystemRandom().random


class Cancelled(dict[str, Any]):
    """The output of a cancelled event, which is nothing at all: gradio_client would call it a missing key."""

    def __missing__(self, name: str) -> Any:
        raise CancelledError


class Inbox(deque[Message]):
    """What has come of one event and was not taken: gradio_client's older versions take it by `pop(0)`."""

    def pop(self, index: int = -1) -> Message:
        return super().popleft() if index == 0 else super().pop()


class Inboxes(dict[str, Any]):
    """By event id. None is replaced: older versions of gradio_client begin each after its first messages."""

    def __setitem__(self, event_id: str, inbox: Any) -> None:
        self.setdefault(event_id, inbox if isinstance(inbox, Inbox) else Inbox(inbox))


class Asking(NamedTuple):
    """How a stream is asked for, as `httpx.stream` takes it."""

    url: str
    options: dict[str, Any]


def trouble_of(error: httpx.RequestError) -> Trouble:
    """What kind of trouble this is."""
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError | httpx.TooManyRedirects):
        return Trouble.UNUSABLE
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Trouble.UNTRUSTED
    if isinstance(error, httpx.ReadTimeout):
        return Trouble.SILENT
    return (
        Trouble.UNREACHABLE if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else Trouble.CUT
    )


class _Closed(Exception):
    """The server says that nothing is pending."""


class _Unknown(Exception):
    """The server knows neither the session nor an event of it."""


class _Refused(Exception):
    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"HTTP {response.status_code}")
        self.status = response.status_code
        self.hint_s = retry_after_s(response.headers.get("Retry-After"), time.time())


class MessageStream:
    """One session's messages, read in a thread of its own while an event is awaited.

    Args:
        session_hash: The session.
        inboxes: Where messages go, by event id.
        ask: Gives the request, anew for each connection; None where nobody wants the messages any more.
        renew: Called where the server asks for a login. Whether there is a new one.
        retry_for_s: How long to try without progress; None for ever.
        only: Messages of this event only; the session is another client's.
    """

    def __init__(
        self,
        session_hash: str,
        inboxes: Inboxes,
        ask: Callable[[], Asking | None],
        renew: Callable[[], bool],
        retry_for_s: float | None,
        only: str | None = None,
    ) -> None:
        self._session_hash = session_hash
        self._inboxes = inboxes
        self._ask = ask
        self._renew = renew
        self._retry_for_s = retry_for_s
        self._only = only
        self._lock = threading.Lock()
        self._awaited: dict[str, None] = {}  # in order
        self._done: OrderedDict[str, None] = OrderedDict()
        self._cursor = ""
        self._heard = 0
        self._is_read = False

    def expect(self, event_id: str) -> None:
        """Read until this event has ended. It may have begun, or ended, before."""
        self._inboxes.setdefault(event_id, Inbox())
        with self._lock:
            if event_id in self._done:
                return
            self._awaited[event_id] = None
            if self._is_read:
                return
            self._is_read = True
        threading.Thread(target=self._read, name="penstock-gradio", daemon=True).start()

    # The thread

    def _read(self) -> None:
        patience, may_renew = Patience(self._retry_for_s), True
        while self._is_wanted():
            outcome, hint_s = self._connect(patience)
            if outcome == 401 and may_renew:
                may_renew = False
                outcome = None if self._renew() else outcome
            if outcome is None or not self._awaited:
                continue
            decision = patience.decide(outcome, time.monotonic(), _chance(), hint_s=hint_s)
            may_renew = may_renew or outcome != 401
            if decision.action is Action.WAIT:
                time.sleep(decision.wait_s)
            else:
                self._give_up(f"{LOST}: {outcome}.")
                patience = Patience(self._retry_for_s)

    def _is_wanted(self) -> bool:
        with self._lock:
            self._is_read = bool(self._awaited)
            return self._is_read

    def _connect(self, patience: Patience) -> tuple[int | Trouble | None, float | None]:
        """Read one connection to its end. What that was, None for one that told all, and when to ask again."""
        before = self._heard
        try:
            with self._opened() as response:
                self._take(response, patience)
        except _Refused as refused:
            return refused.status, refused.hint_s
        except _Unknown:
            self._give_up(UNKNOWN)
        except _Closed:  # and if yet something is awaited, it was joined in this moment
            return None if self._heard > before else Trouble.ENDED, None
        except httpx.RequestError as error:
            return trouble_of(error), None
        except (ProtocolError, ValueError):
            return Trouble.UNUSABLE, None
        return Trouble.ENDED, None

    @contextlib.contextmanager
    def _opened(self) -> Iterator[httpx.Response]:
        asking = self._ask()
        if asking is None:
            raise _Unknown
        options = dict(asking.options)
        headers = {**options.pop("headers", {}), "Accept": "text/event-stream"}
        if self._cursor:
            headers["Last-Event-ID"] = self._cursor
        options.setdefault("timeout", httpx.Timeout(CONNECT_S, read=SILENCE_S))
        with httpx.stream("GET", asking.url, params=self._query(), headers=headers, **options) as response:
            if response.status_code != 200:
                raise _Refused(response)
            if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                raise ProtocolError("The server sent no event stream.", hint="A proxy may have answered.")
            yield response

    def _query(self) -> httpx.QueryParams:
        with self._lock:
            unknown = [event_id for event_id in self._awaited if f"{event_id}@" not in self._cursor]
        named = [("event", event_id) for event_id in unknown[-MOST_NAMED:]]
        return httpx.QueryParams([("session_hash", self._session_hash), ("cursor", ""), *named])

    def _take(self, response: httpx.Response, patience: Patience) -> None:
        decoder, began = Decoder(), time.monotonic()
        for chunk in response.iter_bytes():
            for message in decoder.feed(chunk):
                if self._hear(json.loads(message.data)):
                    self._heard += 1
                    patience.progressed()
                if message.own_id:
                    self._cursor = message.id
                if self._only is not None and not self._awaited:
                    return
            if time.monotonic() - began > LIVED_S:
                patience.progressed()

    def _hear(self, message: Any) -> bool:
        """Take a message; whether it brought something. Raises ProtocolError for what is none."""
        if not isinstance(message, dict) or "msg" not in message:
            raise ProtocolError("This is no message of Gradio's.", hint="A proxy may have answered.")
        kind, event_id = message["msg"], message.get("event_id")
        if kind == "close_stream":
            raise _Closed
        if kind == "unexpected_error" and message.get("session_not_found"):
            raise _Unknown
        if event_id is None or event_id in self._done or (self._only not in (None, event_id)):
            return False
        is_end = kind == "process_completed"
        if is_end and message.get("success") and not message.get("output"):
            message["output"] = Cancelled()
        self._inboxes.setdefault(event_id, Inbox()).append(message)
        if is_end:
            with self._lock:
                self._finish(event_id)
        return True

    def _finish(self, event_id: str) -> None:
        self._awaited.pop(event_id, None)
        self._done[event_id] = None
        if len(self._done) > MOST_DONE:
            self._done.popitem(last=False)

    def _give_up(self, reason: str) -> None:
        """Each awaited event ends with this error."""
        with self._lock:
            awaited = list(self._awaited)
            for event_id in awaited:
                self._finish(event_id)
        for event_id in awaited:
            output = {"error": reason}
            ending = {"msg": "process_completed", "event_id": event_id, "output": output, "success": False}
            self._inboxes.setdefault(event_id, Inbox()).append(ending)
