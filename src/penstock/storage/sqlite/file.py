"""Which file it is: an open connection goes on with one that was removed, and what it writes is lost."""

from pathlib import Path

from ...errors import StoreUnavailable

__all__ = ["Identity", "StoreFile"]

Identity = tuple[int, int]
"""Device and inode."""


class StoreFile:
    """The store's file as it was first opened. Used by all threads that open it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log_path = path.with_name(path.name + "-wal")
        self._file: Identity | None = None
        self._log: Identity | None = None

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
        self._file = _identity_of(self.path)
        self._log = _identity_of(self._log_path)


def _identity_of(path: Path) -> Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
