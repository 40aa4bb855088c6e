"""Gradio servers in processes of their own, of each version that is supported."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import httpx
import pytest

from penstock.testing import ServerProcess

VERSIONS = ("5.50", "6.0", "newest")
"""What is tested: the last of 5, the first of 6, and the newest, which the suite's own environment has."""

ENDS = (VERSIONS[0], VERSIONS[-1])
"""For what Gradio has not changed in between."""

ROOT = Path(__file__).parents[2]

ENVIRONMENTS = ROOT / ".venv" / "gradio"
"""Where tests/install-gradio puts the environments of the older versions."""

READY_S = 90
"""Gradio takes 4 s to start on a quiet machine; tests share theirs."""

ANSWERS_S = 30
"""From the line that says that it runs to its first answer: at once, but for a mount that builds more."""

COMPLETE = re.compile(r"To create a public link|Uvicorn running on|Penstock is ready at")
"""Gradio's `launch()` talks to its own server for a moment longer than until it is ready."""

HARDENED = """
import runpy, sys
import penstock.gradio
penstock.gradio.install(**{options!r})
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

OWN_GROUP = "import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])"
"""So that what the server starts itself (reload mode's child, SSR's Node) ends with it."""


def find_python(version: str) -> str:
    """The interpreter that has this version of Gradio; `PENSTOCK_TEST_GRADIO_5_50` and so on name another.

    Without one the test is skipped, loudly; in CI it fails, as nobody reads skips there.
    """
    variable = f"PENSTOCK_TEST_GRADIO_{version.upper().replace('.', '_')}"
    if named := os.environ.get(variable):
        return named
    if version == "newest":
        return sys.executable
    if (ENVIRONMENTS / version / "ready").exists():
        return str(ENVIRONMENTS / version / "bin" / "python")
    message = f"Gradio {version} is not installed, and this test needs it: run tests/install-parts"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


async def run(version: str, program: str, *, cwd: Path | None = None, warns: bool = False) -> str:
    """What a program says; `warns`: and, after it, what it says on standard error."""
    command = [find_python(version), "-W", "ignore::DeprecationWarning", "-c", program]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), READY_S)
    assert process.returncode == 0, err.decode()
    return out.decode() + (err.decode() if warns else "")


def environment(**more: str) -> dict[str, str]:
    """That of a Gradio program, whatever the tests were started with."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GRADIO_", "PENSTOCK_"))
    }
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    own = {
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
    }
    return kept | own | more


class GradioServer(ServerProcess):
    """A Gradio app in a process of its own, on a free port, to be killed and started again on the same one.

        async with GradioServer("6.0", APP, cwd=tmp_path) as server:
            ...  # talk to server.url; server.output is its log
            await asyncio.to_thread(server.restart)

    Args:
        version: One of `VERSIONS`.
        app: The program: its source, or where it is. It calls `demo.launch()` without a port, or listens on
            `int(os.environ["GRADIO_SERVER_PORT"])` with uvicorn.
        hardened: Whether `penstock.gradio.install(**options)` is called before it.
        options: What `install` is given, as plain values.
        command: The whole command after the interpreter instead, without `install`; `{app}` in it becomes the
            program's path and `{port}` the port.
        cwd: The folder where it runs, and where its source, its database and Gradio's files go; one of its own,
            which goes with the server, where absent.
        env: Environment variables to add.
    """

    ready = re.compile(
        r"(?:Penstock is ready at|Running on local URL:|Uvicorn running on)\s+(https?://[^\s/:]+:(\d+))"
    )

    def __init__(
        self,
        version: str,
        app: str | Path,
        *,
        hardened: bool = True,
        options: Mapping[str, Any] | None = None,
        command: Sequence[str] | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.version = version
        self._holder: socket.socket | None = None
        self._own = None if cwd else TemporaryDirectory(prefix="gradio-", ignore_cleanup_errors=True)
        self.folder = cwd or Path(self._own.name if self._own else "")
        self.app = self._write(app)
        given = list(command) if command is not None else self._command(hardened, dict(options or {}))
        argv = [find_python(version), *(part.replace("{app}", str(self.app)) for part in given)]
        super().__init__(
            argv=[sys.executable, "-SEc", OWN_GROUP, *argv], cwd=self.folder, ready_s=READY_S,
            env=self._environment(env or {}),
        )  # fmt: skip

    def _write(self, app: str | Path) -> Path:
        if isinstance(app, Path):
            return app.resolve()
        path = self.folder / "app.py"
        path.write_text(app, encoding="utf-8")
        return path

    def _command(self, hardened: bool, options: dict[str, Any]) -> list[str]:
        return ["-c", HARDENED.format(options=options), "{app}"] if hardened else ["{app}"]

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        # One port: the one that was asked for, or none.
        own = {"GRADIO_NUM_PORTS": "1", "GRADIO_TEMP_DIR": str(self.folder / "gradio-files")}
        return environment(**own | dict(more))

    def start(self) -> Self:
        """Start it and wait until it answers."""
        if not self.port:
            self._take_port()
        assert self.env is not None
        self.env = {**self.env, "GRADIO_SERVER_PORT": str(self.port)}
        super().start()
        self._wait_until_it_answers()
        return self

    def _take_port(self) -> None:
        # A socket that is bound but does not listen keeps the port for the server, which may bind it as well.
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        self.port = self._holder.getsockname()[1]

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + ANSWERS_S
        while True:
            with suppress(httpx.TransportError):
                httpx.get(self.url, timeout=ANSWERS_S, trust_env=False, verify=False)
                return
            if time.monotonic() > end or not self.running:
                self.kill()
                raise TimeoutError(f"Gradio did not answer within {ANSWERS_S} s:\n{self.output}")
            time.sleep(0.02)

    def kill(self) -> int | None:
        """SIGKILL, also to what it has started."""
        if self.pid:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        return super().kill()

    def interrupt(self, deadline_s: float = 15) -> int:
        """Ctrl-C, once it is complete, and wait for it to leave. Returns its return code."""
        assert self._process is not None
        end = time.monotonic() + ANSWERS_S
        while not COMPLETE.search(self.output) and time.monotonic() < end:
            time.sleep(0.02)
        os.killpg(self.pid, signal.SIGINT)
        try:
            return self._wait(self._process, deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"The server did not leave within {deadline_s} s:\n{self.output}") from None

    stop = ServerProcess.terminate

    def _forget(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder = None
        if self._own is not None:
            self._own.cleanup()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._forget()

    async def __aexit__(self, *exception: object) -> None:
        await asyncio.to_thread(self.__exit__, *exception)
