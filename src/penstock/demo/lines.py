"""Lines as they come: from a file that others write to, rotate or cut, and from a running command."""

import os
import selectors
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import PenstockError

__all__ = ["FollowError", "from_command", "from_file"]

POLL_S = 0.1
"""How often a quiet source is looked at, and so how soon a stop is seen: at once, for a person."""

READ_BYTES = 64 * 1024
"""Read at a time: what a pipe holds."""

MAX_LINE_BYTES = 16 * 1024
"""A longer line is passed on in pieces, so that a file without line breaks fills no memory."""

BACKLOG_BYTES = 1024 * 1024
"""How far back the last lines of a file are looked for."""

SIGKILL = 9
"""POSIX's number; the signal module is for serve.py alone. A child has nothing to finish here: no grace."""


class FollowError(PenstockError):
    """The file or command can't be followed."""

    code = "follow_error"


class Splitter:
    """Cuts bytes into lines, whatever pieces they come in. Bytes that are not UTF-8 become U+FFFD."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes, without their ends."""
        *whole, rest = (self._rest + data).split(b"\n")
        pieces = [piece for line in whole for piece in _pieces(line.removesuffix(b"\r"))]
        *long, self._rest = _pieces(rest)
        return [piece.decode(errors="replace") for piece in pieces + long]

    def end(self) -> list[str]:
        """The last line, if it has no end."""
        rest, self._rest = self._rest, b""
        return [rest.decode(errors="replace")] if rest else []


def _pieces(line: bytes) -> list[bytes]:
    return [line[i : i + MAX_LINE_BYTES] for i in range(0, len(line), MAX_LINE_BYTES)] or [b""]


def from_file(path: Path, last: int, stop: Callable[[], bool]) -> Iterator[str]:
    """The last lines of a file and then each new one, until `stop()` says so; looked at every POLL_S.

    A file that is replaced is read to its end, and then the new one from its start; one that was cut short
    is read from its start again; one that is missing for a while is waited for. Closing the iterator closes
    the file. Raises FollowError if there is no such file at the start, or it is not a regular one.
    """
    file = _opened(path)
    splitter = Splitter()
    try:
        _go_back(file, last)
        while not stop():
            data = file.read(READ_BYTES)
            yield from splitter.feed(data)
            if data:
                continue
            if _was_cut(file):
                file.seek(0)
                yield from splitter.end()
            elif (newer := _replacement(path, file)) is not None:
                yield from splitter.feed(file.read())  # written between our read and the rotation
                yield from splitter.end()
                file.close()
                file = newer
            else:
                time.sleep(POLL_S)
    finally:
        file.close()


def _opened(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would block
            raise FollowError(
                f"{path} is not a regular file.", hint="Follow a command that reads it: '$ cat …'."
            )
        return path.open("rb")
    except OSError as error:
        raise FollowError(
            f"{path} can't be read: {error.strerror}.", hint="The server follows it as its own user."
        ) from error


def _go_back(file: BinaryIO, last: int) -> None:
    """To the beginning of the last `last` lines, as far as they lie within BACKLOG_BYTES."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - BACKLOG_BYTES)
    file.seek(start)
    tail = file.read(size - start)
    at = len(tail) - tail.endswith(b"\n")
    for _ in range(last):
        at = tail.rfind(b"\n", 0, max(at, 0))
        if at < 0:
            break
    file.seek(size if last == 0 else start + at + 1)


def _was_cut(file: BinaryIO) -> bool:
    return os.fstat(file.fileno()).st_size < file.tell()


def _replacement(path: Path, file: BinaryIO) -> BinaryIO | None:
    """The file that now has this name, if it is another one."""
    with suppress(OSError, FollowError):
        if not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return _opened(path)
    return None


def from_command(argv: Sequence[str], stop: Callable[[], bool]) -> Iterator[str]:
    """What a command prints, both its outputs, until it ends or `stop()` says so; looked at every POLL_S.

    However this ends, being closed included, the command and what it started have been killed by then. Raises
    FollowError if it can't be started, or ends by itself with a status other than 0.
    """
    process = _started(argv)
    try:
        splitter = Splitter()
        for data in _output(process, stop):
            yield from splitter.feed(data)
        yield from splitter.end()
        while not stop():
            with suppress(subprocess.TimeoutExpired):
                _check(process.wait(POLL_S))
                return
    finally:
        _kill(process)


def _started(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - the operator named the command; nothing of it comes from a page
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, which can be killed with whatever it starts
        )
    except OSError as error:
        raise FollowError(f"{argv[0]} can't be started: {error.strerror}.") from error


def _output(process: subprocess.Popen[bytes], stop: Callable[[], bool]) -> Iterator[bytes]:
    pipe = process.stdout.fileno() if process.stdout else -1
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not stop():
            if selector.select(POLL_S):
                data = os.read(pipe, READ_BYTES)
                if not data:
                    return
                yield data


def _check(status: int) -> None:
    if status:
        raise FollowError(f"The command ended with status {status}.", hint="Its output above may say why.")


def _kill(process: subprocess.Popen[bytes]) -> None:
    # Until it is waited for, an ended child keeps its process id, so the group can't be somebody else's.
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
