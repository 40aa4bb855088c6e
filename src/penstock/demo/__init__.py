"""The demo: an agent that answers from the standard library's documentation, and a follower of real output.

`app` has the default settings, for `penstock serve penstock.demo:app`; `make_app` takes others.
"""

from collections.abc import Sequence
from typing import Any

from ..app import App
from .agent import answer
from .follow import make_follow

__all__ = ["app", "make_app"]

MAX_ANSWERS = 8
"""Answers written at once: enough for a room of people, and more wait in the queue."""

MAX_FOLLOWERS = 4
"""Each holds a thread and perhaps a child process."""


def make_app(follow: Sequence[str] = (), **settings: Any) -> App:
    """The demo's app.

    follow: what its `follow` function may follow: paths of files, and commands written as
    `"$ command"`, which a shell runs as the server's user. Its own `vitals.py` where nothing is named.
    settings: as for `App`.
    """
    app = App()
    app.configure(**settings)
    # It changes nothing but its own run, so it may be run again: kill the server in the middle and see.
    app.function(concurrency_limit=MAX_ANSWERS, on_crash="retry")(answer)
    app.function(concurrency_limit=MAX_FOLLOWERS)(make_follow(follow))
    return app


app = make_app()
