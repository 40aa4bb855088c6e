"""Executing runs: from the claim to the end, with every event stored on the way."""

from .ending import end_unexecuted
from .executor import retry_at_ms
from .function import MOST_PRIORITY, Function
from .groups import Groups
from .options import FunctionOptions
from .run import Run, Span
from .worker import Worker

__all__ = [
    "MOST_PRIORITY",
    "Function",
    "FunctionOptions",
    "Groups",
    "Run",
    "Span",
    "Worker",
    "end_unexecuted",
    "retry_at_ms",
]
