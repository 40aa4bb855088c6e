"""Which file it is: an open connection goes on with one that was removed, and what it writes is lost."""

import contextlib
import os
from pathlib import Path

from ...errors import StoreUnavailable

__all__ = ["Identity", "StoreFile"]

Identity = tuple[int, int]
"""Device and inode."""

PIN = getattr(os, "O_PATH", 0)
"""Holds a file without opening what is in it: any other kind of descriptor would, when it is closed, take SQLite's
locks along, as POSIX has it. macOS has no such kind, and gives no number twice."""


class StoreFile:
    """The store's file as it was first opened. All threads that open it ask which it is; the writer's says it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log_path = path.with_name(path.name + "-wal")
        self._file: Identity | None = None
        self._log: Identity | None = None
        # File systems give the number of a file that is gone to the next one; not while somebody holds it.
        self._pins: list[int] = []

    def identity(self) -> Identity | None:
        """What stands at the path now; None before it was first opened.

        Raises:
            StoreUnavailable: It is gone; or another file was put there beside the old one's write-ahead log,
                which SQLite would play back over it.
        """
        found = _identity_of(self.path)
        if self._file is None or found == self._file:
            return found
        if found is None:  # made anew it would be empty, and whoever removed it should know
            hint = "Put it back, or restart, which makes a new one."
            raise StoreUnavailable(f"{self.path} is gone.", hint=hint)
        if self._log is not None and _identity_of(self._log_path) == self._log:
            hint = f"Remove {self._log_path} (the old file's last changes), or put the old file back."
            raise StoreUnavailable(
                f"{self.path} was replaced, but the old one's log is still there.", hint=hint
            )
        return found

    def opened(self) -> None:
        """A connection to it has been made, which has made the log."""
        before, self._pins = self._pins, []
        self._file = self._pinned(self.path)
        self._log = self._pinned(self._log_path)
        _close(before)

    def close(self) -> None:
        """Nobody will open it again."""
        before, self._pins = self._pins, []
        _close(before)

    def _pinned(self, path: Path) -> Identity | None:
        with contextlib.suppress(OSError):  # there is none, or no descriptor is left: the number must do
            if PIN:
                self._pins.append(pin := os.open(path, PIN))
                return _numbers(os.fstat(pin))
        return _identity_of(path)


def _identity_of(path: Path) -> Identity | None:
    try:
        return _numbers(path.stat())
    except OSError:
        return None


def _numbers(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
