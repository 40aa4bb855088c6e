"""The demo's second function: follows a log file or a command that the operator named at the start.

A page can only choose among those names; it can't make the server read another file or run anything else.
It is a plain `def` on purpose: files and pipes block, a thread may wait for them, and it shows that a
generator in a thread is stopped and cleaned up as well as an async one.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..errors import ConfigError
from ..worker import Run
from .lines import from_command, from_file

__all__ = ["Target", "make_follow", "targets"]

COMMAND = "$ "
"""What begins with this is a shell command, as in a terminal; anything else is a file."""

MAX_FOLLOW_S = 3_600.0
"""A follower holds a thread: for an hour at most, then somebody has to ask again."""

MAX_LAST_LINES = 1_000


class Target(msgspec.Struct, frozen=True):
    """One thing that may be followed: a file, or a command where `argv` is not empty."""

    name: str
    path: Path = Path()
    argv: tuple[str, ...] = ()

    def lines(self, last: int, stop: Callable[[], bool]) -> Iterator[str]:
        """Its lines as they come, until `stop()`."""
        return from_command(self.argv, stop) if self.argv else from_file(self.path, last, stop)


VITALS = Target("this machine", argv=(sys.executable, "-u", str(Path(__file__).with_name("vitals.py"))))
"""Followed where the operator names nothing: real, harmless and to be had everywhere."""


def targets(named: Sequence[str]) -> dict[str, Target]:
    """What the operator named: paths, and commands written as `"$ command"`. Raises ConfigError."""
    if not named:
        return {VITALS.name: VITALS}
    return {name: _target(name) for name in named}


def _target(name: str) -> Target:
    command = name.removeprefix(COMMAND).strip()
    if not command:
        raise ConfigError("There is nothing to follow in an empty name.", hint='Name a file, or "$ command".')
    if name.startswith(COMMAND):
        return Target(name, argv=("/bin/sh", "-c", command))
    return Target(name, path=Path(name).absolute())


def make_follow(named: Sequence[str]) -> Callable[..., Iterator[str]]:
    """The function `follow`, whose `source` takes the names of these targets and no other value."""
    known = targets(named)
    first = next(iter(known))

    def follow(
        run: Run,
        source: str = first,
        lines: Annotated[
            int, Meta(ge=0, le=MAX_LAST_LINES, description="Last lines of a file to begin with")
        ] = 10,
        follow_s: Annotated[float, Meta(gt=0, le=MAX_FOLLOW_S, description="Seconds to follow it")] = 30.0,
    ) -> Iterator[str]:
        """Follow a log file, or what a command prints, line by line."""
        until = time.monotonic() + follow_s

        def stop() -> bool:
            return run.should_stop() or time.monotonic() >= until

        run.log(f"Following {source} for {follow_s:g} s.")
        for line in known[source].lines(lines, stop):
            yield line + "\n"

    follow.__annotations__["source"] = _one_of(known)
    return follow


def _one_of(names: Sequence[str] | dict[str, Target]) -> Any:
    """An annotation that takes these strings only: an `enum` in the schema, a choice on the page."""
    return Literal.__getitem__(tuple(names))
