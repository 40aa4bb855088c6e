"""Real servers for tests: one in a process of its own that can be killed, one in the test's own loop."""

import asyncio
import re
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from inspect import isawaitable
from pathlib import Path
from threading import Condition, Thread
from typing import Any, Self, TypeVar, cast, overload

import uvicorn

T = TypeVar("T")

__all__ = ["ServerProcess", "live_server", "until"]

OUTPUT_LINES = 2000
"""What is kept of a server's output: room for many tracebacks, and little beside the test itself."""

POLL_S = 0.01

READY = re.compile(r"Penstock is ready at (http://[^\s/:]+:(\d+))")


@overload
async def until(condition: Callable[[], Awaitable[T]], deadline_s: float = 10, what: str = "") -> T: ...
@overload
async def until(condition: Callable[[], T], deadline_s: float = 10, what: str = "") -> T: ...
async def until(condition: Callable[[], Any], deadline_s: float = 10, what: str = "") -> Any:
    """Wait until `condition()` is true, looking every 10 ms, and return its value.

    Args:
        condition: Called in the running loop; may be a coroutine function. What it raises is raised here.
        deadline_s: Seconds to wait at most.
        what: What is waited for, for the error's message.

    Raises:
        TimeoutError: It did not become true in time; the message carries its last value.
    """
    end = time.monotonic() + deadline_s
    while True:
        result = condition()
        value = await result if isawaitable(result) else result
        if value:
            return value
        if time.monotonic() > end:
            name = what or getattr(condition, "__qualname__", repr(condition))
            raise TimeoutError(f"Not within {deadline_s} s: {name}. The last value was {value!r}.")
        await asyncio.sleep(POLL_S)


class ServerProcess:
    """A server in a process of its own, on a free port, to be killed and started again.

    All methods block, for as long as their deadlines say; in a test with readers in the same loop call them
    through `asyncio.to_thread`. Use it with `with` or `async with`, which start it and, at the end, kill it.

        with ServerProcess("app.py", "--store", "sqlite:///runs.db", cwd=tmp_path) as server:
            ...  # talk to server.url
            server.kill()
            server.restart()  # same port, same store

    Args:
        target: What `penstock serve` takes: `module:app` or `file.py[:app]`.
        options: More arguments of `penstock serve`.
        argv: The whole command instead; `{port}` in it becomes the port. It must print Penstock's ready line.
        cwd: Its working folder.
        env: Its whole environment; this process's where absent.
        ready_s: Seconds within which it must be ready.
    """

    ready = READY
    """The line that says that it is ready, and where: address and port are its groups."""

    def __init__(
        self,
        target: str = "",
        *options: str,
        argv: Sequence[str] | None = None,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        ready_s: float = 30,
    ) -> None:
        serve = [sys.executable, "-u", "-m", "penstock", "serve", target, "--port", "{port}", *options]
        self.argv = list(argv or serve)
        self.cwd, self.env, self.ready_s = cwd, env, ready_s
        self.port = 0
        self.url = ""
        self._process: subprocess.Popen[str] | None = None
        self._holder: socket.socket | None = None
        self._lines: deque[str] = deque(maxlen=OUTPUT_LINES)
        self._changed = Condition()
        self._silent = False  # its outputs are closed: it has exited

    # --- Starting ---

    def start(self) -> Self:
        """Start it on `port` (0: a free one) and wait until it is ready.

        Raises:
            RuntimeError: It exited before it was ready; the message carries its output.
            TimeoutError: It was not ready in time, and has been killed.
        """
        if self.running:
            raise RuntimeError("The server is running already.")
        argv = [part.replace("{port}", str(self.port)) for part in self.argv]
        self.url, self._silent = "", False
        self._process = subprocess.Popen(  # noqa: S603 - the caller's own command
            argv, cwd=self.cwd, env=self.env, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._pump = Thread(
            target=self._keep_output, args=(self._process,), name="server-output", daemon=True
        )
        self._pump.start()
        self._wait_until_ready()
        return self

    def restart(self, port: int | None = None) -> Self:
        """Start it again on the same port or on `port`, after killing it if it still runs."""
        self.kill()
        if port is not None:
            self.port = port
        return self.start()

    def _wait_until_ready(self) -> None:
        with self._changed:
            told = self._changed.wait_for(lambda: self.url or self._silent, self.ready_s)
        if not self.url:
            code = self.kill()
            if told:
                raise RuntimeError(f"The server exited with {code} before it was ready:\n{self.output}")
            raise TimeoutError(f"The server was not ready within {self.ready_s} s:\n{self.output}")
        self._let_go_of_port()

    def _keep_output(self, process: "subprocess.Popen[str]") -> None:
        for line in process.stdout or ():
            with self._changed:
                self._lines.append(line)
                if not self.url and (match := self.ready.search(line)):
                    self.url, self.port = match[1], int(match[2])
                    self._changed.notify_all()
        with self._changed:
            self._silent = True
            self._changed.notify_all()

    # --- Looking ---

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the last start; 0 before the first."""
        return self._process.pid if self._process else 0

    @property
    def output(self) -> str:
        """What it has written to both of its outputs, over all starts; the last `OUTPUT_LINES` lines."""
        with self._changed:
            return "".join(self._lines)

    # --- Stopping ---

    def kill(self) -> int | None:
        """SIGKILL. Returns the return code, -9 if it was alive; None if it never was."""
        if self._process is None:
            return None
        self._process.kill()
        return self._wait(self._process, 10)

    def terminate(self, deadline_s: float = 30) -> int:
        """SIGTERM, and wait for it to leave. Returns its return code.

        Raises:
            TimeoutError: It was still there after `deadline_s`, and has been killed.
        """
        if self._process is None:
            raise RuntimeError("The server was never started.")
        self._process.terminate()
        try:
            return self._wait(self._process, deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"The server did not leave within {deadline_s} s:\n{self.output}") from None

    def _wait(self, process: "subprocess.Popen[str]", deadline_s: float) -> int:
        code = process.wait(deadline_s)
        self._hold_port()
        self._pump.join(5)  # a grandchild may hold the other end of the pipe for ever
        if process.stdout and not self._pump.is_alive():
            process.stdout.close()
        return code

    def _hold_port(self) -> None:
        # While nobody listens, the system may lend the port to somebody, a reconnecting client even, which
        # would then be talking to itself. A socket that is bound but does not listen prevents that.
        if self._holder is None and self.port:
            self._holder = socket.socket()
            self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                self._holder.bind(("127.0.0.1", self.port))

    def _let_go_of_port(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._let_go_of_port()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *exception: object) -> None:
        await asyncio.to_thread(self.__exit__, *exception)


class _QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers: in a test, Ctrl-C is the test runner's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        # uvicorn's looks every 100 ms whether it shall leave: a minute for a suite with hundreds of servers.
        tick = 0
        while not await self.on_tick(tick):
            await asyncio.sleep(POLL_S)
            tick += 1


@asynccontextmanager
async def live_server(
    app: Any,
    *,
    grace_s: int = 5,
    http: str | type[asyncio.Protocol] = "httptools",
    ws: str | Callable[..., asyncio.Protocol] = "auto",
) -> AsyncIterator[str]:
    """Serve an ASGI app with a real uvicorn on a free port, in the running loop, and give its URL.

    http, ws: uvicorn's settings of these names; `penstock serve` uses `Connection` and `socket_connection` of
    `penstock.server.connection`.

    At the end `app.drain()` is awaited, where the app has it, so that streams end cleanly; what is still
    connected `grace_s` seconds later is cut.

    Raises:
        RuntimeError: The app's start-up failed; its own error is logged.
    """
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=http, ws=cast("Any", ws), lifespan="on", log_level="warning", timeout_graceful_shutdown=grace_s
    )  # fmt: skip
    server = _QuietServer(config)
    task = asyncio.create_task(_serve(server, sock))
    try:
        await until(lambda: server.started or task.done(), 30, "the server starts")
        if not server.started:
            await task
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        if not task.done() and hasattr(app, "drain"):
            await app.drain()
    finally:
        server.should_exit = True
        await task


async def _serve(server: uvicorn.Server, sock: socket.socket) -> None:
    try:
        await server.serve(sockets=[sock])
    except SystemExit as exit_:  # it would end the test runner
        raise RuntimeError("The app did not start; see the log.") from exit_
    finally:
        sock.close()
