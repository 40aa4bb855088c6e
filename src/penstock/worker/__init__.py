"""Executing runs: from the claim to the end, with every event stored on the way."""

from .emission import check_syntax, json_of
from .ending import end_unexecuted
from .executor import retry_at_ms
from .function import MOST_PRIORITY, Function
from .groups import Groups
from .options import FunctionOptions
from .recorded import RecordedFunction
from .recording import OnStop, Recording
from .run import Run, Span
from .worker import Worker

__all__ = [
    "MOST_PRIORITY",
    "Function",
    "FunctionOptions",
    "Groups",
    "OnStop",
    "RecordedFunction",
    "Recording",
    "Run",
    "Span",
    "Worker",
    "check_syntax",
    "end_unexecuted",
    "json_of",
    "retry_at_ms",
]
