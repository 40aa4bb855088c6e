"""Functions in processes of their own, which can be killed: a fork server, its children, and the pipes to them."""

from .children import Children
from .execution import IsolatedExecution
from .importable import check_importable

__all__ = ["Children", "IsolatedExecution", "check_importable"]
