"""Uploaded files, in a folder beside the store: one folder each, with its content and what is known of it.

Everything here blocks, and is called from threads; any number of processes may share the folder. A file's size is
how far its upload has come: file systems that journal (ext4, XFS, Btrfs) let it grow on disk after the data only.
A folder is locked while it changes (flock), so that no process removes what another begins to use.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from ..errors import (
    BodyTooLarge,
    StoreError,
    StoreFull,
    StoreUnavailable,
    UnknownUpload,
    UploadInUse,
    UploadLocked,
    UploadMoved,
)
from ..files import File

__all__ = ["Upload", "Uploads", "Writing", "make_uploads"]

KEPT_FREE_BYTES = 64 * 1024 * 1024
"""Left free on the disk by uploads: the store lies there as well, and must go on."""

MARK_GRACE_S = 600.0
"""A file is marked before its run is stored. A mark without a run is left behind only where it is older than any
submission can take."""

ID_BYTES = 16
"""An upload may be read and written by whoever knows its id, so it must not be guessed."""

_ID = re.compile(r"upload_[0-9a-f]{32}")
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,10}$")
_ABOUT = "about.json"
_CONTENT = "content"
_USED_BY = "used-by-"


class _About(msgspec.Struct):
    """What is kept of an upload beside its content. `metadata`: as its sender gave it."""

    name: str
    media_type: str
    size: int
    metadata: str = ""


class Upload(msgspec.Struct, frozen=True):
    """An upload as it stands. `changed_ms`: when its last bytes came."""

    id: str
    name: str
    media_type: str
    size: int
    offset: int
    changed_ms: int
    path: Path
    metadata: str

    @property
    def finished(self) -> bool:
        """Whether all of it has come."""
        return self.offset >= self.size


def make_uploads(store: str, *, synchronous: str = "full") -> "Uploads":
    """For the store of that address: beside an SQLite file, else in a folder that goes with the process."""
    if store.startswith("sqlite:///"):
        path = Path(store.removeprefix("sqlite:///")).resolve()  # one store, whatever links lead to it
        return Uploads(path.with_name(f"{path.name}-uploads"), durable=synchronous == "full")
    folder = Path(tempfile.gettempdir()) / f"penstock-uploads-{secrets.token_hex(8)}"
    return Uploads(folder, durable=False, passing=True)


class Uploads:
    """All uploads of one store.

    durable: what is acknowledged survives a power loss. passing: the folder goes with `close`.
    All methods raise StoreError where the disk is full, or can't be used.
    """

    def __init__(self, folder: Path, *, durable: bool, passing: bool = False) -> None:
        self.folder = folder
        self._durable = durable
        self._passing = passing

    def close(self) -> None:
        """Let go; what lies in a passing folder is gone."""
        if self._passing:
            shutil.rmtree(self.folder, ignore_errors=True)

    def create(self, name: str, media_type: str, size: int, metadata: str = "") -> Upload:
        """Begin an upload of `size` bytes. `metadata`: kept as it is, for its sender."""
        upload_id = f"upload_{secrets.token_hex(ID_BYTES)}"
        with _store_errors(self.folder):
            self._make_folder()
            _check_room(self.folder, size)
            home = self.folder / upload_id
            home.mkdir(mode=0o700)
            (home / _content_of(name)).touch(mode=0o600)
            self._keep_about(home, _About(name, media_type, size, metadata))
            self._sync(home)
            self._sync(self.folder)
        return self.get(upload_id)

    def _make_folder(self) -> None:
        with contextlib.suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)
            self._sync(self.folder.parent)

    def _keep_about(self, home: Path, about: _About) -> None:
        draft = home / f"{_ABOUT}.draft"
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(about))
            file.flush()
            if self._durable:
                os.fsync(file.fileno())
        draft.replace(home / _ABOUT)

    def _sync(self, folder: Path) -> None:
        if self._durable:
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def get(self, upload_id: str) -> Upload:
        """An upload. Raises UnknownUpload."""
        home = self._home(upload_id)
        with _store_errors(home):
            try:
                about = msgspec.json.decode((home / _ABOUT).read_bytes(), type=_About)
                path = home / _content_of(about.name)
                found = path.stat()
            except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError) as error:
                raise _unknown(upload_id) from error
        changed_ms = found.st_mtime_ns // 1_000_000
        named = about.name, about.media_type, about.size
        return Upload(upload_id, *named, found.st_size, changed_ms, path, about.metadata)

    def find(self, upload_id: str) -> File | None:
        """A finished one, as a function receives it; None for any other."""
        try:
            upload = self.get(upload_id)
        except UnknownUpload:
            return None
        if not upload.finished:
            return None
        return File(upload.id, upload.name, upload.media_type, upload.size, upload.path)

    def write(self, upload_id: str, offset: int) -> "Writing":
        """Go on with an upload from `offset`, alone.

        Raises UnknownUpload; UploadLocked where another process is writing; UploadMoved for another offset.
        """
        upload = self.get(upload_id)
        with _store_errors(upload.path):
            handle = os.open(upload.path, os.O_WRONLY)
            try:
                return Writing(handle, upload, offset, durable=self._durable)
            except BaseException:
                os.close(handle)
                raise

    def remove(self, upload_id: str) -> None:
        """Remove one that no run uses. Raises UnknownUpload, UploadInUse."""
        home = self._home(upload_id)
        with _store_errors(home), self._locked(home):
            if self._users(home):
                raise UploadInUse("A run has this file for its input.", hint="It stays as long as the run.")
            _clear(home)

    def expire(self, upload_id: str, time_ms: int, gone: Sequence[str] = ()) -> None:
        """Remove one to which nothing has come since then, or what is left of one that was never begun.

        One in use stays. gone: runs that are not in the store. Looked at again here, where nobody else changes it:
        more may have come since, and a submission of just now marks it before its run is stored.
        """
        home = self._home(upload_id)
        missing = contextlib.suppress(FileNotFoundError)  # another process was here first
        with (
            contextlib.suppress(UnknownUpload),
            _store_errors(home),
            missing,
            self._locked(home, begun=False),
        ):
            for mark in [home / f"{_USED_BY}{run_id}" for run_id in gone]:
                if mark.stat().st_mtime < time.time() - MARK_GRACE_S:
                    mark.unlink()
            if _changed_ms(home) < time_ms and not self._users(home):
                _clear(home)

    def use(self, upload_ids: Sequence[str], run_id: str) -> None:
        """Keep these for a run. Raises UnknownUpload; then none is."""
        for place, upload_id in enumerate(upload_ids):
            home = self._home(upload_id)
            try:
                with _store_errors(home), self._locked(home):
                    (home / f"{_USED_BY}{run_id}").touch(mode=0o600)
                    self._sync(home)
            except BaseException:
                self.release(upload_ids[:place], run_id)
                raise

    def release(self, upload_ids: Sequence[str], run_id: str) -> None:
        """A run needs them no more."""
        for upload_id in upload_ids:
            with contextlib.suppress(OSError):
                (self._home(upload_id) / f"{_USED_BY}{run_id}").unlink()

    def unchanged_since(self, time_ms: int) -> Iterator[tuple[str, list[str]]]:
        """Uploads to which nothing has come since then, each with the ids of the runs that use it."""
        if not self.folder.is_dir():
            return
        for home in self.folder.iterdir():
            with contextlib.suppress(OSError):
                if _ID.fullmatch(home.name) and _changed_ms(home) < time_ms:
                    yield home.name, self._users(home)

    def _users(self, home: Path) -> list[str]:
        return [mark.name.removeprefix(_USED_BY) for mark in home.glob(f"{_USED_BY}*")]

    def _home(self, upload_id: str) -> Path:
        if not _ID.fullmatch(upload_id):  # it is a path's part, and comes from outside
            raise _unknown(upload_id)
        return self.folder / upload_id

    @contextlib.contextmanager
    def _locked(self, home: Path, *, begun: bool = True) -> Iterator[None]:
        try:
            handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _unknown(home.name) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if begun and not (home / _ABOUT).exists():
                raise _unknown(home.name)
            yield
        finally:
            os.close(handle)


class Writing:
    """One request's part of an upload; no other writes meanwhile. Used by one thread after the other."""

    def __init__(self, handle: int, upload: Upload, offset: int, *, durable: bool) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = "Ask with HEAD where to go on, and send the rest from there."
            raise UploadLocked("Another request is writing this upload.", hint=hint) from error
        size = os.fstat(handle).st_size
        if size != offset:
            hint = f"Go on from {size}, as HEAD says too."
            raise UploadMoved(f"The upload stands at {size}, not at {offset}.", hint=hint)
        self.offset = offset
        self.room = upload.size - offset
        self._handle = handle
        self._durable = durable
        self._path = upload.path
        self._lock = threading.Lock()  # a thread may go on after whoever waited for it has left
        self._closed = False

    def write(self, data: bytes) -> None:
        """Add bytes. Raises BodyTooLarge where there are more than were announced, which are kept; StoreFull."""
        with self._lock, _store_errors(self._path):
            is_too_much = len(data) > self.room
            rest = memoryview(data)[: self.room]
            if rest:  # others have grown since this one was announced
                _check_room(self._path, len(rest))
            while rest and not self._closed:
                written = os.pwrite(self._handle, rest, self.offset)
                self.offset += written
                self.room -= written
                rest = rest[written:]
        if is_too_much:
            raise BodyTooLarge("More came than was announced.", hint="Upload-Length says how much there is.")

    def finish(self) -> None:
        """What was written is kept, at the store's level. Once this returns the offset may be acknowledged."""
        with self._lock:
            if not self._closed:
                self._closed = True
                try:
                    with _store_errors(self._path):
                        if self._durable:
                            os.fsync(self._handle)
                finally:
                    os.close(self._handle)


def _check_room(path: Path, size: int) -> None:
    if shutil.disk_usage(path).free - size < KEPT_FREE_BYTES:
        raise StoreFull(f"There is no room for {size} bytes more.", hint="Make room on the disk.")


def _content_of(name: str) -> str:
    # Only the ending is taken from outside: libraries tell a file's kind by it.
    ending = _ENDING.search(name)
    return _CONTENT + (ending[0].lower() if ending else "")


def _changed_ms(home: Path) -> int:
    newest = max((path.stat().st_mtime_ns for path in home.glob(f"{_CONTENT}*")), default=0)
    return (newest or home.stat().st_mtime_ns) // 1_000_000


def _clear(home: Path) -> None:
    # What makes it known goes first: half removed it is none.
    (home / _ABOUT).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):  # another process was here first
        shutil.rmtree(home)


def _unknown(upload_id: str) -> UnknownUpload:
    hint = "It may have been removed: unused ones are, after a time."
    return UnknownUpload(f"There is no upload {upload_id[:100]!r}.", hint=hint)


@contextlib.contextmanager
def _store_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _as_ours(error, path) from error


def _as_ours(error: OSError, path: Path) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFull(f"{path} can't grow: {error.strerror}.", hint="Make room on the disk.")
    return StoreUnavailable(f"{path} can't be used: {error.strerror}.", hint="Look after its folder.")
