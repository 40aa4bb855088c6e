"""`penstock.gradio.Client`: gradio_client's, for which a lost connection or a restart is nothing but a pause."""

import contextlib
import json
import secrets
import threading
import time
import urllib.parse
import uuid
import weakref
from collections.abc import Callable
from typing import Any

import httpx
from gradio_client import Client as StockClient
from gradio_client.client import Endpoint, Job
from gradio_client.exceptions import AppError

from ....client.reconnect import Action, Patience, Trouble, backoff_s, retry_after_s
from ....errors import ConnectionLost, UnknownRun
from .stream import SILENCE_S, Asking, Inboxes, MessageStream, trouble_of

__all__ = ["Client"]

RETRY_FOR_S = 300.0
"""A deploy takes minutes at the most; a job that is told of its server's end later than that was forgotten."""

ANSWER_S = 30.0
"""Longest wait for the answer to a join where the caller has set none: validators and caches run before it."""

CHECK_S = 10.0
"""Longest wait for the answer whether it is a hardened server; a slow one is met as any other."""

_chance = secrets.SystemRandom().random


class Client(StockClient):  # type: ignore[misc]  # gradio_client need not be installed where types are checked
    """A drop-in for `gradio_client.Client`, for apps that `penstock.gradio.install()` hardens.

    Cut connections, proxies that end streams and restarted servers don't end its jobs: it reconnects and goes on
    where it was, and each message is taken once. A job that was submitted while the answer was lost is submitted
    once. `job()` fetches one by its id, from any process. Any other server it meets as gradio_client does.

    Args:
        *args, **options: gradio_client's.
        retry_for_s: How long its jobs wait for a server that can't be reached; None for ever. After it they end
            with an `AppError` that says so.
    """

    def __init__(self, *args: Any, retry_for_s: float | None = RETRY_FOR_S, **options: Any) -> None:
        self._retry_for_s = retry_for_s
        self._streams: dict[str, MessageStream] = {}
        self._streams_lock = threading.Lock()
        self._auth: Any = None
        super().__init__(*args, **options)
        self._is_hardened = self._ask_if_hardened()
        if self._is_hardened:
            self.pending_messages_per_event = Inboxes()
            self.stream_open = True  # so that the stock client never opens its own
            if self.config.get("connect_heartbeat", True):
                beat = (weakref.ref(self), self.heartbeat, self._kill_heartbeat, self._refresh_heartbeat)
                threading.Thread(target=_beat_on, args=beat, daemon=True).start()

    def job(self, event_id: str, *, api_name: str | None = None, fn_index: int | None = None) -> Job:
        """A job that was submitted before, here or in another process: its outputs from the first, its status
        and its result, as if it were submitted now.

        Args:
            event_id: Its id: `job.communicator.event_id` of the one that `submit` gave, once that is submitted.
            api_name, fn_index: The endpoint, where the server does not tell it.

        Raises:
            UnknownRun: The server knows no such job, or does not let this client have it.
            ConnectionLost: It can't be reached.
        """
        run = self._run(event_id)
        given = (run.get("input") or {}).get("gradio") or {}
        if api_name is None and fn_index is None:
            fn_index = given.get("fn_index")
        if api_name is not None or fn_index is None:
            fn_index = self._infer_fn_index(api_name, fn_index)
        fetched = _Fetched(
            self, event_id, given.get("session_hash") or run.get("session") or uuid.uuid4().hex
        )
        endpoint = Endpoint(fetched, fn_index, self.endpoints[fn_index].dependency, self.protocol)
        helper = self.new_helper(fn_index)
        predict = endpoint.make_end_to_end_fn(helper)
        future = self.executor.submit(lambda: fetched.having(predict))
        cancel = endpoint.make_cancel(helper)
        helper.event_id = event_id
        return Job(
            future, communicator=helper, verbose=self.verbose, space_id=self.space_id, _cancel_fn=cancel
        )

    # What gradio_client calls

    def send_data(self, data: Any, hash_data: Any, protocol: Any, request_headers: Any) -> str:
        """Submit a job; its event's id. Tried again until it is known whether it was taken."""
        if not self._is_hardened:
            event_id: str = super().send_data(data, hash_data, protocol, request_headers)
            return event_id
        headers = {**(request_headers or {}), "X-Penstock-Key": uuid.uuid4().hex}
        event_id = self._join({**data, **hash_data}, headers) or super().send_data(
            data, hash_data, protocol, headers
        )
        self.stream_of(hash_data["session_hash"]).expect(event_id)
        return event_id

    def _login(self, auth: Any) -> None:
        super()._login(auth)
        self._auth = auth

    # Submitting

    def _join(self, body: dict[str, Any], headers: dict[str, str]) -> str | None:
        """The event's id; None where the server refuses it, in whose words the stock client says that."""
        answer = self._patiently(lambda: self._post(body, headers))
        if answer.status_code == 500:  # the stock client would say the number only
            raise AppError(str(answer.json().get("detail")))
        return str(answer.json()["event_id"]) if answer.status_code == 200 else None

    def _post(self, body: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        return httpx.post(
            self.sse_data_url,
            json=body,
            headers={**headers, **self.add_zero_gpu_headers(self.headers)},
            cookies=self.cookies,
            verify=self.ssl_verify,
            **{"timeout": ANSWER_S, **self.httpx_kwargs},
        )

    def _patiently(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        """An answer that stands. Raises ConnectionLost where there is none for too long."""
        patience, may_renew = Patience(self._retry_for_s), True
        while True:
            outcome: int | Trouble
            hint_s, reason = None, None
            try:
                answer = ask()
            except httpx.RequestError as error:
                outcome, reason = trouble_of(error), error
            else:
                if answer.status_code == 401 and may_renew and self.renew_login():
                    may_renew = False
                    continue
                if _is_final(answer):
                    return answer
                outcome = answer.status_code
                hint_s = retry_after_s(answer.headers.get("Retry-After"), time.time())
            decision = patience.decide(outcome, time.monotonic(), _chance(), hint_s=hint_s)
            if decision.action is not Action.WAIT:
                raise ConnectionLost(f"The server can't be reached: {reason or outcome}.") from reason
            time.sleep(decision.wait_s)

    # Reading

    def stream_of(self, session_hash: str) -> MessageStream:
        """What reads this session's messages."""
        with self._streams_lock:
            if session_hash not in self._streams:
                self._streams[session_hash] = self.new_stream(session_hash, self.pending_messages_per_event)
            return self._streams[session_hash]

    def new_stream(self, session_hash: str, inboxes: Inboxes, only: str | None = None) -> MessageStream:
        """A stream of its own. It does not keep this client alive."""
        ref = weakref.ref(self)
        return MessageStream(
            session_hash, inboxes, lambda: _asking(ref()), lambda: _renewed(ref()), self._retry_for_s, only
        )

    def renew_login(self) -> bool:
        """Log in again: a restarted server knows nobody. Whether there was a login, and it was taken."""
        if self._auth is None:
            return False
        try:
            self._login(self._auth)
        except (httpx.RequestError, ValueError):
            return False
        return True

    # Asking

    def _ask_if_hardened(self) -> bool:
        try:
            return self._get("penstock/web/gradio/messages.js", method="HEAD").status_code == 200
        except httpx.RequestError:
            return False

    def _run(self, event_id: str) -> dict[str, Any]:
        path = f"penstock/api/runs/{urllib.parse.quote(event_id, safe='')}"
        answer = self._patiently(lambda: self._get(path))
        if answer.status_code != 200:
            raise UnknownRun(f"There is no job {event_id!r} here, or not for this client.")
        run: dict[str, Any] = answer.json()
        return run

    def _get(self, path: str, method: str = "GET") -> httpx.Response:
        options = {"timeout": CHECK_S, **self.httpx_kwargs}
        url = urllib.parse.urljoin(self.src_prefixed, path)
        return httpx.request(
            method, url, headers=self.headers, cookies=self.cookies, verify=self.ssl_verify, **options
        )


class _Fetched:
    """The client of one fetched job: gradio_client's own code asks it for what it would ask the client."""

    def __init__(self, client: Client, event_id: str, session_hash: str) -> None:
        self._client = client
        self._event_id = event_id
        self.session_hash = session_hash
        self.pending_messages_per_event = Inboxes()
        self.pending_event_ids: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def having(self, predict: Any) -> Any:
        """The result of `predict`, whose endpoint holds this weakly."""
        return predict()

    def send_data(self, *_: Any) -> str:
        """It was submitted before: it is only read."""
        stream = self._client.new_stream(self.session_hash, self.pending_messages_per_event, self._event_id)
        stream.expect(self._event_id)
        return self._event_id


def _asking(client: Client | None) -> Asking | None:
    if client is None:
        return None
    options = {"headers": client.headers, "cookies": client.cookies, "verify": client.ssl_verify}
    return Asking(client.sse_url, {**options, **client.httpx_kwargs})


def _renewed(client: Client | None) -> bool:
    return client is not None and client.renew_login()


def _is_final(answer: httpx.Response) -> bool:
    """Whether asking again is no use: Gradio's own "queue is full" is JSON, and says no time.

    So is the 500 of a server whose store can't be used.
    """
    if answer.status_code in (500, 503):
        return "Retry-After" not in answer.headers and _is_object(answer.text)
    return answer.status_code < 500 and answer.status_code not in (408, 425, 429)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _beat_on(
    ref: "weakref.ref[Client]", stock: threading.Thread, kill: threading.Event, refresh: threading.Event
) -> None:
    """Keep the session's heartbeat: the stock client gives it up with the first connection that is cut."""
    stock.join()
    attempt = 0
    while not kill.wait(backoff_s(attempt, _chance()) if attempt else 0):
        client, began = ref(), time.monotonic()
        asking = _asking(client)
        if client is None or asking is None:
            return
        url = client.heartbeat_url.format(session_hash=client.session_hash)
        del client
        with contextlib.suppress(httpx.RequestError):
            _beat(url, asking, kill, refresh)
        attempt = 1 if time.monotonic() - began > SILENCE_S else attempt + 1


def _beat(url: str, asking: Asking, kill: threading.Event, refresh: threading.Event) -> None:
    """One connection of the heartbeat, until it is cut, or is of another session."""
    with httpx.stream("GET", url, **{"timeout": SILENCE_S, **asking.options}) as answer:
        for _ in answer.iter_lines():
            if kill.is_set() or refresh.is_set():
                refresh.clear()
                return
