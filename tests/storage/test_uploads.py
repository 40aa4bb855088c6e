"""The folder of uploaded files: what is kept, what is locked, what is removed."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.errors import (
    BodyTooLarge,
    StoreFull,
    StoreUnavailable,
    UnknownUpload,
    UploadInUse,
    UploadLocked,
    UploadMoved,
)
from penstock.janitor import Janitor
from penstock.models import RunRecord, RunState
from penstock.storage import make_store
from penstock.storage.uploads import MARK_GRACE_S, Uploads, make_uploads

KEEP_S = 100.0


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return make_uploads(f"sqlite:///{tmp_path / 'runs.db'}")


def full(uploads: Uploads, data: bytes = b"data", name: str = "a.txt") -> str:
    """A finished upload."""
    upload_id = uploads.create(name, "text/plain", len(data)).id
    writing = uploads.write(upload_id, 0)
    writing.write(data)
    writing.finish()
    return upload_id


def age(uploads: Uploads, upload_id: str, by_s: float) -> None:
    """As if its last bytes had come so much earlier."""
    path = uploads.get(upload_id).path
    then = time.time() - by_s
    os.utime(path, (then, then))


def test_content_comes_in_parts(uploads: Uploads) -> None:
    upload = uploads.create("Report.CSV", "text/csv", 6)
    assert (upload.offset, upload.finished, uploads.find(upload.id)) == (0, False, None)
    for offset, data in ((0, b"one"), (3, b"two")):
        writing = uploads.write(upload.id, offset)
        writing.write(data)
        writing.finish()
    file = uploads.find(upload.id)
    assert file is not None
    assert (file.name, file.size, file.path.suffix, file.path.read_bytes()) == (
        "Report.CSV",
        6,
        ".csv",
        b"onetwo",
    )


def test_a_part_begins_where_the_upload_stands(uploads: Uploads) -> None:
    upload_id = full(uploads)
    with pytest.raises(UploadMoved, match="stands at 4, not at 2"):
        uploads.write(upload_id, 2)
    with pytest.raises(UnknownUpload):
        uploads.write("upload_" + "0" * 32, 0)


def test_what_is_over_the_size_is_refused_and_the_rest_kept(uploads: Uploads) -> None:
    upload_id = uploads.create("a", "b/c", 3).id
    writing = uploads.write(upload_id, 0)
    with pytest.raises(BodyTooLarge):
        writing.write(b"12345")
    writing.finish()
    file = uploads.find(upload_id)
    assert file is not None
    assert file.path.read_bytes() == b"123"


@pytest.mark.parametrize(
    "upload_id", ["", ".", "..", "../runs.db", "/etc/passwd", "upload_" + "G" * 32, "a\0b"]
)
def test_ids_lead_nowhere_else(uploads: Uploads, upload_id: str) -> None:
    full(uploads)
    for act in (
        uploads.get,
        uploads.remove,
        lambda one: uploads.write(one, 0),
        lambda one: uploads.use([one], "r"),
    ):
        with pytest.raises(UnknownUpload):
            act(upload_id)
    assert uploads.find(upload_id) is None


@pytest.mark.parametrize(
    "name", ["about.json", "a.draft", "../../x.txt", "a/b", ".", "a.", "x" * 300, "a.\0sh", "é.ß"]
)
def test_names_are_kept_and_used_for_nothing_but_the_ending(uploads: Uploads, name: str) -> None:
    upload_id = full(uploads, name=name)
    file = uploads.find(upload_id)
    assert file is not None
    assert (file.name, file.path.parent, file.path.stem) == (name, uploads.folder / upload_id, "content")
    assert file.path.read_bytes() == b"data"


WRITER = """
import sys
from pathlib import Path
from penstock.storage.uploads import Uploads
writing = Uploads(Path(sys.argv[1]), durable=True).write(sys.argv[2], 0)
writing.write(b"half")
print("writing", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_writer() -> Iterator[Callable[[Uploads, str], "subprocess.Popen[bytes]"]]:
    """Another process that has written half of an upload, and goes on."""
    started: list[subprocess.Popen[bytes]] = []

    def start(uploads: Uploads, upload_id: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", WRITER, str(uploads.folder), upload_id]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_one_process_writes_at_a_time_and_its_death_frees_the_upload(
    uploads: Uploads, other_writer: Callable[[Uploads, str], "subprocess.Popen[bytes]"]
) -> None:
    upload_id = uploads.create("a", "b/c", 8).id
    process = other_writer(uploads, upload_id)
    with pytest.raises(UploadLocked):
        uploads.write(upload_id, 4)
    process.kill()
    process.wait()
    assert uploads.get(upload_id).offset == 4, "what it had written is kept"
    writing = uploads.write(upload_id, 4)
    writing.write(b"done")
    writing.finish()
    file = uploads.find(upload_id)
    assert file is not None
    assert file.path.read_bytes() == b"halfdone"


def test_nothing_is_written_once_a_part_was_finished(uploads: Uploads) -> None:
    upload_id = uploads.create("a", "b/c", 8).id
    writing = uploads.write(upload_id, 0)
    writing.write(b"half")
    writing.finish()
    writing.finish()
    writing.write(b"late")
    assert uploads.get(upload_id).offset == 4


def test_a_run_s_file_is_not_removed(uploads: Uploads) -> None:
    one, other = full(uploads), full(uploads)
    uploads.use([one, other], "run_1")
    uploads.use([one], "run_2")
    with pytest.raises(UploadInUse):
        uploads.remove(one)
    uploads.release([one, other], "run_1")
    uploads.remove(other)
    with pytest.raises(UploadInUse):
        uploads.remove(one)
    with pytest.raises(UnknownUpload):
        uploads.use([one, other], "run_3")
    uploads.release([one], "run_2")
    uploads.remove(one)
    assert list(uploads.folder.iterdir()) == []


def test_using_and_removing_at_once_leaves_no_run_without_its_file(uploads: Uploads) -> None:
    for _ in range(30):
        upload_id = full(uploads)
        used: list[bool] = []

        def use(upload_id: str = upload_id, used: list[bool] = used) -> None:
            try:
                uploads.use([upload_id], "run")
            except UnknownUpload:
                used.append(False)
            else:
                used.append(True)

        thread = threading.Thread(target=use)
        thread.start()
        try:
            uploads.remove(upload_id)
            removed = True
        except UploadInUse:
            removed = False
        thread.join()
        assert used == [not removed]
        assert (uploads.find(upload_id) is None) is removed


LIMITED = """
import resource, sys
from pathlib import Path
from penstock.errors import StoreFull
from penstock.storage.uploads import Uploads
uploads = Uploads(Path(sys.argv[1]), durable=True)
writing = uploads.write(sys.argv[2], 0)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
try:
    writing.write(b"x" * 30_000)
except StoreFull as error:
    print(error.code)
writing.finish()
print(writing.offset)
"""


def test_what_there_was_room_for_is_kept(uploads: Uploads) -> None:
    upload_id = uploads.create("a", "b/c", 30_000).id
    command = [sys.executable, "-c", LIMITED, str(uploads.folder), upload_id]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert told == "store_full\n10000\n"
    assert uploads.get(upload_id).offset == 10_000
    writing = uploads.write(upload_id, 10_000)
    writing.write(b"x" * 20_000)
    writing.finish()
    assert uploads.find(upload_id) is not None


def test_no_upload_begins_that_the_disk_can_t_hold(uploads: Uploads) -> None:
    with pytest.raises(StoreFull):
        uploads.create("a", "b/c", 10**17)
    assert list(uploads.folder.iterdir()) == []


def test_what_comes_leaves_room_for_the_store(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = uploads.create("a", "b/c", 8).id
    writing = uploads.write(upload_id, 0)
    writing.write(b"half")
    monkeypatch.setattr(
        "penstock.storage.uploads.KEPT_FREE_BYTES", 10**17
    )  # as if others had filled the disk
    with pytest.raises(StoreFull):
        writing.write(b"more")
    writing.finish()
    assert uploads.get(upload_id).offset == 4


def test_links_to_one_store_lead_to_one_folder(uploads: Uploads, tmp_path: Path) -> None:
    (tmp_path / "runs.db").touch()
    (tmp_path / "link.db").symlink_to("runs.db")
    (tmp_path / "folder").symlink_to(tmp_path)
    other = make_uploads(f"sqlite:///{tmp_path / 'folder' / 'link.db'}")
    assert other.find(full(uploads)) is not None


def test_what_has_come_meanwhile_does_not_expire(uploads: Uploads) -> None:
    upload_id = uploads.create("a", "b/c", 8).id
    age(uploads, upload_id, 2 * KEEP_S)
    since_ms = round((time.time() - KEEP_S) * 1000)
    assert [found for found, _ in uploads.unchanged_since(since_ms)] == [upload_id]
    writing = uploads.write(upload_id, 0)
    writing.write(b"half")
    writing.finish()
    uploads.expire(upload_id, since_ms)
    assert uploads.get(upload_id).offset == 4


def test_a_file_whose_run_is_about_to_be_stored_does_not_expire(uploads: Uploads) -> None:
    upload_id = full(uploads)
    age(uploads, upload_id, 2 * KEEP_S)
    uploads.use([upload_id], "run_1")
    since_ms = round((time.time() - KEEP_S) * 1000)
    uploads.expire(upload_id, since_ms, ["run_1"])  # it was not in the store when that was asked
    assert uploads.find(upload_id) is not None
    with pytest.raises(UploadInUse):
        uploads.remove(upload_id)


def test_a_folder_that_can_t_be_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        make_uploads(f"sqlite:///{tmp_path / 'nowhere' / 'runs.db'}").create("a", "b/c", 1)


def test_uploads_stand_beside_the_store_and_nobody_else_reads_them(uploads: Uploads, tmp_path: Path) -> None:
    upload_id = full(uploads)
    assert uploads.folder == tmp_path / "runs.db-uploads"
    home = uploads.folder / upload_id
    assert [path.stat().st_mode & 0o077 for path in (uploads.folder, home)] == [0, 0]


async def test_old_uploads_go_unless_a_kept_run_has_them(uploads: Uploads, tmp_path: Path) -> None:
    store = make_store(f"sqlite:///{tmp_path / 'runs.db'}", synchronous="normal")
    await store.open()
    try:
        run = RunRecord(id="run_1", function="f", group="g", state=RunState.QUEUED, created_at_ms=1)
        await store.submit(run, "epoch678")
        names = ("young", "old", "of a run", "of a run that never was", "unfinished")
        ids = {name: full(uploads) for name in names[:-1]}
        ids["unfinished"] = uploads.create("a", "b/c", 9).id
        uploads.use([ids["of a run"]], "run_1")
        uploads.use([ids["of a run that never was"]], "run_2")
        for name in names[1:]:
            age(uploads, ids[name], 2 * KEEP_S)
        mark = uploads.folder / ids["of a run that never was"] / "used-by-run_2"
        os.utime(mark, (time.time() - 2 * MARK_GRACE_S,) * 2)
        half_made = uploads.folder / ("upload_" + "1" * 32)
        half_made.mkdir()
        os.utime(half_made, (1, 1))
        (uploads.folder / "something else").write_text("stays")
        janitor = Janitor(store, "w", 10)
        await asyncio.gather(*(janitor.expire_once(uploads, KEEP_S) for _ in range(2)))
    finally:
        await store.close()
    left = {path.name for path in uploads.folder.iterdir()}
    assert left == {ids["young"], ids["of a run"], "something else"}


def test_there_need_not_be_any(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "none", durable=True)
    assert list(uploads.unchanged_since(10**15)) == []
    assert not uploads.folder.exists()
