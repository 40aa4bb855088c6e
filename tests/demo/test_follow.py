"""Following real files and real commands, and what a page can't make the server do."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Queue

import pytest

import penstock
from penstock.demo import make_app
from penstock.demo.follow import targets
from penstock.demo.lines import MAX_LINE_BYTES, FollowError, Splitter, from_command, from_file
from penstock.events import Text
from penstock.testing import live_server, until

DEADLINE_S = 10


def never() -> bool:
    return False


class Follower:
    """An iterator of lines, run in a thread; `take` waits for the next ones."""

    def __init__(self, make: Callable[[Callable[[], bool]], Iterator[str]]) -> None:
        self._stop = threading.Event()
        self._lines: Queue[str] = Queue()
        self._thread = threading.Thread(target=self._run, args=(make,))
        self._thread.start()

    def _run(self, make: Callable[[Callable[[], bool]], Iterator[str]]) -> None:
        for line in make(self._stop.is_set):
            self._lines.put(line)

    def take(self, count: int) -> list[str]:
        return [self._lines.get(timeout=DEADLINE_S) for _ in range(count)]

    def end(self) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_text("one\ntwo\nthree\n")
    return path


@pytest.fixture
def follower(log: Path) -> Iterator[Follower]:
    follower = Follower(lambda stop: from_file(log, 2, stop))
    yield follower
    follower.end()


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_it_begins_with_the_last_lines_and_goes_on(log: Path, follower: Follower) -> None:
    assert follower.take(2) == ["two", "three"]
    append(log, "four\nfi")
    assert follower.take(1) == ["four"]
    append(log, "ve\n")
    assert follower.take(1) == ["five"]


@pytest.mark.parametrize(("last", "expected"), [(1, "three"), (3, "one"), (99, "one")])
def test_how_many_last_lines(log: Path, last: int, expected: str) -> None:
    lines = from_file(log, last, never)
    assert next(lines) == expected
    lines.close()  # type: ignore[attr-defined]


def test_a_rotated_file_is_read_to_its_end_and_then_the_new_one(log: Path, follower: Follower) -> None:
    assert follower.take(2) == ["two", "three"]
    append(log, "last words\n")
    log.rename(log.with_suffix(".1"))
    log.write_text("new file\n")
    assert follower.take(2) == ["last words", "new file"]


def test_a_truncated_file_is_read_from_its_start(log: Path, follower: Follower) -> None:
    assert follower.take(2) == ["two", "three"]
    log.write_text("cut\n")
    assert follower.take(1) == ["cut"]


def test_a_missing_or_irregular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("absent", "No such file"), ("pipe", "not a regular file")):
        with pytest.raises(FollowError, match=reason):
            next(from_file(tmp_path / name, 1, never))


def test_lines_survive_any_cut_and_are_bounded() -> None:
    splitter = Splitter()
    data = "héllo\r\n\nwörld\n".encode() + b"x" * (2 * MAX_LINE_BYTES + 5)
    lines = [line for i in range(len(data)) for line in splitter.feed(data[i : i + 1])] + splitter.end()
    assert lines[:3] == ["héllo", "", "wörld"]
    assert [len(line) for line in lines[3:]] == [MAX_LINE_BYTES, MAX_LINE_BYTES, 5]


def test_a_commands_output_comes_whole_and_its_failure_is_told() -> None:
    assert list(from_command(["/bin/sh", "-c", "echo out; echo err >&2"], never)) == ["out", "err"]
    with pytest.raises(FollowError, match="status 3"):
        list(from_command(["/bin/sh", "-c", "exit 3"], never))
    with pytest.raises(FollowError, match="can't be started"):
        list(from_command(["/nonexistent"], never))


def alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def test_closing_kills_the_command_and_what_it_started() -> None:
    lines = from_command(["/bin/sh", "-c", "sleep 600 & echo $! $$; wait"], never)
    pids = [int(pid) for pid in next(lines).split()]
    lines.close()  # type: ignore[attr-defined]
    await until(lambda: not any(alive(pid) for pid in pids), what="both are gone")


async def test_stopping_a_run_kills_its_command_at_once() -> None:
    app = make_app(["$ echo $$; exec sleep 600"], store="memory:")
    async with live_server(app) as url, penstock.AsyncClient(url) as client:
        run = await client.submit("follow", {})
        async with run.events() as events:
            async for event in events:
                if isinstance(event, Text):
                    pid, stopped_at = int(event.text), time.monotonic()
                    await run.cancel()
        assert time.monotonic() - stopped_at < 2
        await until(lambda: not alive(pid), what="the command is gone")
        assert (await run.state())["state"] == "cancelled"


async def test_a_page_can_only_choose_what_the_operator_named(log: Path, tmp_path: Path) -> None:
    app = make_app([str(log)], store="memory:")
    assert app.functions["follow"].input_schema["properties"]["source"]["enum"] == [str(log)]
    async with live_server(app) as url, penstock.AsyncClient(url) as client:
        for other in ("/etc/passwd", "$ id", str(tmp_path / "." / "app.log") + " "):
            with pytest.raises(penstock.PenstockError) as raised:
                await client.submit("follow", {"source": other})
            assert raised.value.field == "source"
        run = await client.submit("follow", {"lines": 1, "follow_s": 0.3})
        assert await run.text() == "three\n"


def test_the_default_is_real_and_runs() -> None:
    (target,) = targets([]).values()
    lines = target.lines(0, never)
    assert "load" in next(lines)
    lines.close()  # type: ignore[attr-defined]


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(penstock.PenstockError, match="nothing to follow"):
        targets(["$ "])


def test_vitals_needs_nothing_of_the_package() -> None:
    (target,) = targets([]).values()
    code = "import sys, runpy; runpy.run_path(sys.argv[1]); print('penstock' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, target.argv[-1]], capture_output=True, text=True, timeout=30
    )
    assert done.stdout.strip() == "False"
