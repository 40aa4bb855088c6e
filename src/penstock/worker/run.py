"""The handle that a function gets: what it can say of its run beside what it yields."""

import secrets
import types
from collections.abc import Iterable, Iterator, Sized
from contextvars import ContextVar, Token
from typing import Any, Protocol, Self, TypeVar

from ..errors import BadYield
from ..events import AnyEvent, Log, Progress, SpanEnd, SpanStart
from ..models import RunRecord
from .checkpoint import Checkpoint
from .emission import json_of, message_of, optional_json, plain_number, plain_text, size_of, text_size
from .frames import Frames
from .usage import Usage

__all__ = ["Run", "Sink", "Span", "current_span"]

T = TypeVar("T")

# A context variable, not a stack in the run: tasks and threads of one run each stand in their own span.
_span: ContextVar["Span | None"] = ContextVar("penstock_span", default=None)

SPAN_ID_BYTES = 6
"""Span ids need to differ within one run only."""


def current_span(run: "Run") -> str | None:
    """The id of the span in which the calling code stands, if it is one of this run."""
    span = _span.get()
    return span.id if span is not None and span.belongs_to(run) else None


class Sink(Protocol):
    """Where a run's events go: a `Recorder`, or, in a process of the run's own, the pipe to one."""

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for."""
        ...

    @property
    def full(self) -> bool:
        """Whether the function should wait in `room` before it goes on."""
        ...

    async def room(self) -> None:
        """Wait until what was waiting has been taken."""
        ...

    def emit(self, event: AnyEvent, size: int = 0, *, urgent: bool = False, closing: bool = False) -> None:
        """Take one event; see `Recorder.emit`."""
        ...

    def say(self, position: int, text: str, span: str | None, size: int) -> None:
        """Take a piece of text; as `emit` of its event."""
        ...

    def checkpoint(self, saved: bytes) -> None:
        """Keep the run's state; see `Recorder.checkpoint`."""
        ...

    def stop(self) -> None:
        """A stop was asked for."""
        ...

    def stop_seen(self) -> None:
        """The function has been told: what it emits in its clean-up is taken as ever."""
        ...


class Run:
    """The run that is being executed. A parameter annotated `penstock.Run` receives it.

    Its methods are ordinary calls, in `def` and `async def` alike, from any thread or task of the function.
    In a thread they wait while the store is behind; in the event loop they can't, and raise BufferFull
    when `recorder.MAX_BACKLOG_BYTES` are waiting. Once the run was cancelled or its lease lost, they raise.
    """

    def __init__(self, record: RunRecord, recorder: Sink) -> None:
        self._record = record
        self._recorder = recorder
        self._from = Checkpoint.of(record)
        self.lengths = dict(self._from.lengths)
        """Code points of each span's text so far."""
        self.frames = Frames()
        self._open_spans: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"<Run {self.id} of {self.function}, attempt {self.attempt}>"

    @property
    def id(self) -> str:
        """The run's id, as in `/api/runs/{id}`."""
        return self._record.id

    @property
    def function(self) -> str:
        """The function's registered name."""
        return self._record.function

    @property
    def attempt(self) -> int:
        """1 for the first execution, more after a lost worker or an error."""
        return self._record.attempt

    @property
    def session(self) -> str | None:
        """The session given at submission."""
        return self._record.session

    @property
    def key(self) -> str | None:
        """The idempotency key given at submission."""
        return self._record.key

    def should_stop(self) -> bool:
        """Whether a stop was asked for: long work without yields looks here now and then."""
        return self._recorder.stopping

    @property
    def restored(self) -> Any:
        """The state of the last checkpoint, from which this attempt is to go on; None where there is none."""
        return self._from.value

    def checkpoint(self, state: Any) -> None:
        """Keep `state`, anything with a JSON form, so that another attempt goes on from here instead of the start.

        It takes its place among the events and counts once it is stored, with everything emitted before; it
        does not wait for that. After a crash, or an error that is retried, readers see a `reset` to this place,
        and the next attempt finds the state in `restored`. Raises YieldError.
        """
        kept = Checkpoint(json_of(state), list(self.lengths.items()), list(self._open_spans))
        self._recorder.checkpoint(kept.encode())
        self.frames.restart()

    def log(self, message: object, level: str = "info", **fields: Any) -> None:
        """A line for whoever looks after the run. `fields` have a JSON form. Raises YieldError."""
        text, more = plain_text(str(message)), optional_json(fields or None)
        event = Log(text, plain_text(level), more, span=current_span(self))
        self._recorder.emit(event, text_size(text) + text_size(event.level) + size_of(more))

    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        """How far the work is: `done` of `total`, counted in `unit`. The latest replaces those before.

        Raises BadYield for anything but finite numbers.
        """
        total = None if total is None else plain_number("total", total)
        event = Progress(plain_number("done", done), total, plain_text(unit), span=current_span(self))
        self._recorder.emit(event, text_size(event.unit))

    def tqdm(self, items: Iterable[T], total: float | None = None, unit: str = "it") -> Iterator[T]:
        """Iterate over `items`, reporting progress; `total` is their number where they have one."""
        if total is None and isinstance(items, Sized):
            total = len(items)
        self.progress(0, total, unit)
        for done, item in enumerate(items, start=1):
            yield item
            self.progress(done, total, unit)

    def span(self, name: str, kind: str = "", input: Any = None) -> "Span":  # noqa: A002 - the wire's word
        """A step of the run, for a `with` block; readers see it at once, and its end when the block ends.

        `input`, and `output` set on it inside the block, have a JSON form. Spans nest. Raises YieldError.
        """
        return Span(self, self._recorder, name, kind, input)

    def entered(self, span_id: str) -> None:
        """A span has begun."""
        self._open_spans[span_id] = None

    def left(self, span_id: str) -> None:
        """A span has ended."""
        self._open_spans.pop(span_id, None)
        self.frames.forget(span_id)


class Span:
    """One step. Set `output` before the block ends; an exception becomes its `error` and goes on."""

    def __init__(self, run: Run, recorder: Sink, name: str, kind: str, given: Any) -> None:
        self.id = secrets.token_hex(SPAN_ID_BYTES)
        self.name = plain_text(name)
        self.output: Any = None
        self._run = run
        self._recorder = recorder
        self._kind = plain_text(kind)
        self._input = given
        self._usage = Usage()
        self._ended = False
        self._token: Token[Span | None] | None = None

    def usage(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cost: float | None = None,
        currency: str | None = None,
        model: str | None = None,
    ) -> None:
        """What the step has used, for its readers: it goes with its end.

        Each call of a model may report its own: counts and costs are added up, the latest model stands.
        Raises BadYield, naming the field, for what is no count, cost or name, for a second currency, and once
        the step has ended.
        """
        if self._ended:
            raise BadYield(f"The span {self.name!r} has ended.", hint="Report what it used inside its block.")
        self._usage.add(
            input_tokens=input_tokens, output_tokens=output_tokens, cost=cost, currency=currency, model=model
        )

    def belongs_to(self, run: Run) -> bool:
        """Whether it is a step of this run."""
        return self._run is run

    def __enter__(self) -> Self:
        given = optional_json(self._input)
        start = SpanStart(self.name, self._kind, current_span(self._run), given, span=self.id)
        self._recorder.emit(start, text_size(start.name) + text_size(start.kind) + size_of(given))
        self._token = _span.set(self)
        self._run.entered(self.id)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        assert self._token is not None
        _leave(self._token)
        self._ended = True
        self._run.left(self.id)
        failed = None if error is None else _failure(error)
        output = optional_json(self.output)
        end = SpanEnd(output, failed, self._usage.as_dict(), span=self.id)
        self._recorder.emit(end, size_of(output), urgent=True, closing=error is not None)


def _leave(token: Token[Span | None]) -> None:
    try:
        _span.reset(token)
    except ValueError:  # closed from another context, whose current span is not ours to change
        return


def _failure(error: BaseException) -> dict[str, str]:
    code = "exception" if isinstance(error, Exception) else "stopped"
    return {"code": code, "message": message_of(error)}
