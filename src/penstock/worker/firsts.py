"""How long a run, and each of its spans, took to its first output."""

from ..events import AnyEvent, Bytes, Json, Replace, SpanEnd, SpanStart, Text

__all__ = ["Firsts"]

OUTPUT = Text | Json | Replace | Bytes
"""What is yielded; a log line or progress is no output yet."""


class Firsts:
    """Of one attempt. Tokens are told of once a chunk: the first of each place always begins one.

    started_at_ms: when the attempt began.
    run_ms: milliseconds from then to the first output anywhere; None before it.
    awaited: whether any first output is still to come; while there is none, nothing needs to be told.
    """

    def __init__(self, started_at_ms: int) -> None:
        self._started_at_ms = started_at_ms
        self.run_ms: int | None = None
        self.awaited = True
        self._silent: dict[str, int] = {}  # spans, with when they began
        self._span_ms: dict[str, int] = {}

    def spoke(self, span: str | None, at_ms: int) -> None:
        """There was an output directly in the span, or outside any."""
        if self.run_ms is None:
            self.run_ms = max(0, at_ms - self._started_at_ms)
        if span is not None and (begun_at_ms := self._silent.pop(span, None)) is not None:
            self._span_ms[span] = max(0, at_ms - begun_at_ms)
        self.awaited = bool(self._silent)

    def see(self, event: AnyEvent) -> None:
        """Any event but a token, with its time; the end of a span is told how long that took."""
        span = event.span
        if span is None:
            if self.run_ms is None and isinstance(event, OUTPUT):
                self.spoke(None, event.at_ms)
        elif isinstance(event, SpanStart):
            self._silent[span] = event.at_ms
            self.awaited = True
        elif isinstance(event, SpanEnd):
            self._silent.pop(span, None)
            self.awaited = bool(self._silent) or self.run_ms is None
            event.first_ms = self._span_ms.pop(span, None)
        elif self.awaited and isinstance(event, OUTPUT):
            self.spoke(span, event.at_ms)
