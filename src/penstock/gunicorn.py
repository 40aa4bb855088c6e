"""Under gunicorn: `gunicorn -k penstock.gunicorn.Worker -w 3 app:app`, for an App or what it is mounted in.

With uvicorn's own worker all works too, but for the end: it waits for open streams, which end only when told, and
is killed when `--graceful-timeout` is over. This one tells the apps first. It needs `penstock[gunicorn]`.
"""

import asyncio
import logging
import os
import socket
import sys
from typing import Any, ClassVar

import uvicorn
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

from .app import STARTED, App
from .memory.processes import count_with_parent
from .process.handover import Door, hand_over, linger
from .process.own import end_when_left, run_process, tune_interpreter
from .serve import CONNECTIONS_CLOSE_S
from .server.connection import Connection, socket_connection

__all__ = ["Worker"]

log = logging.getLogger("penstock")

LOOK_S = 1.0
"""Between two signs of life, and two looks whether gunicorn itself is there: a worker that it left behind would
serve on, where nobody can stop it."""

CLOSING_S = 3.0
"""What is kept of gunicorn's `--graceful-timeout` for closing, once requests and runs have had theirs."""


class Worker(UvicornWorker):  # type: ignore[misc]  # neither package has types
    """uvicorn's worker with Penstock's order of shutdown, bounds on request heads, and log lines in gunicorn's."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "auto",
        "http": Connection,
        "ws": socket_connection,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config.timeout_notify = LOOK_S
        if not log.handlers:
            log.handlers = self.log.error_log.handlers
            log.setLevel(self.log.error_log.level)
            log.propagate = False

    def run(self) -> None:
        """Serve until told to leave; called by gunicorn."""
        tune_interpreter()
        count_with_parent()
        run_process(self._serve(), self.config.get_loop_factory())

    async def _serve(self) -> None:
        door = Door(self.wsgi)
        self.config.app = door
        self.config.timeout_graceful_shutdown = self._connections_close_s()
        self._server = _Server(self.config, door, self)
        self._install_sigquit_handler()
        # Not gunicorn's wrappers, which uvloop can't tell that it has closed the descriptor: they would close it
        # again, and by then it may be another's.
        await self._server.serve(sockets=[getattr(wrapper, "sock", wrapper) for wrapper in self.sockets])
        if not self._server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def _connections_close_s(self) -> int:
        patience_s: int = self.cfg.graceful_timeout
        if not isinstance(self.wsgi, App):  # another's requests may need all the time there is
            return max(1, round(patience_s - CLOSING_S))
        grace_s = self.wsgi.settings.grace_s
        if grace_s + CLOSING_S > patience_s:
            least = grace_s + CLOSING_S
            log.warning("Runs get grace_s = %g s; give gunicorn --graceful-timeout %g.", grace_s, least)
        return max(1, round(min(CONNECTIONS_CLOSE_S, grace_s)))

    async def callback_notify(self) -> None:
        """A sign of life to gunicorn, if it still lives; called by uvicorn."""
        self.notify()
        if os.getppid() != self.ppid:
            log.error("gunicorn is gone; leaving too.")
            self._server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn, with our order of shutdown."""

    def __init__(self, config: uvicorn.Config, door: Door, worker: Worker) -> None:
        super().__init__(config)
        self._door = door
        self._worker = worker

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn gives no signs of life in its shutdown, and gunicorn kills who gives none.
        notifying = asyncio.create_task(self._notify())
        apps = list(STARTED)
        for app in apps:
            app.hold()
        await hand_over(self, self._door, self._worker.cfg.graceful_timeout / 4)
        for app in apps:
            await app.drain()
        await asyncio.sleep(0)
        await linger(self)
        await super().shutdown(sockets)
        notifying.cancel()
        end_when_left()

    async def _notify(self) -> None:
        while True:
            self._worker.notify()
            await asyncio.sleep(LOOK_S)
