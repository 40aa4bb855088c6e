"""`penstock worker`: an app's functions without HTTP, for runs that other processes of the same store take in."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import uvicorn

from .app import App
from .errors import ConfigError
from .process.own import Farewell, end_when_left, run_process, tune_interpreter

__all__ = ["work"]

log = logging.getLogger("penstock")


def work(app: App, on_ready: Callable[[], None], *, supervised: bool = False) -> None:
    """Execute runs until a signal says otherwise; the process ends with it. `on_ready` is called once it does.

    supervised: whether a supervisor has started this process, see `Farewell`.

    Raises:
        ConfigError: The store can't be shared.
        StoreError: The store can't be used. One that is full or locked is waited for.
    """
    if app.settings.store == "memory:":
        raise ConfigError(
            "memory: is this process's own, and nobody could give it a run.",
            hint="Use --store sqlite:///PATH.",
        )
    app.serves = False
    tune_interpreter()
    executor = _Executor(app, on_ready, Farewell(app.settings.grace_s, supervised=supervised))
    run_process(executor.live(), uvicorn.Config(app, log_config=None).get_loop_factory())
    if app.start_error is not None:
        raise app.start_error


class _Executor:
    """What a server is to the app, without connections: starts it, waits for a signal, stops it."""

    def __init__(self, app: App, on_ready: Callable[[], None], farewell: Farewell) -> None:
        self._app = app
        self._on_ready = on_ready
        self._farewell = farewell
        self._started = False
        self._asked = asyncio.Event()

    async def live(self) -> None:
        loop = asyncio.get_running_loop()
        self._farewell.listen(lambda: loop.call_soon_threadsafe(self._asked.set))
        await self._app({"type": "lifespan"}, self._receive, self._send)
        end_when_left()

    async def _receive(self) -> dict[str, Any]:
        if not self._started:
            self._started = True
            return {"type": "lifespan.startup"}
        await self._asked.wait()
        self._left_at = time.monotonic()
        log.info("Leaving: runs get up to %g s.", self._app.settings.grace_s)
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "lifespan.startup.complete":
            self._on_ready()
        elif message["type"] == "lifespan.shutdown.complete":
            log.info("Stopped after %.1f s.", time.monotonic() - self._left_at)
