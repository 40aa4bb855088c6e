"""Reading one run's stream over as many connections as it takes: each event once, in order, none missing."""

import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Any

import httpx
import msgspec

from ..errors import BadCursor, ConnectionLost, ProtocolError
from ..events import AnyEvent, End, Folded, Piece, Reset, decode_message
from ..protocol.cursor import Position, parse_cursor
from ..protocol.pieces import Begun, Pieces
from ..protocol.sse import Decoder, Message
from .answers import NOT_JSON
from .reconnect import HINT_CAP_S, Action, Decision, Patience, Trouble
from .wire import Failed, Wire

__all__ = ["LIVED_S", "MAX_RESTARTS", "Intake", "Reader", "StatusCallback"]

StatusCallback = Callable[[dict[str, Any]], None]
"""Gets the server's status, `{"state": "queued", …}`, and the connection's, `{"connection": …}`."""

MAX_RESTARTS = 8
"""Resets about a cursor in one reading. More mean that each connection reaches another store, for ever."""

LIVED_S = 5.0
"""A connection on which bytes still come after this long counts as progress: a run may wait in its queue for
hours behind a proxy that cuts every minute, and that is no reason to give up."""


class Intake:
    """What one reader has of a stream, over all its connections. Without I/O.

    after: the cursor from which to read on. Raises BadCursor.
    `ended` is set once the `end` was taken, `draining` once the server said that it is leaving, `broken` once
    something came that breaks the protocol, `begun` where the reading began in the middle of a large event: the
    cursor is before that now.
    """

    def __init__(self, after: str | None, tell: StatusCallback) -> None:
        start = None if after is None else parse_cursor(after)
        self.ended = False
        self.draining = self.begun = False
        self.broken: ProtocolError | None = None
        self._tell = tell
        self._epoch = None if start is None else start.epoch
        self._position = Position(0 if start is None else start.seq)
        self._pieces = Pieces()
        self._begun_after: int | None = None
        self._restarts = 0

    @property
    def cursor(self) -> str | None:
        """Where the reader stands. Only whole messages move it, never the `id:` of one that was cut off."""
        return None if self._epoch is None else f"{self._epoch}-{self._position.seq}"

    @property
    def place(self) -> int:
        """The seq up to which everything has come, be it in pieces."""
        return self._position.seq

    def take(self, messages: Iterable[Message]) -> list[AnyEvent]:
        """The new events among these. What came before a broken one is returned, whatever the chunking."""
        batch: list[AnyEvent] = []
        try:
            for message in messages:
                if message.event != "message":
                    self._status(message)
                    continue
                batch += self._events(message)
                if self.begun:
                    break
                if batch and isinstance(batch[-1], End):
                    self.ended = True
                    break
        except ProtocolError as error:
            self.broken = error
        return batch

    def start_over(self, reason: str) -> Reset:
        """Forget the cursor; the event that says so to the caller. Raises ProtocolError if it repeats."""
        return self._restart(Reset(0, reason))

    def _events(self, message: Message) -> list[AnyEvent]:
        try:
            event = decode_message(message.data)
        except NOT_JSON as error:
            hint = "The server may be newer than this client."
            raise ProtocolError(f"What came is not an event: {error}.", hint=hint) from error
        if event.seq == 0 and isinstance(event, Reset):
            return [self._restart(event)]
        if not self._is_new(event, message):
            return []
        whole = self._put_together(event)
        if isinstance(whole, Folded):
            self._check_cursor(message, whole.seq)
            return self._unfold(whole)
        return [] if whole is None else [whole]

    def _is_new(self, event: AnyEvent | Folded, message: Message) -> bool:
        if event.seq == 0 and isinstance(event, Piece):  # of a fold: there is no place before its end
            return True
        self._check_cursor(message, event.seq)
        return isinstance(event, Folded) or self._position.accept(event.seq, event.n)

    def _put_together(self, event: AnyEvent | Folded) -> AnyEvent | Folded | None:
        try:
            return self._pieces.add(event)
        except Begun as begun:
            if self._begun_after == begun.after:  # it was asked for what follows that
                raise
            self._position, self.begun, self._begun_after = Position(begun.after), True, begun.after
            return None
        except NOT_JSON as error:
            raise ProtocolError(f"What came in pieces is not an event: {error}.") from error

    def _unfold(self, folded: Folded) -> list[AnyEvent]:
        if self._position.seq:
            raise ProtocolError(f"A fold came after event {self._position.seq}.")
        self._position = Position(folded.seq)
        return folded.events

    def _check_cursor(self, message: Message, seq: int) -> None:
        if not message.own_id or message.id != f"{self._epoch}-{seq}":
            self._learn_epoch(message, seq)

    def _learn_epoch(self, message: Message, seq: int) -> None:
        try:
            cursor = parse_cursor(message.id if message.own_id else "")
        except BadCursor as error:
            raise ProtocolError(f"Event {seq} came without a cursor.") from error
        if cursor.seq != seq or self._epoch is not None:
            raise ProtocolError(f"Event {seq} came with the cursor {cursor}, after {self.cursor}.")
        self._epoch = cursor.epoch

    def _restart(self, reset: Reset) -> Reset:
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise ProtocolError(
                f"The stream was reset {self._restarts} times: {reset.reason}.",
                hint="Several servers with stores of their own may stand behind this address.",
            )
        self._epoch, self._position = None, Position(reset.to)
        self._pieces.forget()
        return reset

    def _status(self, message: Message) -> None:
        if message.event == "draining":
            self.draining = True
            self._tell({"connection": "draining"})
        elif message.event == "status":
            try:
                self._tell(msgspec.json.decode(message.data, type=dict))
            except NOT_JSON as error:
                raise ProtocolError(f"What came is not a status: {error}.") from error


class Reader:
    """One reading of a run's stream."""

    def __init__(
        self,
        wire: Wire,
        path: str,
        after: str | None,
        on_status: StatusCallback | None,
        *,
        folded: bool = False,
    ) -> None:
        self._wire = wire
        self._path = path
        self._folded = folded  # asked for once: one that is cut off in it comes further by single events
        self._tell = on_status or _ignore
        self._intake = Intake(after, self._tell)
        self._patience = Patience(wire.retry_for_s)
        self._decoder = Decoder()  # of the present connection: half an event is never continued on the next

    async def batches(self) -> AsyncGenerator[list[AnyEvent], None]:
        """New events as they come, at least one a batch, until the `end`.

        A batch is what one read from the socket brought (64 KiB in httpx), so nothing piles up here: a caller
        who is slow to ask slows the connection. Closing the generator, or cancelling the task that waits in
        it, closes the connection.

        Raises ConnectionLost when `retry_for_s` is up, the server's own error where retrying can't help, and
        ProtocolError for a gap or for bytes that are no event stream, after the events before it.
        """
        self._tell({"connection": "connecting"})
        while not self._intake.ended:
            try:
                async with aclosing(self._connection()) as connection:
                    async for batch in connection:
                        yield batch
            except Failed as failed:
                decision = self._judge(failed)
                if decision.action is Action.FINISHED:
                    return
                if decision.action is Action.START_OVER:
                    yield [self._intake.start_over("the server no longer has what follows the cursor")]
                else:
                    await self._wire.pause(decision, failed)

    async def _connection(self) -> AsyncGenerator[list[AnyEvent], None]:
        self._decoder, self._intake.draining, self._intake.begun = Decoder(), False, False
        path, self._folded = self._path + ("?fold=1" if self._folded else ""), False
        async with self._wire.stream(path, self._intake.cursor) as response:
            self._tell({"connection": "live"})
            async with aclosing(self._batches(response)) as batches:
                async for batch in batches:
                    yield batch
        if not (self._intake.ended or self._intake.begun):
            raise Failed(Trouble.ENDED, ConnectionLost("The stream ended before the run did."))

    async def _batches(self, response: httpx.Response) -> AsyncGenerator[list[AnyEvent], None]:
        opened = time.monotonic()
        async for data in response.aiter_bytes():
            place = self._intake.place
            batch = self._intake.take(self._decoder.feed(data))
            if batch or self._intake.place != place or time.monotonic() - opened > LIVED_S:
                self._patience.progressed()
            if batch:
                yield batch
            if self._intake.broken is not None:
                raise self._intake.broken
            if self._intake.ended or self._intake.begun:
                return

    def _judge(self, failed: Failed) -> Decision:
        cursor = self._intake.cursor
        # The `retry:` at the head of every stream is for browsers, which have no backoff of their own.
        if self._intake.draining and self._decoder.retry_ms is not None:
            failed.hint_s = min(self._decoder.retry_ms, int(HINT_CAP_S * 1000)) / 1000
        decision = self._wire.judge(failed, self._patience, has_cursor=cursor is not None)
        if decision.action is Action.WAIT:
            self._tell(
                {
                    "connection": "reconnecting",
                    "attempt": self._patience.attempt,
                    "wait_s": decision.wait_s,
                    "reason": failed.error.message,
                }
            )
        elif isinstance(failed.error, ConnectionLost):
            place = "the start" if cursor is None else f"after={cursor!r}"
            failed.error.hint = (
                f"The run itself is not affected; read on from {place} once the server answers."
            )
        return decision


def _ignore(_status: dict[str, Any]) -> None:
    pass
