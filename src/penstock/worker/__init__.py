"""Executing runs: from the claim to the end, with every event stored on the way."""

from .ending import end_unexecuted
from .function import Function, FunctionOptions
from .run import Run, Span
from .worker import Worker

__all__ = ["Function", "FunctionOptions", "Run", "Span", "Worker", "end_unexecuted"]
