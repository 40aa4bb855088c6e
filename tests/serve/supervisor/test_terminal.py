"""In a terminal, whose keys and whose end reach all processes at once."""

import contextlib
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from penstock.testing import until

from ..functions import SOURCE
from .processes import READY_S, are_gone, options, ready_pids, told

if TYPE_CHECKING:
    from tests.conftest import Api

IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
how = termios.tcgetattr(0)
how[3] |= termios.TOSTOP  # as `stty tostop`: a background group that writes is stopped
termios.tcsetattr(0, termios.TCSANOW, how)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A command in a terminal of its own, as a person has it."""

    def __init__(self, *argv: str, cwd: Path) -> None:
        self._master, slave = pty.openpty()
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", IN_TERMINAL, *argv],
            cwd=cwd, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        os.set_blocking(self._master, False)

    def read(self) -> str:
        with contextlib.suppress(OSError):
            self.output += os.read(self._master, 65536).decode()
        return self.output

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def close(self) -> None:
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    async def ended(self) -> int:
        async def look() -> bool:
            self.read()
            return self.process.poll() is not None

        await until(look, READY_S, "it ends")
        return self.process.wait()


@pytest.fixture
def terminal(write_app: Callable[[str], Path], tmp_path: Path) -> Iterator[Terminal]:
    """With a server of two processes that has just been started in it."""
    write_app(SOURCE)
    argv = [sys.executable, "-u", "-m", "penstock", "serve", "app.py", *options(2, "--port", "0")]
    terminal = Terminal(*argv, cwd=tmp_path)
    yield terminal
    terminal.process.kill()
    terminal.process.wait()
    terminal.close()


async def ready(terminal: Terminal) -> str:
    """The address, once it is told."""
    await until(lambda: "Penstock is ready" in terminal.read() and terminal.output.endswith("\n"), READY_S)
    found = re.search(r"ready at (\S+)", terminal.output)
    assert found is not None
    return found[1]


async def test_ctrl_c_in_a_terminal_lets_them_leave_in_order(terminal: Terminal) -> None:
    await ready(terminal)
    terminal.press(b"\x03")
    assert await terminal.ended() == 0
    assert terminal.output.count("Stopped after") == 2, "each had one signal: a second would have ended it"
    assert "Traceback" not in terminal.output


async def test_a_second_ctrl_c_ends_all_at_once(terminal: Terminal, connect: "type[Api]") -> None:
    async with connect(await ready(terminal)) as api:
        run_id = await api.submit("wait")
        await until(lambda: api.get(f"/api/runs/{run_id}"))
        pids = ready_pids(terminal.output)
        terminal.press(b"\x03")
        await until(lambda: len(told(terminal.read())) == 2)
        begun = time.monotonic()
        terminal.press(b"\x03")
        assert await terminal.ended() == 130
        assert time.monotonic() - begun < 1.8, "the grace time is 2 s"
        assert "Stopped at once" in terminal.output
        await until(lambda: are_gone(pids))


async def test_a_terminal_that_is_closed_ends_it(terminal: Terminal) -> None:
    await ready(terminal)
    pids = ready_pids(terminal.output)
    terminal.close()
    await until(lambda: terminal.process.poll() is not None, READY_S)
    assert terminal.process.wait() == 0
    await until(lambda: are_gone(pids))
