"""Where the processes of one service lay out what each has counted, so that any of them can tell the whole.

A folder of the supervisor's, with a file for each process. Of those that are gone the supervisor keeps the sum, as
what was once counted must not be taken back. There are no locks: a file is replaced whole, and read in an order
in which nothing is missed or taken twice.
"""

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import msgspec

from ..meters import Snapshot, added

__all__ = ["Place", "Shelf", "remove"]

log = logging.getLogger("penstock")

SETTLED_MOST = 100
"""Names of processes in the sum that are kept for who is reading in that moment; it takes milliseconds."""

_SUM = "gone.json"


class _Gone(msgspec.Struct):
    """What processes counted that are gone, and which the latest of them were."""

    settled: list[str] = []
    counted: Any = {}


class Shelf:
    """The supervisor's side.

    folder: this user's alone; "" where the machine has no place for one, and then each process tells of itself.
    """

    def __init__(self) -> None:
        try:
            self.folder = tempfile.mkdtemp(prefix="penstock-")
        except OSError as error:
            log.warning("/metrics will tell of one process at a time: %s", error)
            self.folder = ""

    def settle(self, pid: int) -> None:
        """A process is gone: from now on it counts only with what it had counted."""
        try:
            for path in Path(self.folder).glob(f"{pid}-*") if self.folder else ():
                if path.suffix == ".json":  # else it died while it wrote
                    _add(Path(self.folder), path)
                path.unlink()  # after it is in the sum, as whoever reads relies on
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("What process %d counted is lost to /metrics: %s", pid, error)

    def remove(self) -> None:
        """Nobody is left."""
        remove(self.folder)


def remove(folder: str) -> None:
    """Remove a shelf's folder."""
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def _add(folder: Path, path: Path) -> None:
    gone, last = _read_gone(folder), msgspec.json.decode(path.read_bytes(), type=Snapshot)
    settled = [*gone.settled, path.name][-SETTLED_MOST:]
    _write(folder / _SUM, msgspec.json.encode(_Gone(settled, added(gone.counted, last.counted))))


class Place:
    """One process's side."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}.json"  # ids come again
        self._lock = threading.Lock()
        self._told = 0

    def tell(self, number: int, snapshot: bytes) -> None:
        """Lay out how this process stands, unless it has said something later: `number` rises. From any thread."""
        with self._lock, contextlib.suppress(OSError):  # the supervisor is gone, or the disk is full
            if number > self._told:
                _write(self._folder / self._name, snapshot)
                self._told = number

    def others(self) -> tuple[list[bytes], Any]:
        """What the others that live have laid out, and the sum of those that are gone."""
        found: dict[str, bytes] = {}
        for path in self._folder.glob("*.json"):
            if path.name not in (self._name, _SUM):
                with contextlib.suppress(OSError):  # it is in the sum by now
                    found[path.name] = path.read_bytes()
        gone = _read_gone(self._folder)  # after the others: who has gone meanwhile is in it, by name
        return [found[name] for name in found.keys() - set(gone.settled)], gone.counted


def _read_gone(folder: Path) -> _Gone:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((folder / _SUM).read_bytes(), type=_Gone)
    return _Gone()


def _write(path: Path, data: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(data)
    new.replace(path)
